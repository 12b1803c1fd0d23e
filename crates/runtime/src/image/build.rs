//! Images made from code.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{self, Read, Seek as _, SeekFrom},
    path::PathBuf,
};

use cri::ImageInfo;
use serde_json::json;

use super::{
    Error, Store,
    digest::{Digest, HashingWriter},
    document, name,
    name::Platform,
    unpack::Budget,
    work::{NewImage, Work},
};

/// An image to be made: [`Store::add`].
#[derive(Debug, Clone, Default)]
pub struct ImageSpec {
    /// Names it gets, completed as Docker does.
    pub names: Vec<String>,
    /// Layers, the lowest first.
    pub layers: Vec<LayerSource>,
    /// Program and its first arguments.
    pub entrypoint: Vec<String>,
    /// Default arguments.
    pub cmd: Vec<String>,
    /// Environment, as `NAME=value`.
    pub env: Vec<String>,
    /// Directory the program starts in.
    pub working_dir: String,
    /// `[USER[:GROUP]]`, names or numbers.
    pub user: String,
    /// Signal that asks the program to end, `SIGTERM` if not given.
    pub stop_signal: Option<String>,
    /// Ports, as `80/tcp`. For information only.
    pub exposed_ports: Vec<String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Keeps the image from being removed by garbage collection of the node agent.
    pub pinned: bool,
}

/// One layer of an [`ImageSpec`]. The same files always give the same layer.
#[derive(Debug, Clone, Default)]
pub struct LayerSource {
    /// Files in the order in which they are made. Directories without an entry get mode 0755.
    pub files: Vec<LayerFile>,
}

/// A file of a [`LayerSource`]. It belongs to root and dates from the epoch.
#[derive(Debug, Clone)]
pub struct LayerFile {
    /// Path without leading slash.
    pub path: String,
    /// Permissions, set-user-ID bits included. Of no meaning for links.
    pub mode: u32,
    /// What it is.
    pub content: Content,
}

/// What a [`LayerFile`] is.
#[derive(Debug, Clone)]
pub enum Content {
    /// A file with these bytes.
    Bytes(Vec<u8>),
    /// A file with the bytes of this file of the machine.
    File(PathBuf),
    /// A directory.
    Directory,
    /// A symbolic link to this target.
    Symlink(String),
}

impl LayerFile {
    /// An executable copied from this machine.
    pub fn executable(path: impl Into<String>, source: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), mode: 0o755, content: Content::File(source.into()) }
    }
}

impl Store {
    /// Makes an image from code and returns it. Repeated with the same spec it changes nothing.
    ///
    /// # Errors
    /// [`Error::InvalidName`]; [`Error::Io`] when a source file cannot be read; [`Error::Layer`] when a path is not
    /// acceptable in an image.
    pub fn add(&self, spec: &ImageSpec) -> Result<ImageInfo, Error> {
        let tags = spec.names.iter().map(|n| Ok(name::parse(n)?.whole())).collect::<Result<Vec<_>, Error>>()?;
        let work = Work::begin(self)?;
        let budget = Budget::new(self.limits());
        let mut size = 0;
        let mut diffs = Vec::new();
        for layer in &spec.layers {
            let (mut file, diff, bytes) = write_layer(layer, &work)?;
            size += bytes;
            diffs.push(diff);
            if !work.has_layer(diff) {
                file.seek(SeekFrom::Start(0)).map_err(Error::io("reading", work.path("layer.tar")))?;
                work.unpack(file, None, diff, &budget)?;
            }
        }
        let config = config(spec, &diffs).to_string().into_bytes();
        size += config.len() as u64;
        let image = NewImage { config, size, blobs: vec![], tags, repo_digests: vec![], pinned: spec.pinned };
        let images = work.commit(&[image])?;
        images.into_iter().next().ok_or_else(|| document::refuse("image", "was not added"))
    }
}

/// Image configuration (OCI image-spec, config.md).
fn config(spec: &ImageSpec, diffs: &[Digest]) -> serde_json::Value {
    let platform = Platform::host().to_string();
    let (os, architecture) = platform.split_once('/').unwrap_or_default();
    let ports: BTreeMap<&String, serde_json::Value> = spec.exposed_ports.iter().map(|port| (port, json!({}))).collect();
    let mut run = json!({
        "Entrypoint": spec.entrypoint,
        "Cmd": spec.cmd,
        "Env": spec.env,
        "WorkingDir": spec.working_dir,
        "User": spec.user,
        "ExposedPorts": ports,
        "Labels": spec.labels,
    });
    if let (Some(signal), Some(run)) = (&spec.stop_signal, run.as_object_mut()) {
        run.insert("StopSignal".to_owned(), json!(signal));
    }
    json!({
        "os": os,
        "architecture": architecture,
        "config": run,
        "rootfs": { "type": "layers", "diff_ids": diffs },
    })
}

/// Writes a layer as a tar file, so that it takes the same way into the store as every other.
fn write_layer(layer: &LayerSource, work: &Work) -> Result<(File, Digest, u64), Error> {
    let path = work.path("layer.tar");
    let file = File::options().read(true).write(true).create(true).truncate(true).open(&path);
    let writer = HashingWriter::new(file.map_err(Error::io("making", &path))?);
    let mut archive = tar::Builder::new(io::BufWriter::with_capacity(128 << 10, writer));
    let mut seen = BTreeSet::new();
    for file in &layer.files {
        if !seen.insert(&file.path) {
            return Err(document::refuse(&file.path, "is in the layer twice"));
        }
        append(&mut archive, file)?;
    }
    let finish = || archive.into_inner()?.into_inner().map_err(io::IntoInnerError::into_error);
    Ok(finish().map_err(Error::io("writing", path))?.finish())
}

fn append(archive: &mut tar::Builder<impl io::Write>, file: &LayerFile) -> Result<(), Error> {
    let mut header = tar::Header::new_gnu();
    header.set_mode(file.mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    let mut add = |kind, size, content: &mut dyn Read| {
        header.set_entry_type(kind);
        header.set_size(size);
        archive.append_data(&mut header, &file.path, content).map_err(Error::io("adding", &file.path))
    };
    match &file.content {
        Content::Bytes(bytes) => add(tar::EntryType::Regular, bytes.len() as u64, &mut bytes.as_slice()),
        Content::Directory => add(tar::EntryType::Directory, 0, &mut io::empty()),
        Content::File(source) => {
            let open = || {
                let content = File::open(source)?;
                let size = content.metadata()?.len();
                Ok((content, size))
            };
            let (content, size) = open().map_err(Error::io("opening", source))?;
            // The size is in front of the content: a file that is just growing must not spoil what follows.
            add(tar::EntryType::Regular, size, &mut content.take(size))
        }
        Content::Symlink(target) => {
            header.set_entry_type(tar::EntryType::Symlink);
            header.set_size(0);
            archive.append_link(&mut header, &file.path, target).map_err(Error::io("adding", &file.path))
        }
    }
}
