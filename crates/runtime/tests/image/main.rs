//! The image store from outside: archives of real tools, hostile archives, registries, crashes.

mod crash;
mod hostile;
mod load;
mod pull;
mod support;
