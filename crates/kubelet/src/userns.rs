//! Ids of pods with users of their own (`hostUsers: false`; pkg/kubelet/userns/userns_manager.go).
//!
//! Each such pod has a range of ids of the host. It is written into the pod's directory, as by a kubelet, and beside that
//! into one index that all nodes on the machine share: two of them are not to give away the same ids. An entry of the
//! index holds as long as the pod's file is there, so nothing needs to be given back, whatever was killed when.

use std::{
    collections::BTreeMap,
    fs::{self, DirBuilder, File},
    io::{self, Write as _},
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use cri::{IdMapping, UserNamespace};
use k8s_openapi::api::core::v1::Pod;
use serde::{Deserialize, Serialize};

use crate::{Options, names::pod_uid, paths::PodPaths};

/// Ids of a pod, and what ranges begin at a multiple of (`idsPerPod` of a kubelet's configuration, its default).
const LENGTH: u32 = 65_536;
/// The host's own ids are the first range. The last one has an id that the kernel reserves.
const RANGES: std::ops::Range<u32> = 1..u32::MAX / LENGTH;
/// File in a pod's directory (`mappingsFile`).
const POD_FILE: &str = "userns";
/// File in the machine's directory: first ids of ranges, and the files of the pods that have them.
const INDEX: &str = "ranges.json";

/// Which pods have which ranges: the number of the range, and the pod's file.
type Index = BTreeMap<u32, PathBuf>;

/// A pod's file, as a kubelet writes it.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Mappings {
    #[serde(rename = "uidMappings")]
    users: Vec<Mapping>,
    #[serde(rename = "gidMappings")]
    groups: Vec<Mapping>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Mapping {
    host_id: u32,
    container_id: u32,
    length: u32,
}

/// Returns the user namespace of a pod, the same one as long as its directory is there; `None`: it has the host's users.
///
/// # Errors
/// The text of a `FailedCreatePodSandBox` event.
pub(crate) async fn of_pod(options: &Options, paths: &PodPaths, pod: &Pod) -> Result<Option<UserNamespace>, String> {
    if pod.spec.as_ref().and_then(|spec| spec.host_users) != Some(false) {
        return Ok(None);
    }
    let (dir, file, uid) = (options.host_ids_dir.clone(), paths.root.join(POD_FILE), pod_uid(pod).to_owned());
    let obtained = tokio::task::spawn_blocking(move || obtain(&dir, &file, &uid)).await;
    let range = obtained.map_err(|error| format!("create user namespace: {error}"))??;
    let ids = vec![IdMapping { host_id: range * LENGTH, container_id: 0, length: LENGTH }];
    Ok(Some(UserNamespace { uids: ids.clone(), gids: ids }))
}

/// Forgets, in the directory that all nodes on a machine share, the ranges of pods that are gone; removes it when there
/// are no others.
///
/// # Errors
/// When something cannot be read, written or removed.
pub fn release_host_ids(dir: &Path) -> io::Result<()> {
    if !dir.exists() {
        return Ok(());
    }
    let _lock = lock(dir)?;
    let mut index = load(dir)?;
    forget_gone(&mut index);
    if index.is_empty() { fs::remove_dir_all(dir) } else { save(&dir.join(INDEX), &index) }
}

fn obtain(dir: &Path, file: &Path, uid: &str) -> Result<u32, String> {
    let failed = |error: io::Error| format!("create user namespace: {error}");
    let _lock = lock(dir).map_err(failed)?;
    let mut index = load(dir).map_err(failed)?;
    let written = read_range(file).map_err(|error| format!("user namespace: {error}"))?;
    if let Some(range) = written.filter(|range| index.get(range).is_some_and(|owner| owner == file)) {
        return Ok(range);
    }
    forget_gone(&mut index);
    if let Some(range) = written {
        match index.get(&range) {
            // After a restart of the machine the index is gone.
            None => {
                index.insert(range, file.to_owned());
                save(&dir.join(INDEX), &index).map_err(failed)?;
                return Ok(range);
            }
            // Somebody was quicker then. Nothing of this pod runs, and no file on a disk knows its range.
            Some(_) => tracing::info!(uid, range, "the pod's range of ids was given to another pod meanwhile"),
        }
    }
    let range =
        first_free(&index).ok_or("create user namespace: could not find an empty slot to allocate a user namespace")?;
    index.insert(range, file.to_owned());
    save(&dir.join(INDEX), &index).map_err(failed)?;
    let mapping = vec![Mapping { host_id: range * LENGTH, container_id: 0, length: LENGTH }];
    save(file, &Mappings { users: mapping.clone(), groups: mapping }).map_err(failed)?;
    Ok(range)
}

fn first_free(index: &Index) -> Option<u32> {
    RANGES
        .zip(index.keys().map(Some).chain(std::iter::repeat(None)))
        .find(|(range, taken)| *taken != Some(range))
        .map(|(range, _)| range)
}

fn lock(dir: &Path) -> io::Result<File> {
    loop {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        let path = dir.join("lock");
        let file = match File::options().create(true).truncate(false).write(true).open(&path) {
            // It was removed this moment.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            other => other?,
        };
        file.lock()?;
        let same = fs::metadata(&path).is_ok_and(|found| same_file(&found, &file));
        if same {
            return Ok(file);
        }
    }
}

fn same_file(found: &fs::Metadata, file: &File) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    file.metadata().is_ok_and(|own| (own.dev(), own.ino()) == (found.dev(), found.ino()))
}

fn load(dir: &Path) -> io::Result<Index> {
    match fs::read(dir.join(INDEX)) {
        Ok(text) => Ok(serde_json::from_slice(&text)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Index::new()),
        Err(error) => Err(error),
    }
}

/// Takes away what no pod has any more. A file that cannot be read may be of a pod that runs.
fn forget_gone(index: &mut Index) {
    index.retain(|range, file| read_range(file).map_or(true, |written| written == Some(*range)));
}

/// Reads the range of a pod; `None`: it has none yet.
fn read_range(file: &Path) -> io::Result<Option<u32>> {
    let text = match fs::read(file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let invalid = |why: &str| io::Error::other(format!("invalid user namespace mappings file: {why}"));
    let mappings: Mappings = serde_json::from_slice(&text).map_err(|e| invalid(&e.to_string()))?;
    match mappings.users.as_slice() {
        [Mapping { host_id, container_id: 0, length: LENGTH }]
            if mappings.users == mappings.groups && host_id % LENGTH == 0 && RANGES.contains(&(host_id / LENGTH)) =>
        {
            Ok(Some(host_id / LENGTH))
        }
        _ => Err(invalid("it is not one range for users and groups")),
    }
}

/// Writes a file as a whole or not at all, whatever is cut off.
fn save(path: &Path, content: &impl Serialize) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut file = File::create(&new)?;
    file.write_all(&serde_json::to_vec(content)?)?;
    file.sync_all()?;
    fs::rename(new, path)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    struct Machine(tempfile::TempDir);

    impl Machine {
        fn new() -> Self {
            Self(tempfile::tempdir().expect("a directory"))
        }

        fn dir(&self) -> PathBuf {
            self.0.path().join("ids")
        }

        fn file(&self, pod: &str) -> PathBuf {
            let dir = self.0.path().join(pod);
            fs::create_dir_all(&dir).expect("made");
            dir.join(POD_FILE)
        }

        fn range(&self, pod: &str) -> Result<u32, String> {
            obtain(&self.dir(), &self.file(pod), pod)
        }
    }

    #[test]
    fn a_pod_keeps_its_range_and_no_other_gets_it() {
        let machine = Machine::new();
        assert_eq!([machine.range("a"), machine.range("b"), machine.range("a")], [Ok(1), Ok(2), Ok(1)]);
        fs::remove_dir_all(machine.0.path().join("a")).expect("removed");
        assert_eq!([machine.range("c"), machine.range("d")], [Ok(1), Ok(3)], "what is free is used again");
        let written: serde_json::Value =
            serde_json::from_slice(&fs::read(machine.file("b")).expect("read")).expect("parsed");
        let ids = json!([{"hostId": 131_072, "containerId": 0, "length": 65_536}]);
        assert_eq!(written, json!({"uidMappings": ids, "gidMappings": ids}), "as a kubelet writes it");
    }

    #[test]
    fn a_range_of_which_only_the_index_knows_is_free() {
        let machine = Machine::new();
        assert_eq!(machine.range("a"), Ok(1));
        // Killed between its two writes.
        fs::remove_file(machine.file("a")).expect("removed");
        assert_eq!(machine.range("b"), Ok(1));
        assert_eq!(machine.range("a"), Ok(2));
    }

    #[test]
    fn after_a_restart_of_the_machine_files_of_pods_count_unless_others_were_quicker() {
        let machine = Machine::new();
        assert_eq!([machine.range("a"), machine.range("b")], [Ok(1), Ok(2)]);
        fs::remove_dir_all(machine.dir()).expect("removed");
        assert_eq!(machine.range("b"), Ok(2));
        assert_eq!([machine.range("c"), machine.range("a")], [Ok(1), Ok(3)]);
    }

    #[test]
    fn when_all_ranges_are_taken_the_error_is_a_kubelets() {
        let all: Index = RANGES.map(|range| (range, PathBuf::new())).collect();
        assert_eq!((all.len(), first_free(&all)), (65_534, None));
        let mut most = all;
        most.remove(&65_534);
        assert_eq!(first_free(&most), Some(65_534));
        most.remove(&7);
        assert_eq!(first_free(&most), Some(7));
    }

    #[test]
    fn a_damaged_file_is_an_error_and_keeps_nobody_else_out() {
        let machine = Machine::new();
        fs::write(machine.file("a"), "{").expect("written");
        let error = machine.range("a").expect_err("refused");
        assert!(error.starts_with("user namespace: invalid user namespace mappings file: "), "{error}");
        assert_eq!(machine.range("b"), Ok(1));
    }

    #[test]
    fn a_range_stays_taken_while_the_file_of_its_pod_cannot_be_read() {
        let machine = Machine::new();
        assert_eq!(machine.range("a"), Ok(1));
        fs::write(machine.file("a"), "{").expect("written");
        assert_eq!(machine.range("b"), Ok(2));
        fs::remove_file(machine.file("a")).expect("removed");
        assert_eq!(machine.range("c"), Ok(1));
    }

    #[test]
    fn a_directory_without_ranges_is_removed() {
        let machine = Machine::new();
        release_host_ids(&machine.dir()).expect("nothing to do");
        assert_eq!([machine.range("a"), machine.range("b")], [Ok(1), Ok(2)]);
        fs::remove_file(machine.file("a")).expect("removed");
        release_host_ids(&machine.dir()).expect("one is left");
        assert_eq!(machine.range("b"), Ok(2));
        fs::remove_file(machine.file("b")).expect("removed");
        release_host_ids(&machine.dir()).expect("none is left");
        assert!(!machine.dir().exists());
    }
}
