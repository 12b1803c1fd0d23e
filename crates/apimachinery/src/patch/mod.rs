//! The patch formats of the API.

mod json;
mod merge;
mod strategic;

pub use self::{
    json::{JsonPatchError, json},
    merge::merge,
    strategic::{StrategicPatchError, strategic},
};
