//! Image names: Docker's normalisation, ids, platforms.

use oci_spec::distribution::{ParseError, Reference};

use super::{Error, digest::Digest};

/// Shortest id prefix that names an image: what container tools print.
const MIN_ID_PREFIX: usize = 12;

/// What a user may write where an image is expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// A full image id.
    Id(Digest),
    /// A name with tag, fully written. If it also reads as the first digits of an id, those.
    Tag { name: String, id_prefix: Option<String> },
    /// A repository with the digest of a manifest, fully written. A tag before it has no meaning.
    Digest { name: String },
}

impl Wanted {
    /// Understands `image` as a name or an id.
    pub(crate) fn parse(image: &str) -> Result<Self, Error> {
        let bare = image.strip_prefix("sha256:").unwrap_or(image);
        if let Some(id) = Digest::from_hex(bare) {
            return Ok(Self::Id(id));
        }
        let reference = parse(image)?;
        Ok(match reference.digest() {
            Some(digest) => Self::Digest { name: with_digest(&reference, digest) },
            None => Self::Tag {
                name: reference.whole(),
                id_prefix: (bare.len() >= MIN_ID_PREFIX
                    && bare.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')))
                .then(|| bare.to_owned()),
            },
        })
    }
}

/// Parses an image reference the way Docker does: `busybox` is `docker.io/library/busybox:latest`.
pub(crate) fn parse(image: &str) -> Result<Reference, Error> {
    let invalid = |message: String| Error::InvalidName { image: image.to_owned(), message };
    if Digest::from_hex(image).is_some() {
        return Err(invalid("invalid repository name, cannot specify 64-byte hexadecimal strings".to_owned()));
    }
    image.parse().map_err(|e: ParseError| invalid(reference_message(image, &e)))
}

/// The texts of the reference parser that Kubernetes uses (github.com/distribution/reference).
fn reference_message(image: &str, error: &ParseError) -> String {
    let name = image.split('@').next().unwrap_or_default();
    match error {
        ParseError::ReferenceInvalidFormat | ParseError::NameContainsUppercase => {
            let repository = name.rsplit_once(':').filter(|(_, tag)| !tag.contains('/')).map_or(name, |(r, _)| r);
            let lower = repository.to_lowercase();
            if lower != repository && image.replacen(repository, &lower, 1).parse::<Reference>().is_ok() {
                return format!("invalid reference format: repository name ({repository}) must be lowercase");
            }
            "invalid reference format".to_owned()
        }
        ParseError::NameEmpty
        | ParseError::NameTooLong
        | ParseError::TagInvalidFormat
        | ParseError::DigestInvalidFormat
        | ParseError::DigestInvalidLength
        | ParseError::DigestUnsupported => error.to_string(),
    }
}

/// `registry/repository@digest`.
pub(crate) fn with_digest(reference: &Reference, digest: &str) -> String {
    format!("{}/{}@{digest}", reference.registry(), reference.repository())
}

/// The platform that images are chosen for: Linux on this machine.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Platform {
    architecture: &'static str,
    /// Acceptable variants, the best first. No variant at all is always acceptable.
    variants: &'static [&'static str],
}

impl Platform {
    pub(crate) fn host() -> Self {
        // Names of GOARCH and GOARM, which the image format prescribes (OCI image-spec, image-index.md).
        let (architecture, variants): (_, &[&str]) = match std::env::consts::ARCH {
            "x86_64" => ("amd64", &["v1"]),
            "x86" => ("386", &[]),
            "aarch64" => ("arm64", &["v8"]),
            "arm" => ("arm", &["v7", "v6", "v5"]),
            "powerpc64" => ("ppc64le", &[]),
            "loongarch64" => ("loong64", &[]),
            other => (other, &[]),
        };
        Self { architecture, variants }
    }

    /// How well a platform fits, smaller is better; `None` if not at all. What is not said fits.
    pub(crate) fn rank(&self, os: &str, architecture: &str, variant: &str) -> Option<usize> {
        let fits = |said: &str, ours: &str| said.is_empty() || said == ours;
        if !fits(os, "linux") || !fits(architecture, self.architecture) {
            return None;
        }
        if variant.is_empty() {
            return Some(self.variants.len());
        }
        self.variants.iter().position(|v| *v == variant)
    }
}

impl std::fmt::Display for Platform {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "linux/{}", self.architecture)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_completed_as_docker_does() {
        let hex = "0123456789abcdef".repeat(4);
        for (given, full) in [
            ("busybox", "docker.io/library/busybox:latest"),
            ("busybox:1.36", "docker.io/library/busybox:1.36"),
            ("me/app", "docker.io/me/app:latest"),
            ("index.docker.io/busybox", "docker.io/library/busybox:latest"),
            ("localhost/app", "localhost/app:latest"),
            ("localhost:5000/app:v1", "localhost:5000/app:v1"),
            ("registry.k8s.io/pause:3.10", "registry.k8s.io/pause:3.10"),
        ] {
            assert!(matches!(Wanted::parse(given).unwrap(), Wanted::Tag { name, .. } if name == full), "{given}");
        }
        for given in [format!("busybox@sha256:{hex}"), format!("busybox:1.36@sha256:{hex}")] {
            let name = format!("docker.io/library/busybox@sha256:{hex}");
            assert_eq!(Wanted::parse(&given).unwrap(), Wanted::Digest { name });
        }
        assert!(matches!(Wanted::parse(&hex).unwrap(), Wanted::Id(_)));
        assert!(matches!(Wanted::parse(&format!("sha256:{hex}")).unwrap(), Wanted::Id(_)));
    }

    #[test]
    fn what_is_no_name_is_refused_with_the_words_of_kubernetes() {
        for (given, message) in [
            ("", "repository name must have at least one component"),
            ("Busybox", "invalid reference format: repository name (Busybox) must be lowercase"),
            ("a b", "invalid reference format"),
            ("busybox:", "invalid reference format"),
            ("../etc/passwd", "invalid reference format"),
            ("busybox@sha256:12", "invalid reference format"),
            ("-x", "invalid reference format"),
        ] {
            let Err(Error::InvalidName { message: got, .. }) = Wanted::parse(given) else { panic!("{given}") };
            assert_eq!(got, message, "{given}");
        }
    }

    #[test]
    fn the_best_variant_wins() {
        let arm = Platform { architecture: "arm", variants: &["v7", "v6", "v5"] };
        assert!(arm.rank("linux", "arm", "v7") < arm.rank("linux", "arm", "v6"));
        assert_eq!(arm.rank("linux", "arm", "v9"), None);
        assert_eq!(arm.rank("linux", "amd64", ""), None);
        assert_eq!(arm.rank("windows", "arm", ""), None);
        assert!(arm.rank("", "", "").is_some());
    }
}
