//! Who sends a request.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::http::service::CertificateIdentity;

/// Everybody of whom the server knows who they are.
pub(crate) const AUTHENTICATED: &str = "system:authenticated";
/// Everybody else.
pub(crate) const UNAUTHENTICATED: &str = "system:unauthenticated";
/// May do everything, whatever the roles say.
pub(crate) const MASTERS: &str = "system:masters";
/// Name of who did not say who they are.
pub(crate) const ANONYMOUS: &str = "system:anonymous";

const SERVICE_ACCOUNT: &str = "system:serviceaccount:";
const SERVICE_ACCOUNTS: &str = "system:serviceaccounts";

/// A client, by what proves who it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) name: String,
    pub(crate) uid: String,
    pub(crate) groups: Vec<String>,
    pub(crate) extra: BTreeMap<String, Vec<String>>,
}

impl User {
    /// A part of this process.
    pub(crate) fn internal() -> Self {
        let groups = [MASTERS, AUTHENTICATED].map(str::to_owned).to_vec();
        Self { name: "system:apiserver".to_owned(), groups, ..Self::default() }
    }

    pub(crate) fn anonymous() -> Self {
        Self { name: ANONYMOUS.to_owned(), groups: vec![UNAUTHENTICATED.to_owned()], ..Self::default() }
    }

    /// Whom a verified certificate names.
    pub(crate) fn of_certificate(identity: &CertificateIdentity) -> Self {
        let groups = identity.groups.clone();
        Self { name: identity.name.clone(), groups, ..Self::default() }.authenticated()
    }

    pub(crate) fn of_service_account(namespace: &str, name: &str, uid: &str) -> Self {
        Self {
            name: service_account_name(namespace, name),
            uid: uid.to_owned(),
            groups: service_account_groups(namespace),
            ..Self::default()
        }
        .authenticated()
    }

    /// The user as a member of all authenticated ones.
    pub(crate) fn authenticated(mut self) -> Self {
        self.join(AUTHENTICATED);
        self
    }

    pub(crate) fn join(&mut self, group: &str) {
        if !self.is_in(group) {
            self.groups.push(group.to_owned());
        }
    }

    pub(crate) fn is_in(&self, group: &str) -> bool {
        self.groups.iter().any(|own| own == group)
    }

    /// As `UserInfo` of the review APIs.
    pub(crate) fn to_value(&self) -> Value {
        let mut info = Map::new();
        info.insert("username".to_owned(), json!(self.name));
        if !self.uid.is_empty() {
            info.insert("uid".to_owned(), json!(self.uid));
        }
        if !self.groups.is_empty() {
            info.insert("groups".to_owned(), json!(self.groups));
        }
        if !self.extra.is_empty() {
            info.insert("extra".to_owned(), json!(self.extra));
        }
        Value::Object(info)
    }
}

/// The user name of a service account.
pub(crate) fn service_account_name(namespace: &str, name: &str) -> String {
    format!("{SERVICE_ACCOUNT}{namespace}:{name}")
}

/// The groups of every service account of a namespace.
pub(crate) fn service_account_groups(namespace: &str) -> Vec<String> {
    vec![SERVICE_ACCOUNTS.to_owned(), format!("{SERVICE_ACCOUNTS}:{namespace}")]
}

/// Namespace and name of a service account, if this is the user name of one.
pub(crate) fn split_service_account(user: &str) -> Option<(&str, &str)> {
    let (namespace, name) = user.strip_prefix(SERVICE_ACCOUNT)?.split_once(':')?;
    (!namespace.is_empty() && !name.is_empty() && !name.contains(':')).then_some((namespace, name))
}
