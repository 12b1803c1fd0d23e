//! Reads the entries of a tar stream with bounded memory.
//!
//! The `tar` crate's own iterator reads long names and PAX headers of any size into memory, so only its
//! header type is used. Formats: v7, ustar, GNU long names, PAX. Sparse files are refused: no image tool
//! writes them into layers, and guessing their four encodings wrongly would corrupt files silently.

use std::io::{self, Read, Seek};

use super::Limits;

const BLOCK: u64 = 512;

/// Kind of an entry, with what only it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    HardLink,
    Symlink,
    Directory,
    Fifo,
    Device,
    Other(u8),
}

/// One entry as the archive says, nothing checked but the encoding.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) kind: Kind,
    pub(crate) path: Vec<u8>,
    pub(crate) link: Vec<u8>,
    pub(crate) mode: u32,
    pub(crate) uid: u64,
    pub(crate) gid: u64,
    /// Seconds and nanoseconds since the Unix epoch.
    pub(crate) mtime: (i64, u32),
    pub(crate) size: u64,
    pub(crate) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Where the content starts in the stream.
    pub(crate) offset: u64,
}

/// What extension headers said about the next entry.
#[derive(Default)]
struct Extensions {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    uid: Option<u64>,
    gid: Option<u64>,
    mtime: Option<(i64, u32)>,
    xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Iterates over a tar stream. Between two calls of [`Entries::next`] the content can be read from [`Entries::data`].
pub(crate) struct Entries<R> {
    reader: R,
    /// Bytes consumed so far.
    position: u64,
    /// Content bytes of the current entry not read yet.
    content_left: u64,
    /// Filling after the content.
    padding: u64,
    max_extension: u64,
}

impl<R: Read> Entries<R> {
    pub(crate) fn new(reader: R, limits: &Limits) -> Self {
        Self { reader, position: 0, content_left: 0, padding: 0, max_extension: limits.extended_header_bytes }
    }

    /// Moves on to the next entry; `None` at the end of the archive.
    ///
    /// # Errors
    /// `InvalidData` when the stream is not a tar archive, `UnexpectedEof` when it is cut short,
    /// `Unsupported` for sparse files.
    pub(crate) fn next(&mut self) -> io::Result<Option<Entry>> {
        let mut extensions = Extensions::default();
        loop {
            self.skip_content()?;
            let Some(header) = self.header()? else { return Ok(None) };
            let kind = header.as_bytes()[156];
            let mut size = header.entry_size()?;
            if matches!(kind, b'x' | b'g' | b'L' | b'K') {
                self.set_content(size)?;
                let data = self.extension(size)?;
                match kind {
                    b'x' => parse_pax(&data, &mut extensions)?,
                    b'L' => extensions.path = Some(until_nul(&data)),
                    b'K' => extensions.link = Some(until_nul(&data)),
                    // Global headers only carry comments (git writes its commit there).
                    _ => {}
                }
                continue;
            }
            if kind == b'S' {
                return Err(sparse());
            }
            size = extensions.size.unwrap_or(size);
            let entry = entry(&header, kind, size, extensions, self.position)?;
            self.set_content(entry.size)?;
            return Ok(Some(entry));
        }
    }

    /// The content of the current entry.
    pub(crate) fn data(&mut self) -> Content<'_, R> {
        Content(self)
    }

    fn set_content(&mut self, size: u64) -> io::Result<()> {
        let padded = size.checked_next_multiple_of(BLOCK).ok_or_else(|| invalid("entry size out of range"))?;
        self.content_left = size;
        self.padding = padded - size;
        Ok(())
    }

    fn skip_content(&mut self) -> io::Result<()> {
        let skip = self.content_left + self.padding;
        let skipped = io::copy(&mut self.reader.by_ref().take(skip), &mut io::sink())?;
        // The filling of the very last entry may be missing; its content may not.
        if skipped < self.content_left {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.position += skipped;
        self.content_left = 0;
        self.padding = 0;
        Ok(())
    }

    fn extension(&mut self, size: u64) -> io::Result<Vec<u8>> {
        if size > self.max_extension {
            return Err(invalid(format!("extended header of {size} bytes")));
        }
        let mut data = Vec::new();
        self.data().read_to_end(&mut data)?;
        Ok(data)
    }

    /// Reads the next header; `None` at the end.
    fn header(&mut self) -> io::Result<Option<tar::Header>> {
        let mut header = tar::Header::new_old();
        let block = header.as_mut_bytes();
        let mut filled = 0;
        while let Some(rest) = block.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.reader.read(rest) {
                Ok(0) if filled == 0 => return Ok(None),
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(n) => filled += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        self.position += BLOCK;
        if block.iter().all(|b| *b == 0) {
            return Ok(None);
        }
        // The check sum counts its own field as blanks (POSIX.1-1988 ustar).
        let sum: u32 =
            block.iter().enumerate().map(|(i, b)| u32::from(if (148..156).contains(&i) { b' ' } else { *b })).sum();
        if header.cksum().ok() != Some(sum) {
            return Err(invalid("not a tar archive (header check sum differs)"));
        }
        Ok(Some(header))
    }
}

impl<R: Read + Seek> Entries<R> {
    /// Leaves the content of the current entry out without reading it.
    pub(crate) fn seek_over_content(&mut self) -> io::Result<()> {
        let skip = i64::try_from(self.content_left).map_err(|_| invalid("entry size out of range"))?;
        self.reader.seek_relative(skip)?;
        self.position += self.content_left;
        self.content_left = 0;
        Ok(())
    }
}

/// The content of the current entry of [`Entries`]; its end before the announced size is an error.
pub(crate) struct Content<'a, R>(&'a mut Entries<R>);

impl<R: Read> Read for Content<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.0.reader.by_ref().take(self.0.content_left).read(buf)?;
        if n == 0 && !buf.is_empty() && self.0.content_left > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.0.content_left -= n as u64;
        self.0.position += n as u64;
        Ok(n)
    }
}

fn entry(header: &tar::Header, kind: u8, size: u64, extensions: Extensions, offset: u64) -> io::Result<Entry> {
    let path = extensions.path.unwrap_or_else(|| header.path_bytes().into_owned());
    let kind = match kind {
        // Before POSIX a directory was a file whose name ends in a slash.
        0 if path.ends_with(b"/") => Kind::Directory,
        0 | b'0' | b'7' => Kind::File,
        b'1' => Kind::HardLink,
        b'2' => Kind::Symlink,
        b'3' | b'4' => Kind::Device,
        b'5' => Kind::Directory,
        b'6' => Kind::Fifo,
        other => Kind::Other(other),
    };
    Ok(Entry {
        kind,
        path,
        link: extensions
            .link
            .or_else(|| header.link_name_bytes().map(std::borrow::Cow::into_owned))
            .unwrap_or_default(),
        mode: header.mode()? & 0o7777,
        uid: extensions.uid.map_or_else(|| header.uid(), Ok)?,
        gid: extensions.gid.map_or_else(|| header.gid(), Ok)?,
        mtime: extensions
            .mtime
            .unwrap_or_else(|| (header.mtime().ok().and_then(|t| t.try_into().ok()).unwrap_or(0), 0)),
        // Only files have content; some writers give links the size of their target.
        size: if matches!(kind, Kind::File | Kind::Other(_)) { size } else { 0 },
        xattrs: extensions.xattrs,
        offset,
    })
}

/// Parses the records `LENGTH KEY=VALUE\n` of a PAX header (POSIX.1-2001).
fn parse_pax(mut data: &[u8], into: &mut Extensions) -> io::Result<()> {
    while !data.is_empty() {
        let bad = || invalid("malformed PAX header");
        let space = data.iter().position(|b| *b == b' ').ok_or_else(bad)?;
        let length: usize = number(data.get(..space).unwrap_or_default()).ok_or_else(bad)?;
        let record = data.get(space + 1..length).and_then(|r| r.strip_suffix(b"\n")).ok_or_else(bad)?;
        let equals = record.iter().position(|b| *b == b'=').ok_or_else(bad)?;
        let (key, value) = (&record[..equals], &record[equals + 1..]);
        match key {
            b"path" => into.path = Some(value.to_vec()),
            b"linkpath" => into.link = Some(value.to_vec()),
            b"size" => into.size = Some(number(value).ok_or_else(bad)?),
            b"uid" => into.uid = Some(number(value).ok_or_else(bad)?),
            b"gid" => into.gid = Some(number(value).ok_or_else(bad)?),
            b"mtime" => into.mtime = Some(pax_time(value).ok_or_else(bad)?),
            _ if key.starts_with(b"GNU.sparse.") => return Err(sparse()),
            _ => {
                if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                    into.xattrs.push((name.to_vec(), value.to_vec()));
                }
            }
        }
        data = &data[length..];
    }
    Ok(())
}

/// `SECONDS[.FRACTION]`, possibly negative.
fn pax_time(value: &[u8]) -> Option<(i64, u32)> {
    let text = str::from_utf8(value).ok()?;
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits: String = fraction.chars().chain(std::iter::repeat('0')).take(9).collect();
    let nanos: u32 = digits.parse().ok()?;
    let whole: i64 = seconds.parse().ok()?;
    // -1.25 is 0.75 s after -2.
    if text.starts_with('-') && nanos > 0 {
        return Some((whole.checked_sub(1)?, 1_000_000_000 - nanos));
    }
    Some((whole, nanos))
}

fn number<T: std::str::FromStr>(digits: &[u8]) -> Option<T> {
    digits.iter().all(u8::is_ascii_digit).then(|| str::from_utf8(digits).ok()?.parse().ok())?
}

fn until_nul(data: &[u8]) -> Vec<u8> {
    data.split(|b| *b == 0).next().unwrap_or_default().to_vec()
}

fn invalid(reason: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

fn sparse() -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, "sparse files are not supported")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pax_times_keep_their_fraction_and_sign() {
        assert_eq!(pax_time(b"12"), Some((12, 0)));
        assert_eq!(pax_time(b"12.5"), Some((12, 500_000_000)));
        assert_eq!(pax_time(b"-1.25"), Some((-2, 750_000_000)));
        assert_eq!(pax_time(b"1.x"), None);
    }

    #[test]
    fn pax_records_with_wrong_lengths_are_refused() {
        for bad in [&b"5 a=b"[..], b"99 path=x\n", b"0 \n", b"path=x\n", b"9 path=xx\n", b"4294967297 a=b\n"] {
            assert!(parse_pax(bad, &mut Extensions::default()).is_err(), "{bad:?}");
        }
        let mut good = Extensions::default();
        parse_pax(b"9 path=x\n20 SCHILY.xattr.u=v\n", &mut good).unwrap();
        assert_eq!(good.path.unwrap(), b"x");
        assert_eq!(good.xattrs, [(b"u".to_vec(), b"v".to_vec())]);
    }
}
