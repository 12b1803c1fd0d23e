//! Archives that try to do what they must not. Each is refused, and nothing on disk differs afterwards.

use std::{fs, path::Path};

use runtime::image::{Error, Limits, Refusal, UnpackError};

use crate::support::{
    Item, Place, dir, docker_archive, file, gzip, hardlink, item, place, place_with, snapshot, symlink, tar,
};

/// Loads an archive that has to be refused; nothing may change but the archive itself.
fn refused(place: &Place, layers: &[Vec<u8>]) -> Error {
    let outside = place.path("outside");
    if !outside.exists() {
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("victim"), "untouched").unwrap();
    }
    let archive = place.write("a.tar", &docker_archive("hostile", layers));
    let before = snapshot(place.dir.path());
    let error = place.store.load(&archive).expect_err("must be refused");
    let after = snapshot(place.dir.path());
    assert_eq!(before, after);
    error
}

#[test]
fn entries_that_lead_out_or_are_no_files_are_refused_and_leave_nothing() {
    let place = place();
    let outside = place.path("outside");
    let out = |name: &str| format!("{}/{name}", outside.display());
    let up = format!("{}{}", "../".repeat(30), out("evil").trim_start_matches('/'));
    let deep = "d/".repeat(300);
    let component = "n".repeat(256);
    let long = "long/".repeat(900);
    let cases: Vec<(&str, Vec<Item>, Refusal)> = vec![
        ("absolute path", vec![file(&out("evil"), "x")], Refusal::Absolute),
        ("absolute directory", vec![dir(&out(""))], Refusal::Absolute),
        ("parent path", vec![file(&up, "x")], Refusal::Parent),
        ("parent in the middle", vec![dir("a/"), file("a/../../evil", "x")], Refusal::Parent),
        ("parent only", vec![dir("..")], Refusal::Parent),
        ("no name", vec![file("", "x")], Refusal::NotAName),
        ("root as a file", vec![file("./", "x")], Refusal::NotAName),
        ("through an absolute link", vec![symlink("l", &out("")), file("l/evil", "x")], Refusal::LeadsOut),
        ("through a climbing link", vec![dir("a/"), symlink("a/l", "../.."), file("a/l/evil", "x")], Refusal::LeadsOut),
        (
            "through a chain of links",
            vec![symlink("one", ".."), symlink("two", "one/.."), file("two/evil", "x")],
            Refusal::LeadsOut,
        ),
        ("through a loop", vec![symlink("l", "l"), file("l/x", "x")], Refusal::LeadsOut),
        ("through /proc", vec![symlink("l", "/proc/self/cwd"), file("l/evil", "x")], Refusal::LeadsOut),
        ("directories made through a link", vec![symlink("l", &out("")), dir("l/a/b/")], Refusal::LeadsOut),
        (
            "directory made through a dangling link",
            vec![symlink("l", "gone"), file("l/a", "x")],
            Refusal::NotADirectory,
        ),
        ("whiteout through a link", vec![symlink("l", &out("")), file("l/.wh.victim", "")], Refusal::LeadsOut),
        ("opaque through a link", vec![symlink("l", &out("")), file("l/.wh..wh..opq", "")], Refusal::LeadsOut),
        ("whiteout of the parent", vec![file(".wh...", "")], Refusal::NotAName),
        ("whiteout of itself", vec![file(".wh..", "")], Refusal::NotAName),
        ("whiteout of nothing", vec![file(".wh.", "")], Refusal::NotAName),
        ("hard link out", vec![hardlink("h", &up)], Refusal::Parent),
        ("absolute hard link", vec![hardlink("h", &out("victim"))], Refusal::Absolute),
        ("hard link through a link", vec![symlink("l", &out("")), hardlink("h", "l/victim")], Refusal::LeadsOut),
        ("hard link to nothing", vec![hardlink("h", "none")], Refusal::LinkTarget),
        ("hard link to a directory", vec![dir("d/"), hardlink("h", "d")], Refusal::LinkTarget),
        ("hard link to the root", vec![hardlink("h", ".")], Refusal::LinkTarget),
        ("hard link to a whiteout", vec![file(".wh.w", ""), hardlink("h", "w")], Refusal::LinkTarget),
        ("file over a filled directory", vec![file("d/f", "x"), file("d", "x")], Refusal::NotADirectory),
        ("below a file", vec![file("f", "x"), file("f/g", "x")], Refusal::NotADirectory),
        ("character device", vec![item(b'3', "null")], Refusal::Device),
        ("block device", vec![item(b'4', "sda")], Refusal::Device),
        ("unknown type", vec![item(b'Z', "z")], Refusal::Kind(b'Z')),
        ("too deep", vec![dir(&deep)], Refusal::TooDeep),
        ("name too long", vec![file(&component, "x")], Refusal::TooLong),
        ("path too long", vec![file(&long, "x")], Refusal::TooLong),
        ("owner out of range", vec![Item { owner: (1 << 32, 0), ..file("f", "x") }], Refusal::Owner),
        ("owner nobody can be", vec![Item { owner: (0, u64::from(u32::MAX)), ..file("f", "x") }], Refusal::Owner),
        (
            "NUL in the path",
            vec![Item { pax: vec![(b"path".to_vec(), b"a\0b".to_vec())], ..file("f", "x") }],
            Refusal::NotAName,
        ),
    ];
    for (what, items, expected) in cases {
        let error = refused(&place, &[tar(&items)]);
        let Error::Layer { source: UnpackError::Refused { reason, .. }, .. } = error else {
            panic!("{what}: {error:?}")
        };
        assert_eq!(reason, expected, "{what}");
    }
    assert_eq!(fs::read_to_string(outside.join("victim")).unwrap(), "untouched");
}

#[test]
fn an_earlier_link_is_replaced_and_not_written_through() {
    let place = place();
    let victim = place.write("victim", b"untouched");
    let link = victim.display().to_string();
    let layer = tar(&[
        symlink("f", &link),
        file("f", "mine"),
        symlink("d", &link),
        dir("d/"),
        symlink("x", "f"),
        hardlink("h", "x"),
    ]);
    let image = place.store.load(&place.write("a.tar", &docker_archive("a", &[layer]))).unwrap().remove(0);
    let root = place.store.rootfs(&image.id).unwrap().layers.remove(0);
    assert_eq!(fs::read_to_string(&victim).unwrap(), "untouched");
    assert_eq!(fs::read_to_string(root.join("f")).unwrap(), "mine");
    assert!(fs::symlink_metadata(root.join("d")).unwrap().is_dir());
    assert_eq!(fs::read_link(root.join("h")).unwrap(), Path::new("f"), "a hard link to a link is one to the link");
}

#[test]
fn links_that_stay_inside_are_followed_as_directories() {
    let place = place();
    let layer =
        tar(&[dir("usr/"), dir("usr/lib/"), symlink("lib", "usr/lib"), file("lib/x", "1"), hardlink("y", "lib/x")]);
    let image = place.store.load(&place.write("a.tar", &docker_archive("a", &[layer]))).unwrap().remove(0);
    let root = place.store.rootfs(&image.id).unwrap().layers.remove(0);
    assert_eq!(fs::read_to_string(root.join("usr/lib/x")).unwrap(), "1");
    assert_eq!(fs::read_to_string(root.join("y")).unwrap(), "1");
}

#[test]
fn bombs_are_refused_and_leave_nothing() {
    let small = Limits {
        unpacked_bytes: 1 << 20,
        entries: 20,
        layers: 3,
        extended_header_bytes: 4096,
        document_bytes: 4096,
        ..Limits::default()
    };
    let place = place_with(small);
    let zeros = tar(&[Item { content: vec![0; 3 << 20], ..item(b'0', "zeros") }]);
    let archive = place.write("b.tar.gz", &gzip(&docker_archive("bomb", &[zeros])));
    assert!(archive.metadata().unwrap().len() < 1 << 16);
    let before = snapshot(place.dir.path());
    assert!(place.store.load(&archive).unwrap_err().to_string().contains("decompressing"));
    assert_eq!(snapshot(place.dir.path()), before);

    let many: Vec<Item> = (0..30).map(|i| file(&i.to_string(), "")).collect();
    assert!(matches!(
        refused(&place, &[tar(&many)]),
        Error::Layer { source: UnpackError::TooManyEntries { limit: 20 }, .. }
    ));
    let half: Vec<Item> = (0..15).map(|i| file(&i.to_string(), "a")).collect();
    let other: Vec<Item> = (0..15).map(|i| file(&i.to_string(), "b")).collect();
    let both = refused(&place, &[tar(&half), tar(&other)]);
    assert!(matches!(both, Error::Layer { source: UnpackError::TooManyEntries { .. }, .. }), "layers share the limit");
    let layers: Vec<Vec<u8>> = (0..4).map(|i| tar(&[file("f", &i.to_string())])).collect();
    assert!(matches!(refused(&place, &layers), Error::Document { .. }));
    let huge = tar(&[Item { pax: vec![(b"comment".to_vec(), vec![b'x'; 8192])], ..file("f", "x") }]);
    assert!(matches!(refused(&place, &[huge]), Error::Layer { source: UnpackError::Read(_), .. }));
}

#[test]
fn a_compressed_layer_that_unpacks_too_far_is_refused() {
    let place = place_with(Limits { unpacked_bytes: 1 << 20, ..Limits::default() });
    let zeros = tar(&[Item { content: vec![0; 3 << 20], ..item(b'0', "zeros") }]);
    // Also when the excess comes after the end of the archive, where no entry tells of it.
    let tail = [tar(&[file("f", "x")]), vec![0; 3 << 20]].concat();
    for layer in [zeros, tail] {
        let config = crate::support::config(std::slice::from_ref(&layer));
        let archive = crate::support::docker_archive_with("a", &config, &[gzip(&layer)]);
        let path = place.write("a.tar", &archive);
        let before = snapshot(place.dir.path());
        let Error::Layer { source, .. } = place.store.load(&path).unwrap_err() else { panic!() };
        assert!(format!("{source:?}").contains("unpacks to more than 1048576 bytes"), "{source:?}");
        assert_eq!(snapshot(place.dir.path()), before);
    }
}

#[test]
fn damaged_layers_are_refused_and_leave_nothing() {
    let place = place();
    let whole = tar(&[file("a", "1"), file("b", "22222")]);
    let mut bad_sum = whole.clone();
    bad_sum[1024] = b'z';
    let sparse = tar(&[item(b'S', "s")]);
    let pax_sparse = tar(&[Item { pax: vec![(b"GNU.sparse.major".to_vec(), b"1".to_vec())], ..file("s", "x") }]);
    for layer in [whole[..1400].to_vec(), whole[..1538].to_vec(), bad_sum, sparse, pax_sparse, b"no tar".repeat(200)] {
        let error = refused(&place, &[layer]);
        assert!(matches!(error, Error::Layer { source: UnpackError::Read(_), .. }), "{error:?}");
    }
}
