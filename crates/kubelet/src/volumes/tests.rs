//! Every volume kind against real directories.

use std::{
    fs,
    net::IpAddr,
    os::unix::fs::{MetadataExt as _, symlink},
};

use serde_json::{Value, json};

use super::*;

/// A pod with the given volumes, and directories for it.
struct Fixture {
    _root: tempfile::TempDir,
    pod: Pod,
    paths: PodPaths,
    objects: Objects,
}

impl Fixture {
    fn new(volumes: Value) -> Self {
        let root = tempfile::tempdir().expect("a directory");
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "p", "namespace": "ns", "uid": "u", "labels": {"app": "web"}},
            "spec": {"containers": [{"name": "c", "image": "i", "resources": {"limits": {"cpu": "500m"}}}],
                "volumes": volumes}
        }))
        .expect("a pod");
        let dir = |name: &str| root.path().join(name);
        let options = crate::Options::new("node1", dir("root"), dir("run"), dir("logs"));
        let paths = PodPaths::new(&options, &pod);
        make_directories(&paths).expect("made");
        let config = json!({"data": {"a": "1", "b": "2"}, "binaryData": {"raw": "/w=="}});
        let secret = json!({"data": {"pw": "aHVudGVy"}});
        let objects = Objects {
            config_maps: [("cm".to_owned(), serde_json::from_value(config).expect("a map"))].into(),
            secrets: [("s".to_owned(), serde_json::from_value(secret).expect("a secret"))].into(),
            ..Objects::default()
        };
        Self { _root: root, pod, paths, objects }
    }

    /// Makes the volumes; the error is what is wrong with the first that cannot be made.
    fn prepare(&self, group: Option<u32>) -> Result<(), String> {
        self.prepare_all(group).into_iter().next().map_or(Ok(()), Err)
    }

    fn prepare_all(&self, group: Option<u32>) -> Vec<String> {
        let allocatable = BTreeMap::new();
        let facts =
            Facts { pod: &self.pod, host_ips: &[], pod_ips: &[IpAddr::from([10, 0, 0, 7])], allocatable: &allocatable };
        let volumes = Volumes { paths: &self.paths, facts: &facts, group, user: None };
        volumes.prepare(&self.objects).iter().map(ToString::to_string).collect()
    }

    fn dir(&self, name: &str) -> PathBuf {
        match &locate(&self.paths, &self.pod)[name].source {
            VolumeSource::Host(dir) | VolumeSource::Memory(dir) => dir.clone(),
            VolumeSource::Image(reference) => PathBuf::from(reference),
        }
    }

    /// Lists what a container sees: `path=content`, sorted.
    fn seen(&self, name: &str) -> Vec<String> {
        let dir = self.dir(name);
        let mut out = Vec::new();
        collect(&dir, &dir, &mut out);
        out.sort();
        out
    }
}

fn collect(root: &Path, dir: &Path, out: &mut Vec<String>) {
    for entry in fs::read_dir(dir).expect("listed") {
        let path = entry.expect("an entry").path();
        let name = path.strip_prefix(root).expect("below").display().to_string();
        if name.starts_with("..") {
            continue;
        }
        if path.is_dir() {
            collect(root, &path, out);
        } else {
            out.push(format!("{name}={}", String::from_utf8_lossy(&fs::read(&path).expect("read"))));
        }
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("metadata").mode() & 0o7777
}

#[test]
fn s11_04_s11_06_config_maps_and_secrets_become_files() {
    let f = Fixture::new(json!([
        {"name": "all", "configMap": {"name": "cm"}},
        {"name": "some", "configMap": {"name": "cm", "defaultMode": 0o400,
            "items": [{"key": "a", "path": "deep/er/x"}, {"key": "b", "path": "y", "mode": 0o755}]}},
        {"name": "pw", "secret": {"secretName": "s", "defaultMode": 0o600}},
    ]));
    f.prepare(None).expect("prepared");
    assert_eq!(f.seen("all"), ["a=1", "b=2", "raw=\u{fffd}"]);
    assert_eq!(f.seen("some"), ["deep/er/x=1", "y=2"]);
    assert_eq!(f.seen("pw"), ["pw=hunter"]);
    assert_eq!(mode(&f.dir("all").join("a")), 0o644);
    assert_eq!(mode(&f.dir("some").join("deep/er/x")), 0o400);
    assert_eq!(mode(&f.dir("some").join("y")), 0o755);
    assert_eq!(mode(&f.dir("pw").join("pw")), 0o600);
    assert!(f.dir("pw").starts_with(&f.paths.run), "s11_06: secrets lie in memory");
}

#[test]
fn s11_04_s12_13_missing_objects_and_keys_are_named_unless_optional() {
    let config = |name: &str, key: &str, optional: bool| json!([{"name": "v", "configMap": {"name": name, "optional": optional, "items": [{"key": key, "path": "x"}]}}]);
    let secret = |name: &str, key: &str, optional: bool| json!([{"name": "v", "secret": {"secretName": name, "optional": optional, "items": [{"key": key, "path": "x"}]}}]);
    let failing = [
        (config("nope", "a", false), "configmap \"nope\" not found"),
        (config("cm", "zzz", false), "configmap references non-existent config key: zzz"),
        (secret("nope", "a", false), "secret \"nope\" not found"),
        (secret("s", "zzz", false), "references non-existent secret key: zzz"),
    ];
    for (volumes, cause) in failing {
        let want = format!("MountVolume.SetUp failed for volume \"v\" : {cause}");
        assert_eq!(Fixture::new(volumes.clone()).prepare(None), Err(want), "{volumes}");
    }
    let three = Fixture::new(json!([
        {"name": "one", "configMap": {"name": "nope"}},
        {"name": "two", "configMap": {"name": "cm"}},
        {"name": "three", "secret": {"secretName": "none"}},
    ]));
    let each = ["\"one\" : configmap \"nope\" not found", "\"three\" : secret \"none\" not found"];
    assert_eq!(three.prepare_all(None), each.map(|what| format!("MountVolume.SetUp failed for volume {what}")));
    assert_eq!(three.seen("two"), ["a=1", "b=2", "raw=\u{fffd}"], "the others are made");
    for volumes in [config("nope", "a", true), config("cm", "zzz", true), secret("nope", "a", true)] {
        let f = Fixture::new(volumes);
        f.prepare(None).expect("optional");
        assert_eq!(f.seen("v"), [""; 0]);
    }
}

#[test]
fn s11_07_s11_11_downward_api_and_projected_volumes_combine() {
    let f = Fixture::new(json!([
        {"name": "down", "downwardAPI": {"items": [
            {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}},
            {"path": "cpu", "resourceFieldRef": {"containerName": "c", "resource": "limits.cpu", "divisor": "1m"}}]}},
        {"name": "all", "projected": {"defaultMode": 0o440, "sources": [
            {"configMap": {"name": "cm", "items": [{"key": "a", "path": "conf/a"}]}},
            {"secret": {"name": "s"}},
            {"downwardAPI": {"items": [{"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}]}}]}},
    ]));
    f.prepare(None).expect("prepared");
    assert_eq!(f.seen("down"), ["cpu=500", "labels=app=\"web\""]);
    assert_eq!(f.seen("all"), ["conf/a=1", "name=p", "pw=hunter"]);
    assert_eq!(mode(&f.dir("all").join("pw")), 0o440);
}

#[test]
fn s11_05_an_update_swaps_everything_at_once_and_drops_old_keys() {
    let mut f = Fixture::new(json!([{"name": "v", "configMap": {"name": "cm"}}]));
    f.prepare(None).expect("prepared");
    let data = f.dir("v").join("..data");
    let before = fs::read_link(&data).expect("a link");
    f.prepare(None).expect("prepared");
    assert_eq!(fs::read_link(&data).expect("a link"), before, "nothing changed, nothing written");

    let open = fs::File::open(f.dir("v").join("a")).expect("open");
    let changed = json!({"data": {"a": "new", "c": "3"}});
    f.objects.config_maps.insert("cm".to_owned(), serde_json::from_value(changed).expect("a map"));
    f.prepare(None).expect("prepared");
    assert_ne!(fs::read_link(&data).expect("a link"), before);
    assert_eq!(f.seen("v"), ["a=new", "c=3"]);
    assert!(!f.dir("v").join(&before).exists(), "the old version is removed");
    assert_eq!(open.metadata().expect("still open").len(), 1);
}

#[test]
fn s11_02_s11_03_s11_25_empty_dirs_are_made_once_world_writable_and_owned_by_the_group() {
    let f = Fixture::new(json!([{"name": "plain", "emptyDir": {}}, {"name": "bare"},
        {"name": "mem", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}]));
    f.prepare(None).expect("prepared");
    assert_eq!(mode(&f.dir("plain")), 0o777);
    assert_eq!(mode(&f.dir("bare")), 0o777);
    fs::write(f.dir("plain").join("marker"), "x").expect("written");
    f.prepare(None).expect("prepared again");
    assert_eq!(f.seen("plain"), ["marker=x"], "content survives");
    let memory = memory_volumes(&f.paths, &f.pod, Some(7));
    assert_eq!(memory.len(), 1);
    assert_eq!((memory[0].size_bytes, memory[0].mode, memory[0].gid), (Some(1 << 20), 0o2777, Some(7)));
    assert!(memory[0].path.is_dir(), "the sandbox mounts over an existing directory");

    let grouped = Fixture::new(json!([{"name": "v", "emptyDir": {}}, {"name": "cm", "configMap": {"name": "cm"}}]));
    grouped.prepare(Some(1234)).expect("prepared; needs root");
    assert_eq!(mode(&grouped.dir("v")), 0o2777);
    let file = fs::metadata(grouped.dir("cm").join("a")).expect("metadata");
    assert_eq!((fs::metadata(grouped.dir("v")).expect("metadata").gid(), file.gid()), (1234, 1234));
    assert_eq!(file.mode() & 0o777, 0o644);
}

#[test]
fn unsupported_volumes_say_so() {
    let claim = Fixture::new(json!([{"name": "v", "persistentVolumeClaim": {"claimName": "x"}}]));
    let text = claim.prepare(None).expect_err("unsupported");
    assert!(text.starts_with("MountVolume.SetUp failed for volume \"v\" : "), "{text}");
}

#[test]
fn removal_follows_no_link_that_a_container_planted() {
    let outside = tempfile::tempdir().expect("a directory");
    fs::write(outside.path().join("precious"), "x").expect("written");
    let f = Fixture::new(json!([{"name": "v", "emptyDir": {}}]));
    f.prepare(None).expect("prepared");
    symlink(outside.path(), f.dir("v").join("link")).expect("linked");
    fs::create_dir(f.dir("v").join("d")).expect("made");
    symlink(outside.path().join("precious"), f.dir("v").join("d/file")).expect("linked");
    remove_directories(&f.paths).expect("removed");
    assert!(!f.paths.root.exists() && !f.paths.run.exists());
    assert!(outside.path().join("precious").exists());
    remove_directories(&f.paths).expect("removing twice is fine");
}

#[test]
fn tokens_are_for_their_volume_and_only_for_the_user_who_needs_them() {
    let volume = json!([{"name": "v", "projected": {"defaultMode": 420, "sources": [
        {"serviceAccountToken": {"path": "token", "expirationSeconds": 3607}}]}}]);
    let mut f = Fixture::new(volume);
    let text = f.prepare(None).expect_err("nobody asked for it");
    assert!(text.starts_with("MountVolume.SetUp failed for volume \"v\" : "), "{text}");
    let spec = references(&f.pod).tokens.pop_first().expect("a token");
    f.objects.tokens.insert(spec.clone(), Err("failed to fetch token: no".to_owned()));
    assert_eq!(
        f.prepare(None),
        Err("MountVolume.SetUp failed for volume \"v\" : failed to fetch token: no".to_owned())
    );
    f.objects.tokens.insert(spec.clone(), Ok("one".to_owned()));
    f.prepare(None).expect("prepared");
    assert_eq!(f.seen("v"), ["token=one"]);
    assert_eq!(mode(&f.dir("v").join("token")), 0o644);
    f.objects.tokens.insert(spec, Ok("two".to_owned()));
    f.prepare(Some(1234)).expect("prepared; needs root");
    let file = fs::metadata(f.dir("v").join("token")).expect("metadata");
    assert_eq!((f.seen("v"), file.mode() & 0o777, file.gid()), (vec!["token=two".to_owned()], 0o640, 1234));
}
