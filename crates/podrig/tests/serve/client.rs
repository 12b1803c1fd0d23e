//! TLS connections with what a kubeconfig holds, and nothing in between.

use std::{io, net::TcpStream, path::Path, sync::Arc};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName},
};

/// A connection.
pub(crate) type Tls = StreamOwned<ClientConnection, TcpStream>;

/// Who connects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Client {
    Nobody,
    Administrator,
}

/// Connects to the server of a kubeconfig.
pub(crate) fn connect(kubeconfig: &Path, client: Client) -> io::Result<Tls> {
    let text = std::fs::read_to_string(kubeconfig)?;
    let field = |name: &str| text.lines().find_map(|line| line.trim().strip_prefix(name)?.strip_prefix(": ")).unwrap();
    let pem = |name: &str| pem::parse(BASE64_STANDARD.decode(field(name)).unwrap()).unwrap().into_contents();
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(pem("certificate-authority-data"))).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let config = match client {
        Client::Nobody => config.with_no_client_auth(),
        Client::Administrator => {
            let key = PrivatePkcs8KeyDer::from(pem("client-key-data"));
            config.with_client_auth_cert(vec![pem("client-certificate-data").into()], key.into()).unwrap()
        }
    };
    let name = ServerName::try_from("kubernetes.default.svc").unwrap();
    let stream = TcpStream::connect(field("server").strip_prefix("https://").unwrap())?;
    Ok(StreamOwned::new(ClientConnection::new(Arc::new(config), name).unwrap(), stream))
}
