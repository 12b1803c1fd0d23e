//! Several users of one store at once, and users that die.

use std::{
    env, fs,
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, Command, Stdio},
    sync::Barrier,
    thread,
};

use runtime::image::Store;

use crate::support::{Item, docker_archive, file, item, place, snapshot, tar};

const STORE: &str = "PODRIG_TEST_STORE";
const ARCHIVE: &str = "PODRIG_TEST_ARCHIVE";
/// Enough that unpacking takes much longer than noticing that it has begun.
const FILES: usize = 5_000;

fn large_archive() -> Vec<u8> {
    let items: Vec<Item> = (0..FILES).map(|i| file(&format!("f{i}"), "content")).collect();
    docker_archive("large", &[tar(&[file("small", "x")]), tar(&items)])
}

/// Not a test of its own: the other process of the tests below, which run it through [`other_process`].
#[test]
fn the_other_process() {
    let (Some(store), Some(archive)) = (env::var_os(STORE), env::var_os(ARCHIVE)) else { return };
    let store = Store::open(Path::new(&store)).unwrap();
    let mut answers = std::io::stderr();
    loop {
        let image = store.load(Path::new(&archive)).unwrap().remove(0);
        store.lease(&image.id, "other").unwrap();
        store.remove(&image.id).unwrap();
        store.release("other").unwrap();
        writeln!(answers, "again").unwrap();
    }
}

/// Loads and removes the archive until it is killed, with a line on standard error for each time.
fn other_process(store: &Path, archive: &Path) -> Child {
    Command::new(env::current_exe().unwrap())
        .args(["--exact", "crash::the_other_process", "--nocapture"])
        .env(STORE, store)
        .env(ARCHIVE, archive)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn entries(dir: &Path) -> Vec<std::path::PathBuf> {
    fs::read_dir(dir).map(|all| all.filter_map(|e| Some(e.ok()?.path())).collect()).unwrap_or_default()
}

#[test]
fn a_store_opens_clean_after_its_user_was_killed_while_unpacking() {
    let place = place();
    let archive = place.write("large.tar", &large_archive());
    let fresh = snapshot(place.store.dir());
    let mut child = other_process(place.store.dir(), &archive);
    let tmp = place.store.dir().join("tmp");
    let unpacking = || {
        let works = entries(&tmp);
        works.iter().flat_map(|work| entries(&work.join("layers"))).any(|layer| layer.join("fs/f100").exists())
    };
    while !unpacking() {
        assert!(child.try_wait().unwrap().is_none(), "the other process ended by itself");
        thread::yield_now();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert_ne!(entries(&tmp), [] as [std::path::PathBuf; 0], "nothing was interrupted");
    let store = Store::open(place.store.dir()).unwrap();
    assert_eq!(snapshot(store.dir()), fresh);
    let image = store.load(&archive).unwrap().remove(0);
    assert_eq!(entries(&store.rootfs(&image.id).unwrap().layers[0]).len(), FILES);
}

#[test]
fn killing_a_user_at_any_time_never_damages_the_store() {
    let place = place();
    let small: Vec<Item> = (0..5).map(|i| file(&format!("f{i}"), "content")).collect();
    let archive = place.write("small.tar", &docker_archive("small", &[tar(&small), tar(&[file("g", "x")])]));
    let whole = {
        let image = place.store.load(&archive).unwrap().remove(0);
        let whole: Vec<_> = place.store.rootfs(&image.id).unwrap().layers.iter().map(|l| snapshot(l)).collect();
        place.store.remove(&image.id).unwrap();
        whole
    };
    for round in 0..12 {
        let mut child = other_process(place.store.dir(), &archive);
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        lines.next().unwrap().unwrap();
        // A different point of the next turn each time; where exactly is up to the scheduler.
        (0..round * 3000).for_each(|_| std::hint::spin_loop());
        child.kill().unwrap();
        child.wait().unwrap();
        let store = Store::open(place.store.dir()).unwrap();
        assert_eq!(entries(&store.dir().join("tmp")), [] as [std::path::PathBuf; 0]);
        for image in store.list().unwrap() {
            let layers = store.rootfs(&image.id).unwrap().layers;
            assert_eq!(layers.iter().map(|l| snapshot(l)).collect::<Vec<_>>(), whole);
        }
        store.retain_leases(|_| false).unwrap();
        let image = store.load(&archive).unwrap().remove(0);
        let layers = store.rootfs(&image.id).unwrap().layers;
        assert_eq!(layers.iter().map(|l| snapshot(l)).collect::<Vec<_>>(), whole);
        store.remove(&image.id).unwrap();
        assert_eq!(entries(&store.dir().join("layers")), [] as [std::path::PathBuf; 0]);
    }
}

#[test]
fn the_same_image_can_be_loaded_twice_at_once() {
    let place = place();
    let archive = place.write("large.tar", &large_archive());
    let start = Barrier::new(3);
    let images: Vec<_> = thread::scope(|scope| {
        let load = || {
            let store = Store::open(place.store.dir()).unwrap();
            start.wait();
            store.load(&archive).unwrap().remove(0)
        };
        let threads: Vec<_> = (0..3).map(|_| scope.spawn(load)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(images.windows(2).all(|pair| pair[0] == pair[1]));
    assert_eq!(place.store.list().unwrap(), images[..1]);
    assert_eq!(entries(&place.store.dir().join("layers")).len(), 2);
    assert_eq!(entries(&place.store.dir().join("tmp")).len(), 0);
}

#[test]
fn images_are_not_torn_apart_by_another_process_that_loads_and_removes_the_same_layers() {
    let place = place();
    let (base, own) = (tar(&[file("base", "x")]), tar(&[file("own", "y")]));
    let theirs = place.write("theirs.tar", &docker_archive("theirs", std::slice::from_ref(&base)));
    let ours = place.write("ours.tar", &docker_archive("ours", &[base, own]));
    let mut child = other_process(place.store.dir(), &theirs);
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    for _ in 0..30 {
        lines.next().unwrap().unwrap();
        let image = place.store.load(&ours).unwrap().remove(0);
        let layers = place.store.lease(&image.id, "ours").unwrap().layers;
        assert!(layers[0].join("own").is_file() && layers[1].join("base").is_file());
        place.store.remove("ours").unwrap();
        assert!(layers[0].join("own").is_file() && layers[1].join("base").is_file());
        place.store.release("ours").unwrap();
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn an_index_that_cannot_be_read_is_not_touched() {
    let place = place();
    let index = place.store.dir().join("index.json");
    for text in ["{", r#"{"version":2,"tags":{},"images":{}}"#, ""] {
        fs::write(&index, text).unwrap();
        let error = Store::open(place.store.dir()).unwrap_err().to_string();
        assert!(error.contains("index.json") && error.contains("load the images again"), "{error}");
        assert!(place.store.load(&place.write("a.tar", &docker_archive("a", &[tar(&[item(b'5', "d")])]))).is_err());
        assert_eq!(fs::read_to_string(&index).unwrap(), text);
    }
}

#[test]
fn an_image_whose_configuration_is_lost_is_absent_until_it_is_loaded_again() {
    let place = place();
    let archive = place.write("a.tar", &docker_archive("a", &[tar(&[file("f", "x")])]));
    let image = place.store.load(&archive).unwrap().remove(0);
    fs::remove_file(place.store.dir().join("blobs/sha256").join(&image.id[7..])).unwrap();
    let store = Store::open(place.store.dir()).unwrap();
    assert_eq!(store.status("a").unwrap(), None);
    assert_eq!(store.load(&archive).unwrap().remove(0), image);
    assert_eq!(store.status("a").unwrap(), Some(image));
}
