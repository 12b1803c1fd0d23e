//! Container output as log files in the format of the CRI: `<time> <stream> <F|P> <text>`.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use cri::Nanos;

/// Longest piece of a line in one entry (containerd's `max_container_log_line_size`).
const MAX_PIECE: usize = 16 * 1024;
/// Size at which a new file is begun (kubelet's `containerLogMaxSize`).
const MAX_FILE: u64 = 10 << 20;
/// Number of files kept, the current one included (kubelet's `containerLogMaxFiles`).
const MAX_FILES: usize = 5;

/// Which stream a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    Stdout,
    Stderr,
}

impl Stream {
    fn as_str(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// The part of a stream that does not yet end with a line feed.
#[derive(Debug, Default)]
pub(crate) struct Unfinished(Vec<u8>);

/// One container's log.
///
/// A log that cannot be written (disk full) loses entries but never stops a container.
#[derive(Debug)]
pub(crate) struct LogFile {
    path: PathBuf,
    file: File,
    size: u64,
    max_file: u64,
}

impl LogFile {
    /// Opens the file for appending, making its directories.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        let file = append_to(path)?;
        let size = file.metadata()?.len();
        Ok(Self { path: path.to_path_buf(), file, size, max_file: MAX_FILE })
    }

    /// Adds output: complete lines are written, the rest waits in `unfinished`.
    pub(crate) fn add(&mut self, stream: Stream, unfinished: &mut Unfinished, mut bytes: &[u8], at: Nanos) {
        let mut entries = Vec::with_capacity(bytes.len() + 64);
        while let Some(end) = bytes.iter().position(|&byte| byte == b'\n') {
            self.collect(stream, unfinished, &bytes[..end], at, &mut entries);
            let line = std::mem::take(&mut unfinished.0);
            self.entry(&mut entries, stream, 'F', &line, at);
            bytes = &bytes[end + 1..];
        }
        self.collect(stream, unfinished, bytes, at, &mut entries);
        self.write(&entries);
    }

    /// Writes what is left of a stream that has ended.
    pub(crate) fn finish(&mut self, stream: Stream, unfinished: &mut Unfinished, at: Nanos) {
        if !unfinished.0.is_empty() {
            let mut entries = Vec::new();
            let line = std::mem::take(&mut unfinished.0);
            self.entry(&mut entries, stream, 'F', &line, at);
            self.write(&entries);
        }
    }

    fn collect(&mut self, stream: Stream, rest: &mut Unfinished, mut bytes: &[u8], at: Nanos, out: &mut Vec<u8>) {
        while rest.0.len() + bytes.len() >= MAX_PIECE {
            let (piece, later) = bytes.split_at(MAX_PIECE - rest.0.len());
            rest.0.extend(piece);
            let line = std::mem::take(&mut rest.0);
            self.entry(out, stream, 'P', &line, at);
            bytes = later;
        }
        rest.0.extend(bytes);
    }

    fn entry(&mut self, out: &mut Vec<u8>, stream: Stream, tag: char, text: &[u8], at: Nanos) {
        out.extend(format_time(at).as_bytes());
        out.extend(format!(" {} {tag} ", stream.as_str()).as_bytes());
        out.extend(text);
        out.push(b'\n');
        if self.size + out.len() as u64 >= self.max_file {
            self.write(out);
            out.clear();
            self.rotate();
        }
    }

    fn write(&mut self, entries: &[u8]) {
        match self.file.write_all(entries) {
            Ok(()) => self.size += entries.len() as u64,
            Err(error) => tracing::debug!(path = %self.path.display(), %error, "log entries lost"),
        }
    }

    /// Shifts `x.log` to `x.log.1` and so on; the oldest is dropped. There is an `x.log` at every moment.
    fn rotate(&mut self) {
        let beside = |suffix: &str| PathBuf::from(format!("{}.{suffix}", self.path.display()));
        let numbered = |n: usize| beside(&n.to_string());
        // Where that fails, this file goes on for as long again.
        self.size = 0;
        let next = beside("next");
        let Ok(file) = append_to(&next) else { return };
        for n in (1..MAX_FILES - 1).rev() {
            let _ = fs::rename(numbered(n), numbered(n + 1));
        }
        match fs::hard_link(&self.path, numbered(1)).and_then(|()| fs::rename(&next, &self.path)) {
            Ok(()) => self.file = file,
            Err(_) => drop(fs::remove_file(&next)),
        }
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    OpenOptions::new().append(true).create(true).mode(0o640).open(path)
}

/// Formats a time as RFC 3339 in UTC with all nine digits.
pub(crate) fn format_time(at: Nanos) -> String {
    let (seconds, nanos) = (at.div_euclid(1_000_000_000), at.rem_euclid(1_000_000_000));
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = civil_date(days);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{nanos:09}Z")
}

/// Turns days since 1970 into year, month and day of the Gregorian calendar.
///
/// Years are counted from March, so that a leap day is a year's last; 400 years have 146,097 days.
fn civil_date(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Nanos = 1_709_210_096_000_000_007;

    fn written(chunks: &[&[u8]]) -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("app/0.log");
        let mut log = LogFile::open(&path).unwrap();
        let mut rest = Unfinished::default();
        for chunk in chunks {
            log.add(Stream::Stdout, &mut rest, chunk, AT);
        }
        log.finish(Stream::Stdout, &mut rest, AT);
        fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect()
    }

    #[test]
    fn times_are_rfc_3339_with_nine_digits() {
        assert_eq!(format_time(AT), "2024-02-29T12:34:56.000000007Z");
        assert_eq!(format_time(0), "1970-01-01T00:00:00.000000000Z");
    }

    #[test]
    fn lines_are_put_together_from_pieces_and_the_last_needs_no_line_feed() {
        let lines = written(&[b"a", b"b\nc\n\nd", b"e"]);
        let texts: Vec<_> = lines.iter().map(|line| line.split_once(" stdout ").unwrap().1).collect();
        assert_eq!(texts, ["F ab", "F c", "F ", "F de"]);
    }

    #[test]
    fn a_long_line_is_cut_into_partial_entries() {
        let lines = written(&[&[b'x'; 40_000], b"\n"]);
        let sizes: Vec<_> = lines.iter().map(|line| line.split_once("stdout ").unwrap().1.split_at(2)).collect();
        assert_eq!(
            sizes.iter().map(|(tag, text)| (*tag, text.len())).collect::<Vec<_>>(),
            [("P ", 16_384), ("P ", 16_384), ("F ", 7_232)]
        );
    }

    #[test]
    fn five_files_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        let mut log = LogFile::open(&path).unwrap();
        log.max_file = 200;
        let mut rest = Unfinished::default();
        for n in 0..100 {
            log.add(Stream::Stderr, &mut rest, format!("line {n}\n").as_bytes(), AT);
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), MAX_FILES);
        let newest_rotated = fs::read_to_string(dir.path().join("0.log.1")).unwrap();
        assert!(newest_rotated.lines().all(|line| line.contains(" stderr F line 9")), "{newest_rotated}");
    }

    #[test]
    fn no_file_is_dropped_when_none_can_be_begun() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        fs::create_dir(dir.path().join("0.log.next")).unwrap();
        fs::write(dir.path().join("0.log.1"), "earlier").unwrap();
        let mut log = LogFile::open(&path).unwrap();
        log.max_file = 200;
        for _ in 0..20 {
            log.add(Stream::Stderr, &mut Unfinished::default(), b"line\n", AT);
        }
        assert_eq!(fs::read_to_string(dir.path().join("0.log.1")).unwrap(), "earlier");
        assert_eq!(fs::read_to_string(path).unwrap().lines().count(), 20);
    }
}
