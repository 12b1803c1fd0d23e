//! The file that tells clients where the server is and who they are.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use base64::{Engine as _, prelude::BASE64_STANDARD};

use super::pki::Identity;

/// Writes the text of a kubeconfig with one context, `podrig`, as kubeadm lays it out.
pub(crate) fn render(address: SocketAddr, authority: &str, user: &Identity) -> String {
    let encode = |pem: &str| BASE64_STANDARD.encode(pem);
    format!(
        "\
apiVersion: v1
clusters:
- cluster:
    certificate-authority-data: {authority}
    server: https://{address}
  name: podrig
contexts:
- context:
    cluster: podrig
    user: kubernetes-admin
  name: podrig
current-context: podrig
kind: Config
preferences: {{}}
users:
- name: kubernetes-admin
  user:
    client-certificate-data: {certificate}
    client-key-data: {key}
",
        address = reachable(address),
        authority = encode(authority),
        certificate = encode(&user.certificate),
        key = encode(&user.key),
    )
}

/// Returns where a client on this machine reaches a listener: one on all addresses listens on loopback too.
pub(crate) fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip @ (IpAddr::V4(_) | IpAddr::V6(_)) => ip,
    };
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_on_all_addresses_is_reached_on_loopback() {
        for (listening, reached) in
            [("0.0.0.0:6443", "127.0.0.1:6443"), ("[::]:6443", "[::1]:6443"), ("192.0.2.7:80", "192.0.2.7:80")]
        {
            assert_eq!(reachable(listening.parse().unwrap()), reached.parse().unwrap(), "{listening}");
        }
    }
}
