//! Credentials from the user's Docker configuration.

use std::{collections::BTreeMap, env, fs, path::PathBuf};

use base64::Engine as _;
use cri::ImageAuth;
use serde::Deserialize;

/// The name under which Docker keeps the login of its own registry.
const DOCKER_HUB_LOGIN: &str = "index.docker.io";

/// What the configuration has for a registry.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Login {
    Known(ImageAuth),
    /// There is something, and this is why it is of no use.
    Unusable(String),
    None,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
struct File {
    auths: BTreeMap<String, Entry>,
    cred_helpers: BTreeMap<String, String>,
    creds_store: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Entry {
    auth: String,
    username: String,
    password: String,
    identitytoken: String,
    registrytoken: String,
}

/// Looks a registry up in `$DOCKER_CONFIG/config.json` or `~/.docker/config.json`.
pub(crate) fn login(registry: &str) -> Login {
    let dir = env::var_os("DOCKER_CONFIG")
        .map(PathBuf::from)
        .or_else(|| env::var_os("HOME").map(|home| PathBuf::from(home).join(".docker")));
    let Some(path) = dir.map(|dir| dir.join("config.json")) else { return Login::None };
    // None at all is the usual case.
    let Ok(text) = fs::read(&path) else { return Login::None };
    login_in(&text, registry).unwrap_or_else(|e| Login::Unusable(format!("{} is not usable: {e}", path.display())))
}

fn login_in(text: &[u8], registry: &str) -> Result<Login, serde_json::Error> {
    let file: File = serde_json::from_slice(text)?;
    let registry = if registry == "docker.io" { DOCKER_HUB_LOGIN } else { registry };
    let helper = file.cred_helpers.iter().find(|(key, _)| host(key) == registry).map(|(_, helper)| helper.as_str());
    if let Some(helper) = helper {
        return Ok(uses_helper(helper));
    }
    let Some(entry) = file.auths.iter().find(|(key, _)| host(key) == registry).map(|(_, entry)| entry) else {
        return Ok(Login::None);
    };
    Ok(entry.login(&file.creds_store))
}

fn uses_helper(helper: &str) -> Login {
    Login::Unusable(format!("Docker keeps these credentials in docker-credential-{helper}, which is not run"))
}

impl Entry {
    fn login(&self, store: &str) -> Login {
        if !self.registrytoken.is_empty() {
            return Login::Known(ImageAuth::Bearer(self.registrytoken.clone()));
        }
        if !self.identitytoken.is_empty() {
            return Login::Unusable("Docker's identity tokens are not supported".to_owned());
        }
        if !self.username.is_empty() {
            let (username, password) = (self.username.clone(), self.password.clone());
            return Login::Known(ImageAuth::Basic { username, password });
        }
        if self.auth.is_empty() {
            // With a credential store the entry is only a reminder that there is a login.
            return if store.is_empty() { Login::None } else { uses_helper(store) };
        }
        let decoded = base64::engine::general_purpose::STANDARD.decode(&self.auth).ok();
        let pair = decoded.and_then(|bytes| String::from_utf8(bytes).ok());
        match pair.as_deref().and_then(|pair| pair.split_once(':')) {
            Some((username, password)) => Login::Known(ImageAuth::Basic {
                username: username.to_owned(),
                // Some writers append a NUL.
                password: password.trim_end_matches('\0').to_owned(),
            }),
            None => Login::Unusable("Docker's credentials for this registry are damaged".to_owned()),
        }
    }
}

/// The host of a key, which may be a host or a URL.
fn host(key: &str) -> &str {
    let key = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    key.split('/').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = r#"{
        "auths": {
            "https://index.docker.io/v1/": { "auth": "bWU6c2VjcmV0" },
            "localhost:5000": { "username": "u", "password": "p" },
            "token.test": { "registrytoken": "t" },
            "identity.test": { "identitytoken": "i" },
            "broken.test": { "auth": "%%" },
            "stored.test": {},
            "helped.test": { "auth": "bWU6c2VjcmV0" }
        },
        "credHelpers": { "helped.test": "ecr-login" },
        "credsStore": "desktop"
    }"#;

    fn login(registry: &str) -> Login {
        login_in(CONFIG.as_bytes(), registry).unwrap()
    }

    fn basic(username: &str, password: &str) -> Login {
        Login::Known(ImageAuth::Basic { username: username.to_owned(), password: password.to_owned() })
    }

    #[test]
    fn logins_are_found_by_host() {
        assert_eq!(login("docker.io"), basic("me", "secret"));
        assert_eq!(login("localhost:5000"), basic("u", "p"));
        assert_eq!(login("token.test"), Login::Known(ImageAuth::Bearer("t".to_owned())));
        assert_eq!(login("other.test"), Login::None);
    }

    #[test]
    fn logins_that_cannot_be_used_say_why() {
        for (registry, why) in [
            ("helped.test", "docker-credential-ecr-login"),
            ("stored.test", "docker-credential-desktop"),
            ("identity.test", "identity"),
            ("broken.test", "damaged"),
        ] {
            let Login::Unusable(reason) = login(registry) else { panic!("{registry}") };
            assert!(reason.contains(why), "{reason}");
        }
        assert!(login_in(b"{", "x").is_err());
    }
}
