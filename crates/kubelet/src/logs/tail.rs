//! The end of a log file, found by reading backwards.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom},
    path::Path,
};

use super::line;

/// Bytes read at a time when looking for the beginning of the last lines.
const BLOCK: u64 = 16 * 1024;

/// Returns the offset at which the last `count` lines of a file begin.
pub(crate) fn offset_of_last_lines(file: &mut File, count: usize) -> io::Result<u64> {
    let mut position = file.seek(SeekFrom::End(0))?;
    let end = position;
    if count == 0 {
        return Ok(end);
    }
    let mut found = 0;
    while position > 0 {
        let length = BLOCK.min(position);
        position -= length;
        file.seek(SeekFrom::Start(position))?;
        let mut block = Vec::new();
        file.by_ref().take(length).read_to_end(&mut block)?;
        for (index, _) in block.iter().enumerate().rev().filter(|(_, b)| **b == b'\n') {
            let at = position + u64::try_from(index).unwrap_or(0) + 1;
            if at == end {
                continue;
            }
            found += 1;
            if found >= count {
                return Ok(at);
            }
        }
    }
    Ok(0)
}

/// Returns the texts of the last lines, at most `limit` bytes of them.
pub(crate) fn last_lines(path: &Path, count: usize, limit: usize) -> io::Result<String> {
    let mut file = File::open(path)?;
    let start = offset_of_last_lines(&mut file, count)?;
    // A file of very long lines is not read as a whole: what is kept is a fraction of this.
    let end = file.metadata()?.len();
    let start = start.max(end.saturating_sub(u64::try_from(limit).unwrap_or(0) * 64));
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let mut text = Vec::new();
    for line in bytes.split(|b| *b == b'\n').filter_map(line::parse) {
        text.extend_from_slice(line.text);
        if !line.partial {
            text.push(b'\n');
        }
    }
    let keep = text.len().saturating_sub(limit);
    Ok(String::from_utf8_lossy(&text[keep..]).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s5_09_the_end_of_a_log_is_at_most_80_lines_and_2048_bytes() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("0.log");
        let lines: String = (0..5000).map(|n| format!("2026-01-01T00:00:00Z stdout F line {n:04}\n")).collect();
        std::fs::write(&path, lines).expect("written");
        let text = last_lines(&path, 80, 2048).expect("read");
        assert_eq!(text.lines().count(), 80);
        assert!(text.starts_with("line 4920\n") && text.ends_with("line 4999\n"), "{text}");
        let long: String = (0..80).map(|_| format!("2026-01-01T00:00:00Z stdout F {}\n", "x".repeat(99))).collect();
        std::fs::write(&path, long).expect("written");
        assert_eq!(last_lines(&path, 80, 2048).expect("read").len(), 2048);
        std::fs::write(&path, "").expect("written");
        assert_eq!(last_lines(&path, 80, 2048).expect("read"), "");
    }
}
