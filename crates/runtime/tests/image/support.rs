//! What the tests share: stores, archives made by code, archives made by real tools.

use std::{
    collections::BTreeMap,
    fs,
    io::{Read as _, Write as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use runtime::image::{Limits, Store};
use sha2::{Digest as _, Sha256};

/// A directory that goes with the test, and a store in it.
pub(crate) struct Place {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) store: Store,
}

pub(crate) fn place() -> Place {
    place_with(Limits::default())
}

pub(crate) fn place_with(limits: Limits) -> Place {
    assert!(rustix::process::geteuid().is_root(), "these tests set owners and make device nodes: run them as root");
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open_with(&dir.path().join("store"), limits).unwrap();
    Place { dir, store }
}

impl Place {
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        fs::write(self.path(name), bytes).unwrap();
        self.path(name)
    }
}

pub(crate) fn digest(bytes: &[u8]) -> String {
    format!("sha256:{:x}", Sha256::digest(bytes))
}

/// One entry of a tar archive, everything about it free to be wrong.
#[derive(Clone)]
pub(crate) struct Item {
    pub(crate) kind: u8,
    pub(crate) path: Vec<u8>,
    pub(crate) link: Vec<u8>,
    pub(crate) mode: u32,
    pub(crate) owner: (u64, u64),
    pub(crate) mtime: u64,
    pub(crate) content: Vec<u8>,
    pub(crate) pax: Vec<(Vec<u8>, Vec<u8>)>,
}

pub(crate) fn item(kind: u8, path: impl AsRef<[u8]>) -> Item {
    Item {
        kind,
        path: path.as_ref().to_vec(),
        link: Vec::new(),
        mode: 0o644,
        owner: (0, 0),
        mtime: 1_000_000_000,
        content: Vec::new(),
        pax: Vec::new(),
    }
}

pub(crate) fn file(path: &str, content: &str) -> Item {
    Item { content: content.into(), ..item(b'0', path) }
}

pub(crate) fn dir(path: &str) -> Item {
    Item { mode: 0o755, ..item(b'5', path) }
}

pub(crate) fn symlink(path: &str, target: &str) -> Item {
    Item { link: target.into(), ..item(b'2', path) }
}

pub(crate) fn hardlink(path: &str, target: &str) -> Item {
    Item { link: target.into(), ..item(b'1', path) }
}

fn padded(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(bytes);
    out.resize(out.len().next_multiple_of(512), 0);
}

fn header(out: &mut Vec<u8>, item: &Item, size: u64) {
    let mut header = tar::Header::new_gnu();
    let gnu = header.as_gnu_mut().unwrap();
    let name = &item.path[..item.path.len().min(100)];
    gnu.name[..name.len()].copy_from_slice(name);
    let link = &item.link[..item.link.len().min(100)];
    gnu.linkname[..link.len()].copy_from_slice(link);
    gnu.typeflag = [item.kind];
    header.set_mode(item.mode);
    header.set_uid(item.owner.0);
    header.set_gid(item.owner.1);
    header.set_mtime(item.mtime);
    header.set_size(size);
    header.set_cksum();
    out.extend_from_slice(header.as_bytes());
}

fn pax_record(key: &[u8], value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    [length.to_string().as_bytes(), b" ", key, b"=", value, b"\n"].concat()
}

/// Writes a tar archive exactly as told; long names become PAX records.
pub(crate) fn tar(items: &[Item]) -> Vec<u8> {
    let mut out = Vec::new();
    for item in items {
        let mut pax: Vec<u8> = item.pax.iter().flat_map(|(k, v)| pax_record(k, v)).collect();
        if item.path.len() > 100 {
            pax.extend(pax_record(b"path", &item.path));
        }
        if item.link.len() > 100 {
            pax.extend(pax_record(b"linkpath", &item.link));
        }
        if !pax.is_empty() {
            header(&mut out, &self::item(b'x', "pax"), pax.len() as u64);
            padded(&mut out, &pax);
        }
        header(&mut out, item, item.content.len() as u64);
        padded(&mut out, &item.content);
    }
    out.extend_from_slice(&[0; 1024]);
    out
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// An image configuration with these uncompressed layers.
pub(crate) fn config(layers: &[Vec<u8>]) -> Vec<u8> {
    let diff_ids: Vec<String> = layers.iter().map(|layer| digest(layer)).collect();
    let config =
        serde_json::json!({ "os": "linux", "config": {}, "rootfs": { "type": "layers", "diff_ids": diff_ids } });
    config.to_string().into_bytes()
}

/// A `docker save` archive of one image with these layers.
pub(crate) fn docker_archive(name: &str, layers: &[Vec<u8>]) -> Vec<u8> {
    docker_archive_with(name, &config(layers), layers)
}

pub(crate) fn docker_archive_with(name: &str, config: &[u8], layers: &[Vec<u8>]) -> Vec<u8> {
    let members: Vec<String> = (0..layers.len()).map(|i| format!("{i}/layer.tar")).collect();
    let manifest = serde_json::json!([{ "Config": "config.json", "RepoTags": [name], "Layers": members }]);
    let mut items: Vec<Item> =
        members.iter().zip(layers).map(|(m, l)| Item { content: l.clone(), ..item(b'0', m) }).collect();
    items.push(Item { content: config.to_vec(), ..item(b'0', "config.json") });
    items.push(Item { content: manifest.to_string().into(), ..item(b'0', "manifest.json") });
    tar(&items)
}

/// Everything below a directory: path, kind, mode, owner, modification time, content or link target.
pub(crate) fn snapshot(root: &Path) -> BTreeMap<PathBuf, String> {
    let mut all = BTreeMap::new();
    let mut todo = vec![root.to_owned()];
    while let Some(path) = todo.pop() {
        let m = fs::symlink_metadata(&path).unwrap();
        let mut text = format!("{:o} {}:{} {}", m.mode(), m.uid(), m.gid(), m.mtime());
        if m.is_dir() {
            todo.extend(fs::read_dir(&path).unwrap().map(|e| e.unwrap().path()));
            // Reading and locking change no directory; making and removing in it does, harmlessly.
            text = format!("{:o} {}:{}", m.mode(), m.uid(), m.gid());
        } else if m.is_symlink() {
            text += &format!(" -> {}", fs::read_link(&path).unwrap().display());
        } else if m.is_file() {
            let mut bytes = Vec::new();
            fs::File::open(&path).unwrap().read_to_end(&mut bytes).unwrap();
            text += &format!(" {}", digest(&bytes));
        }
        all.insert(path.strip_prefix(root).unwrap().to_owned(), text);
    }
    all
}

/// Runs a tool that the tests depend on and returns what it printed.
pub(crate) fn run(dir: &Path, command: &[&str]) -> String {
    let output = Command::new(command[0])
        .args(&command[1..])
        .current_dir(dir)
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|e| panic!("{} is needed for these tests: {e}", command[0]));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

/// An OCI image layout `layout:NAME` of two layers made by umoci: busybox, then changes to it.
pub(crate) fn umoci_layout(dir: &Path, name: &str) {
    run(dir, &["umoci", "init", "--layout", "layout"]);
    run(dir, &["umoci", "new", "--image", &format!("layout:{name}")]);
    let root = dir.join("root");
    fs::create_dir_all(root.join("bin")).unwrap();
    fs::copy("/bin/busybox", root.join("bin/busybox")).unwrap_or_else(|e| panic!("busybox-static is needed: {e}"));
    std::os::unix::fs::symlink("busybox", root.join("bin/sh")).unwrap();
    fs::create_dir(root.join("etc")).unwrap();
    fs::write(root.join("etc/passwd"), "root:x:0:0::/:/bin/sh\n").unwrap();
    fs::write(root.join("etc/gone"), "deleted by the second layer").unwrap();
    let image = format!("layout:{name}");
    run(dir, &["umoci", "insert", "--image", &image, "root", "/"]);
    run(dir, &["umoci", "insert", "--image", &image, "--whiteout", "/etc/gone"]);
    run(
        dir,
        &[
            "umoci",
            "config",
            "--image",
            &image,
            "--config.entrypoint",
            "/bin/sh",
            "--config.cmd",
            "-c",
            "--config.user",
        ]
        .into_iter()
        .chain(["1000:1000", "--config.env", "A=b", "--config.stopsignal", "SIGUSR1", "--config.label", "l=v"])
        .collect::<Vec<_>>(),
    );
}
