//! One line of a CRI log: `<RFC 3339 time> <stdout|stderr> <P|F> <text>`.

/// A parsed line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LogLine<'a> {
    /// When it was written, as it stands in the file.
    pub(crate) time: &'a str,
    /// `stdout` or `stderr`.
    pub(crate) stream: &'a str,
    /// Whether the text goes on in the next line of the same stream.
    pub(crate) partial: bool,
    /// What the container wrote, without the line feed.
    pub(crate) text: &'a [u8],
}

/// Parses a line without its line feed; `None`: it is none.
pub(crate) fn parse(line: &[u8]) -> Option<LogLine<'_>> {
    let mut parts = line.splitn(4, |b| *b == b' ');
    let time = std::str::from_utf8(parts.next()?).ok()?;
    let stream = std::str::from_utf8(parts.next()?).ok().filter(|s| matches!(*s, "stdout" | "stderr"))?;
    let tags = parts.next()?;
    let partial = tags.split(|b| *b == b':').next()? == b"P";
    Some(LogLine { time, stream, partial, text: parts.next().unwrap_or_default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_parsed_and_others_are_not() {
        let line = |partial, text| LogLine { time: "2026-01-01T00:00:00.1Z", stream: "stdout", partial, text };
        let cases: [(&[u8], Option<LogLine<'_>>); 7] = [
            (b"2026-01-01T00:00:00.1Z stdout F hello world", Some(line(false, b"hello world"))),
            (b"2026-01-01T00:00:00.1Z stdout P half", Some(line(true, b"half"))),
            (b"2026-01-01T00:00:00.1Z stdout P:x half", Some(line(true, b"half"))),
            (b"2026-01-01T00:00:00.1Z stdout F ", Some(line(false, b""))),
            (b"2026-01-01T00:00:00.1Z other F x", None),
            (b"garbage", None),
            (b"", None),
        ];
        for (input, want) in cases {
            assert_eq!(parse(input), want, "{}", String::from_utf8_lossy(input));
        }
    }
}
