//! What the machine needs for pods to have a network: bridges, forwarding, NAT. Built on first need, taken down
//! after the last lease, both under the lock of the run directory.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use super::{
    Error, NetworkOptions, Result, forward,
    lease::{Locked, State},
    link::{self, Link, Links},
    nat,
    nft::Nftables,
    subnet,
};

/// Forwards packets between interfaces; pods reach nothing beyond the machine, or beyond their bridge, without it.
const FORWARD: &str = "/proc/sys/net/ipv4/ip_forward";

/// MTU of Ethernet, for machines without a default route.
const DEFAULT_MTU: u32 = 1500;

/// Connections to the kernel.
#[derive(Debug)]
pub(super) struct Kernel {
    pub(super) links: Links,
    pub(super) nftables: Nftables,
}

/// Reads the state of the network, or begins a new one.
pub(super) fn load_or_plan(locked: &Locked<'_>, links: &mut Links, options: &NetworkOptions) -> Result<State> {
    if let Some(state) = locked.state()? {
        return match options.subnet {
            Some(asked) if asked != state.subnet => Err(Error::OtherSubnet { used: state.subnet, asked }),
            Some(_) | None => Ok(state),
        };
    }
    let (used, uplinks) = links.used_subnets()?;
    let subnet = match options.subnet {
        Some(subnet) => subnet,
        None => subnet::choose(&used).ok_or_else(|| Error::InvalidOption {
            reason: "every subnet that could be the pod network is in use; name one".to_owned(),
        })?,
    };
    let mtu = match options.mtu {
        Some(mtu) => mtu,
        None => uplink_mtu(&links.links()?, &uplinks),
    };
    let state =
        State { generation: generation(), subnet, mtu, bridges: BTreeMap::new(), sysctls: BTreeMap::new(), nat: None };
    locked.set_state(&state)?;
    Ok(state)
}

/// Completes what is missing for pods on bridge number `index`, and returns that bridge.
pub(super) fn ensure(
    locked: &Locked<'_>,
    kernel: &mut Kernel,
    state: &mut State,
    options: &NetworkOptions,
    index: u32,
) -> Result<Link> {
    if state.nat.is_none() {
        set_sysctl(locked, state, Path::new(FORWARD), "1")?;
        state.nat = Some(install_nat(&mut kernel.nftables, &options.bridge, state));
        locked.set_state(state)?;
    }
    let links = &mut kernel.links;
    let name = format!("{}{index}", options.bridge);
    if let Some(bridge) =
        link::find_bridge(&links.links()?, &name)?.filter(|_| state.bridges.get(&index) == Some(&true))
    {
        return Ok(bridge);
    }
    state.bridges.insert(index, false);
    locked.set_state(state)?;
    let bridge = build_bridge(links, state, &name, index)?;
    state.bridges.insert(index, true);
    locked.set_state(state)?;
    Ok(bridge)
}

fn build_bridge(links: &mut Links, state: &State, name: &str, index: u32) -> Result<Link> {
    let part = state.subnet.part(index);
    links.apply(vec![link::create_bridge(name, state.mtu)])?;
    let bridge = link::find_bridge(&links.links()?, name)?.ok_or_else(|| Error::Netlink {
        action: format!("find bridge {name}"),
        source: io::ErrorKind::NotFound.into(),
    })?;
    links.apply(vec![link::add_address(bridge.index, part.gateway(), part), link::set_up(bridge.index)])?;
    if state.nat == Some(true) {
        // Lets 127.0.0.1:hostPort on the host lead to a pod; goes with the bridge. See the guard in `nat`.
        write_sysctl(&PathBuf::from(format!("/proc/sys/net/ipv4/conf/{name}/route_localnet")), "1")?;
    }
    Ok(bridge)
}

/// Undoes everything. Veths go, too, whose namespace lives on: a killed pod's connections may hold it for
/// minutes, until the kernel gives up to tell their peers.
pub(super) fn tear_down(locked: &Locked<'_>, kernel: &mut Kernel, options: &NetworkOptions) -> Result<()> {
    let Some(state) = locked.state()? else { return Ok(()) };
    let Kernel { links, nftables } = kernel;
    links.apply(vec![link::delete_all()])?;
    let present = links.links()?;
    for index in state.bridges.keys() {
        // One that was there before us is in no group of ours.
        let name = format!("{}{index}", options.bridge);
        if link::find_bridge(&present, &name)?.is_some() {
            links.apply(vec![link::delete_link(&name)])?;
        }
    }
    match state.nat {
        Some(true) => uninstall_nat(nftables, &options.bridge)?,
        Some(false) => {}
        // Killed while installing, or before.
        None => uninstall_nat(nftables, &options.bridge)
            .unwrap_or_else(|error| tracing::debug!(%error, "no NAT rules to remove")),
    }
    for (path, value) in &state.sysctls {
        write_sysctl(path, value)?;
    }
    locked.remove_state()
}

/// Puts the rules back that somebody else has removed (`nft flush ruleset`), host ports included.
pub(super) fn repair_nat(
    locked: &Locked<'_>,
    kernel: &mut Kernel,
    state: &State,
    options: &NetworkOptions,
) -> Result<()> {
    let Kernel { nftables, .. } = kernel;
    let failed = |source| Error::Netlink { action: "look for our nftables table".to_owned(), source };
    if state.nat != Some(true) || nftables.has_table(&options.bridge).map_err(failed)? {
        return Ok(());
    }
    tracing::warn!(table = options.bridge, "somebody removed our NAT rules; installing them again");
    if install_nat(nftables, &options.bridge, state) {
        for (address, lease) in locked.leases()? {
            nat::map(nftables, &options.bridge, address, &lease.ports)?;
        }
    }
    Ok(())
}

/// Pods work among themselves and with the host without NAT, so that its absence is reported once.
fn install_nat(nftables: &mut Nftables, table: &str, state: &State) -> bool {
    let installed = nat::install(nftables, table, state.subnet);
    match installed.and_then(|()| forward::open(nftables, table, state.subnet)) {
        Ok(()) => true,
        Err(error) => {
            tracing::warn!(%error, "pods can't reach beyond this machine: no nftables NAT");
            false
        }
    }
}

fn uninstall_nat(nftables: &mut Nftables, table: &str) -> Result<()> {
    forward::close(nftables, table).map_err(|source| Error::Netlink {
        action: "remove our rules from iptables' FORWARD chain".to_owned(),
        source,
    })?;
    nat::uninstall(nftables, table)
}

/// Remembers the value of a kernel parameter, durably, before changing it.
fn set_sysctl(locked: &Locked<'_>, state: &mut State, path: &Path, value: &str) -> Result<()> {
    let old = fs::read_to_string(path).map_err(|source| Error::Io { action: "read", path: path.to_owned(), source })?;
    if old.trim() == value {
        return Ok(());
    }
    state.sysctls.insert(path.to_owned(), old.trim().to_owned());
    locked.set_state(state)?;
    write_sysctl(path, value)
}

fn write_sysctl(path: &Path, value: &str) -> Result<()> {
    fs::write(path, value).map_err(|source| Error::Io { action: "write", path: path.to_owned(), source })
}

/// The smallest MTU of the interfaces that lead out: what pods send must fit without relying on path MTU discovery.
fn uplink_mtu(links: &[Link], uplinks: &[u32]) -> u32 {
    links.iter().filter(|link| uplinks.contains(&link.index)).filter_map(|link| link.mtu).min().unwrap_or(DEFAULT_MTU)
}

/// A number that differs from that of every earlier life of the network.
fn generation() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.as_secs().wrapping_mul(1_000_000_000).wrapping_add(now.subsec_nanos().into())
}
