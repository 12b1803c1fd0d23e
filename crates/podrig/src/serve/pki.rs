//! The server's own certificate authority.
//!
//! Only the authority is kept on disk. Certificates of server and administrator are made anew at each start, and
//! once more when two thirds of their time have passed, so there is nothing to keep and nothing to repair.

use std::{
    fmt,
    net::IpAddr,
    path::Path,
    sync::{Arc, RwLock, RwLockReadGuard},
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, Result};
use pem::{EncodeConfig, LineEnding, Pem};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType,
};
use rustls::{
    RootCertStore, ServerConfig,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
    server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier},
    sign::CertifiedKey,
};
use x509_cert::{Certificate, der::Decode as _};

use crate::files;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// As long as kubeadm's authority lives (`CertificateValidity` in its constants.go).
const AUTHORITY_LIFE: Duration = Duration::from_secs(10 * 365 * DAY.as_secs());

/// As long as kubeadm's certificates live.
const LIFE: Duration = Duration::from_secs(365 * DAY.as_secs());

/// When certificates of a server that runs for long are renewed.
pub(crate) const RENEWAL: Duration = Duration::from_secs(LIFE.as_secs() / 3 * 2);

/// Certificates begin so much earlier than now: clocks differ.
const SKEW: Duration = Duration::from_secs(60 * 60);

/// Common name of the authority.
const AUTHORITY_NAME: &str = "podrig-ca";

/// Issues certificates.
pub(crate) struct Authority {
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
    not_before: SystemTime,
}

/// A certificate with its key, as PEM.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").field("not_before", &self.not_before).finish_non_exhaustive()
    }
}

impl Authority {
    /// Opens the authority in a directory, or makes one there. Its key stays the same for ever; its certificate is
    /// renewed a year and a bit before its end, so that it outlives everything that it signs.
    ///
    /// # Errors
    /// When files cannot be read, written or understood.
    pub(crate) fn open(dir: &Path) -> Result<Self> {
        let (key_path, certificate_path) = (dir.join("ca.key"), dir.join("ca.crt"));
        let key = match files::read(&key_path)? {
            Some(text) => {
                load_key(&text).with_context(|| format!("loading the authority's key {}", key_path.display()))?
            }
            None => {
                let key = KeyPair::generate().context("making the authority's key")?;
                files::replace(&key_path, encode("PRIVATE KEY", key.serialized_der()).as_bytes())?;
                key
            }
        };
        if let Some(text) = files::read(&certificate_path)? {
            let context = || format!("loading the authority's certificate {}", certificate_path.display());
            let (certificate, begin, end) = load_certificate(&text).with_context(context)?;
            if end > SystemTime::now() + LIFE + LIFE / 3 {
                let issuer = Issuer::new(authority_params(begin), key);
                return Ok(Self { certificate, issuer, not_before: begin });
            }
        }
        let begin = SystemTime::now() - SKEW;
        let params = authority_params(begin);
        let certificate = params.self_signed(&key).context("making the authority's certificate")?.der().clone();
        files::replace(&certificate_path, encode("CERTIFICATE", &certificate).as_bytes())?;
        Ok(Self { certificate, issuer: Issuer::new(params, key), not_before: begin })
    }

    /// Returns the certificate that clients trust, as PEM.
    pub(crate) fn certificate(&self) -> String {
        encode("CERTIFICATE", &self.certificate)
    }

    /// Issues a certificate for a client: who it is, and its groups.
    ///
    /// # Errors
    /// When it cannot be signed.
    pub(crate) fn issue_client(&self, name: &str, group: &str) -> Result<Identity> {
        let mut params = self.params(name, ExtendedKeyUsagePurpose::ClientAuth);
        params.distinguished_name.push(DnType::OrganizationName, group);
        let (certificate, key) = self.sign(&params)?;
        Ok(Identity { certificate: encode("CERTIFICATE", &certificate), key: encode("PRIVATE KEY", &key) })
    }

    /// Issues a certificate for a server that is called by these names and addresses.
    fn issue_server(&self, names: &Names) -> Result<(CertificateDer<'static>, Vec<u8>)> {
        let mut params = self.params("kube-apiserver", ExtendedKeyUsagePurpose::ServerAuth);
        for name in &names.dns {
            // A host name that is no DNS name cannot be asked for by TLS either.
            params.subject_alt_names.extend(name.as_str().try_into().ok().map(SanType::DnsName));
        }
        params.subject_alt_names.extend(names.ips.iter().copied().map(SanType::IpAddress));
        self.sign(&params)
    }

    fn params(&self, name: &str, usage: ExtendedKeyUsagePurpose) -> CertificateParams {
        // A machine without a clock of its own may have started in 1970.
        let now = SystemTime::now().max(self.not_before + SKEW);
        let mut params = CertificateParams::default();
        params.distinguished_name.remove(DnType::CommonName);
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_before = (now - SKEW).into();
        params.not_after = (now + LIFE).into();
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![usage];
        params.use_authority_key_identifier_extension = true;
        params
    }

    fn sign(&self, params: &CertificateParams) -> Result<(CertificateDer<'static>, Vec<u8>)> {
        let key = KeyPair::generate().context("making a key")?;
        let certificate = params.signed_by(&key, &self.issuer).context("signing a certificate")?;
        Ok((certificate.der().clone(), key.serialize_der()))
    }
}

fn authority_params(begin: SystemTime) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.remove(DnType::CommonName);
    params.distinguished_name.push(DnType::CommonName, AUTHORITY_NAME);
    params.not_before = begin.into();
    params.not_after = (begin + AUTHORITY_LIFE).into();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn load_key(text: &str) -> Result<KeyPair> {
    let pem = pem::parse(text)?;
    Ok(KeyPair::try_from(pem.contents())?)
}

fn load_certificate(text: &str) -> Result<(CertificateDer<'static>, SystemTime, SystemTime)> {
    let der = pem::parse(text)?.into_contents();
    let validity = Certificate::from_der(&der)?.tbs_certificate.validity;
    Ok((der.into(), validity.not_before.to_system_time(), validity.not_after.to_system_time()))
}

pub(super) fn encode(tag: &str, der: &[u8]) -> String {
    pem::encode_config(&Pem::new(tag, der), EncodeConfig::new().set_line_ending(LineEnding::LF))
}

/// What a server is called.
#[derive(Debug, Clone, Default)]
pub(crate) struct Names {
    pub(crate) dns: Vec<String>,
    pub(crate) ips: Vec<IpAddr>,
}

/// The server's certificate, which can be renewed while it is in use.
#[derive(Debug)]
pub(crate) struct ServerCertificate {
    names: Names,
    current: RwLock<Arc<CertifiedKey>>,
}

impl ServerCertificate {
    /// Issues the first one.
    ///
    /// # Errors
    /// When it cannot be signed.
    pub(crate) fn issue(authority: &Authority, names: Names) -> Result<Arc<Self>> {
        let current = RwLock::new(certified(authority, &names)?);
        Ok(Arc::new(Self { names, current }))
    }

    /// Issues the next one, for connections to come.
    ///
    /// # Errors
    /// When it cannot be signed; the present one stays.
    pub(crate) fn renew(&self, authority: &Authority) -> Result<()> {
        let next = certified(authority, &self.names)?;
        *self.current.write().unwrap_or_else(std::sync::PoisonError::into_inner) = next;
        Ok(())
    }

    fn current(&self) -> RwLockReadGuard<'_, Arc<CertifiedKey>> {
        // A whole pointer is replaced or not.
        self.current.read().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl ResolvesServerCert for ServerCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current()))
    }
}

fn certified(authority: &Authority, names: &Names) -> Result<Arc<CertifiedKey>> {
    let (certificate, key) = authority.issue_server(names)?;
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key));
    let key = CertifiedKey::from_der(vec![certificate], key, &provider()).context("loading the server's key")?;
    Ok(Arc::new(key))
}

/// Returns how the listener speaks TLS: client certificates are optional, and must be ours.
///
/// # Errors
/// When the authority's own certificate is not accepted as one.
pub(crate) fn tls(authority: &Authority, server: Arc<ServerCertificate>) -> Result<Arc<ServerConfig>> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.certificate.clone()).context("trusting the authority")?;
    let provider = Arc::new(provider());
    let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
        .allow_unauthenticated()
        .build()
        .context("setting up the check of client certificates")?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .context("setting up TLS")?
        .with_client_cert_verifier(clients)
        .with_cert_resolver(server);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn provider() -> CryptoProvider {
    rustls::crypto::ring::default_provider()
}

#[cfg(test)]
mod tests {
    use apiserver::CertificateIdentity;

    use super::*;
    use crate::serve::subject;

    #[test]
    fn the_authority_stays_and_its_key_outlives_its_certificate() {
        let dir = tempfile::tempdir().unwrap();
        let first = Authority::open(dir.path()).unwrap().certificate();
        assert_eq!(Authority::open(dir.path()).unwrap().certificate(), first);
        let key = std::fs::read(dir.path().join("ca.key")).unwrap();
        std::fs::remove_file(dir.path().join("ca.crt")).unwrap();
        Authority::open(dir.path()).unwrap();
        assert_eq!(std::fs::read(dir.path().join("ca.key")).unwrap(), key);
    }

    #[test]
    fn an_authority_that_cannot_be_read_is_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        Authority::open(dir.path()).unwrap();
        let path = dir.path().join("ca.key");
        std::fs::write(&path, "-----BEGIN PRIVATE KEY-----").unwrap();
        let error = format!("{:#}", Authority::open(dir.path()).unwrap_err());
        assert!(error.starts_with(&format!("loading the authority's key {}", path.display())), "{error}");
        assert_eq!(std::fs::read_to_string(path).unwrap(), "-----BEGIN PRIVATE KEY-----");
    }

    #[test]
    fn a_client_is_who_its_certificate_names() {
        let dir = tempfile::tempdir().unwrap();
        let client = Authority::open(dir.path()).unwrap().issue_client("jane", "system:masters").unwrap();
        let der = pem::parse(client.certificate).unwrap().into_contents();
        let want = CertificateIdentity { name: "jane".to_owned(), groups: vec!["system:masters".to_owned()] };
        assert_eq!(subject::identity(&der), Some(want));
        assert_eq!(subject::identity(&der[1..]), None);
    }

    #[test]
    fn certificates_are_renewed_long_before_their_end_and_end_before_the_authority() {
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::open(dir.path()).unwrap();
        let (_, _, end_of_authority) = load_certificate(&authority.certificate()).unwrap();
        let (_, begin, end) = load_certificate(&authority.issue_client("a", "b").unwrap().certificate).unwrap();
        assert!(begin + RENEWAL + DAY < end && end < end_of_authority);
    }
}
