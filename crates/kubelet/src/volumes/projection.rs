//! Content of configMap, secret, downwardAPI and projected volumes (contract S11-04, S11-07, S11-11).

use std::{collections::BTreeMap, path::PathBuf};

use k8s_openapi::api::core::v1::{DownwardAPIVolumeFile, KeyToPath, Volume, VolumeProjection};

use crate::{downward::Facts, objects::Objects, tokens::TokenSpec};

/// One file to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PayloadFile {
    /// Content.
    pub(crate) data: Vec<u8>,
    /// Permission bits.
    pub(crate) mode: u32,
    /// Owner; the agent's user if none.
    pub(crate) user: Option<u32>,
}

/// Who may read a token.
#[derive(Debug, Clone, Copy)]
pub(super) struct TokenAccess {
    /// Owner of the file.
    pub(super) user: Option<u32>,
    /// Nobody but the owner, whatever the volume's mode says.
    pub(super) only_owner: bool,
}

/// Files by path relative to the volume.
pub(crate) type Payload = BTreeMap<PathBuf, PayloadFile>;

/// Mode of files where nothing is said.
const DEFAULT_MODE: u32 = 0o644;

/// Returns the files of a volume; the error is the text of the event.
pub(super) fn payload(
    volume: &Volume,
    facts: &Facts<'_>,
    objects: &Objects,
    access: TokenAccess,
) -> Result<Payload, String> {
    let mut out = Payload::new();
    let builder = Builder { facts, objects, access };
    if let Some(source) = &volume.config_map {
        let keys = Keys { items: source.items.as_deref(), mode: mode(source.default_mode), optional: source.optional };
        builder.config_map(&mut out, &source.name, &keys)?;
    } else if let Some(source) = &volume.secret {
        let name = source.secret_name.as_deref().unwrap_or_default();
        let keys = Keys { items: source.items.as_deref(), mode: mode(source.default_mode), optional: source.optional };
        builder.secret(&mut out, name, &keys)?;
    } else if let Some(source) = &volume.downward_api {
        builder.downward(&mut out, source.items.as_deref().unwrap_or_default(), mode(source.default_mode))?;
    } else if let Some(source) = &volume.projected {
        for projection in source.sources.iter().flatten() {
            builder.projection(&mut out, projection, mode(source.default_mode))?;
        }
    }
    Ok(out)
}

struct Builder<'a> {
    facts: &'a Facts<'a>,
    objects: &'a Objects,
    access: TokenAccess,
}

/// Which keys of an object become files.
struct Keys<'a> {
    items: Option<&'a [KeyToPath]>,
    mode: u32,
    optional: Option<bool>,
}

impl Builder<'_> {
    fn projection(&self, out: &mut Payload, source: &VolumeProjection, default: u32) -> Result<(), String> {
        if let Some(s) = &source.config_map {
            let keys = Keys { items: s.items.as_deref(), mode: default, optional: s.optional };
            self.config_map(out, &s.name, &keys)?;
        }
        if let Some(s) = &source.secret {
            let keys = Keys { items: s.items.as_deref(), mode: default, optional: s.optional };
            self.secret(out, &s.name, &keys)?;
        }
        if let Some(s) = &source.downward_api {
            self.downward(out, s.items.as_deref().unwrap_or_default(), default)?;
        }
        if let Some(s) = &source.service_account_token {
            let token = self.objects.tokens.get(&TokenSpec::of(s)).ok_or("the token was not asked for")?;
            let (data, user) = (token.clone()?.into_bytes(), self.access.user);
            let mode = if self.access.only_owner { 0o600 } else { default };
            out.insert(safe(&s.path)?, PayloadFile { data, mode, user });
        }
        if source.cluster_trust_bundle.is_some() || source.pod_certificate.is_some() {
            return Err("projected cluster trust bundles and pod certificates are not supported".to_owned());
        }
        Ok(())
    }

    fn config_map(&self, out: &mut Payload, name: &str, keys: &Keys<'_>) -> Result<(), String> {
        let Some(map) = self.objects.config_map(name) else {
            return if keys.optional == Some(true) { Ok(()) } else { Err(format!("configmap {name:?} not found")) };
        };
        let mut data: BTreeMap<&str, &[u8]> = BTreeMap::new();
        data.extend(map.data.iter().flatten().map(|(k, v)| (k.as_str(), v.as_bytes())));
        data.extend(map.binary_data.iter().flatten().map(|(k, v)| (k.as_str(), v.0.as_slice())));
        select(out, "ConfigMap", &data, keys)
    }

    fn secret(&self, out: &mut Payload, name: &str, keys: &Keys<'_>) -> Result<(), String> {
        let Some(secret) = self.objects.secret(name) else {
            return if keys.optional == Some(true) { Ok(()) } else { Err(format!("secret {name:?} not found")) };
        };
        let data = secret.data.iter().flatten().map(|(k, v)| (k.as_str(), v.0.as_slice())).collect();
        select(out, "Secret", &data, keys)
    }

    fn downward(&self, out: &mut Payload, items: &[DownwardAPIVolumeFile], default: u32) -> Result<(), String> {
        for item in items {
            let text = match (&item.field_ref, &item.resource_field_ref) {
                (Some(field), _) => self.facts.field(field),
                (None, Some(resource)) => self.facts.resource(resource, None),
                (None, None) => continue,
            };
            let data = text.map_err(|e| e.to_string())?.into_bytes();
            let mode = item.mode.map_or(default, |m| mode(Some(m)));
            out.insert(safe(&item.path)?, PayloadFile { data, mode, user: None });
        }
        Ok(())
    }
}

fn select(out: &mut Payload, kind: &str, data: &BTreeMap<&str, &[u8]>, keys: &Keys<'_>) -> Result<(), String> {
    let Some(items) = keys.items.filter(|i| !i.is_empty()) else {
        for (key, value) in data {
            out.insert(safe(key)?, PayloadFile { data: value.to_vec(), mode: keys.mode, user: None });
        }
        return Ok(());
    };
    for item in items {
        match data.get(item.key.as_str()) {
            Some(value) => {
                let mode = item.mode.map_or(keys.mode, |m| mode(Some(m)));
                out.insert(safe(&item.path)?, PayloadFile { data: value.to_vec(), mode, user: None });
            }
            None if keys.optional == Some(true) => {}
            None => {
                let noun = if kind == "Secret" { "secret" } else { "config" };
                let object = if kind == "Secret" { "references" } else { "configmap references" };
                return Err(format!("{object} non-existent {noun} key: {}", item.key));
            }
        }
    }
    Ok(())
}

fn mode(bits: Option<i32>) -> u32 {
    bits.and_then(|b| u32::try_from(b).ok()).map_or(DEFAULT_MODE, |b| b & 0o777)
}

/// Checks that a path stays inside its volume; the API server's validation has already done so.
fn safe(path: &str) -> Result<PathBuf, String> {
    let inside = !path.is_empty() && path.split('/').all(|p| !p.is_empty() && p != "." && p != "..");
    if inside && !path.starts_with("..") && !path.contains('\0') {
        Ok(PathBuf::from(path))
    } else {
        Err(format!("invalid path {path:?}"))
    }
}
