//! One rule of a role: what it allows and whether it goes as far as another (`component-helpers/auth/rbac/validation`).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::attributes::{Attributes, Resource, Target};

/// `rbac.authorization.k8s.io/v1`, `PolicyRule`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Rule {
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub(crate) api_groups: Vec<String>,
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub(crate) resources: Vec<String>,
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub(crate) resource_names: Vec<String>,
    #[serde(rename = "nonResourceURLs", deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub(crate) non_resource_urls: Vec<String>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) verbs: Vec<String>,
}

fn nullable<'de, D: serde::Deserializer<'de>>(input: D) -> Result<Vec<String>, D::Error> {
    Ok(Option::deserialize(input)?.unwrap_or_default())
}

const ALL: &str = "*";

impl Rule {
    /// Whether the rule allows what a request wants.
    pub(crate) fn allows(&self, wanted: &Attributes) -> bool {
        has(&self.verbs, &wanted.verb)
            && match &wanted.target {
                Target::Resource(target) => self.allows_resource(target),
                Target::Path(path) => self.non_resource_urls.iter().any(|pattern| url_covers(pattern, path)),
            }
    }

    fn allows_resource(&self, target: &Resource) -> bool {
        has(&self.api_groups, &target.group)
            && self.names_resource(&target.combined())
            && (self.resource_names.is_empty() || self.resource_names.contains(&target.name))
    }

    /// `*`, the resource itself, or `*/scale` for a subresource of all.
    fn names_resource(&self, combined: &str) -> bool {
        let subresource = combined.split_once('/').map(|(_, subresource)| subresource);
        self.resources.iter().any(|own| {
            own == ALL || own == combined || subresource.is_some_and(|sub| own.strip_prefix("*/") == Some(sub))
        })
    }

    /// How many rules [`Rule::split`] makes of it.
    fn count(&self) -> usize {
        let things =
            [&self.api_groups, &self.resources].iter().fold(1_usize, |all, list| all.saturating_mul(list.len()));
        let things =
            things.saturating_mul(self.resource_names.len().max(1)).saturating_add(self.non_resource_urls.len());
        things.saturating_mul(self.verbs.len())
    }

    /// The rule as rules about one thing each.
    fn split(&self) -> Vec<Self> {
        let one = |text: &String| vec![text.clone()];
        let names: Vec<Vec<String>> = match self.resource_names.as_slice() {
            [] => vec![Vec::new()],
            names => names.iter().map(one).collect(),
        };
        let mut parts = Vec::new();
        for verb in &self.verbs {
            for group in &self.api_groups {
                for resource in &self.resources {
                    parts.extend(names.iter().map(|name| Self {
                        api_groups: one(group),
                        resources: one(resource),
                        resource_names: name.clone(),
                        verbs: one(verb),
                        ..Self::default()
                    }));
                }
            }
            parts.extend(self.non_resource_urls.iter().map(|url| Self {
                non_resource_urls: one(url),
                verbs: one(verb),
                ..Self::default()
            }));
        }
        parts
    }

    /// Whether everything that a rule about one thing allows is allowed by this one.
    fn covers(&self, one: &Self) -> bool {
        let names = self.resource_names.is_empty()
            || (!one.resource_names.is_empty() && one.resource_names.iter().all(|n| self.resource_names.contains(n)));
        one.verbs.iter().all(|verb| has(&self.verbs, verb))
            && one.api_groups.iter().all(|group| has(&self.api_groups, group))
            && one.resources.iter().all(|resource| self.names_resource(resource))
            && names
            && one.non_resource_urls.iter().all(|url| self.non_resource_urls.iter().any(|own| url_covers(own, url)))
    }

    /// The rule in one line, as error texts show it.
    pub(crate) fn compact(&self) -> String {
        let fields = [
            ("APIGroups", &self.api_groups),
            ("Resources", &self.resources),
            ("NonResourceURLs", &self.non_resource_urls),
            ("ResourceNames", &self.resource_names),
            ("Verbs", &self.verbs),
        ];
        let shown = fields.iter().filter(|(_, values)| !values.is_empty());
        let shown: Vec<String> = shown.map(|(name, values)| format!("{name}:{}", quoted(values))).collect();
        format!("{{{}}}", shown.join(", "))
    }
}

/// A list as Go's `%q` shows it.
pub(crate) fn quoted(texts: &[String]) -> String {
    format!("[{}]", texts.iter().map(|text| format!("{text:?}")).collect::<Vec<_>>().join(" "))
}

/// Whether rules are few enough to be compared with others one thing at a time: a role that fits into a request can
/// be about more things than there is memory for.
pub(crate) fn are_comparable(rules: &[Rule]) -> bool {
    rules.iter().fold(0_usize, |sum, rule| sum.saturating_add(rule.count())) <= MOST_PARTS
}

/// A thousand times what the largest built-in role has to say of one group.
const MOST_PARTS: usize = 20_000;

/// What `wanted` allows and `held` does not, verbs put together where nothing else differs.
pub(crate) fn not_covered(held: &[&Rule], wanted: &[Rule]) -> Vec<Rule> {
    let mut missing: BTreeMap<Rule, Vec<String>> = BTreeMap::new();
    let parts = wanted.iter().flat_map(Rule::split);
    for mut part in parts.filter(|part| !held.iter().any(|own| own.covers(part))) {
        let new = std::mem::take(&mut part.verbs);
        let verbs = missing.entry(part).or_default();
        verbs.extend(new.into_iter().filter(|verb| !verbs.contains(verb)).collect::<Vec<_>>());
    }
    let mut missing: Vec<Rule> = missing.into_iter().map(|(rule, verbs)| Rule { verbs, ..rule }).collect();
    missing.sort();
    missing
}

fn has(values: &[String], wanted: &str) -> bool {
    values.iter().any(|value| value == ALL || value == wanted)
}

fn url_covers(pattern: &str, path: &str) -> bool {
    pattern == ALL || pattern == path || pattern.strip_suffix('*').is_some_and(|prefix| path.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rule(value: serde_json::Value) -> Rule {
        serde_json::from_value(value).expect("rule")
    }

    fn pods(verb: &str, combined: &str, name: &str) -> Attributes {
        let (resource, subresource) = combined.split_once('/').unwrap_or((combined, ""));
        let target = Resource {
            resource: resource.to_owned(),
            subresource: subresource.to_owned(),
            name: name.to_owned(),
            ..Resource::default()
        };
        Attributes::of_resource(verb, target)
    }

    #[test]
    fn wildcards_subresources_and_names_mean_what_they_do_in_kubernetes() {
        let all = rule(json!({"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}));
        let read = rule(json!({"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}));
        let scale = rule(json!({"apiGroups": [""], "resources": ["*/scale"], "verbs": ["get"]}));
        let named =
            rule(json!({"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "create"], "resourceNames": ["a"]}));
        for (rule, wanted, allowed) in [
            (&all, pods("get", "pods/log", "a"), true),
            (&read, pods("get", "pods", "a"), true),
            (&read, pods("list", "pods", ""), false),
            (&read, pods("get", "pods/log", "a"), false),
            (&scale, pods("get", "things/scale", "a"), true),
            (&scale, pods("get", "scale", "a"), false),
            (&named, pods("get", "pods", "a"), true),
            (&named, pods("get", "pods", "b"), false),
            (&named, pods("create", "pods", ""), false),
        ] {
            assert_eq!(rule.allows(&wanted), allowed, "{rule:?} {wanted:?}");
        }
        let urls = rule(json!({"nonResourceURLs": ["/api/*", "/version"], "verbs": ["get"]}));
        let get = |path: &str| Attributes { verb: "get".to_owned(), target: Target::Path(path.to_owned()) };
        assert_eq!(
            [true, true, false, false],
            ["/api/v1", "/version", "/version/", "/api"].map(|p| urls.allows(&get(p)))
        );
        assert!(!all.allows(&get("/version")), "resources are no paths");
    }

    #[test]
    fn what_is_not_covered_is_named_once_with_all_its_verbs() {
        let held = rule(json!({"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}));
        let wanted = rule(json!({"apiGroups": [""], "resources": ["pods", "secrets"], "verbs": ["get", "list"]}));
        let missing: Vec<String> = not_covered(&[&held], &[wanted]).iter().map(Rule::compact).collect();
        assert_eq!(
            missing,
            [
                r#"{APIGroups:[""], Resources:["pods"], Verbs:["list"]}"#,
                r#"{APIGroups:[""], Resources:["secrets"], Verbs:["get" "list"]}"#,
            ]
        );
        let named = rule(json!({"apiGroups": [""], "resources": ["pods"], "verbs": ["get"], "resourceNames": ["a"]}));
        assert!(not_covered(&[&held], std::slice::from_ref(&named)).is_empty());
        assert_eq!(not_covered(&[&named], &[held]).len(), 1);
    }
}
