//! `podrig serve` as its users see it: a real server, real containers, the kubectl of the machine.

#![expect(clippy::unwrap_used, clippy::unwrap_in_result, reason = "a test fails by panicking")]

#[path = "../common/mod.rs"]
mod common;

mod client;
mod health;
mod kill;
mod kube_client;
mod life;
mod limits;
mod logs;
mod pressure;
mod python_client;
mod resize;

use serde_json::Value;

/// Returns the names of the items of a list.
fn names(list: &Value) -> Vec<&str> {
    list["items"].as_array().into_iter().flatten().filter_map(|item| item["metadata"]["name"].as_str()).collect()
}

/// Returns how a container of a pod is, whatever part it has in it.
fn container<'a>(pod: &'a Value, name: &str) -> &'a Value {
    let all = ["initContainerStatuses", "containerStatuses"].map(|list| pod["status"][list].as_array());
    let found = all.into_iter().flatten().flatten().find(|status| status["name"] == name);
    found.unwrap_or_else(|| panic!("no container {name}: {pod:#}"))
}
