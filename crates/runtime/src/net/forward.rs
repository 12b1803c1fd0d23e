//! Getting past a firewall that drops forwarded packets.
//!
//! Docker sets the policy of iptables' FORWARD chain to drop, on every machine where it runs; some distributions do so
//! too. An accept in a table of our own does not help: every base chain has to let the packet pass. So two rules
//! go to the head of that chain, in the form that iptables itself would give them, and are taken away with the
//! network. Firewalls of another making are left alone, with a warning.

use std::io;

use super::{
    Subnet,
    nat::{OFFSET, in_subnet},
    nft::{BaseChain, Nftables, Rule, Transaction},
};

/// `NF_INET_FORWARD`.
const FORWARD: u32 = 2;

/// Where `iptables-nft` has its FORWARD chain.
const IPTABLES: (&str, &str) = ("filter", "FORWARD");

/// Lets packets from and to pods pass. `comment` marks the rules as ours.
pub(super) fn open(nftables: &mut Nftables, comment: &str, pods: Subnet) -> io::Result<()> {
    let dropping = |chain: &BaseChain| chain.hook == FORWARD && chain.drops;
    let (iptables, others): (Vec<_>, Vec<_>) = nftables
        .base_chains()?
        .into_iter()
        .filter(dropping)
        .partition(|chain| (chain.table.as_str(), chain.name.as_str()) == IPTABLES);
    for BaseChain { table, name, .. } in others {
        tracing::warn!(table, chain = name, %pods, "a firewall drops forwarded packets; accept the pod network there");
    }
    if iptables.is_empty() {
        return Ok(());
    }
    close(nftables, comment)?;
    let mut nft = Transaction::new(IPTABLES.0);
    for offset in [OFFSET.0, OFFSET.1] {
        nft.insert_rule(IPTABLES.1, in_subnet(Rule::default(), offset, pods).counter().accept(), comment);
    }
    nft.commit(nftables)
}

/// Takes the rules away; without any it does nothing.
pub(super) fn close(nftables: &mut Nftables, comment: &str) -> io::Result<()> {
    let handles = match nftables.rules_with_comment(IPTABLES.0, IPTABLES.1, comment) {
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(()),
        other => other?,
    };
    if handles.is_empty() {
        return Ok(());
    }
    let mut nft = Transaction::new(IPTABLES.0);
    for handle in handles {
        nft.delete_rule(IPTABLES.1, handle);
    }
    nft.commit(nftables)
}
