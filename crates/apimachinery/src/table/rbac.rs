//! Bindings of roles; roles themselves have no columns of their own.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{AGE, Column, NAME, age, list, name, text};

pub(super) const BINDING: &[Column] = &[
    NAME,
    Column::text("Role", "Kind and name of the role that is given."),
    AGE,
    Column::text("Users", "Users who have the role.").wide(),
    Column::text("Groups", "Groups whose members have the role.").wide(),
    Column::text("ServiceAccounts", "Service accounts that have the role.").wide(),
];

pub(super) fn binding(binding: &Value, now: Timestamp) -> Vec<Value> {
    let subjects = |kind: &str| {
        let each = list(binding, "/subjects").iter().filter(|subject| text(subject, "/kind") == kind);
        let names = each.map(|subject| match (kind, text(subject, "/name")) {
            ("ServiceAccount", name) => format!("{}/{name}", text(subject, "/namespace")),
            (_, name) => name.to_owned(),
        });
        json!(names.collect::<Vec<_>>().join(", "))
    };
    vec![
        name(binding),
        json!(format!("{}/{}", text(binding, "/roleRef/kind"), text(binding, "/roleRef/name"))),
        age(binding, now),
        subjects("User"),
        subjects("Group"),
        subjects("ServiceAccount"),
    ]
}
