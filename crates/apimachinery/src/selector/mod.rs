//! Label and field selectors.

mod field;
mod label;

pub use self::{
    field::FieldSelector,
    label::{LabelSelector, Operator, Requirement},
};

/// Why a selector cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectorError {
    /// The text is no selector.
    #[error("{0}")]
    Syntax(String),
    /// The resource cannot be selected by this field.
    #[error("{0}")]
    UnsupportedField(String),
}

/// Longest selector that is read; URLs are shorter.
const MAX_SELECTOR_BYTES: usize = 64 << 10;
