//! The version 2 document in the protobuf form, the only one that kubectl reads of it: to tell unknown kinds from
//! fields that it does not know, and to validate for servers that do not.
//!
//! Source of names and numbers: `gnostic-models` `openapiv2/OpenAPIv2.proto`. What it wraps in messages of one field is
//! written as a path of numbers here.

use serde_json::Value;

/// A message: names of its members in JSON, their numbers, and what they hold. Extensions have a number of their own.
struct Message {
    members: &'static [(&'static str, u32, Part)],
    extensions: u32,
}

/// What a member holds.
enum Part {
    /// A text.
    Text,
    /// Texts, or one, in messages along a path.
    Texts(&'static [u32]),
    Flag,
    /// Any value, as YAML.
    Any,
    /// Any values.
    Anys,
    /// A message along a path.
    One(&'static [u32], &'static Message),
    /// A message whose field of this number has pairs of names and messages along a path.
    Map(u32, &'static [u32], &'static Message),
    /// Parameters of an operation: each is one of several messages.
    Parameters,
}

use Part::{Any, Anys, Flag, Map, One, Parameters, Text, Texts};

static DOCUMENT: Message = Message {
    members: &[
        ("swagger", 1, Text),
        ("info", 2, One(&[], &INFO)),
        ("paths", 8, Map(2, &[], &PATH_ITEM)),
        ("definitions", 9, Map(1, &[], &SCHEMA)),
    ],
    extensions: 16,
};

static INFO: Message = Message { members: &[("title", 1, Text), ("version", 2, Text)], extensions: 7 };

static PATH_ITEM: Message = Message {
    members: &[
        ("get", 2, One(&[], &OPERATION)),
        ("put", 3, One(&[], &OPERATION)),
        ("post", 4, One(&[], &OPERATION)),
        ("delete", 5, One(&[], &OPERATION)),
        ("patch", 8, One(&[], &OPERATION)),
        ("parameters", 9, Parameters),
    ],
    extensions: 10,
};

static OPERATION: Message = Message {
    members: &[
        ("description", 3, Text),
        ("operationId", 5, Text),
        ("produces", 6, Texts(&[])),
        ("consumes", 7, Texts(&[])),
        ("parameters", 8, Parameters),
        ("responses", 9, Map(1, &[1], &RESPONSE)),
    ],
    extensions: 13,
};

static RESPONSE: Message =
    Message { members: &[("description", 1, Text), ("schema", 2, One(&[1], &SCHEMA))], extensions: 5 };

static BODY: Message = Message {
    members: &[
        ("description", 1, Text),
        ("name", 2, Text),
        ("in", 3, Text),
        ("required", 4, Flag),
        ("schema", 5, One(&[], &SCHEMA)),
    ],
    extensions: 6,
};

static IN_QUERY: Message = Message {
    members: &[
        ("required", 1, Flag),
        ("in", 2, Text),
        ("description", 3, Text),
        ("name", 4, Text),
        ("type", 6, Text),
        ("uniqueItems", 20, Flag),
    ],
    extensions: 23,
};

static IN_PATH: Message = Message {
    members: &[
        ("required", 1, Flag),
        ("in", 2, Text),
        ("description", 3, Text),
        ("name", 4, Text),
        ("type", 5, Text),
        ("uniqueItems", 19, Flag),
    ],
    extensions: 22,
};

static SCHEMA: Message = Message {
    members: &[
        ("$ref", 1, Text),
        ("format", 2, Text),
        ("description", 4, Text),
        ("default", 5, Any),
        ("required", 19, Texts(&[])),
        ("enum", 20, Anys),
        ("additionalProperties", 21, One(&[1], &SCHEMA)),
        ("type", 22, Texts(&[1])),
        ("items", 23, One(&[1], &SCHEMA)),
        ("properties", 25, Map(1, &[], &SCHEMA)),
    ],
    extensions: 31,
};

/// Writes a version 2 document, given in JSON, in protobuf.
pub(super) fn write(document: &Value) -> Vec<u8> {
    message(&DOCUMENT, document)
}

fn message(of: &Message, value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in value.as_object().into_iter().flatten() {
        if let Some((_, number, part)) = of.members.iter().find(|(member, _, _)| member == name) {
            write_part(&mut out, *number, part, value);
        } else if name.starts_with("x-") {
            put(&mut out, of.extensions, &named(name, &any(value)));
        }
    }
    out
}

fn write_part(out: &mut Vec<u8>, number: u32, part: &Part, value: &Value) {
    let each = || value.as_array().map_or_else(|| std::slice::from_ref(value), Vec::as_slice);
    match part {
        Text => put(out, number, text(value)),
        Texts(path) => each().iter().for_each(|one| put(out, number, &along(path, text(one).to_vec()))),
        Flag => out.extend([varint(number << 3), varint(u32::from(value == true))].concat()),
        Any => put(out, number, &any(value)),
        Anys => each().iter().for_each(|one| put(out, number, &any(one))),
        One(path, of) => put(out, number, &along(path, message(of, value))),
        Map(inner, path, of) => {
            let mut pairs = Vec::new();
            for (name, value) in value.as_object().into_iter().flatten() {
                put(&mut pairs, *inner, &named(name, &along(path, message(of, value))));
            }
            put(out, number, &pairs);
        }
        Parameters => each().iter().for_each(|one| {
            let (path, of): (&[u32], _) = match one["in"].as_str() {
                Some("body") => (&[1, 1], &BODY),
                Some("path") => (&[1, 2, 4], &IN_PATH),
                _ => (&[1, 2, 3], &IN_QUERY),
            };
            put(out, number, &along(path, message(of, one)));
        }),
    }
}

fn text(value: &Value) -> &[u8] {
    value.as_str().unwrap_or_default().as_bytes()
}

/// JSON is YAML.
fn any(value: &Value) -> Vec<u8> {
    along(&[2], value.to_string().into_bytes())
}

fn named(name: &str, value: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put(&mut out, 1, name.as_bytes());
    put(&mut out, 2, value);
    out
}

/// Wraps content in messages of one field each, the first number outermost.
fn along(path: &[u32], content: Vec<u8>) -> Vec<u8> {
    path.iter().rev().fold(content, |content, number| {
        let mut out = Vec::new();
        put(&mut out, *number, &content);
        out
    })
}

fn put(out: &mut Vec<u8>, number: u32, content: &[u8]) {
    out.extend(varint(number << 3 | 2));
    // A document is some megabytes at most.
    out.extend(varint(u32::try_from(content.len()).unwrap_or(u32::MAX)));
    out.extend(content);
}

fn varint(mut number: u32) -> Vec<u8> {
    let mut out = Vec::new();
    loop {
        let [low, ..] = (number & 0x7f).to_le_bytes();
        number >>= 7;
        if number == 0 {
            out.push(low);
            return out;
        }
        out.push(low | 0x80);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn members_have_their_numbers_and_lengths() {
        let document = json!({"swagger": "2.0", "definitions": {"a": {"type": "object", "x-b": [1]}}});
        let schema = b"\xb2\x01\x08\x0a\x06object\xfa\x01\x0c\x0a\x03x-b\x12\x05\x12\x03[1]";
        let sized = |key: &[u8], content: &[u8]| [key, &[u8::try_from(content.len()).unwrap()], content].concat();
        let pair = sized(b"\x0a\x01a\x12", schema);
        let definitions = sized(b"\x4a", &sized(b"\x0a", &pair));
        assert_eq!(write(&document), [definitions.as_slice(), b"\x0a\x032.0"].concat());
        assert_eq!(varint(300), [0xac, 0x02]);
    }
}
