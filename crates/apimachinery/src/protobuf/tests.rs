//! What is read and what is refused.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::schema::Shape;

fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(u8::try_from(number & 0x7f).unwrap() | 0x80);
        number >>= 7;
    }
    out.push(u8::try_from(number).unwrap());
}

/// A field that holds bytes.
fn bytes(number: u64, content: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put_varint(&mut out, number << 3 | 2);
    put_varint(&mut out, content.len() as u64);
    out.extend(content);
    out
}

/// A field that holds a number.
fn number(field: u64, value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    put_varint(&mut out, field << 3);
    put_varint(&mut out, value);
    out
}

fn object(api_version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
    let types = [bytes(1, api_version.as_bytes()), bytes(2, kind.as_bytes())].concat();
    [MAGIC, &bytes(1, &types), &bytes(2, raw), &bytes(3, b""), &bytes(4, b"")].concat()
}

#[test]
fn what_kubectl_create_namespace_sends_is_read() {
    let sent = [
        0x6b, 0x38, 0x73, 0x00, 0x0a, 0x0f, 0x0a, 0x02, 0x76, 0x31, 0x12, 0x09, 0x4e, 0x61, 0x6d, 0x65, 0x73, 0x70,
        0x61, 0x63, 0x65, 0x12, 0x19, 0x0a, 0x11, 0x0a, 0x01, 0x61, 0x12, 0x00, 0x1a, 0x00, 0x22, 0x00, 0x2a, 0x00,
        0x32, 0x00, 0x38, 0x00, 0x42, 0x00, 0x12, 0x00, 0x1a, 0x02, 0x0a, 0x00, 0x1a, 0x00, 0x22, 0x00,
    ];
    let read = decode(&sent).unwrap();
    assert_eq!((&read["kind"], &read["metadata"]["name"]), (&json!("Namespace"), &json!("a")));
    assert!(read["metadata"].get("creationTimestamp").is_none(), "{read}");
}

#[test]
fn embedded_messages_lists_maps_and_special_scalars_are_read() {
    let quantity = bytes(1, b"250m");
    let limits = bytes(1, &[bytes(1, b"cpu"), bytes(2, &quantity)].concat());
    let port = [number(1, 1), number(2, 0), bytes(3, b"http")].concat();
    let probe = [bytes(1, &bytes(2, &bytes(2, &port))), number(4, 7)].concat();
    let key_ref = [bytes(1, &bytes(1, b"settings")), bytes(2, b"colour")].concat();
    let env = [bytes(1, b"X"), bytes(3, &bytes(3, &key_ref))].concat();
    let container = [bytes(1, b"app"), bytes(2, b"img"), bytes(7, &env), bytes(8, &limits), bytes(10, &probe)].concat();
    let volume = [bytes(1, b"v"), bytes(2, &bytes(2, b""))].concat();
    let spec = [bytes(1, &volume), bytes(2, &container), bytes(3, b"Never"), number(4, u64::MAX)].concat();
    let meta = [bytes(1, b"p"), bytes(8, &number(1, 1_700_000_000))].concat();
    let read = decode(&object("v1", "Pod", &[bytes(1, &meta), bytes(2, &spec)].concat())).unwrap();
    assert_eq!(
        read,
        json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "p", "creationTimestamp": "2023-11-14T22:13:20Z"},
        "spec": {
            "volumes": [{"name": "v", "emptyDir": {}}],
            "containers": [{
                "name": "app", "image": "img",
                "env": [{"name": "X", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "colour"}}}],
                "resources": {"limits": {"cpu": "250m"}},
                "livenessProbe": {"httpGet": {"port": "http"}, "periodSeconds": 7},
            }],
            "restartPolicy": "Never", "terminationGracePeriodSeconds": -1,
        }})
    );
}

#[test]
fn packed_numbers_and_lists_in_maps_are_read() {
    let codes = [bytes(2, b"In"), bytes(3, &[1, 2, 0xac, 0x02])].concat();
    let rule = bytes(2, &codes);
    let job = bytes(2, &bytes(11, &bytes(1, &rule)));
    let read = decode(&object("batch/v1", "Job", &job)).unwrap();
    let codes = &read["spec"]["podFailurePolicy"]["rules"][0]["onExitCodes"];
    assert_eq!(codes, &json!({"operator": "In", "values": [1, 2, 300]}));
    let extra = bytes(5, &[bytes(1, b"scopes"), bytes(2, &[bytes(1, b"a"), bytes(1, b"b")].concat())].concat());
    let review = decode(&object("authorization.k8s.io/v1", "SubjectAccessReview", &bytes(2, &extra))).unwrap();
    assert_eq!(review["spec"]["extra"], json!({"scopes": ["a", "b"]}));
}

#[test]
fn what_is_no_object_is_refused() {
    assert_eq!(decode(b"{}"), Err(ProtobufError::NotProtobuf));
    assert!(matches!(decode(&object("v9", "Pod", b"")), Err(ProtobufError::UnknownKind { .. })));
    assert!(matches!(decode(b"k8s\0\x0a\xff"), Err(ProtobufError::Malformed(_))));
}

#[test]
fn nearly_every_field_has_a_number_and_none_has_anothers() {
    for definition in schema::all() {
        let Shape::Fields(fields) = definition.shape else { continue };
        let mut numbers: Vec<_> = fields.iter().map(|field| field.numbers).filter(|n| *n != [0, 0]).collect();
        let count = numbers.len();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), count, "{}", definition.name);
    }
    let pod = schema::by_name("io.k8s.api.core.v1.PodSpec").unwrap();
    assert!(pod.fields().iter().filter(|field| field.numbers == [0, 0]).count() <= 1, "only the newest have none");
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(noise in proptest::collection::vec(any::<u8>(), 0..300), kind in 0_usize..3) {
        let kind = [("v1", "Pod"), ("apps/v1", "Deployment"), ("v1", "DeleteOptions")][kind];
        let _ = decode(&object(kind.0, kind.1, &noise));
        let _ = decode(&[MAGIC, &noise].concat());
    }
}
