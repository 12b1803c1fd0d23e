//! The patch formats of the API.

mod json;
mod merge;

pub use self::{
    json::{JsonPatchError, json},
    merge::merge,
};
