//! The bytes of the store's files.
//!
//! ```text
//! file   = header, frames
//! header = 16 bytes that tell the kind, u32 format version, u64 generation, u32 checksum of the header
//! frame  = 4 bytes mark, u32 length of the records, u32 checksum of the records, u32 checksum of these twelve bytes,
//!          records
//! record = u8 operation, u64 revision, u32 lengths of table, key and value, then these three
//! ```
//!
//! Numbers are little-endian, checksums CRC-32 (ISO 3309), values compact JSON. A header keeps this form in all
//! format versions. All records of a frame became durable together.

use super::super::Object;

/// The format that this version writes; it reads no other yet.
pub(super) const FORMAT: u32 = 1;

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Log,
    Snapshot,
}

impl Kind {
    fn mark(self) -> &'static [u8; 16] {
        match self {
            Self::Log => b"podrig log     \n",
            Self::Snapshot => b"podrig snapshot\n",
        }
    }

    /// The name of the file of a generation. Names sort as generations do.
    pub(super) fn name(self, generation: u64) -> String {
        format!("{generation:010}.{}", self.extension())
    }

    /// The generation of the file with this name, if it is one of this kind.
    pub(super) fn generation(self, name: &str) -> Option<u64> {
        let generation = name.strip_suffix(self.extension())?.strip_suffix('.')?.parse().ok()?;
        (self.name(generation) == name).then_some(generation)
    }

    fn extension(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Snapshot => "snapshot",
        }
    }
}

/// The beginning of a file.
pub(super) fn header(kind: Kind, generation: u64) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..16].copy_from_slice(kind.mark());
    header[16..20].copy_from_slice(&FORMAT.to_le_bytes());
    header[20..28].copy_from_slice(&generation.to_le_bytes());
    let checksum = crc32fast::hash(&header[..28]);
    header[28..].copy_from_slice(&checksum.to_le_bytes());
    header
}

/// What is wrong with a header.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum BadHeader {
    Damaged,
    /// Of a later format version.
    Newer(u32),
}

/// Checks the beginning of a file.
pub(super) fn check_header(bytes: &[u8], kind: Kind, generation: u64) -> Result<(), BadHeader> {
    let header = bytes.get(..HEADER_BYTES).ok_or(BadHeader::Damaged)?;
    if &header[..16] != kind.mark() || u32_at(header, 28) != Some(crc32fast::hash(&header[..28])) {
        return Err(BadHeader::Damaged);
    }
    match u32_at(header, 16) {
        Some(FORMAT) if header[20..28] == generation.to_le_bytes() => Ok(()),
        Some(version) if version > FORMAT => Err(BadHeader::Newer(version)),
        _ => Err(BadHeader::Damaged),
    }
}

/// Begins a frame in an empty buffer.
pub(super) fn begin_frame(buffer: &mut Vec<u8>) {
    buffer.clear();
    buffer.resize(FRAME_BYTES, 0);
}

/// Completes the frame whose records are in the buffer.
///
/// A frame's size is bounded by who fills it, far below what its length can say.
pub(super) fn finish_frame(buffer: &mut [u8]) {
    let (head, records) = buffer.split_at_mut(FRAME_BYTES);
    head[..4].copy_from_slice(&FRAME_MARK);
    head[4..8].copy_from_slice(&length(records));
    head[8..12].copy_from_slice(&crc32fast::hash(records).to_le_bytes());
    let checksum = crc32fast::hash(&head[..12]);
    head[12..].copy_from_slice(&checksum.to_le_bytes());
}

/// Adds the record of an object as it is now.
pub(super) fn put(buffer: &mut Vec<u8>, table: &str, object: &Object) {
    let start = buffer.len();
    put_head(buffer, PUT, object.revision(), table, object.key());
    object.write_json(buffer);
    let value = length(&buffer[start + RECORD_BYTES + table.len() + object.key().len()..]);
    buffer[start + RECORD_BYTES - 4..start + RECORD_BYTES].copy_from_slice(&value);
}

/// Adds the record of a removal.
pub(super) fn delete(buffer: &mut Vec<u8>, table: &str, key: &str, revision: u64) {
    put_head(buffer, DELETE, revision, table, key);
}

/// Adds the record that ends a snapshot of this revision.
pub(super) fn end(buffer: &mut Vec<u8>, revision: u64) {
    put_head(buffer, END, revision, "", "");
}

fn put_head(buffer: &mut Vec<u8>, operation: u8, revision: u64, table: &str, key: &str) {
    buffer.push(operation);
    buffer.extend_from_slice(&revision.to_le_bytes());
    buffer.extend_from_slice(&length(table.as_bytes()));
    buffer.extend_from_slice(&length(key.as_bytes()));
    buffer.extend_from_slice(&[0; 4]);
    buffer.extend_from_slice(table.as_bytes());
    buffer.extend_from_slice(key.as_bytes());
}

/// Keys and objects are refused long before they reach 4 GiB.
fn length(bytes: &[u8]) -> [u8; 4] {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes()
}

/// What a record says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Record<'a> {
    pub(super) revision: u64,
    pub(super) table: &'a str,
    pub(super) key: &'a str,
    pub(super) operation: Operation<'a>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Operation<'a> {
    /// The object is now this JSON text.
    Put(&'a [u8]),
    Delete,
    /// The snapshot ends here and is of this revision.
    End,
}

/// Takes the first record off the records of a frame; `None` if they are not what this format says.
pub(super) fn take_record<'a>(records: &mut &'a [u8]) -> Option<Record<'a>> {
    let (head, rest) = records.split_at_checked(RECORD_BYTES)?;
    let revision = u64::from_le_bytes(head[1..9].try_into().ok()?);
    let (table, rest) = rest.split_at_checked(usize_at(head, 9)?)?;
    let (key, rest) = rest.split_at_checked(usize_at(head, 13)?)?;
    let (value, rest) = rest.split_at_checked(usize_at(head, 17)?)?;
    let operation = match head[0] {
        PUT => Operation::Put(value),
        DELETE => Operation::Delete,
        END => Operation::End,
        _ => return None,
    };
    *records = rest;
    Some(Record { revision, table: str::from_utf8(table).ok()?, key: str::from_utf8(key).ok()?, operation })
}

/// A whole frame in a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Frame<'a> {
    pub(super) records: &'a [u8],
    /// The first byte after it.
    pub(super) end: usize,
}

/// Why there is no whole frame at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoFrame {
    /// The file ends within it, or parts of it were never written: what a crash leaves of a last write.
    Torn,
    /// All of it was written, and it has changed since.
    Damaged,
}

/// Reads the frame at `start`, which lies within the file.
///
/// The length tells a frame that was never written whole (the file ends before it does, or a sector of it is
/// all zeros) from one that was changed later.
pub(super) fn frame(bytes: &[u8], start: usize) -> Result<Frame<'_>, NoFrame> {
    let Some(head) = bytes.get(start..start + FRAME_BYTES) else { return Err(NoFrame::Torn) };
    let has_gap = |end| if has_empty_sector(bytes, start, end) { NoFrame::Torn } else { NoFrame::Damaged };
    if head[..4] != FRAME_MARK || u32_at(head, 12) != Some(crc32fast::hash(&head[..12])) {
        // To the end of the sector, since the part of the head that is in it may rightly be zeros.
        return Err(has_gap((start + FRAME_BYTES).next_multiple_of(SECTOR_BYTES).min(bytes.len())));
    }
    let end = usize_at(head, 4).and_then(|length| (start + FRAME_BYTES).checked_add(length));
    let Some((end, records)) = end.and_then(|end| Some((end, bytes.get(start + FRAME_BYTES..end)?))) else {
        return Err(NoFrame::Torn);
    };
    if u32_at(head, 8) != Some(crc32fast::hash(records)) {
        return Err(has_gap(end));
    }
    Ok(Frame { records, end })
}

/// Whether a whole frame begins after `start`: it was written after whatever is at `start` was on disk.
pub(super) fn has_frame_after(bytes: &[u8], start: usize) -> bool {
    // The mark holds a byte that no UTF-8 text does, so it is not found in values.
    let rest = bytes.get(start + 1..).unwrap_or_default();
    rest.windows(FRAME_MARK.len())
        .enumerate()
        .any(|(at, window)| window == FRAME_MARK && frame(bytes, start + 1 + at).is_ok())
}

fn has_empty_sector(bytes: &[u8], start: usize, end: usize) -> bool {
    let mut from = start;
    while from < end {
        let to = (from + 1).next_multiple_of(SECTOR_BYTES);
        if bytes[from..to.min(end)].iter().all(|byte| *byte == 0) {
            return true;
        }
        from = to;
    }
    false
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn usize_at(bytes: &[u8], at: usize) -> Option<usize> {
    usize::try_from(u32_at(bytes, at)?).ok()
}

pub(super) const HEADER_BYTES: usize = 32;
pub(super) const FRAME_BYTES: usize = 16;
const RECORD_BYTES: usize = 21;
const FRAME_MARK: [u8; 4] = [0xf5, b'p', b'o', b'd'];
const PUT: u8 = 1;
const DELETE: u8 = 2;
const END: u8 = 3;

/// What every block device writes whole or not at all.
const SECTOR_BYTES: usize = 512;
