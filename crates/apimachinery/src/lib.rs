//! Kubernetes API types and their rules: defaulting, validation, patches, selectors, Status errors.
//!
//! Everything here is a pure function over [`serde_json::Value`] or the types of `k8s-openapi`: no IO, no clock, no
//! randomness. What depends on the time or on chance (uids, name suffixes) is handed in by the caller.
//!
//! The way of a write through this crate, in the order an API server calls it:
//!
//! ```text
//! decode::json -> decode::strict -> prepare::create | prepare::update -> validate::create | validate::update -> store
//! ```

pub mod apply;
pub mod cron;
pub mod decode;
pub mod duration;
pub mod event;
pub mod field;
pub mod limits;
pub mod openapi;
pub mod patch;
pub mod pod;
pub mod prepare;
pub mod protobuf;
pub mod quantity;
pub mod quota;
pub mod resources;
pub mod schema;
pub mod scheme;
pub mod selector;
pub mod status;
pub mod table;
pub mod taint;
pub mod time;
pub mod validate;

#[cfg(test)]
mod testing;
