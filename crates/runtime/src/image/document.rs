//! The documents that describe images: index, manifest, configuration.
//!
//! Read leniently (real files leave out or null what the specification requires), but only as far as the
//! store needs them. The documents themselves are stored byte for byte.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, de::DeserializeOwned};

use super::{Error, digest::Digest, name::Platform};

/// Annotation of manifests that only attest others (BuildKit).
const REFERENCE_TYPE: &str = "vnd.docker.reference.type";

/// Points at another document or a layer.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Descriptor {
    pub(crate) digest: Digest,
    #[serde(default)]
    pub(crate) size: u64,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) annotations: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) platform: Option<PlatformField>,
}

impl Descriptor {
    /// Whether it leads to an image that could run somewhere.
    fn is_image(&self) -> bool {
        let unknown = self.platform.as_ref().is_some_and(|p| p.os == "unknown");
        !unknown && !self.annotations.contains_key(REFERENCE_TYPE)
    }

    fn rank(&self, platform: Platform) -> Option<usize> {
        let p = self.platform.clone().unwrap_or_default();
        platform.rank(&p.os, &p.architecture, &p.variant)
    }
}

/// `platform` of a descriptor.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct PlatformField {
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) os: String,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) architecture: String,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) variant: String,
}

/// An image index (`manifests`) or an image manifest (`config`, `layers`).
#[derive(Debug)]
pub(crate) enum Manifest {
    Index(Vec<Descriptor>),
    Image { config: Descriptor, layers: Vec<Descriptor> },
}

#[derive(Deserialize)]
struct RawManifest {
    manifests: Option<Vec<Descriptor>>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
}

impl Manifest {
    pub(crate) fn parse(what: &str, bytes: &[u8]) -> Result<Self, Error> {
        let raw: RawManifest = json(what, bytes)?;
        match (raw.manifests, raw.config) {
            (Some(manifests), None) => Ok(Self::Index(manifests)),
            (None, Some(config)) => Ok(Self::Image { config, layers: raw.layers.unwrap_or_default() }),
            (Some(_), Some(_)) => Err(refuse(what, "is an index and a manifest at once")),
            (None, None) => Err(refuse(what, "is neither an image index nor an image manifest")),
        }
    }
}

/// The entries of an index that could run here, the best first.
pub(crate) fn choose(what: &str, index: &[Descriptor]) -> Result<Vec<Descriptor>, Error> {
    let platform = Platform::host();
    let mut fitting: Vec<(usize, &Descriptor)> =
        index.iter().filter(|d| d.is_image()).filter_map(|d| Some((d.rank(platform)?, d))).collect();
    fitting.sort_by_key(|(rank, _)| *rank);
    if fitting.is_empty() {
        let found = index.iter().filter(|d| d.is_image()).filter_map(|d| d.platform.as_ref());
        let found: Vec<String> = found.map(|p| format!("{}/{}", p.os, p.architecture)).collect();
        return Err(wrong_platform(what, &found.join(", ")));
    }
    Ok(fitting.into_iter().map(|(_, d)| d.clone()).collect())
}

fn wrong_platform(what: &str, found: &str) -> Error {
    let found = if found.is_empty() { "no platform" } else { found };
    Error::Platform { what: what.to_owned(), wanted: Platform::host().to_string(), found: found.to_owned() }
}

/// An image configuration.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Config {
    #[serde(default, deserialize_with = "nullable")]
    os: String,
    #[serde(default, deserialize_with = "nullable")]
    architecture: String,
    #[serde(default, deserialize_with = "nullable")]
    variant: String,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) config: Runtime,
    rootfs: Rootfs,
}

#[derive(Debug, Default, Deserialize)]
struct Rootfs {
    #[serde(default, deserialize_with = "nullable")]
    diff_ids: Vec<Digest>,
}

/// What a configuration says about running the image.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Runtime {
    #[serde(deserialize_with = "nullable")]
    pub(crate) user: String,
    #[serde(deserialize_with = "one_or_many")]
    pub(crate) entrypoint: Vec<String>,
    #[serde(deserialize_with = "one_or_many")]
    pub(crate) cmd: Vec<String>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) env: Vec<String>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) working_dir: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) stop_signal: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) labels: BTreeMap<String, String>,
}

impl Config {
    /// Parses a configuration and makes sure that this machine can run it.
    pub(crate) fn parse(what: &str, bytes: &[u8], max_layers: usize) -> Result<Self, Error> {
        let config: Self = json(what, bytes)?;
        if Platform::host().rank(&config.os, &config.architecture, &config.variant).is_none() {
            return Err(wrong_platform(what, &format!("{}/{}", config.os, config.architecture)));
        }
        let layers = config.rootfs.diff_ids.len();
        if layers > max_layers {
            return Err(refuse(what, format!("has {layers} layers, at most {max_layers} are allowed")));
        }
        Ok(config)
    }

    /// Digests of the uncompressed layers, the lowest first.
    pub(crate) fn layers(&self) -> &[Digest] {
        &self.rootfs.diff_ids
    }

    /// What the node agent needs to know, names left out.
    pub(crate) fn info(&self, id: Digest, size: u64) -> cri::ImageInfo {
        let run = &self.config;
        // A group after the colon is not part of the interface: the agent only compares users.
        let user = run.user.split(':').next().unwrap_or_default();
        cri::ImageInfo {
            id: id.to_string(),
            size,
            user: match user.parse() {
                _ if user.is_empty() => cri::ImageUser::Unset,
                Ok(uid) => cri::ImageUser::Uid(uid),
                Err(_) => cri::ImageUser::Name(user.to_owned()),
            },
            entrypoint: run.entrypoint.clone(),
            cmd: run.cmd.clone(),
            env: run.env.clone(),
            working_dir: run.working_dir.clone(),
            stop_signal: Some(run.stop_signal.clone()).filter(|s| !s.is_empty()),
            labels: run.labels.clone(),
            ..cri::ImageInfo::default()
        }
    }
}

/// Parses a document, naming it in the error.
pub(crate) fn json<T: DeserializeOwned>(what: &str, bytes: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(bytes).map_err(|e| refuse(what, e.to_string()))
}

pub(crate) fn refuse(what: &str, reason: impl Into<String>) -> Error {
    Error::Document { what: what.to_owned(), reason: reason.into() }
}

/// Go writes `null` for empty values.
fn nullable<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Docker accepts one string for a list of one.
fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Field {
        Many(Vec<String>),
        One(String),
    }
    Ok(match Option::deserialize(deserializer)? {
        Some(Field::Many(many)) => many,
        Some(Field::One(one)) => vec![one],
        None => Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(config: &str) -> cri::ImageInfo {
        let text = format!(r#"{{"os":"linux","rootfs":{{"diff_ids":null}},"config":{config}}}"#);
        Config::parse("test", text.as_bytes(), 9).unwrap().info(Digest::of(b""), 0)
    }

    #[test]
    fn nulls_single_strings_and_groups_are_understood() {
        assert_eq!(info("null"), info("{}"));
        let i = info(r#"{"Entrypoint":"/run","Cmd":null,"User":"1000:50","StopSignal":"SIGQUIT","Env":["A=b"]}"#);
        assert_eq!((i.entrypoint, i.cmd), (vec!["/run".to_owned()], vec![]));
        assert_eq!((i.user, i.stop_signal.as_deref()), (cri::ImageUser::Uid(1000), Some("SIGQUIT")));
        assert_eq!(info(r#"{"User":"nobody:x"}"#).user, cri::ImageUser::Name("nobody".to_owned()));
    }

    #[test]
    fn an_image_for_another_machine_is_refused_by_name() {
        let text = br#"{"os":"linux","architecture":"z80","rootfs":{}}"#;
        let error = Config::parse("image x", text, 9).unwrap_err();
        assert!(matches!(error, Error::Platform { found, .. } if found == "linux/z80"));
    }

    #[test]
    fn an_index_yields_the_host_platform_without_attestations() {
        let host = Platform::host().to_string();
        let arch = host.split('/').nth(1).unwrap();
        let digest = |n: u8| Digest::of(&[n]).to_string();
        let index = format!(
            r#"{{"manifests":[
              {{"digest":"{}","platform":{{"os":"linux","architecture":"z80"}}}},
              {{"digest":"{}","platform":{{"os":"unknown","architecture":"unknown"}}}},
              {{"digest":"{}","annotations":{{"vnd.docker.reference.type":"attestation-manifest"}}}},
              {{"digest":"{}","platform":{{"os":"linux","architecture":"{arch}"}}}}]}}"#,
            digest(1),
            digest(2),
            digest(3),
            digest(4)
        );
        let Manifest::Index(entries) = Manifest::parse("x", index.as_bytes()).unwrap() else { panic!() };
        let chosen = choose("x", &entries).unwrap();
        assert_eq!(chosen.len(), 1);
        assert_eq!(chosen[0].digest, Digest::of(&[4]));
        assert!(matches!(choose("x", &entries[..2]), Err(Error::Platform { .. })));
    }
}
