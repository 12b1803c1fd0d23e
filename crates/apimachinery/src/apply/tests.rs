//! Tests of applies and of who owns what afterwards.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::{
    schema::{self, Resolved, Topology, Type},
    scheme::{self, ResourceType},
    status::ApiError,
    testing::any_json,
};

fn pod() -> &'static ResourceType {
    scheme::by_name("pod").unwrap()
}

fn writer(manager: &str) -> Writer<'_> {
    Writer { ty: pod(), manager, subresource: "", now: "2024-01-01T00:00:00Z" }
}

/// An object of which nobody owns anything, as one that is about to be created.
fn nothing() -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}})
}

fn with(mut more: Value) -> Value {
    let mut object = nothing();
    more["metadata"]["name"] = "a".into();
    crate::patch::merge(&mut object, &more);
    object
}

fn applied(live: &Value, manager: &str, config: Value) -> Result<Value, ApiError> {
    let mut result = apply(&writer(manager), live, &with(config), Force::No)?;
    // As the server does, which gives every new object one.
    result["metadata"]["uid"] = "1".into();
    crate::decode::prune(&mut result);
    Ok(result)
}

fn updated(live: &Value, manager: &str, change: &Value) -> Value {
    let mut new = live.clone();
    crate::patch::merge(&mut new, change);
    crate::decode::prune(&mut new);
    track(&writer(manager), Some(live), &mut new, &Value::Null);
    new
}

fn owners(object: &Value) -> Vec<String> {
    let entries = object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    let show =
        |entry: &Value| format!("{} {} {}", entry["manager"], entry["operation"], entry["fieldsV1"]).replace('"', "");
    entries.iter().map(show).collect()
}

fn labels(labels: Value) -> Value {
    json!({"metadata": {"labels": labels}})
}

#[test]
fn a_field_that_is_no_longer_applied_goes_unless_another_owns_it() {
    let live = applied(&nothing(), "a", labels(json!({"x": "1", "y": "1"}))).unwrap();
    let live = applied(&live, "b", labels(json!({"y": "1"}))).unwrap();
    let live = applied(&live, "a", labels(json!({}))).unwrap();
    assert_eq!(live["metadata"]["labels"], json!({"y": "1"}));
    assert_eq!(owners(&live), ["a Apply {f:metadata:{f:labels:{}}}", "b Apply {f:metadata:{f:labels:{f:y:{}}}}"]);
}

#[test]
fn changing_what_another_owns_is_a_conflict_that_names_it() {
    let live = applied(&nothing(), "a", json!({"spec": {"containers": [{"name": "c", "image": "x"}]}})).unwrap();
    let error = applied(&live, "b", json!({"spec": {"containers": [{"name": "c", "image": "y"}]}})).unwrap_err();
    assert_eq!(
        error.to_status(),
        json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": "Conflict", "code": 409,
            "message": "Apply failed with 1 conflict: conflict with \"a\": .spec.containers[name=\"c\"].image",
            "details": {"causes": [{"reason": "FieldManagerConflict", "message": "conflict with \"a\"",
                "field": ".spec.containers[name=\"c\"].image"}]}})
    );
    let live = updated(&live, "u", &labels(json!({"l": "1", "m": "1"})));
    let error = applied(&live, "b", labels(json!({"l": "2", "m": "2"}))).unwrap_err();
    assert_eq!(
        error.message,
        "Apply failed with 2 conflicts: conflicts with \"u\" using v1:\n- .metadata.labels.l\n- .metadata.labels.m"
    );
}

#[test]
fn force_takes_fields_over() {
    let live = applied(&nothing(), "a", labels(json!({"x": "1", "y": "1"}))).unwrap();
    let live = apply(&writer("b"), &live, &with(labels(json!({"x": "2"}))), Force::Yes).unwrap();
    assert_eq!(live["metadata"]["labels"], json!({"x": "2", "y": "1"}));
    assert_eq!(owners(&live), ["a Apply {f:metadata:{f:labels:{f:y:{}}}}", "b Apply {f:metadata:{f:labels:{f:x:{}}}}"]);
}

#[test]
fn the_same_value_is_shared_and_an_update_takes_it_from_all() {
    let live = applied(&nothing(), "a", labels(json!({"x": "1"}))).unwrap();
    let live = applied(&live, "b", labels(json!({"x": "1"}))).unwrap();
    assert_eq!(owners(&live).len(), 2);
    let live = updated(&live, "u", &labels(json!({"x": "2"})));
    assert_eq!(owners(&live), ["u Update {f:metadata:{f:labels:{f:x:{}}}}"]);
}

#[test]
fn lists_are_merged_by_key_in_the_order_that_is_applied() {
    let containers = |names: &[&str]| -> Value {
        let list: Vec<Value> = names.iter().map(|name| json!({"name": name, "image": "x"})).collect();
        json!({"spec": {"containers": list}})
    };
    let live = applied(&nothing(), "a", containers(&["a", "b"])).unwrap();
    let live = applied(&live, "s", containers(&["side"])).unwrap();
    let live = applied(&live, "a", containers(&["c", "b"])).unwrap();
    let names: Vec<_> = live["spec"]["containers"].as_array().unwrap().iter().map(|c| c["name"].clone()).collect();
    assert_eq!(names, ["c", "b", "side"]);
}

#[test]
fn ports_without_protocol_are_those_of_tcp() {
    let ports = |ports: Value| json!({"spec": {"containers": [{"name": "c", "image": "x", "ports": ports}]}});
    let live = applied(&nothing(), "a", ports(json!([{"containerPort": 80}]))).unwrap();
    let live = applied(&live, "b", ports(json!([{"containerPort": 80, "protocol": "UDP"}]))).unwrap();
    assert_eq!(live["spec"]["containers"][0]["ports"].as_array().unwrap().len(), 2);
    assert!(owners(&live)[0].contains(r"f:ports:{k:{\containerPort\:80,\protocol\:\TCP\}:{.:{},f:containerPort:{}}}"));
}

#[test]
fn atomic_lists_and_maps_are_owned_as_a_whole() {
    let live =
        applied(&nothing(), "a", json!({"spec": {"nodeSelector": {"x": "1"}, "tolerations": [{"key": "k"}]}})).unwrap();
    assert_eq!(owners(&live), ["a Apply {f:spec:{f:nodeSelector:{},f:tolerations:{}}}"]);
    let error = applied(&live, "b", json!({"spec": {"nodeSelector": {"y": "1"}}})).unwrap_err();
    assert_eq!(error.details.causes[0].field, ".spec.nodeSelector");
}

#[test]
fn what_the_type_does_not_have_is_refused_with_the_text_of_the_server() {
    let error = applied(&nothing(), "a", json!({"spec": {"foo": 1, "hostNetwork": "yes"}})).unwrap_err();
    assert_eq!(
        error.message,
        "failed to create typed patch object (/a; v1, Kind=Pod): errors:\n  .spec.foo: field not declared in schema\n  \
         .spec.hostNetwork: expected boolean, got \"yes\""
    );
    let twice = json!({"spec": {"containers": [{"name": "c"}, {"name": "c"}]}});
    let error = applied(&nothing(), "a", twice).unwrap_err();
    assert!(error.message.ends_with(".spec.containers: duplicate entries for key [name=\"c\"]"), "{error}");
}

#[test]
fn creation_owns_what_was_given_as_a_cluster_shows_it() {
    let mut object = with(json!({"metadata": {"labels": {"l": "1"}}, "spec": {"restartPolicy": "Never",
        "containers": [{"name": "c", "image": "x", "resources": {}}]}, "status": {"phase": "Pending"}}));
    track(&writer("kubectl-create"), None, &mut object, &Value::Null);
    assert_eq!(
        object["metadata"]["managedFields"][0]["fieldsV1"],
        json!({"f:metadata": {"f:labels": {".": {}, "f:l": {}}}, "f:spec": {"f:restartPolicy": {},
            "f:containers": {"k:{\"name\":\"c\"}": {".": {}, "f:image": {}, "f:name": {}, "f:resources": {}}}}})
    );
}

#[test]
fn server_side_apply_takes_over_from_client_side_apply() {
    let config = labels(json!({"x": "1"}));
    let mut object = with(config.clone());
    let text = with(config).to_string();
    object["metadata"]["annotations"] = json!({"kubectl.kubernetes.io/last-applied-configuration": text});
    object["metadata"]["uid"] = "1".into();
    track(&writer("kubectl-client-side-apply"), None, &mut object, &Value::Null);
    // Another manager is refused, kubectl is not: the field is still as kubectl has set it.
    assert!(applied(&object, "b", labels(json!({"x": "2"}))).is_err());
    let live = applied(&object, "kubectl", labels(json!({"x": "2"}))).unwrap();
    assert_eq!(live["metadata"]["labels"], json!({"x": "2"}));
    let renewed = live["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"].as_str().unwrap();
    assert!(renewed.contains(r#""x":"2""#), "{renewed}");
    // Somebody else's change since then is a conflict also for kubectl.
    let live = updated(&object, "u", &labels(json!({"x": "3"})));
    assert!(applied(&live, "kubectl", labels(json!({"x": "2"}))).is_err());
}

#[test]
fn fields_from_before_the_first_apply_have_an_owner() {
    let mut object = with(labels(json!({"x": "1"})));
    object["metadata"]["uid"] = "1".into();
    let error = applied(&object, "a", labels(json!({"x": "2"}))).unwrap_err();
    assert_eq!(
        error.message,
        "Apply failed with 1 conflict: conflict with \"before-first-apply\" using v1: .metadata.labels.x"
    );
}

#[test]
fn managed_fields_can_be_replaced_and_forgotten_but_not_by_accident() {
    let live = applied(&nothing(), "a", labels(json!({"x": "1"}))).unwrap();
    let given = |given: Value| {
        let mut new = live.clone();
        track(&writer("u"), Some(&live), &mut new, &given);
        owners(&new)
    };
    assert_eq!(given(json!([])), owners(&live));
    assert_eq!(given(json!([{"manager": "z"}])), owners(&live));
    assert_eq!(given(json!([{}])), [""; 0]);
    let entry = json!([{"manager": "z", "operation": "Apply", "apiVersion": "v1", "fieldsV1": {"f:spec": {}}}]);
    assert_eq!(given(entry), ["z Apply {f:spec:{}}"]);
}

#[test]
fn the_eleventh_updater_makes_the_oldest_ancient() {
    let mut live = applied(&nothing(), "a", labels(json!({"x": "1"}))).unwrap();
    for index in 0..15 {
        let time = format!("2024-01-01T00:00:{index:02}Z");
        let mut new = live.clone();
        new["metadata"]["labels"][format!("l{index}")] = "1".into();
        let manager = format!("m{index}");
        track(&Writer { now: &time, ..writer(&manager) }, Some(&live), &mut new, &Value::Null);
        live = new;
    }
    let all = owners(&live);
    assert_eq!(all.len(), 11);
    assert!(
        all.iter().any(|one| one.starts_with("ancient-changes Update {f:metadata:{f:labels:{f:l0:{},f:l1:{}")),
        "{all:?}"
    );
}

#[test]
fn an_apply_that_changes_nothing_keeps_its_time() {
    let live = applied(&nothing(), "a", labels(json!({"x": "1"}))).unwrap();
    let later = Writer { now: "2025-01-01T00:00:00Z", ..writer("a") };
    let mut again = apply(&later, &live, &with(labels(json!({"x": "1"}))), Force::No).unwrap();
    assert_ne!(again, live);
    keep_times(&live, &mut again);
    assert_eq!(again, live);
}

/// Manifests that say little, with every form of merging in them.
fn config() -> impl Strategy<Value = Value> {
    let text = || prop::sample::select(vec!["1", "2"]).prop_map(Value::from);
    let name = || prop::sample::select(vec!["a", "b", "c"]).prop_map(str::to_owned);
    let map = move || prop::collection::btree_map(name(), text(), 0..3).prop_map(|map| json!(map));
    let port = (80..82, prop::option::of(prop::sample::select(vec!["TCP", "UDP"]))).prop_map(|(port, protocol)| {
        let mut value = json!({"containerPort": port});
        if let Some(protocol) = protocol {
            value["protocol"] = protocol.into();
        }
        value
    });
    let container = (text(), prop::collection::vec(port, 0..2), map())
        .prop_map(|(image, ports, limits)| json!({"image": image, "ports": ports, "resources": {"limits": limits}}));
    let containers = prop::collection::btree_map(name(), container, 0..3).prop_map(|all| {
        let named = all.into_iter().map(|(name, mut container)| {
            container["name"] = name.into();
            if let Some(ports) = container["ports"].as_array_mut() {
                ports.dedup_by_key(|port| port["containerPort"].clone());
            }
            container
        });
        Value::Array(named.collect())
    });
    let finalizers = prop::collection::btree_set(name(), 0..3).prop_map(|all| json!(all));
    (map(), containers, map(), finalizers, prop::bool::ANY).prop_map(
        |(labels, containers, selector, finalizers, host)| {
            let mut config = json!({"metadata": {"labels": labels, "finalizers": finalizers},
            "spec": {"containers": containers, "nodeSelector": selector}});
            if host {
                config["spec"]["hostNetwork"] = true.into();
            }
            config
        },
    )
}

/// Whether every path of a set leads to something in the object.
fn exists(ty: Type, value: &Value, set: &FieldSet) -> bool {
    set.below.iter().all(|(element, below)| {
        let inner = match (ty.resolve(), element) {
            (Resolved::Fields(definition, _), PathElement::Field(name)) => {
                definition.field(name).map(|field| (field.ty, value.get(name).cloned()))
            }
            (Resolved::Map(map), PathElement::Field(name)) => Some((map.values, value.get(name).cloned())),
            (Resolved::List(list), element) => {
                let same = |one: &&Value| match list.topology {
                    Topology::Map(keys) => PathElement::of_keyed(list.items, keys, one).as_ref() == Ok(element),
                    Topology::Set | Topology::Atomic => PathElement::Value(one.to_string()) == *element,
                };
                Some((list.items, value.as_array().and_then(|items| items.iter().find(same)).cloned()))
            }
            _ => None,
        };
        match inner {
            Some((ty, Some(value))) => exists(ty, &value, below),
            // Of what is there without holding anything, the stored form has nothing.
            Some((Type::Map(_) | Type::List(_) | Type::Object(_), None)) => below.below.is_empty(),
            Some((Type::Scalar(_), None)) | None => false,
        }
    })
}

fn check_owners(object: &Value) {
    let ty = Type::Object(schema::of(pod()).unwrap());
    for entry in object["metadata"]["managedFields"].as_array().into_iter().flatten() {
        let set = FieldSet::from_fields_v1(&entry["fieldsV1"]).unwrap();
        assert_eq!(set.to_fields_v1(), entry["fieldsV1"]);
        assert!(exists(ty, object, &set), "{} in {object}", entry);
    }
}

fn without_managers(object: &Value) -> Value {
    let mut object = object.clone();
    object["metadata"].as_object_mut().unwrap().remove("managedFields");
    object
}

proptest! {
    #[test]
    fn applying_twice_is_applying_once(first in config(), other in config(), config in config()) {
        let live = applied(&nothing(), "other", first).unwrap();
        let live = updated(&live, "updater", &other);
        let once = apply(&writer("a"), &live, &with(config.clone()), Force::Yes).unwrap();
        let twice = apply(&writer("a"), &once, &with(config), Force::Yes).unwrap();
        prop_assert_eq!(once, twice);
    }

    #[test]
    fn applying_and_no_longer_applying_leaves_what_others_have_set(first in config(), config in config()) {
        let live = applied(&nothing(), "other", first).unwrap();
        let Ok(both) = applied(&live, "a", config) else { return Ok(()) };
        let after = applied(&both, "a", json!({})).unwrap();
        let same = applied(&live, "a", json!({})).unwrap();
        let ty = Type::Object(schema::of(pod()).unwrap());
        prop_assert_eq!(
            typed::fields(ty, &without_managers(&after)),
            typed::fields(ty, &without_managers(&same))
        );
    }

    #[test]
    fn nobody_owns_what_is_not_there(
        writes in prop::collection::vec((prop::sample::select(vec!["a", "b"]), 0..3, config()), 1..8)
    ) {
        let mut live = applied(&nothing(), "first", json!({})).unwrap();
        for (manager, how, config) in writes {
            live = match how {
                0 => updated(&live, manager, &config),
                1 => apply(&writer(manager), &live, &with(config), Force::Yes).unwrap(),
                _ => applied(&live, manager, config).unwrap_or(live),
            };
            crate::decode::prune(&mut live);
            check_owners(&live);
        }
    }

    #[test]
    fn no_input_panics(live in any_json(), config in any_json(), fields in any_json()) {
        let mut live = json!({"metadata": {"uid": "1", "labels": live, "managedFields": [
            {"manager": "a", "operation": "Apply", "apiVersion": "v1", "fieldsV1": fields}]}, "spec": live});
        let config = json!({"metadata": {"labels": config}, "spec": config});
        let _ = apply(&writer("a"), &live, &config, Force::Yes);
        track(&writer("b"), Some(&config), &mut live, &fields);
    }
}
