//! Questions about access: objects that are answered and not stored (`pkg/registry/authorization`,
//! `pkg/registry/authentication`).

use apimachinery::field::{FieldErrors, Path};
use apimachinery::scheme::ResourceType;
use apimachinery::status::ApiError;
use apimachinery::time::seconds;
use k8s_openapi::api::authentication::v1::TokenReviewSpec;
use k8s_openapi::api::authorization::v1::{
    NonResourceAttributes, ResourceAttributes, SelfSubjectRulesReviewSpec, SubjectAccessReviewSpec,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::Auth;
use super::attributes::{Attributes, Resource, Target};
use super::rule::Rule;
use super::user::User;
use crate::error::invalid_unnamed;
use crate::registry::{Registry, meta};

/// One kind of question.
#[derive(Debug)]
pub(crate) struct Review {
    /// What discovery says of it.
    pub(crate) resource: ResourceType,
    question: Question,
}

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Question {
    WhoAmI,
    WhoseToken,
    MayI,
    MayUser,
    MayUserHere,
    WhatMayI,
}

/// Questions about users.
const WHO: ResourceType = ResourceType {
    group: "authentication.k8s.io",
    version: "v1",
    api_version: "authentication.k8s.io/v1",
    kind: "",
    plural: "",
    singular: "",
    namespaced: false,
    short_names: &[],
    categories: &[],
    has_status: false,
    has_generation: false,
};

/// Questions about what users may do.
const WHAT: ResourceType =
    ResourceType { group: "authorization.k8s.io", api_version: "authorization.k8s.io/v1", ..WHO };

/// All kinds of questions.
pub(crate) static ALL: [Review; 6] = [
    Review {
        resource: ResourceType {
            kind: "SelfSubjectReview",
            plural: "selfsubjectreviews",
            singular: "selfsubjectreview",
            ..WHO
        },
        question: Question::WhoAmI,
    },
    Review {
        resource: ResourceType { kind: "TokenReview", plural: "tokenreviews", singular: "tokenreview", ..WHO },
        question: Question::WhoseToken,
    },
    Review {
        resource: ResourceType {
            kind: "LocalSubjectAccessReview",
            plural: "localsubjectaccessreviews",
            singular: "localsubjectaccessreview",
            namespaced: true,
            ..WHAT
        },
        question: Question::MayUserHere,
    },
    Review {
        resource: ResourceType {
            kind: "SelfSubjectAccessReview",
            plural: "selfsubjectaccessreviews",
            singular: "selfsubjectaccessreview",
            ..WHAT
        },
        question: Question::MayI,
    },
    Review {
        resource: ResourceType {
            kind: "SelfSubjectRulesReview",
            plural: "selfsubjectrulesreviews",
            singular: "selfsubjectrulesreview",
            ..WHAT
        },
        question: Question::WhatMayI,
    },
    Review {
        resource: ResourceType {
            kind: "SubjectAccessReview",
            plural: "subjectaccessreviews",
            singular: "subjectaccessreview",
            ..WHAT
        },
        question: Question::MayUser,
    },
];

/// The kind of question that a URL names.
pub(crate) fn lookup(group: &str, version: &str, plural: &str) -> Option<&'static Review> {
    let names = |kind: &ResourceType| kind.group == group && kind.version == version && kind.plural == plural;
    ALL.iter().find(|review| names(&review.resource))
}

/// Who asks, and where.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asker<'a> {
    pub(crate) auth: &'a Auth,
    pub(crate) registry: &'a Registry,
    pub(crate) user: &'a User,
    /// Namespace of the URL; empty if it has none.
    pub(crate) namespace: &'a str,
}

impl Review {
    /// Answers a question of this kind: the object with its status.
    pub(crate) fn answer(&self, asker: Asker<'_>, mut body: Value) -> Result<Value, ApiError> {
        let status = match self.question {
            Question::WhoAmI => json!({"userInfo": asker.user.to_value()}),
            Question::WhoseToken => whose_token(asker, &spec(&body)?)?,
            Question::MayI | Question::MayUser | Question::MayUserHere => self.access(asker, &spec(&body)?)?,
            Question::WhatMayI => what_may_i(asker, &spec(&body)?)?,
        };
        body["kind"] = json!(self.resource.kind);
        body["apiVersion"] = json!(self.resource.api_version);
        let created = (self.question == Question::WhoAmI).then(|| json!(seconds(asker.registry.now())));
        meta::set(&mut body, "creationTimestamp", created.unwrap_or_default());
        body["status"] = status;
        Ok(body)
    }

    fn access(&self, asker: Asker<'_>, spec: &SubjectAccessReviewSpec) -> Result<Value, ApiError> {
        let wanted = self.attributes(spec)?;
        if self.question == Question::MayUserHere {
            check_namespace(asker.namespace, &wanted)?;
        }
        let other = User {
            name: spec.user.clone().unwrap_or_default(),
            uid: spec.uid.clone().unwrap_or_default(),
            groups: spec.groups.clone().unwrap_or_default(),
            extra: spec.extra.clone().unwrap_or_default().into_iter().collect(),
        };
        let user = if self.question == Question::MayI { asker.user } else { &other };
        let decision = asker.auth.decide(asker.registry, user, &wanted);
        let mut status = json!({"allowed": decision.allowed});
        if !decision.reason.is_empty() {
            status["reason"] = json!(decision.reason);
        }
        Ok(status)
    }

    fn attributes(&self, spec: &SubjectAccessReviewSpec) -> Result<Attributes, ApiError> {
        let field = Path::new("spec");
        let mut errors = FieldErrors::default();
        let nobody = spec.user.as_deref().unwrap_or_default().is_empty() && spec.groups.iter().flatten().count() == 0;
        if self.question != Question::MayI && nobody {
            errors.invalid(&field.child("user"), "", "at least one of user or group must be specified");
        }
        match (&spec.resource_attributes, &spec.non_resource_attributes) {
            (Some(resource), None) if errors.is_empty() => return Ok(of_resource(resource)),
            (None, Some(path)) if errors.is_empty() => return Ok(of_path(path)),
            (Some(_), Some(_)) => {
                let why = "cannot be specified in combination with resourceAttributes";
                errors.invalid(&field.child("nonResourceAttributes"), Value::Null, why);
            }
            (None, None) => {
                let why = "exactly one of nonResourceAttributes or resourceAttributes must be specified";
                errors.invalid(&field.child("resourceAttributes"), Value::Null, why);
            }
            (Some(_), None) | (None, Some(_)) => {}
        }
        Err(invalid_unnamed(self.resource.group, self.resource.kind, &errors))
    }
}

fn spec<T: DeserializeOwned + Default>(body: &Value) -> Result<T, ApiError> {
    let spec = &body["spec"];
    if spec.is_null() {
        return Ok(T::default());
    }
    serde_json::from_value(spec.clone())
        .map_err(|error| ApiError::bad_request(format!("error decoding the request body: spec: {error}")))
}

fn of_resource(wanted: &ResourceAttributes) -> Attributes {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    Attributes::of_resource(
        wanted.verb.as_deref().unwrap_or_default(),
        Resource {
            group: text(&wanted.group),
            resource: text(&wanted.resource),
            subresource: text(&wanted.subresource),
            namespace: text(&wanted.namespace),
            name: text(&wanted.name),
        },
    )
}

fn of_path(wanted: &NonResourceAttributes) -> Attributes {
    Attributes {
        verb: wanted.verb.clone().unwrap_or_default(),
        target: Target::Path(wanted.path.clone().unwrap_or_default()),
    }
}

fn check_namespace(namespace: &str, wanted: &Attributes) -> Result<(), ApiError> {
    match &wanted.target {
        Target::Resource(target) if target.namespace == namespace => Ok(()),
        Target::Resource(_) => {
            Err(ApiError::bad_request(format!("spec.resourceAttributes.namespace must match namespace: {namespace}")))
        }
        Target::Path(_) => Err(ApiError::bad_request("a local review is about resources")),
    }
}

fn whose_token(asker: Asker<'_>, spec: &TokenReviewSpec) -> Result<Value, ApiError> {
    let token = spec.token.as_str();
    if token.is_empty() {
        return Err(ApiError::bad_request("token is required for TokenReview in authentication"));
    }
    let audiences = spec.audiences.clone().unwrap_or_default();
    Ok(match asker.auth.of_token(asker.registry, token, &audiences) {
        Ok((user, audiences)) => json!({"authenticated": true, "user": user.to_value(), "audiences": audiences}),
        Err(error) => json!({"user": {}, "error": error.to_string()}),
    })
}

fn what_may_i(asker: Asker<'_>, spec: &SelfSubjectRulesReviewSpec) -> Result<Value, ApiError> {
    let namespace = spec.namespace.as_deref().unwrap_or_default();
    if namespace.is_empty() {
        return Err(ApiError::bad_request("no namespace on request"));
    }
    let policy = asker.auth.policy(asker.registry);
    let rules = policy.rules_for(asker.user, namespace);
    let (paths, resources): (Vec<&Rule>, Vec<&Rule>) = rules.into_iter().partition(|rule| rule.resources.is_empty());
    Ok(json!({"resourceRules": resources, "nonResourceRules": paths, "incomplete": false}))
}
