//! Network address translation: the way out of the pod network, and ports of the host that lead into it.
//!
//! One IPv4 table, named like the bridges. Its rules never change while it lives; ports come and go as
//! elements of two maps:
//!
//! ```text
//! map ports    { type inet_proto . inet_service : ipv4_addr . inet_service }
//! map ip_ports { type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service }
//! chain prerouting, output (nat, dstnat):
//!     fib daddr type local  dnat to ip daddr . meta l4proto . th dport map @ip_ports
//!     fib daddr type local  dnat to meta l4proto . th dport map @ports
//! chain postrouting (nat, srcnat):
//!     ip saddr PODS  ip daddr != PODS  masquerade
//!     ip saddr PODS  ip daddr PODS  ct status dnat  masquerade    # pod -> port of the host -> pod
//!     ip saddr 127.0.0.0/8  ip daddr PODS  masquerade             # host -> 127.0.0.1:port -> pod
//! chain guard (filter, raw):
//!     iifname "podrig*"  ip daddr 127.0.0.0/8  drop
//! ```
//!
//! The last rule is the other half of `route_localnet`, which the third one needs: without it pods could reach
//! what listens on the host's loopback only (CVE-2020-8558).

use std::{collections::BTreeMap, io, net::Ipv4Addr};

use cri::{PortMapping, Protocol};

use super::{
    Error, Result, Subnet,
    nft::{Hook, Nftables, REG, Rule, Transaction},
};

/// Priorities of `linux/netfilter_ipv4.h`: `NF_IP_PRI_RAW`, `NF_IP_PRI_NAT_DST`, `NF_IP_PRI_NAT_SRC`.
const PRIORITY: (i32, i32, i32) = (-300, -100, 100);

/// `NF_INET_PRE_ROUTING`, `NF_INET_LOCAL_OUT`, `NF_INET_POST_ROUTING`.
const HOOK: (u32, u32, u32) = (0, 3, 4);

/// `NFT_META_IIFNAME` and `NFT_META_L4PROTO`.
const META: (u32, u32) = (6, 16);

/// `NFT_CT_STATUS`, and the bit `IPS_DST_NAT` of it.
const STATUS: (u32, u32) = (2, 1 << 5);

/// `RTN_LOCAL`.
const LOCAL: u32 = 2;

/// Offsets of source and destination address in the IPv4 header, of the destination port in the transport header.
pub(super) const OFFSET: (u32, u32, u32) = (12, 16, 2);

/// Numbers of the nft program for `ipv4_addr`, `inet_proto`, `inet_service`, and how it joins them.
const TYPE: (u32, u32, u32) = (7, 12, 13);
const TYPE_BITS: u32 = 6;

/// Installs the table, in the place of one that was left behind.
pub(super) fn install(nftables: &mut Nftables, table: &str, pods: Subnet) -> io::Result<()> {
    let mut nft = Transaction::new(table);
    nft.add_table();
    nft.delete_table();
    nft.add_table();
    let target = ((TYPE.0 << TYPE_BITS) | TYPE.2, 8);
    nft.add_map("ports", ((TYPE.1 << TYPE_BITS) | TYPE.2, 8), target);
    nft.add_map("ip_ports", ((((TYPE.0 << TYPE_BITS) | TYPE.1) << TYPE_BITS) | TYPE.2, 12), target);
    for (chain, number) in [("prerouting", HOOK.0), ("output", HOOK.1)] {
        nft.add_chain(chain, Hook { kind: "nat", number, priority: PRIORITY.1 });
        nft.add_rule(chain, to_ip_port());
        nft.add_rule(chain, to_port());
    }
    nft.add_chain("postrouting", Hook { kind: "nat", number: HOOK.2, priority: PRIORITY.2 });
    nft.add_rule("postrouting", outside(pods));
    nft.add_rule("postrouting", hairpin(pods));
    nft.add_rule("postrouting", from_loopback(pods));
    nft.add_chain("guard", Hook { kind: "filter", number: HOOK.0, priority: PRIORITY.0 });
    nft.add_rule("guard", guard(table));
    nft.commit(nftables)
}

/// Removes the table; it may be gone.
pub(super) fn uninstall(nftables: &mut Nftables, table: &str) -> Result<()> {
    let mut nft = Transaction::new(table);
    nft.add_table();
    nft.delete_table();
    nft.commit(nftables).map_err(|source| Error::Netlink { action: format!("delete nftables table {table}"), source })
}

/// Leads ports of the host to a pod, in the place of what was left behind for these ports.
pub(super) fn map(nftables: &mut Nftables, table: &str, pod: Ipv4Addr, ports: &[PortMapping]) -> Result<()> {
    let elements = elements(ports)?;
    if elements.is_empty() {
        return Ok(());
    }
    let add = |nftables: &mut Nftables| {
        let mut nft = Transaction::new(table);
        elements.iter().for_each(|(key, port)| nft.add_element(key.map(), &key.bytes(), &target(pod, *port)));
        nft.commit(nftables)
    };
    let outcome = match add(nftables) {
        Err(error) if error.raw_os_error() == Some(libc::EEXIST) => {
            unmap(nftables, table, ports)?;
            add(nftables)
        }
        other => other,
    };
    outcome.map_err(|source| Error::Netlink { action: "map ports of the host".to_owned(), source })
}

/// Checks that nobody who has the ports of `taken` is in the way of `wanted`.
pub(super) fn check_free(taken: &[PortMapping], wanted: &[PortMapping]) -> Result<()> {
    let taken = elements(taken)?;
    match elements(wanted)?.keys().find(|key| taken.contains_key(key)) {
        Some(key) => Err(Error::PortInUse { port: key.to_string() }),
        None => Ok(()),
    }
}

/// Takes the ports of a pod away again; those that are not there are no error.
pub(super) fn unmap(nftables: &mut Nftables, table: &str, ports: &[PortMapping]) -> Result<()> {
    let elements = elements(ports).unwrap_or_default();
    let delete = |nftables: &mut Nftables, keys: &[&Key]| {
        let mut nft = Transaction::new(table);
        keys.iter().for_each(|key| nft.delete_element(key.map(), &key.bytes()));
        nft.commit(nftables)
    };
    let keys: Vec<&Key> = elements.keys().collect();
    if keys.is_empty() || delete(nftables, &keys).is_ok() {
        return Ok(());
    }
    for key in keys {
        match delete(nftables, &[key]) {
            Err(source) if source.raw_os_error() != Some(libc::ENOENT) => {
                return Err(Error::Netlink { action: format!("unmap port {key} of the host"), source });
            }
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

/// A port of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    address: Option<Ipv4Addr>,
    protocol: u8,
    port: u16,
}

impl Key {
    fn map(&self) -> &'static str {
        if self.address.is_some() { "ip_ports" } else { "ports" }
    }

    /// Returns the key as the registers have it: each field in four bytes, from the left.
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.address.map(|address| address.octets().to_vec()).unwrap_or_default();
        bytes.extend([self.protocol, 0, 0, 0]);
        bytes.extend(self.port.to_be_bytes());
        bytes.extend([0, 0]);
        bytes
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let protocol = match self.protocol {
            6 => "tcp",
            17 => "udp",
            _ => "sctp",
        };
        match self.address {
            Some(address) => write!(f, "{protocol} {address}:{}", self.port),
            None => write!(f, "{protocol} {}", self.port),
        }
    }
}

/// Collects the ports of the host with the pod's port for each. Of two containers that ask for the same one the
/// first gets it: validation lets sidecars and main containers do that (contract S1-24).
fn elements(ports: &[PortMapping]) -> Result<BTreeMap<Key, u16>> {
    let mut elements = BTreeMap::new();
    for mapping in ports.iter().filter(|mapping| mapping.host_port != 0) {
        let address = match mapping.host_ip.as_str() {
            "" | "0.0.0.0" | "::" => None,
            text => match text.parse() {
                Ok(address) => Some(address),
                Err(_) => {
                    return Err(Error::InvalidPort { reason: format!("host IP {text:?} is not an IPv4 address") });
                }
            },
        };
        let protocol = match mapping.protocol {
            Protocol::Tcp => 6,
            Protocol::Udp => 17,
            Protocol::Sctp => 132,
        };
        elements.entry(Key { address, protocol, port: mapping.host_port }).or_insert(mapping.container_port);
    }
    Ok(elements)
}

fn target(pod: Ipv4Addr, port: u16) -> Vec<u8> {
    let mut bytes = pod.octets().to_vec();
    bytes.extend(port.to_be_bytes());
    bytes.extend([0, 0]);
    bytes
}

fn to_local() -> Rule {
    Rule::default().destination_type(REG).equals(REG, &LOCAL.to_ne_bytes())
}

fn to_port() -> Rule {
    to_local().meta(META.1, REG).transport(OFFSET.2, 2, REG + 1).lookup("ports", REG, REG).destination_nat(REG, REG + 1)
}

fn to_ip_port() -> Rule {
    to_local()
        .network(OFFSET.1, 4, REG)
        .meta(META.1, REG + 1)
        .transport(OFFSET.2, 2, REG + 2)
        .lookup("ip_ports", REG, REG)
        .destination_nat(REG, REG + 1)
}

pub(super) fn in_subnet(rule: Rule, offset: u32, subnet: Subnet) -> Rule {
    rule.network(offset, 4, REG).mask(REG, subnet.mask().octets()).equals(REG, &subnet.address().octets())
}

fn outside(pods: Subnet) -> Rule {
    in_subnet(Rule::default(), OFFSET.0, pods)
        .network(OFFSET.1, 4, REG)
        .mask(REG, pods.mask().octets())
        .differs(REG, &pods.address().octets())
        .masquerade()
}

fn hairpin(pods: Subnet) -> Rule {
    let inside = in_subnet(in_subnet(Rule::default(), OFFSET.0, pods), OFFSET.1, pods);
    inside.conntrack(STATUS.0, REG).mask(REG, STATUS.1.to_ne_bytes()).differs(REG, &[0; 4]).masquerade()
}

fn from_loopback(pods: Subnet) -> Rule {
    let rule = Rule::default().network(OFFSET.0, 1, REG).equals(REG, &[127]);
    in_subnet(rule, OFFSET.1, pods).masquerade()
}

fn guard(prefix: &str) -> Rule {
    Rule::default()
        .meta(META.0, REG)
        .equals(REG, prefix.as_bytes())
        .network(OFFSET.1, 1, REG)
        .equals(REG, &[127])
        .drop_packet()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping(host_ip: &str, host_port: u16, container_port: u16) -> PortMapping {
        PortMapping { protocol: Protocol::Tcp, container_port, host_port, host_ip: host_ip.to_owned() }
    }

    #[test]
    fn s1_24_of_two_containers_with_one_host_port_the_first_gets_it() {
        let found = elements(&[mapping("", 80, 8080), mapping("0.0.0.0", 80, 9090), mapping("", 0, 1)]).unwrap();
        assert_eq!(found.into_iter().collect::<Vec<_>>(), [(Key { address: None, protocol: 6, port: 80 }, 8080)]);
    }

    #[test]
    fn an_address_that_is_none_is_refused() {
        assert!(matches!(elements(&[mapping("localhost", 80, 80)]), Err(Error::InvalidPort { .. })));
    }
}
