//! Who set which field: field sets, server-side apply, managed fields.
//!
//! Every write leaves in `metadata.managedFields` what its manager has set. An apply merges what it says into the object,
//! removes what its manager no longer says and nobody else has set, and is refused where it would change what others
//! have set.
//!
//! Sources: `structured-merge-diff` (`merge/update.go`, `typed/*.go`) and apimachinery
//! `pkg/util/managedfields/internal`.

mod managers;
mod path;
mod set;
mod typed;
mod write;

pub use self::{
    path::PathElement,
    set::FieldSet,
    write::{Force, Writer, apply, keep_times, track},
};

#[cfg(test)]
mod tests;
