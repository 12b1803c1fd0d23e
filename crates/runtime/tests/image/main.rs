//! The image store from outside: archives of real tools, hostile archives, registries, crashes.

mod hostile;
mod load;
mod support;
