//! The wire format of protobuf: numbered fields of a message, in any order.

use super::ProtobufError;

/// One field of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Field<'a> {
    pub(super) number: u32,
    pub(super) value: Wire<'a>,
}

/// The value of a field, as far as the wire format tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wire<'a> {
    /// A number or a truth value.
    Number(u64),
    /// A text, bytes or a message.
    Bytes(&'a [u8]),
}

impl Wire<'_> {
    /// Returns the bytes; a number has none.
    pub(super) fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            Self::Number(_) => None,
        }
    }
}

/// Reads the fields of a message one after the other.
pub(super) fn fields(mut rest: &[u8]) -> impl Iterator<Item = Result<Field<'_>, ProtobufError>> {
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let field = next(&mut rest);
        if field.is_err() {
            rest = &[];
        }
        Some(field)
    })
}

fn next<'a>(rest: &mut &'a [u8]) -> Result<Field<'a>, ProtobufError> {
    let key = varint(rest)?;
    let number = u32::try_from(key >> 3).map_err(|_| ProtobufError::Malformed("a field number is too large"))?;
    let value = match key & 7 {
        0 => Wire::Number(varint(rest)?),
        1 => Wire::Number(fixed(rest, 8)?),
        2 => {
            let length = varint(rest)?;
            Wire::Bytes(take(rest, usize::try_from(length).unwrap_or(usize::MAX))?)
        }
        5 => Wire::Number(fixed(rest, 4)?),
        _ => return Err(ProtobufError::Malformed("a field has a wire type that is not known")),
    };
    Ok(Field { number, value })
}

/// Reads a number of seven bits a byte, lowest first.
pub(super) fn varint(rest: &mut &[u8]) -> Result<u64, ProtobufError> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = take(rest, 1)?[0];
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(ProtobufError::Malformed("a number is too long"))
}

fn fixed(rest: &mut &[u8], length: usize) -> Result<u64, ProtobufError> {
    let bytes = take(rest, length)?;
    Ok(bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)))
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Result<&'a [u8], ProtobufError> {
    let (taken, left) = rest.split_at_checked(length).ok_or(ProtobufError::Malformed("it ends within a field"))?;
    *rest = left;
    Ok(taken)
}
