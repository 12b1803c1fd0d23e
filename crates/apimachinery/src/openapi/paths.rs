//! Paths and operations of resources.

use serde_json::{Map, Value, json};

use super::{
    Form,
    schemas::{group_version_kind, list_name},
};
use crate::{schema, scheme::ResourceType};

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";

/// Media types of patches, in the order in which the server names them.
const PATCHES: [&str; 4] = [
    "application/apply-patch+yaml",
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
];

/// Returns the paths of a resource with what can be done there.
pub(super) fn of(form: Form, ty: &ResourceType) -> Vec<(String, Value)> {
    let Some(definition) = schema::of(ty) else { return Vec::new() };
    let of = Of { form, ty, object: definition.name.to_owned(), list: list_name(definition) };
    let collection = ty.path(Some("{namespace}"));
    let object = format!("{collection}/{{name}}");
    let mut all = vec![
        (collection, of.item(&[Verb::List, Verb::Create, Verb::DeleteCollection], ty.namespaced, false)),
        (object.clone(), of.item(&[Verb::Get, Verb::Replace, Verb::Patch, Verb::Delete], ty.namespaced, true)),
    ];
    if ty.namespaced {
        all.push((ty.path(None), of.item(&[Verb::List], false, false)));
    }
    if ty.has_status {
        let verbs = [Verb::Get, Verb::Replace, Verb::Patch];
        all.push((format!("{object}/status"), of.item(&verbs, ty.namespaced, true)));
    }
    all
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Verb {
    Get,
    List,
    Create,
    Replace,
    Patch,
    Delete,
    DeleteCollection,
}

impl Verb {
    fn method(self) -> &'static str {
        match self {
            Self::Get | Self::List => "get",
            Self::Create => "post",
            Self::Replace => "put",
            Self::Patch => "patch",
            Self::Delete | Self::DeleteCollection => "delete",
        }
    }

    /// Value of `x-kubernetes-action`.
    fn action(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Create => "post",
            Self::Replace => "put",
            Self::Patch => "patch",
            Self::Delete => "delete",
            Self::DeleteCollection => "deletecollection",
        }
    }

    /// Query parameters, with their types.
    fn parameters(self) -> &'static [(&'static str, &'static str)] {
        const WRITE: &[(&str, &str)] =
            &[("dryRun", "string"), ("fieldManager", "string"), ("fieldValidation", "string")];
        const PATCH: &[(&str, &str)] =
            &[("dryRun", "string"), ("fieldManager", "string"), ("fieldValidation", "string"), ("force", "boolean")];
        const DELETE: &[(&str, &str)] =
            &[("dryRun", "string"), ("gracePeriodSeconds", "integer"), ("propagationPolicy", "string")];
        const LIST: &[(&str, &str)] = &[
            ("allowWatchBookmarks", "boolean"),
            ("continue", "string"),
            ("fieldSelector", "string"),
            ("labelSelector", "string"),
            ("limit", "integer"),
            ("resourceVersion", "string"),
            ("resourceVersionMatch", "string"),
            ("sendInitialEvents", "boolean"),
            ("timeoutSeconds", "integer"),
            ("watch", "boolean"),
        ];
        match self {
            Self::Get => &[],
            Self::List => LIST,
            Self::Create | Self::Replace => WRITE,
            Self::Patch => PATCH,
            Self::Delete | Self::DeleteCollection => DELETE,
        }
    }
}

struct Of<'a> {
    form: Form,
    ty: &'a ResourceType,
    object: String,
    list: String,
}

impl Of<'_> {
    fn item(&self, verbs: &[Verb], in_namespace: bool, named: bool) -> Value {
        let mut item = Map::new();
        for verb in verbs {
            item.insert(verb.method().into(), self.operation(*verb));
        }
        let mut parameters = vec![self.parameter("pretty", "query", "string")];
        for (name, wanted) in [("name", named), ("namespace", in_namespace)] {
            if wanted {
                parameters.push(self.parameter(name, "path", "string"));
            }
        }
        item.insert("parameters".into(), parameters.into());
        Value::Object(item)
    }

    fn parameter(&self, name: &str, place: &str, ty: &str) -> Value {
        let mut parameter = json!({"name": name, "in": place, "uniqueItems": true});
        match self.form {
            Form::V2 => parameter["type"] = ty.into(),
            Form::V3 => {
                parameter["schema"] = json!({"type": ty, "uniqueItems": true});
                if let Value::Object(fields) = &mut parameter {
                    fields.remove("uniqueItems");
                }
            }
        }
        if place == "path" {
            parameter["required"] = true.into();
        }
        parameter
    }

    fn operation(&self, verb: Verb) -> Value {
        let query = verb.parameters().iter().map(|(name, ty)| self.parameter(name, "query", ty));
        let mut parameters: Vec<Value> = query.collect();
        let mut operation = json!({
            "description": format!("{} {}", verb.action(), self.ty.plural),
            "responses": self.responses(verb),
            "x-kubernetes-action": verb.action(),
            "x-kubernetes-group-version-kind": group_version_kind(self.ty.group, self.ty.version, self.ty.kind),
        });
        if let Some(body) = self.body(verb) {
            let schema = json!({"$ref": self.form.reference(&body)});
            match self.form {
                Form::V2 => parameters.push(json!({"name": "body", "in": "body", "schema": schema})),
                Form::V3 => operation["requestBody"] = json!({"content": content(verb, &schema)}),
            }
        }
        if self.form == Form::V2 {
            operation["consumes"] = if verb == Verb::Patch { json!(PATCHES) } else { json!(["*/*"]) };
            operation["produces"] = json!(["application/json"]);
        }
        operation["parameters"] = parameters.into();
        operation
    }

    fn body(&self, verb: Verb) -> Option<String> {
        match verb {
            Verb::Get | Verb::List => None,
            Verb::Create | Verb::Replace => Some(self.object.clone()),
            Verb::Patch => Some(format!("{META}.Patch")),
            Verb::Delete | Verb::DeleteCollection => Some(format!("{META}.DeleteOptions")),
        }
    }

    fn responses(&self, verb: Verb) -> Value {
        let name = match verb {
            Verb::List => self.list.clone(),
            Verb::Get | Verb::Create | Verb::Replace | Verb::Patch => self.object.clone(),
            Verb::Delete | Verb::DeleteCollection => format!("{META}.Status"),
        };
        let schema = json!({"$ref": self.form.reference(&name)});
        match self.form {
            Form::V2 => json!({"200": {"description": "OK", "schema": schema}}),
            Form::V3 => {
                json!({"200": {"description": "OK", "content": {"application/json": {"schema": schema}}}})
            }
        }
    }
}

fn content(verb: Verb, schema: &Value) -> Value {
    let types: &[&str] = if verb == Verb::Patch { &PATCHES } else { &["*/*"] };
    types.iter().map(|media_type| ((*media_type).to_owned(), json!({"schema": schema}))).collect::<Map<_, _>>().into()
}
