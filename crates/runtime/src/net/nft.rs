//! A small encoder of nftables transactions (nfnetlink), for what [`super::nat`] needs.
//!
//! Message and attribute numbers are those of `linux/netfilter/nf_tables.h`; they are part of the kernel's
//! stable interface. Numbers inside nftables attributes are big-endian, register contents are as the packet or
//! the kernel has them.

use std::io;

use netlink_sys::protocols::NETLINK_NETFILTER;

use super::socket::{HEADER, Socket};

const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_ACK: u16 = 0x4;
const NLM_F_CREATE: u16 = 0x400;
const NLM_F_EXCL: u16 = 0x200;
const NLM_F_APPEND: u16 = 0x800;
const NLM_F_DUMP: u16 = 0x300;

/// `NFNL_SUBSYS_NFTABLES`.
const SUBSYSTEM: u16 = 10;
/// `NFNL_MSG_BATCH_BEGIN` and `NFNL_MSG_BATCH_END`.
const BATCH: (u16, u16) = (0x10, 0x11);
/// `NFPROTO_IPV4`.
const IPV4: u8 = 2;
/// `NLA_F_NESTED`.
const NESTED: u16 = 0x8000;

/// First of the 4-byte registers (`NFT_REG32_00`); the following have the following numbers.
pub(super) const REG: u32 = 8;

/// `NF_DROP` and `NF_ACCEPT`.
const DROP: u32 = 0;
const ACCEPT: u32 = 1;

/// Length of `struct nfgenmsg`, which comes before the attributes.
const FAMILY_HEADER: usize = 4;

/// Where a base chain is called.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hook {
    /// `nat` or `filter`.
    pub(super) kind: &'static str,
    /// `NF_INET_…`.
    pub(super) number: u32,
    /// Order among the chains of the same hook.
    pub(super) priority: i32,
}

/// A connection to nftables, of the network namespace in which it was first used.
///
/// It stays open: closing one right after a transaction waits for a grace period of the kernel (20 ms).
#[derive(Debug, Default)]
pub(super) struct Nftables {
    socket: Option<Socket>,
}

/// A base chain as it is.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BaseChain {
    pub(super) table: String,
    pub(super) name: String,
    /// `NF_INET_…`.
    pub(super) hook: u32,
    /// Whether it drops what its rules do not decide.
    pub(super) drops: bool,
}

impl Nftables {
    fn socket(&mut self) -> io::Result<&mut Socket> {
        match &mut self.socket {
            Some(socket) => Ok(socket),
            closed => Ok(closed.insert(Socket::open(NETLINK_NETFILTER)?)),
        }
    }

    /// Returns whether there is an IPv4 table of that name.
    pub(super) fn has_table(&mut self, table: &str) -> io::Result<bool> {
        let mut attrs = Attrs::default();
        attrs.string(1, table);
        let socket = self.socket()?;
        let sequence = socket.sequence(1);
        let request = request(1, NLM_F_ACK, sequence, &attrs);
        match socket.transact(&request, sequence, 1, None)? {
            None => Ok(true),
            Some(refusal) if refusal.source.raw_os_error() == Some(libc::ENOENT) => Ok(false),
            Some(refusal) => Err(refusal.source),
        }
    }

    /// Lists the base chains of all IPv4 tables.
    pub(super) fn base_chains(&mut self) -> io::Result<Vec<BaseChain>> {
        let mut chains = Vec::new();
        self.dump(4, &Attrs::default(), |attrs| {
            let name =
                |kind| find(attrs, kind).and_then(|v| std::str::from_utf8(v).ok()).map(|v| v.trim_end_matches('\0'));
            let hook = find(attrs, 4).and_then(|hook| be32(find(hook, 1)?));
            if let (Some(table), Some(chain), Some(hook)) = (name(1), name(3), hook) {
                let drops = find(attrs, 5).and_then(be32) == Some(DROP);
                chains.push(BaseChain { table: table.to_owned(), name: chain.to_owned(), hook, drops });
            }
        })?;
        Ok(chains)
    }

    /// Finds the rules of a chain that carry a comment, by their handles.
    pub(super) fn rules_with_comment(&mut self, table: &str, chain: &str, comment: &str) -> io::Result<Vec<u64>> {
        let mut filter = Attrs::default();
        filter.string(1, table);
        filter.string(2, chain);
        let mut handles = Vec::new();
        let wanted = comment_data(comment);
        self.dump(7, &filter, |attrs| {
            let handle = find(attrs, 3).and_then(|value| value.try_into().ok()).map(u64::from_be_bytes);
            if find(attrs, 7) == Some(&wanted) {
                handles.extend(handle);
            }
        })?;
        Ok(handles)
    }

    fn dump(&mut self, kind: u16, filter: &Attrs, mut each: impl FnMut(&[u8])) -> io::Result<()> {
        let socket = self.socket()?;
        let sequence = socket.sequence(1);
        let request = request(kind, NLM_F_DUMP, sequence, filter);
        socket.dump(&request, sequence, |message| {
            if let Some(attrs) = message.get(HEADER + FAMILY_HEADER..) {
                each(attrs);
            }
        })
    }
}

/// Builds a message that is not part of a transaction.
fn request(kind: u16, flags: u16, sequence: u32, attrs: &Attrs) -> Vec<u8> {
    let mut bytes = Vec::new();
    let body = [&[IPV4, 0, 0, 0], attrs.0.as_slice()].concat();
    push_message(&mut bytes, (SUBSYSTEM << 8) | kind, NLM_F_REQUEST | flags, sequence, &body);
    bytes
}

fn push_message(bytes: &mut Vec<u8>, kind: u16, flags: u16, sequence: u32, body: &[u8]) {
    let length = u32::try_from(HEADER + body.len()).unwrap_or(u32::MAX);
    bytes.extend(length.to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend(sequence.to_ne_bytes());
    bytes.extend(0u32.to_ne_bytes());
    bytes.extend(body);
}

/// Finds an attribute by its kind.
fn find(mut attrs: &[u8], wanted: u16) -> Option<&[u8]> {
    while let [l0, l1, k0, k1, ..] = attrs {
        let length = usize::from(u16::from_ne_bytes([*l0, *l1]));
        let value = attrs.get(4..length)?;
        // The two upper bits are flags.
        if u16::from_ne_bytes([*k0, *k1]) & 0x3fff == wanted {
            return Some(value);
        }
        attrs = attrs.get(length.next_multiple_of(4)..)?;
    }
    None
}

fn be32(value: &[u8]) -> Option<u32> {
    value.try_into().ok().map(u32::from_be_bytes)
}

/// Encodes a comment as the nft program does: type 0, length, text with NUL.
fn comment_data(comment: &str) -> Vec<u8> {
    let length = u8::try_from(comment.len() + 1).unwrap_or(u8::MAX);
    [&[0, length], comment.as_bytes(), &[0]].concat()
}

/// A list of changes that take effect all at once or not at all.
#[derive(Debug)]
pub(super) struct Transaction {
    table: String,
    /// Kind, flags, and what follows the header.
    messages: Vec<(u16, u16, Vec<u8>)>,
}

impl Transaction {
    /// Begins a transaction on one IPv4 table.
    pub(super) fn new(table: &str) -> Self {
        let mut transaction = Self { table: table.to_owned(), messages: Vec::new() };
        transaction.batch_mark(BATCH.0);
        transaction
    }

    /// Makes the table; it may exist.
    pub(super) fn add_table(&mut self) {
        let mut attrs = Attrs::default();
        attrs.string(1, &self.table);
        self.message(0, NLM_F_CREATE, attrs);
    }

    /// Removes the table with all in it.
    pub(super) fn delete_table(&mut self) {
        let mut attrs = Attrs::default();
        attrs.string(1, &self.table);
        self.message(2, 0, attrs);
    }

    /// Makes a base chain that accepts what it does not decide.
    pub(super) fn add_chain(&mut self, name: &str, hook: Hook) {
        let mut attrs = Attrs::default();
        attrs.string(1, &self.table);
        attrs.string(3, name);
        attrs.nested(4, |attrs| {
            attrs.be32(1, hook.number);
            attrs.be32(2, u32::from_ne_bytes(hook.priority.to_ne_bytes()));
        });
        attrs.string(7, hook.kind);
        self.message(3, NLM_F_CREATE, attrs);
    }

    /// Appends a rule to a chain.
    pub(super) fn add_rule(&mut self, chain: &str, rule: Rule) {
        let mut attrs = Attrs::default();
        attrs.string(1, &self.table);
        attrs.string(2, chain);
        attrs.raw(4 | NESTED, &rule.0.0);
        self.message(6, NLM_F_CREATE | NLM_F_APPEND, attrs);
    }

    /// Inserts a rule with a comment before all others of a chain.
    pub(super) fn insert_rule(&mut self, chain: &str, rule: Rule, comment: &str) {
        let mut attrs = Attrs::default();
        attrs.string(1, &self.table);
        attrs.string(2, chain);
        attrs.raw(4 | NESTED, &rule.0.0);
        attrs.raw(7, &comment_data(comment));
        self.message(6, NLM_F_CREATE, attrs);
    }

    /// Removes a rule by its handle.
    pub(super) fn delete_rule(&mut self, chain: &str, handle: u64) {
        let mut attrs = Attrs::default();
        attrs.string(1, &self.table);
        attrs.string(2, chain);
        attrs.raw(3, &handle.to_be_bytes());
        self.message(8, 0, attrs);
    }

    /// Makes a map. Types (for those who list it) are those of the nft program; lengths are in bytes.
    pub(super) fn add_map(&mut self, name: &str, key: (u32, u32), data: (u32, u32)) {
        /// `NFT_SET_MAP`.
        const MAP: u32 = 8;
        let mut attrs = Attrs::default();
        attrs.string(1, &self.table);
        attrs.string(2, name);
        attrs.be32(3, MAP);
        attrs.be32(4, key.0);
        attrs.be32(5, key.1);
        attrs.be32(6, data.0);
        attrs.be32(7, data.1);
        // An id, needed only to refer to the set in the same transaction; but it has to differ.
        attrs.be32(10, u32::try_from(self.messages.len()).unwrap_or(u32::MAX));
        self.message(9, NLM_F_CREATE, attrs);
    }

    /// Adds an element to a map; it must not exist with other data.
    pub(super) fn add_element(&mut self, map: &str, key: &[u8], data: &[u8]) {
        let attrs = self.element(map, key, Some(data));
        self.message(12, NLM_F_CREATE | NLM_F_EXCL, attrs);
    }

    /// Removes an element from a map.
    pub(super) fn delete_element(&mut self, map: &str, key: &[u8]) {
        let attrs = self.element(map, key, None);
        self.message(14, 0, attrs);
    }

    fn element(&self, map: &str, key: &[u8], data: Option<&[u8]>) -> Attrs {
        let mut attrs = Attrs::default();
        attrs.string(1, &self.table);
        attrs.string(2, map);
        attrs.nested(3, |attrs| {
            attrs.nested(1, |attrs| {
                attrs.nested(1, |attrs| attrs.raw(1, key));
                if let Some(data) = data {
                    attrs.nested(2, |attrs| attrs.raw(1, data));
                }
            });
        });
        attrs
    }

    /// Sends the transaction and waits for the kernel's verdict.
    pub(super) fn commit(mut self, nft: &mut Nftables) -> io::Result<()> {
        self.batch_mark(BATCH.1);
        let count = u32::try_from(self.messages.len()).unwrap_or(u32::MAX);
        let socket = nft.socket()?;
        let first = socket.sequence(count);
        let mut bytes = Vec::new();
        for (sequence, (kind, flags, body)) in (first..).zip(&self.messages) {
            push_message(&mut bytes, *kind, *flags, sequence, body);
        }
        // The marks are not acknowledged, but a refusal of the first is one of all.
        match socket.transact(&bytes, first.wrapping_add(1), count.saturating_sub(2), Some(first))? {
            Some(refusal) => Err(refusal.source),
            None => Ok(()),
        }
    }

    fn batch_mark(&mut self, kind: u16) {
        let mut body = vec![0, 0];
        body.extend(SUBSYSTEM.to_be_bytes());
        self.messages.push((kind, NLM_F_REQUEST, body));
    }

    fn message(&mut self, kind: u16, flags: u16, attrs: Attrs) {
        let body = [&[IPV4, 0, 0, 0], attrs.0.as_slice()].concat();
        self.messages.push(((SUBSYSTEM << 8) | kind, NLM_F_REQUEST | NLM_F_ACK | flags, body));
    }
}

/// The expressions of a rule, in the order in which they are evaluated.
#[derive(Debug, Default)]
pub(super) struct Rule(Attrs);

impl Rule {
    /// Loads `length` bytes of the network header.
    pub(super) fn network(self, offset: u32, length: u32, register: u32) -> Self {
        self.payload(1, offset, length, register)
    }

    /// Loads `length` bytes of the transport header.
    pub(super) fn transport(self, offset: u32, length: u32, register: u32) -> Self {
        self.payload(2, offset, length, register)
    }

    fn payload(self, base: u32, offset: u32, length: u32, register: u32) -> Self {
        self.expression("payload", |attrs| {
            attrs.be32(1, register);
            attrs.be32(2, base);
            attrs.be32(3, offset);
            attrs.be32(4, length);
        })
    }

    /// Loads a property of the packet (`NFT_META_…`).
    pub(super) fn meta(self, key: u32, register: u32) -> Self {
        self.expression("meta", |attrs| {
            attrs.be32(1, register);
            attrs.be32(2, key);
        })
    }

    /// Loads a property of the connection (`NFT_CT_…`).
    pub(super) fn conntrack(self, key: u32, register: u32) -> Self {
        self.expression("ct", |attrs| {
            attrs.be32(1, register);
            attrs.be32(2, key);
        })
    }

    /// Loads the route type of the destination address (`fib daddr type`).
    pub(super) fn destination_type(self, register: u32) -> Self {
        self.expression("fib", |attrs| {
            attrs.be32(1, register);
            // NFT_FIB_RESULT_ADDRTYPE, NFTA_FIB_F_DADDR.
            attrs.be32(2, 3);
            attrs.be32(3, 2);
        })
    }

    /// Keeps only the bits of `mask`.
    pub(super) fn mask(self, register: u32, mask: [u8; 4]) -> Self {
        self.expression("bitwise", |attrs| {
            attrs.be32(1, register);
            attrs.be32(2, register);
            attrs.be32(3, 4);
            attrs.nested(4, |attrs| attrs.raw(1, &mask));
            attrs.nested(5, |attrs| attrs.raw(1, &[0; 4]));
        })
    }

    /// Goes on only when the register equals `value`.
    pub(super) fn equals(self, register: u32, value: &[u8]) -> Self {
        self.compare(register, 0, value)
    }

    /// Goes on only when the register differs from `value`.
    pub(super) fn differs(self, register: u32, value: &[u8]) -> Self {
        self.compare(register, 1, value)
    }

    fn compare(self, register: u32, operator: u32, value: &[u8]) -> Self {
        self.expression("cmp", |attrs| {
            attrs.be32(1, register);
            attrs.be32(2, operator);
            attrs.nested(3, |attrs| attrs.raw(1, value));
        })
    }

    /// Goes on only when the map has the key that starts in `key`, and loads its data.
    pub(super) fn lookup(self, map: &str, key: u32, data: u32) -> Self {
        self.expression("lookup", |attrs| {
            attrs.string(1, map);
            attrs.be32(2, key);
            attrs.be32(3, data);
        })
    }

    /// Sends the connection to the address and port in two registers.
    pub(super) fn destination_nat(self, address: u32, port: u32) -> Self {
        self.expression("nat", |attrs| {
            // NFT_NAT_DNAT.
            attrs.be32(1, 1);
            attrs.be32(2, IPV4.into());
            attrs.be32(3, address);
            attrs.be32(5, port);
        })
    }

    /// Gives the connection the address of the outgoing interface.
    pub(super) fn masquerade(self) -> Self {
        self.expression("masq", |_| {})
    }

    /// Counts packets.
    pub(super) fn counter(self) -> Self {
        self.expression("counter", |_| {})
    }

    /// Drops the packet.
    pub(super) fn drop_packet(self) -> Self {
        self.verdict(DROP)
    }

    /// Accepts the packet, as far as this base chain is concerned.
    pub(super) fn accept(self) -> Self {
        self.verdict(ACCEPT)
    }

    fn verdict(self, verdict: u32) -> Self {
        self.expression("immediate", |attrs| {
            attrs.be32(1, 0);
            attrs.nested(2, |attrs| attrs.nested(2, |attrs| attrs.be32(1, verdict)));
        })
    }

    fn expression(mut self, name: &str, data: impl FnOnce(&mut Attrs)) -> Self {
        self.0.nested(1, |attrs| {
            attrs.string(1, name);
            attrs.nested(2, data);
        });
        self
    }
}

/// Netlink attributes under construction.
#[derive(Debug, Default)]
struct Attrs(Vec<u8>);

impl Attrs {
    fn raw(&mut self, kind: u16, value: &[u8]) {
        // Names and keys are short; a rule has a few hundred bytes.
        let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
        self.0.extend(length.to_ne_bytes());
        self.0.extend(kind.to_ne_bytes());
        self.0.extend(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }

    fn string(&mut self, kind: u16, value: &str) {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.raw(kind, &bytes);
    }

    fn be32(&mut self, kind: u16, value: u32) {
        self.raw(kind, &value.to_be_bytes());
    }

    fn nested(&mut self, kind: u16, build: impl FnOnce(&mut Self)) {
        let mut inner = Self::default();
        build(&mut inner);
        self.raw(kind | NESTED, &inner.0);
    }
}
