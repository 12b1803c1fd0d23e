//! Pulling from a registry on this machine that says exactly what the test wants.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

use cri::{Error, ImageAuth, ImageService as _};

use crate::support::{Place, config, digest, file, gzip, place, snapshot, tar};

/// Who may pull.
#[derive(Clone)]
enum Door {
    Open,
    Basic(&'static str),
    /// Token for those with this basic authorization, or for everybody.
    Token {
        basic: Option<&'static str>,
        token: &'static str,
    },
}

struct Registry {
    host: String,
    files: Arc<Mutex<BTreeMap<String, Vec<u8>>>>,
    /// `PATH AUTHORIZATION` of each request.
    asked: Arc<Mutex<Vec<String>>>,
}

/// `me:secret`
const ME: &str = "Basic bWU6c2VjcmV0";

fn basic(password: &str) -> ImageAuth {
    ImageAuth::Basic { username: "me".to_owned(), password: password.to_owned() }
}

/// Serves from a thread until the test process ends.
fn registry(door: Door) -> Registry {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = format!("127.0.0.1:{}", listener.local_addr().unwrap().port());
    let registry = Registry { host: host.clone(), files: Arc::default(), asked: Arc::default() };
    let (files, asked) = (Arc::clone(&registry.files), Arc::clone(&registry.asked));
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let (path, authorization) = request(&stream);
            asked.lock().unwrap().push(format!("{path} {authorization}").trim_end().to_owned());
            // A client that leaves early is its own business.
            let _ = stream.write_all(&answer(&door, &host, &path, &authorization, &files.lock().unwrap()));
        }
    });
    registry
}

fn request(stream: &TcpStream) -> (String, String) {
    let mut lines = BufReader::new(stream).lines().map(Result::unwrap);
    let path = lines.next().unwrap_or_default().split(' ').nth(1).unwrap_or_default().to_owned();
    let headers: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
    let is_authorization = |line: &&String| line.to_ascii_lowercase().starts_with("authorization:");
    let authorization = headers.iter().find(is_authorization).map(|line| line[14..].trim().to_owned());
    (path, authorization.unwrap_or_default())
}

fn answer(door: &Door, host: &str, path: &str, authorization: &str, files: &BTreeMap<String, Vec<u8>>) -> Vec<u8> {
    let (needed, challenge) = match door {
        Door::Open => (String::new(), String::new()),
        Door::Basic(needed) => ((*needed).to_owned(), r#"Basic realm="test""#.to_owned()),
        Door::Token { token, .. } => {
            (format!("Bearer {token}"), format!(r#"Bearer realm="http://{host}/token",service="test""#))
        }
    };
    if let (Door::Token { basic, token }, true) = (door, path.starts_with("/token?")) {
        return match basic {
            Some(basic) if *basic != authorization => http("403 Forbidden", "", b"{}"),
            _ => http("200 OK", "", serde_json::json!({ "token": token }).to_string().as_bytes()),
        };
    }
    if authorization != needed {
        return http("401 Unauthorized", &format!("WWW-Authenticate: {challenge}\r\n"), b"");
    }
    match files.get(path) {
        Some(body) => http("200 OK", "", body),
        None => {
            let body = br#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"no such thing"}]}"#;
            http("404 Not Found", "", body)
        }
    }
}

pub(crate) fn http(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n", body.len());
    [head.as_bytes(), body].concat()
}

impl Registry {
    fn put(&self, path: &str, bytes: &[u8]) {
        self.files.lock().unwrap().insert(format!("/v2/app/{path}"), bytes.to_vec());
    }

    fn name(&self, rest: &str) -> String {
        format!("{}/app{rest}", self.host)
    }

    /// Serves an image of two layers under `v1`, inside an index with one for other machines; returns the digest
    /// of the index.
    fn serve(&self) -> String {
        let layers = [tar(&[file("one", "1")]), tar(&[file("two", "2")])];
        self.serve_manifest(&layers, |manifest| manifest)
    }

    fn serve_manifest(&self, layers: &[Vec<u8>], change: impl Fn(String) -> String) -> String {
        let config = config(layers);
        let blobs: Vec<Vec<u8>> = layers.iter().map(|layer| gzip(layer)).collect();
        let descriptor = |bytes: &[u8]| serde_json::json!({ "digest": digest(bytes), "size": bytes.len() });
        for blob in blobs.iter().chain([&config]) {
            self.put(&format!("blobs/{}", digest(blob)), blob);
        }
        let layers: Vec<_> = blobs.iter().map(|blob| descriptor(blob)).collect();
        let manifest = change(serde_json::json!({ "config": descriptor(&config), "layers": layers }).to_string());
        self.put(&format!("manifests/{}", digest(manifest.as_bytes())), manifest.as_bytes());
        let mut ours = descriptor(manifest.as_bytes());
        ours["platform"] = serde_json::json!({ "os": "linux" });
        let mut other = descriptor(b"");
        other["platform"] = serde_json::json!({ "os": "linux", "architecture": "z80" });
        let index = serde_json::json!({ "manifests": [other, ours] }).to_string();
        self.put("manifests/v1", index.as_bytes());
        self.put(&format!("manifests/{}", digest(index.as_bytes())), index.as_bytes());
        digest(index.as_bytes())
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

/// A pull that has to fail and to leave nothing.
async fn fails(place: &Place, name: &str, auth: Vec<ImageAuth>) -> Error {
    let before = snapshot(place.store.dir());
    let error = place.store.pull(name, auth).await.unwrap_err();
    let mut after = snapshot(place.store.dir());
    after.retain(|path, _| before.contains_key(path) || path.extension().is_none_or(|e| e != "lock"));
    let mut before = before;
    before.remove(std::path::Path::new("use.lock"));
    after.remove(std::path::Path::new("use.lock"));
    assert_eq!(before, after);
    error
}

#[tokio::test]
async fn an_image_is_pulled_once_and_known_by_tag_and_digest() {
    let (place, registry) = (place(), registry(Door::Open));
    let top = registry.serve();
    let image = place.store.pull_image(&registry.name(":v1"), vec![]).await.unwrap();
    assert_eq!(image.repo_tags, [registry.name(":v1")]);
    assert_eq!(image.repo_digests, [registry.name(&format!("@{top}"))]);
    for name in [&registry.name(":v1"), &image.repo_digests[0], &image.id] {
        assert_eq!(place.store.image_status(name).await.unwrap().as_ref(), Some(&image));
    }
    let layers = place.store.rootfs(&image.id).unwrap().layers;
    assert_eq!(fs::read_to_string(layers[0].join("two")).unwrap(), "2");
    assert_eq!(fs::read_to_string(layers[1].join("one")).unwrap(), "1");
    let requests = registry.asked().len();
    assert_eq!(requests, 5, "index, manifest, configuration, two layers: {:?}", registry.asked());
    assert_eq!(place.store.pull(&image.repo_digests[0], vec![]).await.unwrap(), image);
    assert_eq!(registry.asked().len(), requests + 3, "layers that are there are not pulled again");
    place.store.remove_image(&image.id).await.unwrap();
    assert_eq!(place.store.list_images().await.unwrap(), []);
}

#[tokio::test]
async fn credentials_are_tried_in_turn() {
    for door in [Door::Basic(ME), Door::Token { basic: Some(ME), token: "t0ken" }] {
        let (place, registry) = (place(), registry(door));
        registry.serve();
        let name = registry.name(":v1");
        for auth in [vec![], vec![basic("wrong")], vec![ImageAuth::Bearer("wrong".to_owned())]] {
            let error = fails(&place, &name, auth).await;
            assert!(matches!(error, Error::PullFailed { ref image, .. } if *image == name), "{error:?}");
        }
        let image = place.store.pull(&name, vec![basic("wrong"), basic("secret")]).await.unwrap();
        assert_eq!(image.repo_tags, [name]);
    }
}

#[tokio::test]
async fn tokens_are_got_anonymously_or_taken_as_given() {
    let (place, registry) = (place(), registry(Door::Token { basic: None, token: "t0ken" }));
    registry.serve();
    place.store.pull(&registry.name(":v1"), vec![]).await.unwrap();
    let asked = registry.asked();
    assert_eq!(asked[1], "/token?scope=repository%3Aapp%3Apull&service=test", "{asked:?}");
    assert_eq!(asked.iter().filter(|a| a.starts_with("/token")).count(), 1, "one token serves a pull: {asked:?}");
    place.store.pull(&registry.name(":v1"), vec![ImageAuth::Bearer("t0ken".to_owned())]).await.unwrap();
    assert_eq!(registry.asked().iter().filter(|a| a.starts_with("/token")).count(), 1);
}

#[tokio::test]
async fn a_token_that_fits_in_no_header_is_an_error_and_no_crash() {
    let (place, registry) = (place(), registry(Door::Token { basic: None, token: "a\r\nb" }));
    let error = fails(&place, &registry.name(":v1"), vec![]).await;
    assert!(error.to_string().contains("token has characters"), "{error}");
}

#[tokio::test]
async fn what_the_registry_does_not_have_is_a_failed_pull_in_its_own_words() {
    let (place, registry) = (place(), registry(Door::Open));
    let error = fails(&place, &registry.name(":none"), vec![]).await;
    let message = "manifests/none: 404 Not Found: MANIFEST_UNKNOWN: no such thing".to_owned();
    assert_eq!(error, Error::PullFailed { image: registry.name(":none"), message });
}

#[tokio::test]
async fn content_that_is_not_what_its_digest_says_is_refused() {
    let layers = [tar(&[file("one", "1")]), tar(&[file("two", "2")])];
    let change_blob = |registry: &Registry, index: usize, body: &[u8]| {
        registry.put(&format!("blobs/{}", digest(&gzip(&layers[index]))), body);
    };
    type Spoil<'a> = &'a dyn Fn(&Registry);
    let cases: [(&str, Spoil<'_>); 5] = [
        ("digest of a downloaded layer", &|r| change_blob(r, 0, &vec![b'x'; gzip(&layers[0]).len()])),
        ("larger than its", &|r| change_blob(r, 1, &[b'x'; 9000])),
        ("digest of configuration", &|r| r.put(&format!("blobs/{}", digest(&config(&layers))), b"{}")),
        ("digest of manifest", &|r| {
            let files = r.files.lock().unwrap().clone();
            for path in files.keys().filter(|path| path.contains("manifests/sha256:")) {
                r.files.lock().unwrap().insert(path.clone(), b"{}".to_vec());
            }
        }),
        ("an uncompressed layer", &|r| {
            let spoilt = gzip(&tar(&[file("one", "other")]));
            let honest = gzip(&layers[0]);
            r.put(&format!("blobs/{}", digest(&spoilt)), &spoilt);
            r.serve_manifest(&layers, |manifest| {
                let size = |blob: &[u8]| format!("\"size\":{}", blob.len());
                manifest.replace(&digest(&honest), &digest(&spoilt)).replacen(&size(&honest), &size(&spoilt), 1)
            });
        }),
    ];
    for (expected, spoil) in cases {
        let (place, registry) = (place(), registry(Door::Open));
        registry.serve_manifest(&layers, |manifest| manifest);
        spoil(&registry);
        let error = fails(&place, &registry.name(":v1"), vec![]).await;
        assert!(matches!(&error, Error::PullFailed { message, .. } if message.contains(expected)), "{error:?}");
    }
}

#[tokio::test]
async fn layers_that_announce_more_than_is_allowed_are_not_even_downloaded() {
    let (place, registry) = (place(), registry(Door::Open));
    let layer = tar(&[file("f", "x")]);
    let size = format!("\"size\":{}", gzip(&layer).len());
    let huge = format!("\"size\":{}", u64::MAX);
    registry.serve_manifest(&[layer], |manifest| manifest.replace(&size, &huge));
    let error = fails(&place, &registry.name(":v1"), vec![]).await;
    assert!(matches!(&error, Error::PullFailed { message, .. } if message.contains("are allowed")), "{error:?}");
    assert!(registry.asked().iter().filter(|path| path.contains("/blobs/")).count() == 1, "only the configuration");
}

#[tokio::test]
async fn documents_without_end_are_refused() {
    let (place, registry) = (place(), registry(Door::Open));
    registry.put("manifests/v1", &vec![b' '; 5 << 20]);
    let error = fails(&place, &registry.name(":v1"), vec![]).await;
    assert!(matches!(&error, Error::PullFailed { message, .. } if message.contains("larger than")), "{error:?}");
}

#[tokio::test]
async fn a_registry_that_cannot_be_reached_is_unavailable() {
    let place = place();
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let nonsense = registry_that_answers(b"SSH-2.0-OpenSSH_9.2\r\n");
    let failing = registry_that_answers(&http("503 Service Unavailable", "", b""));
    for name in [format!("{gone}/app:v1"), "registry.invalid/app:v1".to_owned(), nonsense, failing] {
        let error = fails(&place, &name, vec![]).await;
        assert!(matches!(&error, Error::RegistryUnavailable { image, .. } if *image == name), "{error:?}");
    }
    let error = place.store.pull("Not/Valid", vec![]).await.unwrap_err();
    assert!(matches!(error, Error::InvalidImageName { .. }), "{error:?}");
}

fn registry_that_answers(bytes: &[u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let name = format!("{}/app:v1", listener.local_addr().unwrap());
    let bytes = bytes.to_vec();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            request(&stream);
            let _ = stream.write_all(&bytes);
        }
    });
    name
}

#[tokio::test]
async fn a_pull_that_is_dropped_leaves_nothing() {
    let (place, registry) = (place(), registry(Door::Open));
    registry.serve();
    // A layer whose bytes never come: the connection stays open and silent.
    let layer = registry.files.lock().unwrap().keys().filter(|k| k.contains("/blobs/")).cloned().collect::<Vec<_>>();
    let (silent, reached) = silent_proxy(&registry, layer);
    let before = snapshot(place.store.dir());
    let name = format!("{silent}/app:v1");
    tokio::select! {
        result = place.store.pull(&name, vec![]) => panic!("{result:?}"),
        reached = reached => reached.unwrap(),
    }
    let mut after = snapshot(place.store.dir());
    after.remove(std::path::Path::new("use.lock"));
    let mut before = before;
    before.remove(std::path::Path::new("use.lock"));
    assert_eq!(after, before);
}

/// Serves what `registry` has but keeps silent on the last two of `blobs`' requests, telling when it does.
fn silent_proxy(registry: &Registry, blobs: Vec<String>) -> (String, tokio::sync::oneshot::Receiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let files = Arc::clone(&registry.files);
    let (tell, told) = tokio::sync::oneshot::channel();
    thread::spawn(move || {
        let (mut tell, mut open) = (Some(tell), Vec::new());
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let (path, _) = request(&stream);
            let body = files.lock().unwrap().get(&path).cloned().unwrap_or_default();
            let is_config = body.starts_with(b"{");
            if blobs.contains(&path) && !is_config {
                open.push(stream);
                tell.take().map(|tell| tell.send(()));
            } else {
                let _ = stream.write_all(&http("200 OK", "", &body));
            }
        }
    });
    (host, told)
}
