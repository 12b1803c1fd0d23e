//! Random objects of every kind: decoding never panics, and what it accepts decodes to itself.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;
use crate::{
    schema::{self, Resolved, Scalar, Type},
    scheme,
};

/// Makes an object out of one number (xorshift).
struct Pick(u64);

impl Pick {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(limit).unwrap()).unwrap()
    }

    fn value(&mut self, ty: Type, wrong: usize, depth: usize) -> Value {
        if self.below(wrong) == 0 {
            let odd = [json!(null), json!("x"), json!(1.5), json!(-1), json!([]), json!({"a": [1]}), json!(true)];
            return odd[self.below(odd.len())].clone();
        }
        match ty.resolve() {
            Resolved::Scalar(scalar) => self.scalar(scalar),
            Resolved::List(list) => {
                let count = if depth == 0 { 0 } else { self.below(3) };
                (0..count).map(|_| self.value(list.items, wrong, depth - 1)).collect()
            }
            Resolved::Map(map) => {
                let count = if depth == 0 { 0 } else { self.below(3) };
                let entries = (0..count).map(|index| (format!("k{index}"), self.value(map.values, wrong, depth - 1)));
                entries.collect::<Map<_, _>>().into()
            }
            Resolved::Fields(_, fields) => {
                let mut object = Map::new();
                for field in fields {
                    if depth > 0 && (depth > 4 || self.below(3) == 0) {
                        object.insert(field.name.to_owned(), self.value(field.ty, wrong, depth - 1));
                    }
                }
                if self.below(wrong) == 0 {
                    object.insert("unknown".to_owned(), json!(1));
                }
                object.into()
            }
        }
    }

    fn scalar(&mut self, scalar: Scalar) -> Value {
        let all = match scalar {
            Scalar::Boolean => json!([true, false]),
            Scalar::Int32 => json!([0, 1, -5, 80]),
            Scalar::Int64 => json!([0, 1, 4_000_000_000_i64]),
            Scalar::String => json!(["", "a", "0"]),
            Scalar::Bytes => json!(["", "YQ=="]),
            Scalar::Time => json!(["2024-05-06T09:08:09.5+02:00", "2024-05-06T07:08:09Z"]),
            Scalar::MicroTime => json!(["2024-05-06T09:08:09.1234567+02:00", "2024-05-06T07:08:09Z"]),
            Scalar::Quantity => json!(["1000m", "1Gi", "0", 5, "1e3"]),
            Scalar::IntOrString => json!([80, "http"]),
            Scalar::Any => json!([{}, {"a": {"b": [1]}}]),
        };
        all[self.below(all.as_array().unwrap().len())].clone()
    }
}

fn object(seed: u64, ty: &'static ResourceType, wrong: usize) -> Value {
    let mut object = json!({});
    for field in schema::of(ty).unwrap().fields().iter().filter(|field| !matches!(field.name, "kind" | "apiVersion")) {
        object[field.name] = Pick(seed.rotate_left(7) | 1).value(field.ty, wrong, 8);
    }
    object
}

proptest! {
    #[test]
    fn the_form_of_a_type_is_a_fixed_point(seed in any::<u64>(), which in 0..scheme::all().len(), wrong in 4_usize..200) {
        let which = &scheme::all()[which];
        if let Ok((value, _)) = strict(which, object(seed, which, wrong), FieldValidation::Warn) {
            let again = strict(which, value.clone(), FieldValidation::Strict);
            prop_assert_eq!(again, Ok((value, Vec::new())));
        }
    }
}
