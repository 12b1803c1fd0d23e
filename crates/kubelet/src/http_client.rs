//! A minimal HTTP client for probes and hooks: GET only, no certificate checks, no proxies, no
//! keep-alive, errors worded as Go's `net/http` words them, because they are shown in events.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Most bytes of a body that are read (pkg/probe/http `maxRespBodyLength`).
const MAX_BODY: usize = 10 * 1024;
/// Most redirects that are followed.
const MAX_REDIRECTS: usize = 10;

/// Where a request goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Url {
    pub(crate) https: bool,
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Path and query, with the leading slash.
    pub(crate) path: String,
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) location: Option<String>,
    pub(crate) body: String,
}

/// Why nothing came back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HttpError {
    #[error("Get {url:?}: {message}")]
    Transport { url: String, message: String },
    #[error("Get {url:?}: http: server gave HTTP response to HTTPS client")]
    PlainServer { url: String },
    #[error("Get {url:?}: context deadline exceeded (Client.Timeout exceeded while awaiting headers)")]
    Timeout { url: String },
    #[error("{0}")]
    Request(String),
}

impl std::fmt::Display for Url {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}://{}{}", if self.https { "https" } else { "http" }, self.authority(), self.path)
    }
}

impl Url {
    /// Builds a URL from the parts of a manifest.
    pub(crate) fn new(https: bool, host: &str, port: u16, path: &str) -> Self {
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        Self { https, host: host.to_owned(), port, path }
    }

    fn authority(&self) -> String {
        join_host_port(&self.host, self.port)
    }

    /// Resolves a `Location` header; `None`: it leads to another host.
    fn follow(&self, location: &str) -> Option<Self> {
        if let Some((scheme, rest)) = location.split_once("://") {
            let https = scheme.eq_ignore_ascii_case("https");
            let (authority, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
            let (host, port) = split_authority(authority, if https { 443 } else { 80 })?;
            return (host == self.host).then(|| Self::new(https, &host, port, path));
        }
        if let Some(rest) = location.strip_prefix("//") {
            return self.follow(&format!("{}://{rest}", if self.https { "https" } else { "http" }));
        }
        let path = if location.starts_with('/') {
            location.to_owned()
        } else {
            let base = self.path.split('?').next().unwrap_or("/");
            format!("{}/{location}", base.rsplit_once('/').map_or("", |(dir, _)| dir))
        };
        Some(Self { path, ..self.clone() })
    }
}

/// Writes an address as Go's `net.JoinHostPort` does.
pub(crate) fn join_host_port(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

fn split_authority(authority: &str, default: u16) -> Option<(String, u16)> {
    if let Some(rest) = authority.strip_prefix('[') {
        let (host, tail) = rest.split_once(']')?;
        let port = tail.strip_prefix(':').map_or(Some(default), |p| p.parse().ok())?;
        return Some((host.to_owned(), port));
    }
    match authority.split_once(':') {
        Some((host, port)) => Some((host.to_owned(), port.parse().ok()?)),
        None => Some((authority.to_owned(), default)),
    }
}

/// Sends a GET and follows redirects to the same host; one to another host is returned as it is.
pub(crate) async fn get(
    url: &Url,
    headers: &[(String, String)],
    tls: &Arc<rustls::ClientConfig>,
    timeout: Option<Duration>,
) -> Result<Response, HttpError> {
    let work = follow(url, headers, tls);
    match timeout {
        None => work.await,
        Some(limit) => match tokio::time::timeout(limit, work).await {
            Ok(result) => result,
            Err(_) => Err(HttpError::Timeout { url: url.to_string() }),
        },
    }
}

async fn follow(
    first: &Url,
    headers: &[(String, String)],
    tls: &Arc<rustls::ClientConfig>,
) -> Result<Response, HttpError> {
    let mut url = first.clone();
    for _ in 0..MAX_REDIRECTS {
        let response = once(&url, headers, tls).await?;
        let redirect = matches!(response.status, 301 | 302 | 303 | 307 | 308);
        match response.location.as_deref().filter(|_| redirect).map(|l| url.follow(l)) {
            Some(Some(next)) => url = next,
            Some(None) | None => return Ok(response),
        }
    }
    Err(HttpError::Transport { url: url.to_string(), message: "stopped after 10 redirects".to_owned() })
}

async fn once(url: &Url, headers: &[(String, String)], tls: &Arc<rustls::ClientConfig>) -> Result<Response, HttpError> {
    let fail = |message: String| HttpError::Transport { url: url.to_string(), message };
    let stream = dial(&url.host, url.port).await.map_err(fail)?;
    let ends = Ends::of(&stream);
    if !url.https {
        return exchange(stream, url, headers, &ends).await;
    }
    let name = server_name(&url.host).map_err(fail)?;
    match TlsConnector::from(Arc::clone(tls)).connect(name, stream).await {
        Ok(stream) => exchange(stream, url, headers, &ends).await,
        Err(e) if is_plain_answer(&e) => Err(HttpError::PlainServer { url: url.to_string() }),
        Err(e) => Err(fail(describe_io(&e, "read", Some(&ends)))),
    }
}

fn server_name(host: &str) -> Result<rustls::pki_types::ServerName<'static>, String> {
    rustls::pki_types::ServerName::try_from(host.to_owned()).map_err(|e| e.to_string())
}

/// Tells whether a TLS handshake met something that does not speak TLS.
fn is_plain_answer(error: &io::Error) -> bool {
    matches!(error.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>()), Some(rustls::Error::InvalidMessage(_)))
}

async fn exchange<S>(stream: S, url: &Url, headers: &[(String, String)], ends: &Ends) -> Result<Response, HttpError>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let fail = |e: hyper::Error| HttpError::Transport { url: url.to_string(), message: describe_hyper(&e, ends) };
    let request = request(url, headers)?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake::<_, Empty<Bytes>>(TokioIo::new(stream)).await.map_err(fail)?;
    let exchange = async {
        let response = sender.send_request(request).await.map_err(fail)?;
        let status = response.status().as_u16();
        let location = response.headers().get(http::header::LOCATION).and_then(|v| v.to_str().ok()).map(str::to_owned);
        Ok(Response { status, location, body: body(response.into_body()).await })
    };
    // The connection is driven beside the exchange and dropped with it: no task outlives the request.
    let mut connection = std::pin::pin!(connection);
    let mut exchange = std::pin::pin!(exchange);
    let mut open = true;
    loop {
        tokio::select! {
            result = &mut exchange => return result,
            _ = &mut connection, if open => open = false,
        }
    }
}

fn request(url: &Url, headers: &[(String, String)]) -> Result<http::Request<Empty<Bytes>>, HttpError> {
    let mut builder = http::Request::get(&url.path).header(http::header::CONNECTION, "close");
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        builder = builder.header(http::header::HOST, url.authority());
    }
    for (name, value) in headers {
        builder = builder.header(name, value);
    }
    builder.body(Empty::new()).map_err(|e| HttpError::Request(e.to_string()))
}

/// Reads the beginning of a body; a broken end is no error, as the status has decided already.
async fn body(mut body: hyper::body::Incoming) -> String {
    let mut bytes = Vec::new();
    while let Some(Ok(frame)) = body.frame().await {
        if let Some(data) = frame.data_ref() {
            bytes.extend_from_slice(&data[..data.len().min(MAX_BODY - bytes.len())]);
        }
        if bytes.len() >= MAX_BODY {
            break;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Both addresses of a connection, for error texts.
struct Ends(Option<(SocketAddr, SocketAddr)>);

impl Ends {
    fn of(stream: &TcpStream) -> Self {
        Self(stream.local_addr().ok().zip(stream.peer_addr().ok()))
    }
}

/// Connects; the error is worded as Go's dialer words it.
pub(crate) async fn dial(host: &str, port: u16) -> Result<TcpStream, String> {
    let shown = join_host_port(host, port);
    let result = match host.parse::<IpAddr>() {
        Ok(ip) => TcpStream::connect(SocketAddr::new(ip, port)).await,
        Err(_) => TcpStream::connect((host, port)).await,
    };
    result.map_err(|e| match e.raw_os_error() {
        Some(_) => format!("dial tcp {shown}: connect: {}", errno_text(&e)),
        None => format!("dial tcp: lookup {host}: no such host"),
    })
}

fn describe_hyper(error: &hyper::Error, ends: &Ends) -> String {
    if error.is_incomplete_message() || error.is_closed() {
        return "EOF".to_owned();
    }
    if error.is_parse() {
        return "net/http: HTTP/1.x transport connection broken: malformed HTTP response".to_owned();
    }
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        if let Some(io) = cause.downcast_ref::<io::Error>() {
            return describe_io(io, "read", Some(ends));
        }
        source = cause.source();
    }
    error.to_string()
}

fn describe_io(error: &io::Error, what: &str, ends: Option<&Ends>) -> String {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        return "EOF".to_owned();
    }
    if error.raw_os_error().is_none() {
        return error.to_string();
    }
    match ends.and_then(|e| e.0) {
        Some((local, peer)) => format!("{what} tcp {local}->{peer}: {what}: {}", errno_text(error)),
        None => format!("{what} tcp: {what}: {}", errno_text(error)),
    }
}

/// Names an error number as Go does: the C library's text in lower case.
fn errno_text(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    text.to_lowercase()
}

/// Returns a TLS client configuration that accepts every certificate, as probes and hooks do.
pub(crate) fn insecure_tls() -> Result<Arc<rustls::ClientConfig>, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        rustls::ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
    let config =
        builder.dangerous().with_custom_certificate_verifier(Arc::new(AcceptAll(provider))).with_no_client_auth();
    Ok(Arc::new(config))
}

/// Accepts every certificate: the kubelet does not verify those of probed servers (contract S6-18).
#[derive(Debug)]
struct AcceptAll(Arc<rustls::crypto::CryptoProvider>);

impl rustls::client::danger::ServerCertVerifier for AcceptAll {
    fn verify_server_cert(
        &self,
        _end_entity: &rustls::pki_types::CertificateDer<'_>,
        _intermediates: &[rustls::pki_types::CertificateDer<'_>],
        _server_name: &rustls::pki_types::ServerName<'_>,
        _ocsp: &[u8],
        _now: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &rustls::pki_types::CertificateDer<'_>,
        _dss: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &rustls::pki_types::CertificateDer<'_>,
        _dss: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
