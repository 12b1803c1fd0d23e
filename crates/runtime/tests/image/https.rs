//! HTTPS by host name: certificates of the machine, names from its own files, no C library in between.

use std::{
    collections::BTreeMap,
    env, fs,
    io::{BufRead as _, BufReader, Write as _},
    net::TcpListener,
    path::Path,
    process::Command,
    sync::Arc,
    thread,
};

use cri::Error;
use runtime::image::Store;
use rustls::{
    ServerConfig, ServerConnection,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use serde_json::json;

use crate::{
    pull::http,
    support::{config, digest, file, place, run, tar},
};

const STORE: &str = "PODRIG_TEST_HTTPS_STORE";
const NAME: &str = "PODRIG_TEST_HTTPS_NAME";

/// Not a test of its own: pulls in a process with other certificates and another `/etc/hosts`.
#[tokio::test]
async fn the_other_process() {
    let (Some(store), Ok(name)) = (env::var_os(STORE), env::var(NAME)) else { return };
    let store = Store::open(Path::new(&store)).unwrap();
    match store.pull(&name, vec![]).await {
        Ok(image) => println!("pulled {}", image.id),
        Err(Error::RegistryUnavailable { message, .. }) => println!("unavailable: {message}"),
        Err(other) => println!("other: {other:?}"),
    }
}

/// Serves `files` with the certificate in `dir`, from a thread until the test process ends, and tells the port.
fn serve(dir: &Path, files: BTreeMap<String, Vec<u8>>) -> u16 {
    let certificate = CertificateDer::from_pem_file(dir.join("cert.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(dir.join("key.pem")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = Arc::new(config.with_no_client_auth().with_single_cert(vec![certificate], key).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut tls = ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut tls = rustls::Stream::new(&mut tls, &mut stream);
            let mut lines = BufReader::new(&mut tls).lines().map_while(Result::ok);
            // A client that does not trust us asks nothing.
            let Some(first) = lines.next() else { continue };
            lines.take_while(|line| !line.is_empty()).for_each(drop);
            let body = first.split(' ').nth(1).and_then(|path| files.get(path));
            let answer = body.map_or_else(|| http("404 Not Found", "", b""), |body| http("200 OK", "", body));
            let _ = tls.write_all(&answer);
            tls.conn.send_close_notify();
            let _ = tls.flush();
        }
    });
    port
}

/// Makes `cert.pem`, signed by itself, and `key.pem`.
fn certificate(dir: &Path) {
    let extensions = "basicConstraints = critical,CA:FALSE\nsubjectAltName = DNS:registry.test\n";
    let text = format!(
        "[req]\nprompt = no\ndistinguished_name = n\nx509_extensions = e\n[n]\nCN = registry.test\n[e]\n{extensions}"
    );
    fs::write(dir.join("request"), text).unwrap();
    let command = "openssl req -x509 -config request -newkey rsa:2048 -nodes -days 2 -keyout key.pem -out cert.pem";
    run(dir, &command.split(' ').collect::<Vec<_>>());
}

#[test]
fn an_image_is_pulled_over_https_if_the_certificate_is_trusted() {
    let place = place();
    let dir = place.dir.path();
    certificate(dir);
    let layers = [tar(&[file("f", "x")])];
    let config = config(&layers);
    let descriptor = |bytes: &[u8]| json!({ "digest": digest(bytes), "size": bytes.len() });
    let manifest = json!({ "config": descriptor(&config), "layers": [descriptor(&layers[0])] }).to_string();
    let blob = |bytes: &[u8]| (format!("/v2/app/blobs/{}", digest(bytes)), bytes.to_vec());
    let manifest = ("/v2/app/manifests/v1".to_owned(), manifest.into_bytes());
    let port = serve(dir, [manifest, blob(&config), blob(&layers[0])].into());
    fs::write(dir.join("hosts"), "127.0.0.1 registry.test\n").unwrap();
    let pull = |name: &str, trusted: &str| {
        let command = "mount --bind hosts /etc/hosts && exec \"$0\" --exact https::the_other_process --nocapture";
        let output = Command::new("unshare")
            .args(["-m", "sh", "-c", command])
            .arg(env::current_exe().unwrap())
            .current_dir(dir)
            .env(STORE, dir.join("store"))
            .env(NAME, format!("{name}:{port}/app:v1"))
            .env("SSL_CERT_FILE", dir.join(trusted))
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    fs::create_dir(dir.join("other")).unwrap();
    certificate(&dir.join("other"));

    let untrusted = pull("registry.test", "other/cert.pem");
    assert!(untrusted.contains("unavailable") && untrusted.contains("certificate"), "{untrusted}");
    let pulled = pull("registry.test", "cert.pem");
    assert!(pulled.contains(&format!("pulled {}", digest(&config))), "{pulled}");
}
