//! What the types of the API are made of: fields, types, how lists merge, texts for people.
//!
//! The tables are made at build time (see `build/`), from the schemas of `k8s-openapi` and the facts in `facts.txt`, and
//! cost no memory until they are read.

mod texts;

use crate::scheme::ResourceType;

pub use self::texts::Texts;

/// One type of the API.
#[derive(Debug)]
pub struct Definition {
    /// Name as OpenAPI documents have it (`io.k8s.api.core.v1.Pod`).
    pub name: &'static str,
    /// What objects of it say they are, if there are such.
    pub kind: Option<Kind>,
    /// What it is made of.
    pub shape: Shape,
    /// Whether it is owned and replaced as a whole (`x-kubernetes-map-type: atomic`).
    pub atomic: bool,
    /// Number of its text; those of the fields follow.
    text: usize,
}

/// Group, version and kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    /// API group; empty for core.
    pub group: &'static str,
    /// Version within the group.
    pub version: &'static str,
    /// Kind.
    pub kind: &'static str,
}

/// What a type is made of.
#[derive(Debug)]
pub enum Shape {
    /// Named fields, in alphabetical order.
    Fields(&'static [Field]),
    /// One value.
    Scalar(Scalar),
}

/// One field of a type.
#[derive(Debug)]
pub struct Field {
    /// Name in JSON.
    pub name: &'static str,
    /// Type of its value.
    pub ty: Type,
    /// Whether clients must give it.
    pub required: bool,
    /// Whether stored objects have it, with the zero value if nothing was given.
    pub always: bool,
    /// Whether it is a struct that the types of Go hold by value, so that an empty one is the same as none.
    pub inline: bool,
    /// How a strategic merge patch treats it (`merge`, `replace`, `retainKeys`, or several); empty if not said.
    pub strategy: &'static str,
    /// Which field of the list's elements a strategic merge patch goes by; empty if none.
    pub merge_key: &'static str,
    /// What an element of a list has for this key when it says nothing.
    pub default: Option<&'static str>,
    /// Values that are known; empty if they are not listed.
    pub values: &'static [&'static str],
    /// Where its protobuf form has it: the field number, and a second one if the first leads to a message in between;
    /// zeros if it has none.
    pub numbers: [u8; 2],
}

/// Type of a value.
#[derive(Debug, Clone, Copy)]
pub enum Type {
    /// One value.
    Scalar(Scalar),
    /// A type of its own.
    Object(&'static Definition),
    /// Values in order.
    List(&'static List),
    /// Values under names that the user chooses.
    Map(&'static Map),
}

/// Values in order.
#[derive(Debug)]
pub struct List {
    /// Type of the elements.
    pub items: Type,
    /// What tells the elements apart.
    pub topology: Topology,
}

/// Values under names.
#[derive(Debug)]
pub struct Map {
    /// Type of the values.
    pub values: Type,
    /// Whether it is owned and replaced as a whole.
    pub atomic: bool,
}

/// What tells the elements of a list apart (`x-kubernetes-list-type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topology {
    /// Nothing: the list is owned and replaced as a whole.
    Atomic,
    /// Their values.
    Set,
    /// Some of their fields.
    Map(&'static [&'static str]),
}

/// Type of a value without parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scalar {
    /// A truth value.
    Boolean,
    /// A signed integer of 32 bits.
    Int32,
    /// A signed integer of 64 bits.
    Int64,
    /// A text.
    String,
    /// Bytes in base64.
    Bytes,
    /// A time in whole seconds.
    Time,
    /// A time in microseconds.
    MicroTime,
    /// A [quantity](crate::quantity::Quantity): a text or a number.
    Quantity,
    /// A 32 bit integer or a text.
    IntOrString,
    /// Any JSON value, not looked into.
    Any,
}

/// A type with references to scalar types followed.
#[derive(Debug, Clone, Copy)]
pub enum Resolved {
    /// One value.
    Scalar(Scalar),
    /// A type with fields.
    Fields(&'static Definition, &'static [Field]),
    /// Values in order.
    List(&'static List),
    /// Values under names.
    Map(&'static Map),
}

impl Type {
    /// Follows a reference.
    pub fn resolve(self) -> Resolved {
        match self {
            Self::Scalar(scalar) => Resolved::Scalar(scalar),
            Self::List(list) => Resolved::List(list),
            Self::Map(map) => Resolved::Map(map),
            Self::Object(definition) => match definition.shape {
                Shape::Fields(fields) => Resolved::Fields(definition, fields),
                Shape::Scalar(scalar) => Resolved::Scalar(scalar),
            },
        }
    }
}

impl Definition {
    /// Returns its fields; none if it is a scalar.
    pub fn fields(&self) -> &'static [Field] {
        match self.shape {
            Shape::Fields(fields) => fields,
            Shape::Scalar(_) => &[],
        }
    }

    /// Finds a field by its name in JSON.
    ///
    /// ```
    /// let pod = apimachinery::schema::by_kind("", "v1", "Pod").unwrap();
    /// assert!(pod.field("spec").is_some());
    /// assert!(pod.field("sepc").is_none());
    /// ```
    pub fn field(&self, name: &str) -> Option<&'static Field> {
        find(self.fields(), name)
    }

    /// Returns the name without its package (`Pod`).
    pub fn short_name(&self) -> &'static str {
        self.name.rsplit('.').next().unwrap_or(self.name)
    }
}

/// Finds a field by name among those of a type.
pub(crate) fn find(fields: &'static [Field], name: &str) -> Option<&'static Field> {
    fields.binary_search_by(|field| field.name.cmp(name)).ok().and_then(|at| fields.get(at))
}

/// Finds the type of the objects of a kind.
///
/// ```
/// let job = apimachinery::schema::by_kind("batch", "v1", "Job").unwrap();
/// assert_eq!(job.name, "io.k8s.api.batch.v1.Job");
/// ```
pub fn by_kind(group: &str, version: &str, kind: &str) -> Option<&'static Definition> {
    let wanted = |k: Kind| k.kind == kind && k.group == group && k.version == version;
    generated::ALL.iter().copied().find(|definition| definition.kind.is_some_and(wanted))
}

/// Finds the type of the objects of a resource.
pub fn of(ty: &ResourceType) -> Option<&'static Definition> {
    by_kind(ty.group, ty.version, ty.kind)
}

/// Finds a type by its full name.
pub fn by_name(name: &str) -> Option<&'static Definition> {
    generated::ALL.binary_search_by(|definition| definition.name.cmp(name)).ok().map(|at| generated::ALL[at])
}

/// Returns all types, in alphabetical order.
pub fn all() -> &'static [&'static Definition] {
    generated::ALL
}

mod generated {
    use super::{Definition, Field, Kind, List, Map, Scalar, Shape, Topology, Type};
    include!(concat!(env!("OUT_DIR"), "/definitions.rs"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scheme;

    #[test]
    fn every_resource_has_a_definition() {
        for ty in scheme::all() {
            assert!(of(ty).is_some(), "{} {}", ty.api_version, ty.kind);
        }
    }

    #[test]
    fn names_and_fields_are_in_the_order_that_searching_needs() {
        assert!(all().is_sorted_by(|a, b| a.name < b.name));
        for definition in all() {
            assert!(definition.fields().is_sorted_by(|a, b| a.name < b.name), "{}", definition.name);
            assert!(std::ptr::eq(by_name(definition.name).unwrap(), *definition));
        }
    }

    #[test]
    fn keys_of_lists_are_fields_of_their_elements() {
        for (definition, field) in all().iter().flat_map(|d| d.fields().iter().map(move |field| (d, field))) {
            let Type::List(list) = field.ty else { continue };
            let known = |key: &str| matches!(list.items, Type::Object(element) if element.field(key).is_some());
            if let Topology::Map(keys) = list.topology {
                assert!(keys.iter().all(|key| known(key)), "{}.{}", definition.name, field.name);
            }
            assert!(
                field.merge_key.is_empty() || known(field.merge_key),
                "{}.{}: {}",
                definition.name,
                field.name,
                field.merge_key
            );
        }
    }
}
