//! The rules that objects must keep.

pub mod names;
