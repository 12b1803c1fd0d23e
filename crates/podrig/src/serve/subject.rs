//! Who a verified client certificate names (`CommonNameUserConversion` of Kubernetes' x509 authenticator).

use apiserver::CertificateIdentity;
use x509_cert::{
    Certificate,
    attr::AttributeTypeAndValue,
    der::{
        Decode as _, Tag, Tagged as _,
        asn1::{ObjectIdentifier, PrintableStringRef, Utf8StringRef},
    },
};

const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");
const ORGANIZATION: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.10");

/// Reads name and groups; `None`: the certificate names nobody.
pub(crate) fn identity(der: &[u8]) -> Option<CertificateIdentity> {
    let subject = Certificate::from_der(der).ok()?.tbs_certificate.subject;
    let parts = || subject.0.iter().flat_map(|part| part.0.iter());
    let texts = |oid| parts().filter(move |part| part.oid == oid).filter_map(text);
    // As Go reads it: the last one counts.
    let name = texts(COMMON_NAME).next_back().filter(|name| !name.is_empty())?;
    Some(CertificateIdentity { name, groups: texts(ORGANIZATION).collect() })
}

#[expect(clippy::wildcard_enum_match_arm, reason = "names in other encodings are nobody's")]
fn text(part: &AttributeTypeAndValue) -> Option<String> {
    match part.value.tag() {
        Tag::Utf8String => part.value.decode_as::<Utf8StringRef<'_>>().ok().map(|text| text.as_str().to_owned()),
        Tag::PrintableString => {
            part.value.decode_as::<PrintableStringRef<'_>>().ok().map(|text| text.as_str().to_owned())
        }
        _ => None,
    }
}
