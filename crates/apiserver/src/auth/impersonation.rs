//! Acting as somebody else: `kubectl --as` (apiserver `endpoints/filters/impersonation`).

use std::collections::BTreeMap;

use apimachinery::status::ApiError;
use http::HeaderMap;
use percent_encoding::percent_decode_str;

use super::attributes::{Attributes, Resource};
use super::policy::Policy;
use super::user::{self, ANONYMOUS, AUTHENTICATED, UNAUTHENTICATED, User};

const USER: &str = "impersonate-user";
const GROUP: &str = "impersonate-group";
const UID: &str = "impersonate-uid";
const EXTRA: &str = "impersonate-extra-";

/// Whom the headers ask to act as.
#[derive(Debug, Default)]
struct Wanted {
    name: Option<String>,
    uid: String,
    groups: Vec<String>,
    extra: BTreeMap<String, Vec<String>>,
}

/// Returns the user that a request acts as.
///
/// # Errors
/// 403 if the sender may not act as that user, 500 if the headers name no user.
pub(crate) fn apply(policy: &Policy, sender: User, headers: &HeaderMap) -> Result<User, ApiError> {
    let wanted = read(headers);
    let Some(name) = wanted.name.clone() else {
        if wanted.groups.is_empty() && wanted.uid.is_empty() && wanted.extra.is_empty() {
            return Ok(sender);
        }
        let text = format!("requested {:?} without impersonating a user", wanted.groups);
        return Err(ApiError::internal(text));
    };
    for needed in needed(&wanted, &name) {
        super::check(policy, &sender, &needed)?;
    }
    Ok(become_user(wanted, name))
}

fn read(headers: &HeaderMap) -> Wanted {
    let mut wanted = Wanted::default();
    for (header, value) in headers {
        let text = String::from_utf8_lossy(value.as_bytes()).into_owned();
        match header.as_str() {
            USER if wanted.name.is_none() && !text.is_empty() => wanted.name = Some(text),
            GROUP => wanted.groups.push(text),
            UID => wanted.uid = text,
            other => {
                if let Some(key) = other.strip_prefix(EXTRA) {
                    let key = percent_decode_str(key).decode_utf8_lossy().to_ascii_lowercase();
                    wanted.extra.entry(key).or_default().push(text);
                }
            }
        }
    }
    wanted
}

fn needed(wanted: &Wanted, name: &str) -> Vec<Attributes> {
    let act = |group: &str, resource: &str, subresource: &str, namespace: &str, name: &str| {
        let [group, resource, subresource, namespace, name] =
            [group, resource, subresource, namespace, name].map(str::to_owned);
        Attributes::of_resource("impersonate", Resource { group, resource, subresource, namespace, name })
    };
    let mut all = vec![match user::split_service_account(name) {
        Some((namespace, name)) => act("", "serviceaccounts", "", namespace, name),
        None => act("", "users", "", "", name),
    }];
    all.extend(wanted.groups.iter().map(|group| act("", "groups", "", "", group)));
    for (key, values) in &wanted.extra {
        all.extend(values.iter().map(|value| act("authentication.k8s.io", "userextras", key, "", value)));
    }
    if !wanted.uid.is_empty() {
        all.push(act("authentication.k8s.io", "uids", "", "", &wanted.uid));
    }
    all
}

fn become_user(wanted: Wanted, name: String) -> User {
    let mut groups = wanted.groups;
    if let Some((namespace, _)) = user::split_service_account(&name)
        && groups.is_empty()
    {
        groups = user::service_account_groups(namespace);
    }
    let all = if name == ANONYMOUS { UNAUTHENTICATED } else { AUTHENTICATED };
    let mut user = User { name, uid: wanted.uid, groups, extra: wanted.extra };
    if !user.is_in(AUTHENTICATED) && !user.is_in(UNAUTHENTICATED) {
        user.join(all);
    }
    user
}
