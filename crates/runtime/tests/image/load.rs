//! Archives of real tools, and what an image is after loading.

use std::{
    fs,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _},
    path::Path,
};

use cri::{ImageInfo, ImageUser, Removal};
use runtime::image::{Content, Error, ImageSpec, LayerFile, LayerSource, Store};

use crate::support::{
    Item, config, digest, dir, docker_archive, docker_archive_with, file, gzip, hardlink, item, place, run, snapshot,
    symlink, tar, umoci_layout,
};

fn check_umoci_image(store: &Store, image: &ImageInfo) {
    assert_eq!((&image.entrypoint[..], &image.cmd[..]), (&["/bin/sh".to_owned()][..], &["-c".to_owned()][..]));
    assert_eq!((&image.user, image.stop_signal.as_deref()), (&ImageUser::Uid(1000), Some("SIGUSR1")));
    assert!(image.env.contains(&"A=b".to_owned()));
    assert_eq!(image.labels.get("l").map(String::as_str), Some("v"));
    let rootfs = store.rootfs(&image.id).unwrap();
    assert_eq!(rootfs.user, "1000:1000");
    let [upper, lower] = rootfs.layers.as_slice() else { panic!("{rootfs:?}") };
    assert_eq!(fs::read(lower.join("bin/busybox")).unwrap(), fs::read("/bin/busybox").unwrap());
    assert_eq!(fs::read_link(lower.join("bin/sh")).unwrap(), Path::new("busybox"));
    let whiteout = fs::symlink_metadata(upper.join("etc/gone")).unwrap();
    assert!(whiteout.file_type().is_char_device() && whiteout.rdev() == 0, "{whiteout:?}");
}

#[test]
fn archives_of_skopeo_and_umoci_in_every_format_give_the_same_image() {
    let source = place();
    let dir = source.dir.path();
    umoci_layout(dir, "v1");
    let name = "example.test/box:v1";
    for (to, more) in [
        (format!("docker-archive:docker.tar:{name}"), &[][..]),
        (format!("oci-archive:oci.tar:{name}"), &[]),
        (format!("oci:dir:{name}"), &[]),
        (format!("oci:zstd:{name}"), &["--dest-compress-format", "zstd", "--dest-compress"]),
    ] {
        run(dir, &[&["skopeo", "copy", "--insecure-policy"], more, &["oci:layout:v1", &to]].concat());
    }
    fs::write(dir.join("docker.tar.gz"), gzip(&fs::read(dir.join("docker.tar")).unwrap())).unwrap();
    let zstd = run(
        dir,
        &["jq", "-r", ".layers[0].mediaType"].into_iter().chain([zstd_manifest(dir).as_str()]).collect::<Vec<_>>(),
    );
    assert!(zstd.contains("zstd"), "skopeo did not compress as asked: {zstd}");

    let mut trees = Vec::new();
    for archive in ["docker.tar", "docker.tar.gz", "oci.tar", "dir", "zstd"] {
        let place = place();
        let images = place.store.load(&dir.join(archive)).unwrap_or_else(|e| panic!("{archive}: {e:?}"));
        let [image] = images.as_slice() else { panic!("{archive}: {images:?}") };
        assert_eq!(image.repo_tags, [name], "{archive}");
        assert_eq!(place.store.status(name).unwrap().as_ref(), Some(image));
        check_umoci_image(&place.store, image);
        if archive == "oci.tar" || archive == "dir" {
            let by_digest = &image.repo_digests[0];
            assert_eq!(place.store.status(by_digest).unwrap().as_ref(), Some(image), "{by_digest}");
        }
        let layers = place.store.rootfs(&image.id).unwrap().layers;
        trees.push(layers.iter().map(|l| snapshot(l)).collect::<Vec<_>>());
    }
    assert!(trees.windows(2).all(|pair| pair[0] == pair[1]));
}

fn zstd_manifest(dir: &Path) -> String {
    let index = fs::read_to_string(dir.join("zstd/index.json")).unwrap();
    let index: serde_json::Value = serde_json::from_str(&index).unwrap();
    let hex = index["manifests"][0]["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap().to_owned();
    dir.join("zstd/blobs/sha256").join(hex).display().to_string()
}

#[test]
fn an_image_whose_archive_has_only_a_tag_is_listed_by_id_or_named_by_the_caller() {
    let place = place();
    umoci_layout(place.dir.path(), "v1");
    let images = place.store.load(&place.path("layout")).unwrap();
    assert_eq!(images[0].repo_tags, [] as [&str; 0]);
    assert_eq!(place.store.list().unwrap(), images);
    assert_eq!(place.store.status(&images[0].id).unwrap().as_ref(), Some(&images[0]));
    let named = place.store.load_named(&place.path("layout"), "box").unwrap();
    assert_eq!(named.repo_tags, ["docker.io/library/box:latest"]);
    assert_eq!(named.id, images[0].id);
}

#[test]
fn files_keep_modes_owners_times_links_and_attributes() {
    let place = place();
    let xattr = |name: &str, value: &[u8]| (format!("SCHILY.xattr.{name}").into_bytes(), value.to_vec());
    // VFS_CAP_REVISION_2 with CAP_NET_BIND_SERVICE, permitted and effective.
    let capability = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let long = format!("{}/{}", "d".repeat(120), "f".repeat(200));
    let layer = tar(&[
        Item { mode: 0o750, mtime: 86_400, ..dir("./") },
        Item { mode: 0o1777, mtime: 7, ..dir("tmp/") },
        Item { mode: 0o4755, owner: (12, 3_000_000_000), ..file("su", "x") },
        Item { pax: vec![xattr("security.capability", &capability), xattr("user.k", b"v")], ..file("cap", "y") },
        Item { pax: vec![xattr("trusted.overlay.redirect", b"/etc")], ..file("tmp/sly", "z") },
        Item { pax: vec![(b"mtime".to_vec(), b"5.25".to_vec())], ..file("time", "t") },
        hardlink("hard", "su"),
        Item { owner: (5, 6), ..symlink("soft", "/etc/passwd") },
        Item { mode: 0o622, ..item(b'6', "fifo") },
        file(&long, "long"),
        file("twice", "first"),
        file("twice", "second"),
    ]);
    let archive = place.write("a.tar", &docker_archive("meta", &[layer]));
    let image = place.store.load(&archive).unwrap().remove(0);
    let root = place.store.rootfs(&image.id).unwrap().layers.remove(0);
    let meta = |name: &str| fs::symlink_metadata(root.join(name)).unwrap();
    assert_eq!((meta("").mode() & 0o7777, meta("").mtime()), (0o750, 86_400));
    assert_eq!((meta("tmp").mode() & 0o7777, meta("tmp").mtime()), (0o1777, 7));
    let su = meta("su");
    assert_eq!((su.mode() & 0o7777, su.uid(), su.gid(), su.mtime()), (0o4755, 12, 3_000_000_000, 1_000_000_000));
    assert_eq!((meta("hard").ino(), su.nlink()), (su.ino(), 2));
    let get = |name: &str, attribute: &str| {
        let mut value = [0; 64];
        rustix::fs::getxattr(root.join(name), attribute, &mut value[..]).map(|n| value[..n].to_vec())
    };
    assert_eq!(get("cap", "security.capability").unwrap(), capability);
    assert_eq!(get("cap", "user.k").unwrap(), b"v");
    assert!(get("tmp/sly", "trusted.overlay.redirect").is_err(), "an archive must not steer overlayfs");
    assert_eq!((meta("time").mtime(), meta("time").mtime_nsec()), (5, 250_000_000));
    assert_eq!((meta("soft").uid(), meta("soft").gid()), (5, 6));
    assert!(meta("fifo").file_type().is_fifo() && meta("fifo").permissions().mode() & 0o777 == 0o622);
    assert_eq!(fs::read_to_string(root.join(&long)).unwrap(), "long");
    assert_eq!(fs::read_to_string(root.join("twice")).unwrap(), "second");
}

#[test]
fn whiteouts_become_those_of_overlayfs_and_hide_only_lower_layers() {
    let place = place();
    let lower = tar(&[dir("a/"), file("a/old", "1"), file("b", "2"), dir("c/"), file("c/old", "3"), file("keep", "4")]);
    let upper = tar(&[
        dir("a/"),
        file("a/.wh..wh..opq", ""),
        file("a/new", "5"),
        file(".wh.b", ""),
        // A directory made anew, with the whiteout before and after its entry.
        file(".wh.c", ""),
        dir("c/"),
        file("c/new", "6"),
        file(".wh.keep", ""),
        file("keep", "7"),
        file(".wh..wh.plnk", "AUFS"),
    ]);
    let archive = place.write("a.tar", &docker_archive("white", &[lower, upper]));
    let image = place.store.load(&archive).unwrap().remove(0);
    let layers = place.store.rootfs(&image.id).unwrap().layers;
    let merged = mounted(place.dir.path(), &layers);
    let names: Vec<_> = merged.keys().filter_map(|p| p.to_str()).collect();
    assert_eq!(names, ["", "a", "a/new", "c", "c/new", "keep"]);
    assert!(merged[Path::new("keep")].ends_with(&digest(b"7")));
}

/// What the layers look like through overlayfs, mounted where nobody else sees it.
fn mounted(dir: &Path, layers: &[std::path::PathBuf]) -> std::collections::BTreeMap<std::path::PathBuf, String> {
    let lower: Vec<_> = layers.iter().map(|l| l.display().to_string()).collect();
    let (mount, copy) = (dir.join("mount"), dir.join("copy"));
    fs::create_dir(&mount).unwrap();
    let script = format!(
        "mount -t overlay -o lowerdir={} overlay {mount} && cp -a {mount} {copy}",
        lower.join(":"),
        mount = mount.display(),
        copy = copy.display()
    );
    run(dir, &["unshare", "-m", "sh", "-c", &script]);
    snapshot(&copy)
}

#[test]
fn an_opaque_root_ends_the_layers_and_a_layer_that_occurs_twice_is_stacked_once() {
    let place = place();
    let (a, b, c) = (tar(&[file("a", "1")]), tar(&[file("b", "2")]), tar(&[file(".wh..wh..opq", ""), file("c", "3")]));
    let load = |name: &str, layers: &[Vec<u8>]| {
        let archive = place.write("a.tar", &docker_archive(name, layers));
        let image = place.store.load(&archive).unwrap().remove(0);
        let layers = place.store.rootfs(&image.id).unwrap().layers;
        mounted(tempfile::tempdir().unwrap().path(), &layers)
            .into_keys()
            .filter_map(|p| p.to_str().map(str::to_owned))
            .collect::<Vec<_>>()
    };
    assert_eq!(load("twice", &[a.clone(), b.clone(), a.clone()]), ["", "a", "b"]);
    assert_eq!(load("opaque", &[a, c, b]), ["", "b", "c"]);
}

#[test]
fn layers_are_shared_and_go_with_the_last_image_or_lease() {
    let place = place();
    let (base, one, two) = (tar(&[file("base", "0")]), tar(&[file("one", "1")]), tar(&[file("two", "2")]));
    let load = |name: &str, layer: &Vec<u8>| {
        let archive = place.write("a.tar", &docker_archive(name, &[base.clone(), layer.clone()]));
        place.store.load(&archive).unwrap().remove(0)
    };
    let (first, second) = (load("one", &one), load("two", &two));
    let layers = || fs::read_dir(place.store.dir().join("layers")).unwrap().count();
    let blobs = || fs::read_dir(place.store.dir().join("blobs/sha256")).unwrap().count();
    assert_eq!((layers(), blobs()), (3, 2));
    let rootfs = place.store.lease(&first.id, "container-1").unwrap();
    place.store.remove("one").unwrap();
    assert_eq!(place.store.status(&first.id).unwrap(), None);
    assert_eq!((layers(), blobs()), (3, 1), "a lease keeps layers");
    Store::open(place.store.dir()).unwrap();
    assert!(rootfs.layers.iter().all(|l| l.is_dir()), "also over a restart");
    place.store.release("container-1").unwrap();
    place.store.release("container-1").unwrap();
    assert_eq!(layers(), 2, "the image under no lease stays");
    place.store.lease("two", "container-2").unwrap();
    place.store.remove(&second.id).unwrap();
    place.store.retain_leases(|owner| owner != "container-2").unwrap();
    assert_eq!((layers(), blobs()), (0, 0));
    place.store.remove("two").unwrap();
    let missing = place.store.rootfs("two").unwrap_err();
    assert_eq!(missing, cri::Error::NotFound { kind: cri::ObjectKind::Image, id: "two".to_owned() });
    for owner in ["", "../x", ".x", "a/b", &"x".repeat(201)] {
        assert!(matches!(place.store.lease("two", owner), Err(cri::Error::InvalidArgument { .. })), "{owner}");
    }
}

#[test]
fn a_tag_moves_to_the_image_loaded_last_and_the_other_stays_by_id() {
    let place = place();
    let load = |content: &str| {
        let archive = place.write("a.tar", &docker_archive("app:v1", &[tar(&[file("f", content)])]));
        place.store.load(&archive).unwrap().remove(0)
    };
    let (old, new) = (load("old"), load("new"));
    assert_eq!(place.store.status("app:v1").unwrap().unwrap().id, new.id);
    assert_eq!(place.store.status(&old.id).unwrap().unwrap().repo_tags, [] as [&str; 0]);
    place.store.remove(&old.id[7..20]).unwrap();
    assert_eq!(place.store.list().unwrap(), [new]);
}

#[test]
fn names_that_are_none_are_refused_everywhere() {
    let place = place();
    for name in ["", "A/B", "x y", "busybox@sha256:1"] {
        let invalid = |r: cri::Error| matches!(r, cri::Error::InvalidImageName { image, .. } if image == name);
        assert!(invalid(place.store.status(name).unwrap_err()), "{name}");
        assert!(invalid(place.store.remove(name).unwrap_err()), "{name}");
        assert!(invalid(place.store.rootfs(name).unwrap_err()), "{name}");
    }
}

#[test]
fn an_image_made_from_code_is_the_same_each_time() {
    let place = place();
    let spec = ImageSpec {
        names: vec!["podrig.dev/demo:1".to_owned()],
        layers: vec![LayerSource {
            files: vec![
                LayerFile::executable("bin/busybox", "/bin/busybox"),
                LayerFile { path: "etc".to_owned(), mode: 0o700, content: Content::Directory },
                LayerFile { path: "etc/hosts".to_owned(), mode: 0o600, content: Content::Bytes(b"h".to_vec()) },
                LayerFile { path: "sh".to_owned(), mode: 0, content: Content::Symlink("/bin/busybox".to_owned()) },
            ],
        }],
        entrypoint: vec!["/bin/busybox".to_owned()],
        env: vec!["PATH=/bin".to_owned()],
        stop_signal: Some("SIGINT".to_owned()),
        exposed_ports: vec!["80/tcp".to_owned()],
        pinned: true,
        ..ImageSpec::default()
    };
    let image = place.store.add(&spec).unwrap();
    assert_eq!(place.store.add(&spec).unwrap(), image);
    assert_eq!(image.repo_tags, ["podrig.dev/demo:1"]);
    assert_eq!((image.stop_signal.as_deref(), image.pinned), (Some("SIGINT"), true));
    let root = place.store.rootfs("podrig.dev/demo:1").unwrap().layers.remove(0);
    assert_eq!(run(place.dir.path(), &[root.join("bin/busybox").to_str().unwrap(), "echo", "works"]), "works\n");
    assert_eq!(fs::metadata(root.join("etc")).unwrap().mode() & 0o7777, 0o700);
    assert_eq!(fs::read_link(root.join("sh")).unwrap(), Path::new("/bin/busybox"));
}

#[test]
fn s4_56_only_images_that_nobody_uses_or_has_loaded_are_unused_the_oldest_first() {
    let place = place();
    let image = |name: &str, pinned: bool| {
        let files = vec![LayerFile { path: name.to_owned(), mode: 0, content: Content::Directory }];
        let spec = ImageSpec {
            names: vec![name.to_owned()],
            layers: vec![LayerSource { files }],
            pinned,
            ..ImageSpec::default()
        };
        place.store.add(&spec).unwrap().id
    };
    let (kept, a, b) = (image("kept", true), image("a", false), image("b", false));
    let unused = || place.store.unused().unwrap().into_iter().map(|image| image.id).collect::<Vec<_>>();
    assert_eq!(unused(), [a.clone(), b.clone()]);
    place.store.lease("a", "container").unwrap();
    assert_eq!(unused(), std::slice::from_ref(&b));
    assert_eq!(place.store.remove_unused(&a).unwrap(), Removal::Used, "it has come into use");
    assert_eq!(place.store.remove_unused(&kept).unwrap(), Removal::Used, "it was loaded");
    place.store.release("container").unwrap();
    assert_eq!(unused(), [b.clone(), a], "it was used later than the other");
    let layer = place.store.rootfs(&b).unwrap().layers.remove(0);
    let work = fs::File::open(place.store.dir().join("use.lock")).unwrap();
    work.lock_shared().unwrap();
    assert_eq!(place.store.remove_unused(&b).unwrap(), Removal::Busy);
    assert_eq!(unused().len(), 2, "it is listed still");
    place.store.remove(&b).unwrap();
    assert_eq!((unused().len(), layer.exists()), (1, true), "a pull may count on it");
    drop(work);
    assert_eq!((unused().len(), layer.exists()), (1, false), "what was left goes later");
    let b = image("b", false);
    assert_eq!(place.store.remove_unused(&b).unwrap(), Removal::Removed);
    assert_eq!(place.store.remove_unused(&b).unwrap(), Removal::Used, "it is gone");
    assert_eq!(place.store.list().unwrap().len(), 2);
}

#[test]
fn archives_of_other_machines_and_contradictory_ones_are_refused() {
    let place = place();
    let layer = tar(&[file("f", "x")]);
    let refused = |bytes: &[u8]| place.store.load(&place.write("a.tar", bytes)).unwrap_err();
    let other = String::from_utf8(config(std::slice::from_ref(&layer)))
        .unwrap()
        .replace("\"os\"", "\"architecture\":\"z80\",\"os\"");
    assert!(matches!(
        refused(&docker_archive_with("a", other.as_bytes(), std::slice::from_ref(&layer))),
        Error::Platform { .. }
    ));
    let fewer = config(&[]);
    assert!(matches!(refused(&docker_archive_with("a", &fewer, std::slice::from_ref(&layer))), Error::Document { .. }));
    let wrong = config(&[tar(&[file("f", "y")])]);
    assert!(matches!(refused(&docker_archive_with("a", &wrong, std::slice::from_ref(&layer))), Error::Digest { .. }));
    assert!(matches!(refused(&docker_archive("Not A Name", std::slice::from_ref(&layer))), Error::InvalidName { .. }));
    assert!(matches!(refused(&tar(&[file("readme", "")])), Error::UnknownFormat { .. }));
    assert!(matches!(refused(b"plain text"), Error::UnknownFormat { .. } | Error::Io { .. }));
    assert!(matches!(refused(&[b'x'; 4096]), Error::UnknownFormat { .. }));
    let cut = docker_archive("a", &[layer]);
    assert!(place.store.load(&place.write("a.tar", &cut[..1500])).is_err());
    assert_eq!(place.store.list().unwrap(), []);
}
