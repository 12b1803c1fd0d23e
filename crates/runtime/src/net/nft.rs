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

/// `NF_DROP`.
const DROP: u32 = 0;

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

/// A list of changes that take effect all at once or not at all.
#[derive(Debug)]
pub(super) struct Transaction {
    table: String,
    bytes: Vec<u8>,
    count: u32,
}

impl Transaction {
    /// Begins a transaction on one IPv4 table.
    pub(super) fn new(table: &str) -> Self {
        let mut transaction = Self { table: table.to_owned(), bytes: Vec::new(), count: 0 };
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
        attrs.be32(10, self.count);
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
    pub(super) fn commit(mut self) -> io::Result<()> {
        self.batch_mark(BATCH.1);
        // A socket of its own: a refused transaction may leave answers that nobody waits for.
        let mut socket = Socket::open(NETLINK_NETFILTER)?;
        // The mark at the end is not acknowledged; the one at the beginning is only when all is refused.
        let changes = self.count.saturating_sub(2);
        match socket.transact(&self.bytes, 1, changes, Some(0))? {
            Some(refusal) => Err(refusal.source),
            None => Ok(()),
        }
    }

    fn batch_mark(&mut self, kind: u16) {
        let mut attrs = Attrs::default();
        attrs.0.extend([0, 0]);
        attrs.0.extend(SUBSYSTEM.to_be_bytes());
        self.push(kind, NLM_F_REQUEST, attrs);
    }

    fn message(&mut self, kind: u16, flags: u16, attrs: Attrs) {
        let mut body = Attrs(vec![IPV4, 0, 0, 0]);
        body.0.extend(attrs.0);
        self.push((SUBSYSTEM << 8) | kind, NLM_F_REQUEST | NLM_F_ACK | flags, body);
    }

    /// Sequence numbers count from 0, the mark at the beginning.
    fn push(&mut self, kind: u16, flags: u16, body: Attrs) {
        let length = u32::try_from(HEADER + body.0.len()).unwrap_or(u32::MAX);
        self.bytes.extend(length.to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend(flags.to_ne_bytes());
        self.bytes.extend(self.count.to_ne_bytes());
        self.bytes.extend(0u32.to_ne_bytes());
        self.bytes.extend(body.0);
        self.count += 1;
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

    /// Drops the packet.
    pub(super) fn drop_packet(self) -> Self {
        self.expression("immediate", |attrs| {
            attrs.be32(1, 0);
            attrs.nested(2, |attrs| attrs.nested(2, |attrs| attrs.be32(1, DROP)));
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
