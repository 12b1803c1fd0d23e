//! The pod network: one address a pod, on a bridge of the host, without helper programs.
//!
//! Every pod gets `eth0` with an IPv4 address, reached directly from the host (probes), from other pods, and
//! reaching the host. NAT leads out of the machine and, for host ports, into pods ([`map_ports`]).
//!
//! The pod network is one subnet, sliced into /22 parts of 1,021 pods, each with a bridge (`podrig0`,
//! `podrig1`, …) that is made when the part before is full: a Linux bridge takes 1,023 ports. The host routes
//! between the parts.
//!
//! Several Podrig processes share the network through the files of one run directory a machine (`lease`). The network is
//! built with the first lease and gone after the last, kernel parameters restored. After `kill -9` at any
//! point the next [`Network::open`] or [`Network::sweep`] repairs.
//!
//! A pod's veth pair is not deleted at release (26 ms each, waiting for RCU): it goes with the pod's namespace. What is left
//! with the last release goes all at once with the bridges. The pod's
//! end is configured by a short-lived thread that enters the namespace: one spawn, one `setns` and one batch of
//! four messages, 0.2 ms, and the shim needs no netlink code. A shim that wants to do it itself calls
//! [`configure_inside`].
//!
//! All calls block for some milliseconds at most, mostly in the kernel's lock for network configuration. They must come from threads of the
//! network namespace in which the [`Network`] was opened.
//!
//! [`map_ports`]: Network::map_ports

mod error;
mod forward;
mod infra;
mod lease;
mod link;
mod nat;
mod nft;
mod socket;
mod subnet;

use std::{
    collections::HashMap,
    fs::File,
    net::{IpAddr, Ipv4Addr},
    os::fd::{AsFd, BorrowedFd},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
};

use cri::PortMapping;
pub use error::{Error, Result};
use infra::Kernel;
use lease::{Lease, Locked, RunDir, State};
use link::Links;
use nft::Nftables;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
pub use subnet::Subnet;

/// Longest prefix of bridge names: interface names have 15 bytes at most, and the number needs some.
const BRIDGE_NAME: usize = 10;

/// How a [`Network`] is to be.
#[derive(Debug, Clone)]
pub struct NetworkOptions {
    /// The instance of Podrig that leases belong to. One [`Network`] at a time has it.
    pub instance: String,
    /// What bridge names begin with; also the name of the nftables table. The same for all users of a run directory.
    pub bridge: String,
    /// The pod network; `None`: the one in use, or one that collides with no route and no address.
    pub subnet: Option<Subnet>,
    /// MTU of pods; `None`: that of the default route's interface.
    pub mtu: Option<u32>,
}

impl NetworkOptions {
    /// Returns the defaults for an instance.
    pub fn new(instance: impl Into<String>) -> Self {
        Self { instance: instance.into(), bridge: "podrig".to_owned(), subnet: None, mtu: None }
    }
}

/// The pod network of this machine.
#[derive(Debug)]
pub struct Network {
    run_dir: RunDir,
    options: NetworkOptions,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    kernel: Kernel,
    /// Life of the network that the rest is about.
    generation: u64,
    /// Indices of complete bridges, by number.
    bridges: HashMap<u32, u32>,
    /// This instance's leases, by sandbox: so that a release need not read all leases of the machine.
    own: HashMap<String, Ipv4Addr>,
}

/// A lease, ready to be connected.
#[derive(Debug, Clone, Copy)]
struct Place {
    address: Ipv4Addr,
    part: Subnet,
    bridge: u32,
    mtu: u32,
}

impl Network {
    /// Opens the network that the processes of this machine share through `run_dir` (on a file system that a
    /// reboot empties), and takes it down if an earlier life left it up without a lease.
    ///
    /// # Errors
    /// [`Error::InvalidOption`], [`Error::Io`], [`Error::Netlink`].
    pub fn open(run_dir: &Path, options: NetworkOptions) -> Result<Self> {
        check(&options)?;
        let kernel = Kernel { links: Links::open()?, nftables: Nftables::default() };
        let inner = Inner { kernel, generation: 0, bridges: HashMap::new(), own: HashMap::new() };
        let network = Self { run_dir: RunDir::open(run_dir)?, options, inner: Mutex::new(inner) };
        let locked = network.run_dir.lock()?;
        let leases = locked.leases()?.into_iter().filter(|(_, lease)| lease.instance == network.options.instance);
        network.inner().own = leases.map(|(address, lease)| (lease.sandbox, address)).collect();
        network.tear_down_if_unused(&locked)?;
        drop(locked);
        Ok(network)
    }

    /// Gives the network namespace of process `pid` an interface with an address of its own.
    ///
    /// A lease that the sandbox had before is released.
    ///
    /// # Errors
    /// [`Error::HostNamespace`], [`Error::Exhausted`], [`Error::OtherSubnet`], [`Error::Netlink`], [`Error::Io`].
    /// Nothing is left behind then.
    pub fn attach(&self, sandbox: &str, pid: u32) -> Result<Vec<IpAddr>> {
        let path = PathBuf::from(format!("/proc/{pid}/ns/net"));
        let open = |path: &Path| {
            File::open(path).map_err(|source| Error::Io { action: "open", path: path.to_owned(), source })
        };
        let netns = open(&path)?;
        if same_file(&netns, &open(Path::new("/proc/thread-self/ns/net"))?) {
            return Err(Error::HostNamespace { pid });
        }
        self.attach_namespace(sandbox, netns.as_fd())
    }

    /// As [`Self::attach`], for a network namespace at hand.
    ///
    /// # Errors
    /// As [`Self::attach`].
    pub fn attach_namespace(&self, sandbox: &str, netns: BorrowedFd<'_>) -> Result<Vec<IpAddr>> {
        self.release(sandbox)?;
        let place = self.lease(sandbox)?;
        match self.connect(place, netns) {
            Ok(()) => Ok(vec![IpAddr::V4(place.address)]),
            Err(error) => {
                if let Err(error) = self.release(sandbox) {
                    tracing::warn!(sandbox, %error, "lease not released");
                }
                Err(error)
            }
        }
    }

    /// Leads ports of the host to a sandbox's address, in addition to those mapped before.
    ///
    /// # Errors
    /// [`Error::PortInUse`] when another sandbox has one of them (none is mapped then), [`Error::NotLeased`],
    /// [`Error::NoNat`], [`Error::InvalidPort`], [`Error::Netlink`], [`Error::Io`].
    pub fn map_ports(&self, sandbox: &str, address: IpAddr, ports: &[PortMapping]) -> Result<()> {
        if ports.iter().all(|mapping| mapping.host_port == 0) {
            return Ok(());
        }
        let IpAddr::V4(address) = address else {
            return Err(Error::InvalidPort { reason: format!("{address} is not an IPv4 address") });
        };
        let locked = self.run_dir.lock()?;
        let Some(state) = locked.state()?.filter(|state| state.nat == Some(true)) else { return Err(Error::NoNat) };
        let leases = locked.leases()?;
        let Some((_, lease)) = leases.iter().find(|(leased, lease)| *leased == address && self.owns(lease, sandbox))
        else {
            return Err(Error::NotLeased { sandbox: sandbox.to_owned(), address });
        };
        for (_, other) in leases.iter().filter(|(leased, _)| *leased != address) {
            nat::check_free(&other.ports, ports)?;
        }
        // On disk first, so that a release after a crash knows of them.
        let mut lease = lease.clone();
        lease.ports.extend_from_slice(ports);
        locked.set_lease(address, &lease)?;
        let kernel = &mut self.inner().kernel;
        infra::repair_nat(&locked, kernel, &state, &self.options)?;
        nat::map(&mut kernel.nftables, &self.options.bridge, address, &lease.ports)
    }

    /// Gives back what a sandbox has: ports and address. The interface goes with the namespace, which should be gone by now or
    /// soon. Not having anything is no error.
    ///
    /// # Errors
    /// [`Error::Netlink`], [`Error::Io`].
    pub fn release(&self, sandbox: &str) -> Result<()> {
        let locked = self.run_dir.lock()?;
        let Some(address) = self.inner().own.get(sandbox).copied() else { return Ok(()) };
        if let Some(lease) = locked.lease(address)?.filter(|lease| self.owns(lease, sandbox)) {
            self.give_back(&locked, address, &lease)?;
        }
        self.inner().own.remove(sandbox);
        self.tear_down_if_unused(&locked)
    }

    /// Gives back everything that a dead instance has left.
    ///
    /// # Errors
    /// [`Error::Netlink`], [`Error::Io`].
    pub fn sweep(&self, instance: &str) -> Result<()> {
        let locked = self.run_dir.lock()?;
        for (address, lease) in locked.leases()?.iter().filter(|(_, lease)| lease.instance == instance) {
            self.give_back(&locked, *address, lease)?;
        }
        if instance == self.options.instance {
            self.inner().own.clear();
        }
        self.tear_down_if_unused(&locked)
    }

    /// Lists the sandboxes of this instance that have an address.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn sandboxes(&self) -> Result<Vec<(String, IpAddr)>> {
        let leases = self.run_dir.lock()?.leases()?;
        let own = leases.into_iter().filter(|(_, lease)| lease.instance == self.options.instance);
        Ok(own.map(|(address, lease)| (lease.sandbox, IpAddr::V4(address))).collect())
    }

    /// Lists the instances that have leases.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn instances(&self) -> Result<Vec<String>> {
        let mut instances: Vec<_> =
            self.run_dir.lock()?.leases()?.into_iter().map(|(_, lease)| lease.instance).collect();
        instances.sort_unstable();
        instances.dedup();
        Ok(instances)
    }

    /// Leases an address and sees to what it needs on the host.
    fn lease(&self, sandbox: &str) -> Result<Place> {
        let locked = self.run_dir.lock()?;
        let mut inner = self.inner();
        let mut state = infra::load_or_plan(&locked, &mut inner.kernel.links, &self.options)?;
        let lease = Lease { instance: self.options.instance.clone(), sandbox: sandbox.to_owned(), ports: Vec::new() };
        let address = locked.take(state.subnet, &lease)?;
        let place = self.place(&locked, &mut inner, &mut state, address);
        drop(inner);
        match &place {
            Ok(_) => {
                self.inner().own.insert(sandbox.to_owned(), address);
            }
            Err(_) => {
                locked.remove_lease(address)?;
                self.tear_down_if_unused(&locked)?;
            }
        }
        place
    }

    /// Builds missing infrastructure again.
    fn rebuild(&self, address: Ipv4Addr) -> Result<Place> {
        let locked = self.run_dir.lock()?;
        let mut inner = self.inner();
        inner.bridges.clear();
        let mut state = infra::load_or_plan(&locked, &mut inner.kernel.links, &self.options)?;
        self.place(&locked, &mut inner, &mut state, address)
    }

    fn place(&self, locked: &Locked<'_>, inner: &mut Inner, state: &mut State, address: Ipv4Addr) -> Result<Place> {
        if inner.generation != state.generation {
            inner.generation = state.generation;
            inner.bridges.clear();
        }
        let index = state.subnet.part_of(address);
        let bridge = match inner.bridges.get(&index) {
            Some(bridge) => {
                infra::repair_nat(locked, &mut inner.kernel, state, &self.options)?;
                *bridge
            }
            None => {
                let bridge = infra::ensure(locked, &mut inner.kernel, state, &self.options, index)?.index;
                inner.bridges.insert(index, bridge);
                bridge
            }
        };
        Ok(Place { address, part: state.subnet.part(index), bridge, mtu: state.mtu })
    }

    /// Makes the veth pair and configures the pod's end.
    fn connect(&self, place: Place, netns: BorrowedFd<'_>) -> Result<()> {
        let mut outcome = self.create_veth(place, netns);
        if outcome.as_ref().is_err_and(link::bridge_is_gone) {
            // Somebody deleted the bridge behind our back.
            outcome = self.rebuild(place.address).and_then(|place| self.create_veth(place, netns));
        }
        outcome?;
        in_namespace(netns, || link::configure_pod(place.address, place.part, place.part.gateway()))
    }

    fn create_veth(&self, place: Place, netns: BorrowedFd<'_>) -> Result<()> {
        let name = veth_name(place.address);
        let requests = || link::create_veth(&name, place.bridge, place.mtu, mac(place.address), netns);
        let links = &mut self.inner().kernel.links;
        match links.apply(requests()) {
            Err(error) if error.errno() == Some(libc::EEXIST) => {
                // The last owner's namespace still lives; and so it would get some of the new one's packets.
                links.apply(vec![link::delete_link(&name)])?;
                links.apply(requests())
            }
            other => other,
        }
    }

    fn give_back(&self, locked: &Locked<'_>, address: Ipv4Addr, lease: &Lease) -> Result<()> {
        nat::unmap(&mut self.inner().kernel.nftables, &self.options.bridge, &lease.ports)?;
        locked.remove_lease(address)
    }

    fn tear_down_if_unused(&self, locked: &Locked<'_>) -> Result<()> {
        if !locked.is_unused()? {
            return Ok(());
        }
        infra::tear_down(locked, &mut self.inner().kernel, &self.options)
    }

    fn owns(&self, lease: &Lease, sandbox: &str) -> bool {
        lease.instance == self.options.instance && lease.sandbox == sandbox
    }

    /// The lock is only held for kernel calls; what a panicking thread leaves is as good as before.
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Configures the pod's end of the network in the calling thread's network namespace: loopback up, address on
/// `eth0`, default route. [`Network::attach`] has done so already.
///
/// # Errors
/// [`Error::InvalidOption`], [`Error::Netlink`].
pub fn configure_inside(address: Ipv4Addr, prefix: u8, gateway: Ipv4Addr) -> Result<()> {
    let subnet = Subnet::new(address, prefix)
        .ok_or_else(|| Error::InvalidOption { reason: format!("prefix length {prefix} is beyond 32") })?;
    link::configure_pod(address, subnet, gateway)
}

fn check(options: &NetworkOptions) -> Result<()> {
    let name = &options.bridge;
    let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
    if name.is_empty() || name.len() > BRIDGE_NAME || !plain {
        let reason = format!("bridge name {name:?}: 1 to {BRIDGE_NAME} letters, digits, - and _ are allowed");
        return Err(Error::InvalidOption { reason });
    }
    match options.subnet {
        Some(subnet) if !(8..=29).contains(&subnet.prefix()) => {
            Err(Error::InvalidOption { reason: format!("pod network {subnet}: prefix lengths are 8 to 29") })
        }
        Some(_) | None => Ok(()),
    }
}

/// Runs `work` in another network namespace, on a thread that ends with it.
fn in_namespace(netns: BorrowedFd<'_>, work: impl FnOnce() -> Result<()> + Send) -> Result<()> {
    let enter = || {
        move_into_link_name_space(netns, Some(LinkNameSpaceType::Network))
            .map_err(|errno| Error::Netlink { action: "enter a network namespace".to_owned(), source: errno.into() })?;
        work()
    };
    thread::scope(|scope| {
        let thread = thread::Builder::new()
            .name("pod-net".to_owned())
            .spawn_scoped(scope, enter)
            .map_err(|source| Error::Netlink { action: "start a thread".to_owned(), source })?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn same_file(one: &File, other: &File) -> bool {
    match (rustix::fs::fstat(one), rustix::fs::fstat(other)) {
        (Ok(one), Ok(other)) => (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino),
        _ => false,
    }
}

/// Returns the name of the host's end: the one of an address's last owner is recognised by it.
fn veth_name(address: Ipv4Addr) -> String {
    format!("pod{:08x}", u32::from(address))
}

/// Returns the pod's hardware address, made from its IP address: what neighbours remember of the address's
/// last owner is then right for the next.
fn mac(address: Ipv4Addr) -> [u8; 6] {
    let [a, b, c, d] = address.octets();
    // Locally administered; the prefix that container networks commonly use.
    [0x0a, 0x58, a, b, c, d]
}
