//! `/etc/hosts`, `/etc/hostname` and `/etc/resolv.conf` of a sandbox.

use std::{fmt::Write, fs, io, net::IpAddr, path::Path};

use cri::{DnsConfig, SandboxConfig};

use super::sandbox::has_network;

/// Where systemd-resolved keeps the real servers when `/etc/resolv.conf` names its local stub, which no
/// other network namespace can reach.
const RESOLVED: &str = "/run/systemd/resolve/resolv.conf";

/// Writes all three; `/etc/hosts` is written again when the addresses are known.
pub(super) fn write(dir: &Path, config: &SandboxConfig) -> io::Result<()> {
    let hostname = if has_network(config) {
        config.hostname.clone()
    } else {
        String::from_utf8_lossy(rustix::system::uname().nodename().to_bytes()).into_owned()
    };
    fs::write(dir.join("hostname"), hostname + "\n")?;
    let resolv_conf = match &config.dns {
        Some(dns) => render_dns(dns),
        None => host_dns(has_network(config))?,
    };
    fs::write(dir.join("resolv.conf"), resolv_conf)?;
    write_hosts(dir, config, &[])
}

/// Writes `/etc/hosts` as a kubelet does (`kubelet_pods.go`, `managedHostsFileContent`).
pub(super) fn write_hosts(dir: &Path, config: &SandboxConfig, ips: &[IpAddr]) -> io::Result<()> {
    let text = if has_network(config) {
        render_hosts(config, ips)
    } else {
        "# Kubernetes-managed hosts file (host network).\n".to_owned() + &read_or_empty(Path::new("/etc/hosts"))?
    };
    fs::write(dir.join("hosts"), text + &render_aliases(config))
}

fn render_hosts(config: &SandboxConfig, ips: &[IpAddr]) -> String {
    let mut text = "# Kubernetes-managed hosts file.\n\
        127.0.0.1\tlocalhost\n\
        ::1\tlocalhost ip6-localhost ip6-loopback\n\
        fe00::0\tip6-localnet\n\
        fe00::0\tip6-mcastprefix\n\
        fe00::1\tip6-allnodes\n\
        fe00::2\tip6-allrouters\n"
        .to_owned();
    for ip in ips {
        let names = config.fqdn.iter().chain([&config.hostname]).map(|name| format!("\t{name}")).collect::<String>();
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{ip}{names}");
    }
    text
}

fn render_aliases(config: &SandboxConfig) -> String {
    if config.host_aliases.is_empty() {
        return String::new();
    }
    let lines = config.host_aliases.iter().map(|alias| format!("{}\t{}\n", alias.ip, alias.hostnames.join("\t")));
    format!("\n# Entries added by HostAliases.\n{}", lines.collect::<String>())
}

fn render_dns(dns: &DnsConfig) -> String {
    let mut text = String::new();
    if !dns.searches.is_empty() {
        let _ = writeln!(text, "search {}", dns.searches.join(" "));
    }
    for server in &dns.servers {
        let _ = writeln!(text, "nameserver {server}");
    }
    if !dns.options.is_empty() {
        let _ = writeln!(text, "options {}", dns.options.join(" "));
    }
    text
}

fn host_dns(own_network: bool) -> io::Result<String> {
    let text = read_or_empty(Path::new("/etc/resolv.conf"))?;
    let only_local = text
        .lines()
        .filter_map(|line| line.strip_prefix("nameserver"))
        .all(|server| server.trim().parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback()));
    if own_network && only_local && Path::new(RESOLVED).exists() {
        return read_or_empty(Path::new(RESOLVED));
    }
    Ok(text)
}

fn read_or_empty(path: &Path) -> io::Result<String> {
    match fs::read(path) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(error),
    }
}
