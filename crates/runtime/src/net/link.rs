//! Links, addresses and routes by rtnetlink.

use std::{
    io,
    net::{IpAddr, Ipv4Addr},
    os::fd::{AsRawFd, BorrowedFd},
};

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage,
    NetlinkPayload,
};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::{AddressAttribute, AddressMessage},
    link::{
        InfoBridgePort, InfoData, InfoKind, InfoPortData, InfoPortKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo,
        LinkMessage,
    },
    route::{RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType},
};
use netlink_sys::protocols::NETLINK_ROUTE;
use rustix::net::netdevice::name_to_index;

use super::{Error, Result, Subnet, socket::Socket};

/// Index of the loopback interface in every network namespace (kernel, `LOOPBACK_IFINDEX`).
const LOOPBACK: u32 = 1;

/// Name of a pod's interface, as every network plugin has it.
const POD_INTERFACE: &str = "eth0";

/// Group of all our links on the host, so that they can be deleted at once: any number of links costs as much as one then,
/// some milliseconds of waiting for RCU. The number only has to be nobody else's.
const GROUP: u32 = 0x706f_6401;

/// One change, with what to call it when it fails.
#[derive(Debug)]
pub(super) struct Request {
    action: String,
    message: RouteNetlinkMessage,
    flags: u16,
    /// Error number that means that all is well.
    fine: Option<i32>,
}

/// Makes link, address and route changes in the network namespace in which it was opened.
#[derive(Debug)]
pub(super) struct Links {
    socket: Socket,
}

/// What is known of a link.
#[derive(Debug, Clone)]
pub(super) struct Link {
    pub(super) index: u32,
    pub(super) name: String,
    pub(super) mtu: Option<u32>,
    pub(super) bridge: bool,
}

impl Links {
    pub(super) fn open() -> Result<Self> {
        let socket = Socket::open(NETLINK_ROUTE)
            .map_err(|source| Error::Netlink { action: "open a route netlink socket".to_owned(), source })?;
        Ok(Self { socket })
    }

    /// Applies changes in their order, in one system call. The kernel goes on after a refusal, so the changes
    /// must be such that the rest does no harm then.
    pub(super) fn apply(&mut self, requests: Vec<Request>) -> Result<()> {
        let count = u32::try_from(requests.len()).unwrap_or(u32::MAX);
        let first = self.socket.sequence(count);
        let mut bytes = Vec::new();
        let mut labels = Vec::with_capacity(requests.len());
        for (sequence, request) in (first..).zip(requests) {
            encode(&mut bytes, request.message, request.flags | NLM_F_REQUEST | NLM_F_ACK, sequence);
            labels.push((request.action, request.fine));
        }
        let failed = |action: &str, source| Error::Netlink { action: action.to_owned(), source };
        let refusal =
            self.socket.transact(&bytes, first, count, None).map_err(|e| failed("use a netlink socket", e))?;
        let Some(refusal) = refusal else { return Ok(()) };
        let label = usize::try_from(refusal.place).ok().and_then(|place| labels.get(place));
        match label {
            Some((_, fine)) if fine.is_some() && *fine == refusal.source.raw_os_error() => Ok(()),
            Some((action, _)) => Err(failed(action, refusal.source)),
            None => Err(failed("use a netlink socket", refusal.source)),
        }
    }

    /// Finds a link by its name.
    fn index(&self, name: &str) -> Result<u32> {
        name_to_index(&self.socket, name)
            .map_err(|errno| Error::Netlink { action: format!("find link {name}"), source: errno.into() })
    }

    /// Lists all links.
    pub(super) fn links(&mut self) -> Result<Vec<Link>> {
        let mut links = Vec::new();
        self.dump("list links", RouteNetlinkMessage::GetLink(LinkMessage::default()), |message| {
            if let RouteNetlinkMessage::NewLink(message) = message {
                links.push(Link::of(&message));
            }
        })?;
        Ok(links)
    }

    /// Lists the IPv4 subnets that the machine has routes or addresses for, apart from the default route, and
    /// the interfaces of the default routes.
    #[expect(clippy::wildcard_enum_match_arm, reason = "attributes of no interest, a foreign and open list")]
    pub(super) fn used_subnets(&mut self) -> Result<(Vec<Subnet>, Vec<u32>)> {
        let mut used = Vec::new();
        let mut uplinks = Vec::new();
        let mut request = RouteMessage::default();
        request.header.address_family = AddressFamily::Inet;
        self.dump("list routes", RouteNetlinkMessage::GetRoute(request), |message| {
            let RouteNetlinkMessage::NewRoute(route) = message else { return };
            if route.header.kind != RouteType::Unicast {
                return;
            }
            match destination(&route) {
                Some(subnet) if route.header.destination_prefix_length > 0 => used.push(subnet),
                Some(_) | None => uplinks.extend(outgoing(&route)),
            }
        })?;
        let mut request = AddressMessage::default();
        request.header.family = AddressFamily::Inet;
        self.dump("list addresses", RouteNetlinkMessage::GetAddress(request), |message| {
            let RouteNetlinkMessage::NewAddress(address) = message else { return };
            let prefix = address.header.prefix_len;
            used.extend(address.attributes.iter().filter_map(|attribute| match attribute {
                AddressAttribute::Local(IpAddr::V4(ip)) | AddressAttribute::Address(IpAddr::V4(ip)) => {
                    Subnet::new(*ip, prefix)
                }
                _ => None,
            }));
        })?;
        Ok((used, uplinks))
    }

    fn dump(
        &mut self,
        action: &str,
        request: RouteNetlinkMessage,
        mut each: impl FnMut(RouteNetlinkMessage),
    ) -> Result<()> {
        let sequence = self.socket.sequence(1);
        let mut bytes = Vec::new();
        encode(&mut bytes, request, NLM_F_REQUEST | NLM_F_DUMP, sequence);
        let outcome = self.socket.dump(&bytes, sequence, |message| {
            // What this version of the decoder does not understand cannot be ours.
            if let Ok(NetlinkMessage { payload: NetlinkPayload::InnerMessage(message), .. }) =
                NetlinkMessage::<RouteNetlinkMessage>::deserialize(message)
            {
                each(message);
            }
        });
        outcome.map_err(|source| Error::Netlink { action: action.to_owned(), source })
    }
}

impl Link {
    #[expect(clippy::wildcard_enum_match_arm, reason = "attributes of no interest, a foreign and open list")]
    fn of(message: &LinkMessage) -> Self {
        let mut link = Self { index: message.header.index, name: String::new(), mtu: None, bridge: false };
        for attribute in &message.attributes {
            match attribute {
                LinkAttribute::IfName(name) => link.name.clone_from(name),
                LinkAttribute::Mtu(mtu) => link.mtu = Some(*mtu),
                LinkAttribute::LinkInfo(info) => link.bridge = info.contains(&LinkInfo::Kind(InfoKind::Bridge)),
                _ => {}
            }
        }
        link
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "attributes of no interest, a foreign and open list")]
fn destination(route: &RouteMessage) -> Option<Subnet> {
    route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Destination(RouteAddress::Inet(address)) => {
            Subnet::new(*address, route.header.destination_prefix_length)
        }
        _ => None,
    })
}

#[expect(clippy::wildcard_enum_match_arm, reason = "attributes of no interest, a foreign and open list")]
fn outgoing(route: &RouteMessage) -> Option<u32> {
    route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Oif(index) => Some(*index),
        _ => None,
    })
}

fn encode(bytes: &mut Vec<u8>, message: RouteNetlinkMessage, flags: u16, sequence: u32) {
    let mut header = NetlinkHeader::default();
    header.flags = flags;
    header.sequence_number = sequence;
    let mut message = NetlinkMessage::new(header, NetlinkPayload::from(message));
    message.finalize();
    let start = bytes.len();
    bytes.resize(start + message.buffer_len().next_multiple_of(4), 0);
    message.serialize(&mut bytes[start..]);
}

/// Makes a bridge; one of that name may exist.
pub(super) fn create_bridge(name: &str, mtu: u32) -> Request {
    let mut link = LinkMessage::default();
    link.attributes = vec![
        LinkAttribute::IfName(name.to_owned()),
        LinkAttribute::Mtu(mtu),
        LinkAttribute::Group(GROUP),
        LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Bridge)]),
    ];
    Request {
        action: format!("create bridge {name}"),
        message: RouteNetlinkMessage::NewLink(link),
        flags: NLM_F_CREATE | NLM_F_EXCL,
        fine: Some(libc::EEXIST),
    }
}

/// Removes a link by its name; it may be gone.
pub(super) fn delete_link(name: &str) -> Request {
    delete(format!("delete link {name}"), LinkAttribute::IfName(name.to_owned()))
}

/// Removes all our links; there may be none.
pub(super) fn delete_all() -> Request {
    delete("delete the links of the pod network".to_owned(), LinkAttribute::Group(GROUP))
}

fn delete(action: String, which: LinkAttribute) -> Request {
    let mut message = LinkMessage::default();
    message.attributes = vec![which];
    Request { action, message: RouteNetlinkMessage::DelLink(message), flags: 0, fine: Some(libc::ENODEV) }
}

/// Brings a link up.
pub(super) fn set_up(index: u32) -> Request {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.header.flags = LinkFlags::Up;
    message.header.change_mask = LinkFlags::Up;
    Request {
        action: format!("bring link {index} up"),
        message: RouteNetlinkMessage::NewLink(message),
        flags: 0,
        fine: None,
    }
}

/// Gives a link an address.
pub(super) fn add_address(index: u32, address: Ipv4Addr, subnet: Subnet) -> Request {
    let mut message = AddressMessage::default();
    message.header.family = AddressFamily::Inet;
    message.header.prefix_len = subnet.prefix();
    message.header.index = index;
    let last = u32::from(subnet.address()) | !u32::from(subnet.mask());
    message.attributes = vec![
        AddressAttribute::Local(IpAddr::V4(address)),
        AddressAttribute::Address(IpAddr::V4(address)),
        AddressAttribute::Broadcast(last.into()),
    ];
    Request {
        action: format!("add address {address}/{}", subnet.prefix()),
        message: RouteNetlinkMessage::NewAddress(message),
        flags: NLM_F_CREATE | NLM_F_REPLACE,
        fine: None,
    }
}

fn add_default_route(index: u32, gateway: Ipv4Addr) -> Request {
    let mut message = RouteMessage::default();
    message.header.address_family = AddressFamily::Inet;
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message.header.protocol = RouteProtocol::Boot;
    message.header.scope = RouteScope::Universe;
    message.header.kind = RouteType::Unicast;
    message.attributes = vec![RouteAttribute::Gateway(RouteAddress::Inet(gateway)), RouteAttribute::Oif(index)];
    Request {
        action: format!("add default route via {gateway}"),
        message: RouteNetlinkMessage::NewRoute(message),
        flags: NLM_F_CREATE | NLM_F_REPLACE,
        fine: None,
    }
}

/// Makes the veth pair of a pod: one end on the bridge and up, the other born in the pod's namespace. That one
/// cannot be born up: the kernel does not know its counterpart yet (`ENOTCONN`).
pub(super) fn create_veth(name: &str, bridge: u32, mtu: u32, mac: [u8; 6], netns: BorrowedFd<'_>) -> Vec<Request> {
    let mut peer = LinkMessage::default();
    peer.attributes = vec![
        LinkAttribute::IfName(POD_INTERFACE.to_owned()),
        LinkAttribute::Address(mac.to_vec()),
        LinkAttribute::Mtu(mtu),
        LinkAttribute::NetNsFd(netns.as_raw_fd()),
    ];
    let mut link = LinkMessage::default();
    link.header.flags = LinkFlags::Up;
    link.header.change_mask = LinkFlags::Up;
    link.attributes = vec![
        LinkAttribute::IfName(name.to_owned()),
        LinkAttribute::Mtu(mtu),
        LinkAttribute::Controller(bridge),
        LinkAttribute::Group(GROUP),
        LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Veth),
            LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))),
        ]),
    ];
    let mut port = LinkMessage::default();
    port.attributes = vec![
        LinkAttribute::IfName(name.to_owned()),
        LinkAttribute::LinkInfo(vec![
            LinkInfo::PortKind(InfoPortKind::Bridge),
            LinkInfo::PortData(InfoPortData::BridgePort(vec![InfoBridgePort::HairpinMode(true)])),
        ]),
    ];
    vec![
        Request {
            action: format!("create veth {name}"),
            message: RouteNetlinkMessage::NewLink(link),
            flags: NLM_F_CREATE | NLM_F_EXCL,
            fine: None,
        },
        Request {
            action: format!("set hairpin mode of {name}"),
            message: RouteNetlinkMessage::NewLink(port),
            flags: 0,
            fine: None,
        },
    ]
}

/// Configures the pod's side in the calling thread's network namespace: loopback up, address, default route.
pub(super) fn configure_pod(address: Ipv4Addr, subnet: Subnet, gateway: Ipv4Addr) -> Result<()> {
    let mut links = Links::open()?;
    // Not always 2: a namespace may be born with tunnel devices (sysctl net.core.fb_tunnels_only_for_init_net).
    let index = links.index(POD_INTERFACE)?;
    links.apply(vec![
        set_up(LOOPBACK),
        add_address(index, address, subnet),
        set_up(index),
        add_default_route(index, gateway),
    ])
}

/// Whether a failure says that the bridge is gone.
pub(super) fn bridge_is_gone(error: &Error) -> bool {
    // EINVAL is what the kernel says for a missing controller index.
    matches!(error.errno(), Some(libc::ENODEV | libc::EINVAL | libc::ENXIO))
}

/// Whether a bridge of that name exists, as which link. A link of another kind is an error.
pub(super) fn find_bridge(links: &[Link], name: &str) -> Result<Option<Link>> {
    match links.iter().find(|link| link.name == name) {
        Some(link) if link.bridge => Ok(Some(link.clone())),
        Some(_) => Err(Error::Netlink {
            action: format!("use {name} as bridge: a link of that name and another kind is there"),
            source: io::ErrorKind::AlreadyExists.into(),
        }),
        None => Ok(None),
    }
}
