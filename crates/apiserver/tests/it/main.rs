//! The server as clients see it: every test talks to it through `kube::Client`.

mod support;

mod basics;
