//! Reads one log file as a stream, and goes on as it grows. Growth and rotation are heard of by inotify; nothing is
//! polled.

use std::{
    io::{self, SeekFrom},
    mem::MaybeUninit,
    os::{fd::OwnedFd, unix::fs::MetadataExt as _},
    path::{Path, PathBuf},
    pin::Pin,
};

use bytes::Bytes;
use futures::Stream;
use jiff::Timestamp;
use rustix::fs::inotify;
use tokio::{
    fs::File,
    io::{AsyncReadExt as _, AsyncSeekExt as _, unix::AsyncFd},
};

use super::{LogOptions, line, tail};

/// Bytes read at a time.
const CHUNK: usize = 64 * 1024;
/// Longest line that is kept in memory while its end is awaited; runtimes write at most 16 KiB a line.
const MAX_LINE: usize = 1024 * 1024;
/// Files looked for beside the newest one, and rotations that may happen meanwhile; runtimes keep five files.
const ROTATIONS: u32 = 8;

/// Streams a log file.
///
/// With `follow` the stream goes on, through rotation, until `ended` is ready and everything written before has been
/// read; a file that is not there yet is waited for. Without, it ends at the end of the file, and a missing file is an
/// error.
pub fn read(
    path: PathBuf,
    options: LogOptions,
    ended: impl Future<Output = ()> + Send + 'static,
) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    let reader = Reader::new(path, options, Box::pin(ended));
    futures::stream::try_unfold(
        reader,
        |mut reader| async move { Ok(reader.next().await?.map(|bytes| (bytes, reader))) },
    )
}

struct Reader {
    path: PathBuf,
    format: Format,
    follow: bool,
    tail_lines: Option<u64>,
    remaining: Option<u64>,
    ended: Pin<Box<dyn Future<Output = ()> + Send>>,
    /// The container has ended: what is in the file now is all.
    last_pass: bool,
    watch: Option<Watch>,
    file: Option<File>,
    /// The beginning of a line whose end is not there yet.
    rest: Vec<u8>,
}

impl Reader {
    fn new(path: PathBuf, options: LogOptions, ended: Pin<Box<dyn Future<Output = ()> + Send>>) -> Self {
        Self {
            path,
            format: Format { timestamps: options.timestamps, since: options.since, continues: false },
            follow: options.follow,
            tail_lines: options.tail_lines,
            remaining: options.limit_bytes,
            ended,
            last_pass: false,
            watch: None,
            file: None,
            rest: Vec::new(),
        }
    }

    /// Returns the next piece; `None`: the log is at its end.
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        if self.remaining == Some(0) {
            return Ok(None);
        }
        if self.follow && self.watch.is_none() {
            // Before the first look at the file, so that nothing happens unheard of in between.
            self.watch = Some(Watch::new(&self.path)?);
        }
        loop {
            if self.file.is_none() && !self.open().await? {
                if self.last_pass {
                    return Ok(None);
                }
                self.wait().await?;
                continue;
            }
            let read = self.fill().await?;
            if let Some(bytes) = self.take_lines() {
                return Ok(Some(bytes));
            }
            if read > 0 || self.follow_rotation().await? {
                continue;
            }
            if !self.follow || self.last_pass {
                return Ok(None);
            }
            self.wait().await?;
        }
    }

    /// Opens the file where reading is to begin; `false`: it is not there yet.
    async fn open(&mut self) -> io::Result<bool> {
        match std::fs::File::open(&self.path) {
            Ok(mut file) => {
                let start = match self.tail_lines.take() {
                    Some(count) => tail::offset_of_last_lines(&mut file, usize::try_from(count).unwrap_or(usize::MAX))?,
                    None => 0,
                };
                let mut file = File::from_std(file);
                file.seek(SeekFrom::Start(start)).await?;
                self.file = Some(file);
                Ok(true)
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound && self.follow => Ok(false),
            Err(e) => Err(e),
        }
    }

    async fn fill(&mut self) -> io::Result<usize> {
        let Some(file) = &mut self.file else { return Ok(0) };
        let before = self.rest.len();
        self.rest.resize(before + CHUNK, 0);
        let read = file.read(&mut self.rest[before..]).await;
        self.rest.truncate(before + *read.as_ref().unwrap_or(&0));
        if self.rest.len() > MAX_LINE && !self.rest.contains(&b'\n') {
            self.rest.clear();
        }
        read
    }

    /// Formats the complete lines at hand.
    fn take_lines(&mut self) -> Option<Bytes> {
        let end = self.rest.iter().rposition(|b| *b == b'\n')? + 1;
        let mut out = Vec::with_capacity(end);
        for line in self.rest[..end].split(|b| *b == b'\n') {
            self.format.append(&mut out, line);
        }
        self.rest.drain(..end);
        if let Some(remaining) = &mut self.remaining {
            out.truncate(usize::try_from(*remaining).unwrap_or(usize::MAX));
            *remaining -= u64::try_from(out.len()).unwrap_or(0);
        }
        (!out.is_empty()).then(|| Bytes::from(out))
    }

    /// Goes on with the next file if the present one, read to its end, was renamed away.
    async fn follow_rotation(&mut self) -> io::Result<bool> {
        let Some(file) = self.file.as_ref().filter(|_| self.follow) else { return Ok(false) };
        let own = file.metadata().await?.ino();
        match tokio::fs::metadata(&self.path).await {
            Ok(meta) if meta.ino() != own => {
                // The writer may have added lines between our last read and the rename.
                if self.fill().await? == 0 {
                    self.file = Some(File::from_std(successor(&self.path, own)?));
                    self.rest.clear();
                }
                Ok(true)
            }
            Ok(_) => Ok(false),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// Waits until the directory changes or the container has ended.
    async fn wait(&mut self) -> io::Result<()> {
        let Some(watch) = &self.watch else {
            self.last_pass = true;
            return Ok(());
        };
        tokio::select! {
            result = watch.changed() => result,
            () = &mut self.ended => {
                self.last_pass = true;
                Ok(())
            }
        }
    }
}

/// Opens the file that was begun after the one with this inode, which was rotated away. The writer may be more than one
/// file ahead; then what was not dropped yet is read in order. After one that was dropped comes the oldest that is left.
fn successor(path: &Path, inode: u64) -> io::Result<std::fs::File> {
    let name = |n: u32| if n == 0 { path.to_owned() } else { PathBuf::from(format!("{}.{n}", path.display())) };
    for _ in 0..ROTATIONS {
        // A file that is renamed meanwhile is seen twice, or in its later place; none is missed.
        let inode_of = |path: &PathBuf| std::fs::metadata(path).ok().map(|meta| meta.ino());
        let files: Vec<_> = (0..=ROTATIONS).map(name).filter_map(|path| Some((inode_of(&path)?, path))).collect();
        let own = files.iter().position(|file| file.0 == inode).unwrap_or(files.len());
        let Some((next, path)) = own.checked_sub(1).and_then(|at| files.get(at)) else { break };
        if let Ok(file) = std::fs::File::open(path)
            && file.metadata()?.ino() == *next
        {
            return Ok(file);
        }
    }
    std::fs::File::open(path)
}

/// Turns lines of the file into what is shown.
struct Format {
    timestamps: bool,
    since: Option<Timestamp>,
    /// The last line was only a part; the next one goes on with it.
    continues: bool,
}

impl Format {
    fn append(&mut self, out: &mut Vec<u8>, line: &[u8]) {
        let Some(line) = line::parse(line) else { return };
        if let Some(since) = self.since {
            match line.time.parse::<Timestamp>() {
                Ok(time) if time >= since => self.since = None,
                Ok(_) | Err(_) => return,
            }
        }
        if self.timestamps && !self.continues {
            out.extend_from_slice(line.time.as_bytes());
            out.push(b' ');
        }
        out.extend_from_slice(line.text);
        if !line.partial {
            out.push(b'\n');
        }
        self.continues = line.partial;
    }
}

/// Hears of changes in the directory of a log file.
struct Watch(AsyncFd<OwnedFd>);

impl Watch {
    #[expect(
        deprecated,
        reason = "its replacement is an unsafe function; an OwnedFd that nobody else can reach keeps what that one asks for"
    )]
    fn new(path: &Path) -> io::Result<Self> {
        let dir = path.parent().unwrap_or_else(|| Path::new("."));
        let fd = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
        let events = inotify::WatchFlags::MODIFY
            | inotify::WatchFlags::CREATE
            | inotify::WatchFlags::MOVED_TO
            | inotify::WatchFlags::MOVED_FROM;
        // The runtime makes it with the container; it is made here if someone follows before that.
        std::fs::create_dir_all(dir)?;
        inotify::add_watch(&fd, dir, events)?;
        Ok(Self(AsyncFd::new(fd)?))
    }

    /// Waits for a change and forgets all that are known by now.
    async fn changed(&self) -> io::Result<()> {
        let mut guard = self.0.readable().await?;
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(self.0.get_ref(), &mut buffer);
        loop {
            match reader.next() {
                Ok(_) => {}
                Err(rustix::io::Errno::AGAIN) => {
                    guard.clear_ready();
                    return Ok(());
                }
                Err(e) => return Err(e.into()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Write as _, time::Duration};

    use futures::StreamExt as _;
    use tokio::sync::oneshot;

    use super::*;

    fn line(second: u32, text: &str) -> String {
        format!("2026-01-01T00:00:{second:02}.000000000Z stdout F {text}\n")
    }

    async fn all(path: &Path, options: LogOptions) -> String {
        let mut stream = std::pin::pin!(read(path.to_path_buf(), options, async {}));
        let mut text = String::new();
        while let Some(piece) = stream.next().await {
            text.push_str(std::str::from_utf8(&piece.expect("read")).expect("text"));
        }
        text
    }

    #[tokio::test]
    async fn s11_26_options_choose_lines() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("0.log");
        let partial = "2026-01-01T00:00:03.000000000Z stderr P half-\n";
        let content = format!("{}{}{partial}{}", line(1, "one"), line(2, "two"), line(4, "whole"));
        fs::write(&path, content).expect("written");
        let o = LogOptions::default;
        assert_eq!(all(&path, o()).await, "one\ntwo\nhalf-whole\n");
        assert_eq!(all(&path, LogOptions { tail_lines: Some(1), ..o() }).await, "whole\n");
        assert_eq!(all(&path, LogOptions { tail_lines: Some(3), ..o() }).await, "two\nhalf-whole\n");
        assert_eq!(all(&path, LogOptions { tail_lines: Some(0), ..o() }).await, "");
        assert_eq!(all(&path, LogOptions { tail_lines: Some(99), ..o() }).await, "one\ntwo\nhalf-whole\n");
        assert_eq!(all(&path, LogOptions { limit_bytes: Some(5), ..o() }).await, "one\nt");
        let since = Some("2026-01-01T00:00:02Z".parse().expect("a time"));
        assert_eq!(all(&path, LogOptions { since, ..o() }).await, "two\nhalf-whole\n");
        let stamped = all(&path, LogOptions { timestamps: true, tail_lines: Some(2), ..o() }).await;
        assert_eq!(stamped, "2026-01-01T00:00:03.000000000Z half-whole\n");
    }

    #[tokio::test]
    async fn a_missing_log_is_an_error_unless_it_is_followed() {
        let dir = tempfile::tempdir().expect("a directory");
        let missing = dir.path().join("none/0.log");
        let mut stream = std::pin::pin!(read(missing.clone(), LogOptions::default(), async {}));
        assert!(matches!(stream.next().await, Some(Err(e)) if e.kind() == io::ErrorKind::NotFound));
        assert_eq!(all(&missing, LogOptions { follow: true, ..LogOptions::default() }).await, "");
    }

    #[tokio::test]
    async fn s11_26_a_follower_that_is_files_behind_reads_them_in_order() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("0.log");
        let options = LogOptions { follow: true, ..LogOptions::default() };
        fs::write(&path, line(0, "0")).expect("written");
        let mut stream = std::pin::pin!(read(path.clone(), options, async {}));
        let first = stream.next().await.expect("a piece").expect("read");
        assert_eq!(first, "0\n");
        let rotate_and_write = |n: u32| {
            let name = |n: u32| if n == 0 { path.clone() } else { dir.path().join(format!("0.log.{n}")) };
            (0..3).rev().for_each(|n| drop(fs::rename(name(n), name(n + 1))));
            fs::write(&path, line(n, &n.to_string())).expect("written");
        };
        (1..=3).for_each(rotate_and_write);
        let second = stream.next().await.expect("a piece").expect("read");
        assert_eq!(second, "1\n", "the file after the first, which is the third from the newest");
        (4..=7).for_each(rotate_and_write);
        let rest: Vec<_> = stream.map(|piece| piece.expect("read")).collect().await;
        assert_eq!(rest.concat(), b"4\n5\n6\n7\n", "what was dropped is passed over");
    }

    #[tokio::test]
    async fn s11_26_following_goes_through_rotation_to_the_end() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("0.log");
        let (end, ended) = oneshot::channel::<()>();
        let options = LogOptions { follow: true, ..LogOptions::default() };
        let mut stream = std::pin::pin!(read(path.clone(), options, async move { drop(ended.await) }));
        let mut next = async || {
            let piece = tokio::time::timeout(Duration::from_secs(10), stream.next()).await.expect("in time");
            piece.map(|p| String::from_utf8(p.expect("read").to_vec()).expect("text"))
        };
        let append = |text: &str| {
            let mut file = fs::OpenOptions::new().append(true).create(true).open(&path).expect("opened");
            file.write_all(text.as_bytes()).expect("written");
        };
        append(&line(1, "one"));
        assert_eq!(next().await.as_deref(), Some("one\n"));
        append("2026-01-01T00:00:02.000000000Z stdo");
        append("ut F two\n");
        assert_eq!(next().await.as_deref(), Some("two\n"));
        fs::rename(&path, dir.path().join("0.log.1")).expect("renamed");
        append(&line(3, "three"));
        assert_eq!(next().await.as_deref(), Some("three\n"));
        append(&line(4, "four"));
        end.send(()).expect("sent");
        assert_eq!(next().await.as_deref(), Some("four\n"));
        assert_eq!(next().await, None);
    }
}
