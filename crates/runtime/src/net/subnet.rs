//! IPv4 subnets: parsing, slicing, and choosing one that nobody uses.

use std::{fmt, net::Ipv4Addr, str::FromStr};

use serde::{Deserialize, Serialize};

/// Prefix length of one bridge's part of the pod network: 1,022 addresses, one of them the bridge's. A
/// Linux bridge takes 1,023 ports (`BR_MAX_PORTS`), so a part is used up before its bridge.
const PART_PREFIX: u8 = 22;

/// An IPv4 subnet in CIDR notation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Subnet {
    address: u32,
    prefix: u8,
}

impl Subnet {
    /// Takes any address in the subnet and a prefix length; `None` when that is greater than 32.
    pub fn new(address: Ipv4Addr, prefix: u8) -> Option<Self> {
        (prefix <= 32).then(|| Self { address: u32::from(address) & mask(prefix), prefix })
    }

    /// Returns the first address, which names the subnet.
    pub fn address(self) -> Ipv4Addr {
        self.address.into()
    }

    /// Returns the prefix length.
    pub fn prefix(self) -> u8 {
        self.prefix
    }

    /// Returns the netmask.
    pub fn mask(self) -> Ipv4Addr {
        mask(self.prefix).into()
    }

    /// Returns whether an address lies in it.
    pub fn contains(self, address: Ipv4Addr) -> bool {
        u32::from(address) & mask(self.prefix) == self.address
    }

    /// Returns whether two subnets have an address in common.
    pub fn overlaps(self, other: Self) -> bool {
        let common = mask(self.prefix.min(other.prefix));
        self.address & common == other.address & common
    }

    /// Returns how many bridges it takes, at least one.
    pub(super) fn parts(self) -> u32 {
        1 << PART_PREFIX.saturating_sub(self.prefix)
    }

    /// Returns the part of bridge number `index`.
    pub(super) fn part(self, index: u32) -> Self {
        let prefix = self.prefix.max(PART_PREFIX);
        let size = 1u32 << (32 - u32::from(prefix)).min(31);
        Self { address: self.address.wrapping_add(index.wrapping_mul(size)), prefix }
    }

    /// Returns the number of the bridge that an address belongs to.
    pub(super) fn part_of(self, address: Ipv4Addr) -> u32 {
        let shift = 32 - u32::from(self.prefix.max(PART_PREFIX));
        (u32::from(address) - self.address).checked_shr(shift).unwrap_or(0)
    }

    /// Returns the bridge's own address: the first usable one.
    pub(super) fn gateway(self) -> Ipv4Addr {
        self.address.wrapping_add(1).into()
    }

    /// Returns how many addresses there are for pods.
    pub(super) fn pods(self) -> u32 {
        (1u32 << (32 - u32::from(self.prefix)).min(31)).saturating_sub(3)
    }

    /// Returns the pod address number `index`, counted from 0, round and round.
    pub(super) fn pod(self, index: u32) -> Ipv4Addr {
        self.address.wrapping_add(2).wrapping_add(index % self.pods().max(1)).into()
    }
}

fn mask(prefix: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0)
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address(), self.prefix)
    }
}

impl From<Subnet> for String {
    fn from(subnet: Subnet) -> Self {
        subnet.to_string()
    }
}

impl FromStr for Subnet {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parsed =
            text.split_once('/').and_then(|(address, prefix)| Self::new(address.parse().ok()?, prefix.parse().ok()?));
        parsed.ok_or_else(|| format!("{text:?} is not an IPv4 subnet such as 10.210.0.0/16"))
    }
}

impl TryFrom<String> for Subnet {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

/// Chooses a subnet that has nothing in common with what is in use.
///
/// Known neighbours stay out even where they are down at this moment: Podman's 10.88 and 10.89, flannel's
/// 10.42 to 10.44 and 10.244, the usual service range 10.96, Docker's 172.17 to 172.31. Where everything is taken (a route for all of
/// 10/8, say), the first candidate is chosen that no equal or smaller subnet touches: ours is the more specific then.
pub(super) fn choose(used: &[Subnet]) -> Option<Subnet> {
    let candidates = || {
        let tens = (210..=239).chain(150..=209).map(|second| Ipv4Addr::new(10, second, 0, 0));
        let shared = (64..=127).map(|second| Ipv4Addr::new(100, second, 0, 0));
        tens.chain(shared).filter_map(|address| Subnet::new(address, 16))
    };
    let free = |candidate: &Subnet| !used.iter().any(|used| used.overlaps(*candidate));
    let more_specific =
        |candidate: &Subnet| !used.iter().any(|used| used.overlaps(*candidate) && used.prefix >= candidate.prefix);
    candidates().find(free).or_else(|| candidates().find(more_specific))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subnet(text: &str) -> Subnet {
        text.parse().unwrap()
    }

    #[test]
    fn a_taken_subnet_is_avoided_and_a_wider_route_is_undercut() {
        assert_eq!(choose(&[]), Some(subnet("10.210.0.0/16")));
        assert_eq!(choose(&[subnet("10.210.3.0/24"), subnet("10.211.0.0/16")]), Some(subnet("10.212.0.0/16")));
        assert_eq!(choose(&[subnet("10.0.0.0/8")]), Some(subnet("100.64.0.0/16")));
        let all = [subnet("10.0.0.0/8"), subnet("100.64.0.0/10"), subnet("10.210.7.0/24")];
        assert_eq!(choose(&all), Some(subnet("10.211.0.0/16")));
    }

    #[test]
    fn a_large_subnet_is_sliced_into_parts_of_one_bridge_each() {
        let whole = subnet("10.210.0.0/16");
        assert_eq!((whole.parts(), whole.part(0).to_string()), (64, "10.210.0.0/22".to_owned()));
        let second = whole.part(1);
        assert_eq!((second.to_string().as_str(), second.gateway()), ("10.210.4.0/22", Ipv4Addr::new(10, 210, 4, 1)));
        assert_eq!((second.pods(), second.pod(0)), (1_021, Ipv4Addr::new(10, 210, 4, 2)));
        assert_eq!(second.pod(1_020), Ipv4Addr::new(10, 210, 7, 254));
        assert_eq!(second.pod(1_021), second.pod(0));
        assert_eq!(whole.part_of(second.pod(1_020)), 1);
    }

    #[test]
    fn a_small_subnet_is_one_part() {
        let small = subnet("192.168.7.0/29");
        assert_eq!((small.parts(), small.part(0), small.pods()), (1, small, 5));
        assert_eq!(small.part_of(small.pod(4)), 0);
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "10.0.0.0", "10.0.0.0/33", "10.0.0/8", "x/8"] {
            assert!(text.parse::<Subnet>().is_err(), "{text}");
        }
    }
}
