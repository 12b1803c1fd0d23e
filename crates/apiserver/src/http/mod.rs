//! The HTTP face: paths, queries, bodies, answers.

pub(crate) mod answer;
pub(crate) mod body;
pub(crate) mod discovery;
pub(crate) mod guarded;
pub(crate) mod info;
pub(crate) mod input;
pub(crate) mod openapi;
pub(crate) mod path;
pub(crate) mod query;
pub(crate) mod resource;
pub(crate) mod service;
pub(crate) mod stream;
