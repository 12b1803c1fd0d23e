//! The key that tokens of service accounts are signed with: made once, kept beside the authority.

use std::path::Path;

use anyhow::{Context as _, Result};
use apiserver::TokenKey;

use super::pki;
use crate::files;

/// Opens the key in a directory, or makes one there.
///
/// # Errors
/// When the file cannot be read, written or understood.
pub(crate) fn open(dir: &Path) -> Result<TokenKey> {
    let path = dir.join("service-accounts.key");
    if let Some(text) = files::read(&path)? {
        let context = || format!("loading the key of service account tokens {}", path.display());
        let document = pem::parse(text).with_context(context)?;
        return TokenKey::from_pkcs8(document.contents()).with_context(context);
    }
    let key = TokenKey::generate()?;
    files::replace(&path, pki::encode("PRIVATE KEY", key.pkcs8()).as_bytes())?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_key_stays_the_same_and_nobody_else_can_read_it() {
        let dir = tempfile::tempdir().expect("a directory");
        let first = open(dir.path()).expect("made");
        assert_eq!(open(dir.path()).expect("loaded").pkcs8(), first.pkcs8());
        let path = dir.path().join("service-accounts.key");
        assert_eq!(std::fs::metadata(&path).expect("metadata").permissions().mode() & 0o777, 0o600);
        std::fs::write(&path, "x").expect("written");
        let error = open(dir.path()).expect_err("no key");
        assert!(error.to_string().contains("service-accounts.key"), "{error}");
    }
}
