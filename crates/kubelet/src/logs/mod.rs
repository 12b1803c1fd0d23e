//! Container logs: files in CRI format, one per instance (contract S11-26).

mod line;
mod tail;

pub(crate) use tail::last_lines;
