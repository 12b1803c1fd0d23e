//! The server as clients see it: every test talks to it through `kube::Client` or plain HTTP.

mod support;
mod tables;

mod admission;
mod applies;
mod auth;
mod basics;
mod deletion;
mod discovery;
mod durable;
mod events;
mod fuzz;
mod kubectl;
mod lists;
mod logs;
mod namespaces;
mod patches;
mod printing;
mod scale;
mod schemas;
mod services;
mod streams;
mod stress;
mod subresources;
mod watches;
