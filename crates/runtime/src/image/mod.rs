//! The content-addressed image store and the ways into it: archives, registries, code.
//!
//! [`Store`] is the only thing others need. Several processes may use one store directory at once; a crash at
//! any line loses nothing that was acknowledged and leaves at most garbage that the next opening clears away.

mod archive;
mod build;
mod codec;
mod digest;
mod docker_config;
mod document;
mod error;
mod index;
mod limits;
mod load;
mod lock;
mod name;
mod pull;
mod service;
mod store;
mod tar_entries;
mod unpack;
mod work;

pub use build::{Content, ImageSpec, LayerFile, LayerSource};
pub use error::Error;
pub use limits::Limits;
pub use store::{RootFs, Store};
pub use unpack::{Refusal, UnpackError};
