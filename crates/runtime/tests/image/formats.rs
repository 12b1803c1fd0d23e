//! OCI layouts of every shape, made by code.

use std::{fs, io::Write as _, process::Command, process::Stdio, thread};

use runtime::image::Error;
use serde_json::{Value, json};

use crate::support::{Item, config, digest, file, gzip, item, place, symlink, tar};

/// An OCI image layout being made.
#[derive(Default)]
struct Layout(Vec<Item>);

impl Layout {
    fn blob(&mut self, bytes: &[u8]) -> Value {
        let path = format!("blobs/sha256/{}", &digest(bytes)[7..]);
        self.0.push(Item { content: bytes.to_vec(), ..item(b'0', path) });
        json!({ "digest": digest(bytes), "size": bytes.len() })
    }

    /// An image with one file of this name.
    fn image(&mut self, name: &str) -> Value {
        let layers = [tar(&[file(name, "")])];
        let config = self.blob(&config(&layers));
        let layers = [self.blob(&gzip(&layers[0]))];
        self.blob(json!({ "schemaVersion": 2, "config": config, "layers": layers }).to_string().as_bytes())
    }

    fn index(&mut self, entries: &[Value]) -> Value {
        self.blob(json!({ "schemaVersion": 2, "manifests": entries }).to_string().as_bytes())
    }

    fn archive(&self, entries: &[Value], more: &[Item]) -> Vec<u8> {
        let mut items = self.0.clone();
        items.push(file("oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#));
        items.push(file("index.json", &json!({ "manifests": entries }).to_string()));
        items.extend_from_slice(more);
        tar(&items)
    }
}

fn with(mut descriptor: Value, key: &str, value: Value) -> Value {
    descriptor[key] = value;
    descriptor
}

fn linux(descriptor: Value) -> Value {
    with(descriptor, "platform", json!({ "os": "linux" }))
}

fn foreign(descriptor: Value) -> Value {
    with(descriptor, "platform", json!({ "os": "linux", "architecture": "z80" }))
}

fn named(descriptor: Value, name: &str) -> Value {
    with(
        descriptor,
        "annotations",
        json!({ "io.containerd.image.name": name, "org.opencontainers.image.ref.name": "v1" }),
    )
}

#[test]
fn nested_indexes_lead_to_the_image_for_this_machine_past_attestations_and_missing_platforms() {
    let place = place();
    let mut layout = Layout::default();
    let ours = layout.image("ours");
    let attestation = layout.image("attestation");
    let entries = [
        foreign(json!({ "digest": digest(b"not in the archive"), "size": 1 })),
        with(attestation.clone(), "annotations", json!({ "vnd.docker.reference.type": "attestation-manifest" })),
        with(attestation, "platform", json!({ "os": "unknown", "architecture": "unknown" })),
        // Fits, but the archive was made without it.
        linux(json!({ "digest": digest(b"not there either"), "size": 1 })),
        linux(ours),
    ];
    let inner = layout.index(&entries);
    let outer = layout.index(&[inner]);
    let archive = place.write("a.tar", &layout.archive(&[named(outer.clone(), "example.test/app:v1")], &[]));
    let image = place.store.load(&archive).unwrap().remove(0);
    assert_eq!(image.repo_tags, ["example.test/app:v1"]);
    assert_eq!(image.repo_digests, [format!("example.test/app@{}", outer["digest"].as_str().unwrap())]);
    assert!(place.store.rootfs(&image.id).unwrap().layers[0].join("ours").exists());

    let mut deep = layout.index(&[outer]);
    for _ in 0..5 {
        deep = layout.index(&[deep]);
    }
    let error = place.store.load(&place.write("b.tar", &layout.archive(&[deep], &[]))).unwrap_err();
    assert!(error.to_string().contains("nested"), "{error}");
}

#[test]
fn several_images_in_one_archive_are_all_loaded_and_those_of_other_machines_left_out() {
    let place = place();
    let mut layout = Layout::default();
    let (one, two, other) = (layout.image("one"), layout.image("two"), layout.image("other"));
    let entries = [
        named(one.clone(), "example.test/one:v1"),
        named(one, "example.test/also:v1"),
        two,
        foreign(other.clone()),
        // One name for two platforms.
        named(foreign(other.clone()), "example.test/three:v1"),
        named(linux(layout.image("three")), "example.test/three:v1"),
    ];
    let images = place.store.load(&place.write("a.tar", &layout.archive(&entries, &[]))).unwrap();
    let mut tags: Vec<_> = images.iter().map(|image| image.repo_tags.clone()).collect();
    tags.sort();
    assert_eq!(tags, [vec![], vec!["example.test/also:v1", "example.test/one:v1"], vec!["example.test/three:v1"]]);
    let error = place.store.load_named(&place.path("a.tar"), "app").unwrap_err();
    assert!(error.to_string().contains("holds 3 images"), "{error}");
    let only = place.write("b.tar", &layout.archive(&[foreign(other)], &[]));
    let Error::Platform { found, .. } = place.store.load(&only).unwrap_err() else { panic!() };
    assert_eq!(found, "linux/z80");
}

#[test]
fn an_archive_in_both_formats_has_the_names_of_both() {
    let place = place();
    let mut layout = Layout::default();
    let image = layout.image("f");
    let config = &digest(&config(&[tar(&[file("f", "")])]))[7..];
    let docker = json!([{ "Config": format!("blobs/sha256/{config}"), "RepoTags": ["app:a", "app:b"], "Layers": [] }]);
    let more = [file("manifest.json", &docker.to_string())];
    let images = place.store.load(&place.write("a.tar", &layout.archive(&[image], &more))).unwrap();
    assert_eq!(images[0].repo_tags, ["docker.io/library/app:a", "docker.io/library/app:b"]);
}

#[test]
fn a_layer_that_docker_wrote_as_a_link_is_found() {
    let place = place();
    let layer = tar(&[file("f", "x")]);
    let manifest = json!([{ "Config": "c.json", "RepoTags": null, "Layers": ["a/layer.tar", "b/layer.tar"] }]);
    let archive = tar(&[
        Item { content: layer.clone(), ..item(b'0', "a/layer.tar") },
        symlink("b/layer.tar", "../a/layer.tar"),
        Item { content: config(&[layer.clone(), layer]), ..item(b'0', "c.json") },
        file("manifest.json", &manifest.to_string()),
    ]);
    let image = place.store.load(&place.write("a.tar", &archive)).unwrap().remove(0);
    assert_eq!(place.store.rootfs(&image.id).unwrap().layers.len(), 1);
}

#[test]
fn blobs_that_are_not_what_their_names_say_are_refused() {
    let mut layout = Layout::default();
    let image = layout.image("f");
    for (i, spoilt) in layout.0.iter().enumerate() {
        let place = place();
        let mut items = Layout(layout.0.clone());
        // Still valid, but something else.
        items.0[i].content = match spoilt.content.first() {
            Some(b'{') => [b" ", &spoilt.content[..]].concat(),
            _ => gzip(&tar(&[file("g", "")])),
        };
        let archive = place.write("a.tar", &items.archive(std::slice::from_ref(&image), &[]));
        let error = place.store.load(&archive).unwrap_err();
        assert!(matches!(error, Error::Digest { .. }), "{error:?}");
        items.0.remove(i);
        let archive = place.write("a.tar", &items.archive(std::slice::from_ref(&image), &[]));
        let error = place.store.load(&archive).unwrap_err();
        assert!(error.to_string().contains("is missing"), "{error:?}");
        assert_eq!(fs::read_dir(place.store.dir().join("layers")).unwrap().count(), 0);
    }
}

#[test]
fn links_in_a_layout_directory_lead_nowhere_outside() {
    let place = place();
    fs::create_dir(place.path("layout")).unwrap();
    let secret = place.write("secret", br#"{"manifests":[]}"#);
    std::os::unix::fs::symlink(secret, place.path("layout/index.json")).unwrap();
    assert!(matches!(place.store.load(&place.path("layout")), Err(Error::UnknownFormat { .. })));
}

#[test]
fn an_archive_can_come_through_a_pipe() {
    let place = place();
    let mut layout = Layout::default();
    let image = named(layout.image("f"), "example.test/piped:v1");
    let archive = layout.archive(&[image], &[]);
    for (i, bytes) in [archive.clone(), gzip(&archive)].into_iter().enumerate() {
        let pipe = place.path(&format!("pipe{i}"));
        let made = Command::new("mkfifo").arg(&pipe).stdin(Stdio::null()).status().unwrap();
        assert!(made.success());
        let writer = thread::spawn({
            let pipe = pipe.clone();
            move || fs::OpenOptions::new().write(true).open(pipe).unwrap().write_all(&bytes).unwrap()
        });
        assert_eq!(place.store.load(&pipe).unwrap()[0].repo_tags, ["example.test/piped:v1"]);
        writer.join().unwrap();
    }
}
