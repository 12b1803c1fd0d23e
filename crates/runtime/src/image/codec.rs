//! Decompression of layers and archives, recognised by their first bytes.
//!
//! Media types are not trusted: they are often wrong, and the bytes say it exactly.

use std::io::{self, BufRead, Read};

use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::{
    BlockDecodingStrategy, FrameDecoder,
    errors::{FrameDecoderError, ReadFrameHeaderError},
};

/// First bytes of a gzip member, RFC 1952 section 2.3.1.
const GZIP_MAGIC: &[u8] = &[0x1f, 0x8b];
/// First bytes of a Zstandard frame, RFC 8878 section 3.1.1.
const ZSTD_MAGIC: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
/// Last three of the first four bytes of a skippable frame, RFC 8878 section 3.1.2.
const ZSTD_SKIPPABLE_MAGIC: &[u8] = &[0x2a, 0x4d, 0x18];
/// Formats that some tools write and that are not part of the image formats, by their first bytes.
const UNSUPPORTED: [(&[u8], &str); 2] = [(b"BZh", "bzip2"), (&[0xfd, b'7', b'z', b'X', b'Z'], "xz")];

/// A reader of the plain bytes of a possibly compressed stream.
pub(crate) enum Decoder<R> {
    Plain(R),
    Gzip(MultiGzDecoder<R>),
    Zstd(Box<ZstdReader<R>>),
}

impl<R: BufRead> Decoder<R> {
    /// Looks at the first bytes of `inner` and chooses.
    pub(crate) fn new(mut inner: R) -> io::Result<Self> {
        let head = inner.fill_buf()?;
        if head.starts_with(GZIP_MAGIC) {
            return Ok(Self::Gzip(MultiGzDecoder::new(inner)));
        }
        if head.starts_with(ZSTD_MAGIC) || head.get(1..4) == Some(ZSTD_SKIPPABLE_MAGIC) {
            return Ok(Self::Zstd(Box::new(ZstdReader::new(inner))));
        }
        if let Some((_, name)) = UNSUPPORTED.iter().find(|(magic, _)| head.starts_with(magic)) {
            return Err(io::Error::new(io::ErrorKind::Unsupported, format!("{name} compression is not supported")));
        }
        Ok(Self::Plain(inner))
    }

    /// Whether the stream is compressed.
    pub(crate) fn is_compressed(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Gzip(_) | Self::Zstd(_) => true,
        }
    }
}

impl<R: BufRead> Read for Decoder<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(inner) => inner.read(buf),
            Self::Gzip(inner) => inner.read(buf),
            Self::Zstd(inner) => inner.read(buf),
        }
    }
}

/// Reads all frames of a Zstandard stream one after another, skippable ones left out.
///
/// Memory is bounded by the decoder's largest window (100 MiB).
pub(crate) struct ZstdReader<R> {
    inner: R,
    decoder: FrameDecoder,
    in_frame: bool,
}

impl<R: BufRead> ZstdReader<R> {
    fn new(inner: R) -> Self {
        Self { inner, decoder: FrameDecoder::new(), in_frame: false }
    }

    /// Starts the next data frame; false at the end of the stream.
    fn next_frame(&mut self) -> io::Result<bool> {
        while !self.inner.fill_buf()?.is_empty() {
            match self.decoder.reset(&mut self.inner) {
                Ok(()) => return Ok(true),
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame { length, .. })) => {
                    let skipped = io::copy(&mut self.inner.by_ref().take(length.into()), &mut io::sink())?;
                    if skipped < u64::from(length) {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
                Err(e) => return Err(io::Error::other(e)),
            }
        }
        Ok(false)
    }
}

impl<R: BufRead> Read for ZstdReader<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        loop {
            if !self.in_frame {
                if !self.next_frame()? {
                    return Ok(0);
                }
                self.in_frame = true;
            }
            while self.decoder.can_collect() == 0 && !self.decoder.is_finished() {
                self.decoder
                    .decode_blocks(&mut self.inner, BlockDecodingStrategy::UptoBlocks(1))
                    .map_err(io::Error::other)?;
            }
            let n = self.decoder.read(buf)?;
            if n > 0 {
                return Ok(n);
            }
            self.in_frame = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn plain(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        Decoder::new(bytes)?.read_to_end(&mut out)?;
        Ok(out)
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(bytes: &[u8]) -> Vec<u8> {
        ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest)
    }

    #[test]
    fn streams_are_recognised_by_their_bytes_and_members_are_joined() {
        let data = b"podrig ".repeat(50_000);
        assert_eq!(plain(&data).unwrap(), data);
        assert_eq!(plain(&gzip(&data)).unwrap(), data);
        assert_eq!(plain(&zstd(&data)).unwrap(), data);
        assert_eq!(plain(&[gzip(b"one "), gzip(b"two")].concat()).unwrap(), b"one two");
        let skippable = [0x51, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 9, 9, 9];
        let frames = [&skippable[..], &zstd(b"one "), &skippable, &zstd(b"two"), &skippable].concat();
        assert_eq!(plain(&frames).unwrap(), b"one two");
    }

    #[test]
    fn damaged_and_foreign_streams_are_refused() {
        for stream in [gzip(b"podrig"), zstd(b"podrig")] {
            assert!(plain(&stream[..stream.len() - 5]).is_err(), "cut short");
            assert!(plain(&[&stream[..], b"tail"].concat()).is_err(), "garbage after the end");
        }
        assert!(plain(b"BZh91AY").unwrap_err().to_string().contains("bzip2"));
    }
}
