//! Header blocks of SPDY/3: name and value pairs, compressed with one zlib stream for the whole connection.
//!
//! Only the client's headers say something, so there is a decompressor and no compressor.

use std::sync::LazyLock;

use bytes::Buf;
use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::inflate_flags::TINFL_FLAG_HAS_MORE_INPUT;
use miniz_oxide::inflate::core::{DecompressorOxide, decompress};

use super::Violation;

/// The headers of a stream; names are lower case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::http::stream) struct Headers(Vec<(String, String)>);

impl Headers {
    /// The value of this header.
    pub(in crate::http::stream) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// Decompresses the header blocks of a connection, in the order of their arrival.
///
/// The inflater's window is a ring that begins with the dictionary in it: that is what a preset dictionary is.
pub(super) struct Inflater {
    core: Box<DecompressorOxide>,
    window: Box<[u8]>,
    position: usize,
    started: bool,
}

impl Inflater {
    pub(super) fn new() -> Self {
        Self { core: Box::default(), window: vec![0; WINDOW].into(), position: 0, started: false }
    }

    /// Decompresses and reads one block.
    pub(super) fn headers(&mut self, block: &[u8]) -> Result<Headers, Violation> {
        parse(&self.inflate(block)?)
    }

    fn inflate(&mut self, mut input: &[u8]) -> Result<Vec<u8>, Violation> {
        if !self.started {
            self.start(&mut input)?;
        }
        let mut block = Vec::new();
        loop {
            let (status, read, written) =
                decompress(&mut self.core, input, &mut self.window, self.position, TINFL_FLAG_HAS_MORE_INPUT);
            block.extend_from_slice(&self.window[self.position..self.position + written]);
            self.position = (self.position + written) % WINDOW;
            input = &input[read..];
            if block.len() > MOST_BLOCK {
                return Err(Violation("headers are too large"));
            }
            if status == TINFLStatus::NeedsMoreInput && input.is_empty() {
                return Ok(block);
            }
            if status != TINFLStatus::HasMoreOutput {
                return Err(Violation("headers cannot be decompressed"));
            }
        }
    }

    /// Takes the header of the zlib stream (RFC 1950, section 2.2).
    fn start(&mut self, input: &mut &[u8]) -> Result<(), Violation> {
        const DEFLATE: u8 = 8;
        const PRESET_DICTIONARY: u8 = 0x20;
        let &[method, flags, ref rest @ ..] = *input else { return Err(Violation("headers have no zlib header")) };
        if method & 0x0f != DEFLATE || u16::from_be_bytes([method, flags]) % 31 != 0 {
            return Err(Violation("headers have no zlib header"));
        }
        *input = rest;
        if flags & PRESET_DICTIONARY != 0 {
            if input.len() < 4 || input.get_u32() != DICTIONARY_ID {
                return Err(Violation("headers need an unknown dictionary"));
            }
            self.window[..DICTIONARY.len()].copy_from_slice(&DICTIONARY);
            self.position = DICTIONARY.len();
        }
        self.started = true;
        Ok(())
    }
}

impl std::fmt::Debug for Inflater {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Inflater")
    }
}

/// Section 2.6.10 of the SPDY/3 draft: a number of pairs, each of two texts with their lengths.
fn parse(mut block: &[u8]) -> Result<Headers, Violation> {
    let broken = Violation("headers are cut short");
    let count = block.try_get_u32().map_err(|_| broken)?;
    let mut pairs = Vec::new();
    // Every pair takes bytes off the block, so its size bounds the loop.
    for _ in 0..count {
        let mut text = || {
            let length = usize::try_from(block.try_get_u32().ok()?).ok()?;
            let (text, rest) = block.split_at_checked(length)?;
            block = rest;
            Some(String::from_utf8_lossy(text).into_owned())
        };
        let name = text().ok_or(broken)?.to_ascii_lowercase();
        pairs.push((name, text().ok_or(broken)?));
    }
    Ok(Headers(pairs))
}

/// What a reply without headers carries: an uncompressed deflate block with the number of pairs, zero, and the
/// empty block that marks the end of a flush. The first one of a connection begins with a zlib header.
pub(super) fn no_headers(first: bool) -> &'static [u8] {
    const BLOCK: &[u8] = b"\x78\x01\x00\x04\x00\xfb\xff\x00\x00\x00\x00\x00\x00\x00\xff\xff";
    if first { BLOCK } else { &BLOCK[2..] }
}

/// The largest distance of deflate.
const WINDOW: usize = 32 * 1024;
/// A stream of Kubernetes has three short headers.
const MOST_BLOCK: usize = 16 * 1024;

/// Adler-32 of the dictionary.
const DICTIONARY_ID: u32 = 0xe3c6_a7c2;

/// The dictionary of section 2.6.10.1 of the SPDY/3 draft.
static DICTIONARY: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut bytes = Vec::new();
    for word in WORDS.split(' ').map(|word| word.replace('_', " ")) {
        // No word is longer than 19 characters.
        bytes.extend_from_slice(&[0, 0, 0, u8::try_from(word.len()).unwrap_or_default()]);
        bytes.extend_from_slice(word.as_bytes());
    }
    bytes.extend_from_slice(TAIL.as_bytes());
    bytes
});

/// The words that come with their lengths; `_` stands for a space inside one.
const WORDS: &str = "options head post put delete trace accept accept-charset accept-encoding accept-language \
    accept-ranges age allow authorization cache-control connection content-base content-encoding content-language \
    content-length content-location content-md5 content-range content-type date etag expect expires from host \
    if-match if-modified-since if-none-match if-range if-unmodified-since last-modified location max-forwards pragma \
    proxy-authenticate proxy-authorization range referer retry-after server te trailer transfer-encoding upgrade \
    user-agent vary via warning www-authenticate method get status 200_OK version HTTP/1.1 url public set-cookie \
    keep-alive origin";

/// What follows them without.
const TAIL: &str = "1001012012022052063003023033043053063074024054064074084094104114124134144154164175025045052\
    03 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden\
    404 Not Found500 Internal Server Error501 Not Implemented503 Service UnavailableJan Feb Mar Apr May Jun Jul Aug \
    Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMTchunked,text/html,image/png,image/jpg,image/gif,\
    application/xml,application/xhtml+xml,text/plain,text/javascript,publicprivatemax-age=gzip,deflate,sdch\
    charset=utf-8charset=iso-8859-1,utf-,*,enq=0.";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Two header blocks of one connection, as zlib compresses them with the dictionary.
    const FIRST: &[u8] = b"\x78\xf9\xe3\xc6\xa7\xc2\x02\xa6\x23\x46\x70\x3a\x2b\x29\x4a\x4d\xcc\x85\x16\x25\xac\xa9\
        \xa0\x80\x06\x00\x00\x00\xff\xff";
    const SECOND: &[u8] =
        b"\x02\xa5\x47\x0c\x29\x50\x29\x93\x08\x29\xb0\x8b\xc0\x79\xc3\xc2\xc0\xc2\x00\x48\x73\x16\x41\
        \x22\x38\x13\x94\xf0\x19\x0d\x00\x00\x00\x00\xff\xff";

    #[test]
    fn blocks_of_one_connection_share_dictionary_and_history() {
        let mut inflater = Inflater::new();
        let first = inflater.headers(FIRST).expect("first");
        assert_eq!(first.0, [("streamtype".to_owned(), "error".to_owned())]);
        let second = inflater.headers(SECOND).expect("second");
        assert_eq!((second.get("streamtype"), second.get("port")), (Some("data"), Some("8080")));
        assert_eq!((second.get("requestid"), second.get("x")), (Some("0"), None));
    }

    #[test]
    fn replies_can_be_decompressed_one_after_the_other() {
        let mut inflater = Inflater::new();
        assert_eq!(inflater.headers(no_headers(true)), Ok(Headers::default()));
        assert_eq!(inflater.headers(no_headers(false)), Ok(Headers::default()));
    }

    #[test]
    fn a_block_that_swells_is_refused() {
        // 64 KiB of zeros, as deflate compresses them.
        let zeros = miniz_oxide::deflate::compress_to_vec_zlib(&vec![0; 64 * 1024], 9);
        assert_eq!(Inflater::new().headers(&zeros), Err(Violation("headers are too large")));
    }

    #[test]
    fn the_dictionary_is_the_one_of_the_protocol() {
        let (mut a, mut b) = (1_u32, 0_u32);
        for byte in DICTIONARY.iter() {
            a = (a + u32::from(*byte)) % 65521;
            b = (b + a) % 65521;
        }
        assert_eq!(b << 16 | a, DICTIONARY_ID);
    }

    proptest! {
        #[test]
        fn random_blocks_are_read_or_refused(blocks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..5)) {
            let mut inflater = Inflater::new();
            let _ = inflater.headers(FIRST);
            for block in blocks {
                let _ = inflater.headers(&block);
            }
        }

        #[test]
        fn random_plain_blocks_are_read_or_refused(block in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = parse(&block);
        }
    }
}
