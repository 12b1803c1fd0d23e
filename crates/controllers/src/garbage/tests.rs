//! What becomes of an object when its owners change.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::*;

fn graph(objects: &[(&str, Value)]) -> Graph {
    let mut graph = Graph::default();
    for (uid, more) in objects {
        put(&mut graph, uid, more);
    }
    graph
}

fn put(graph: &mut Graph, uid: &str, more: &Value) -> Vec<String> {
    let mut metadata = json!({"name": uid, "namespace": "ns"});
    for (field, value) in more.as_object().unwrap() {
        metadata[field] = value.clone();
    }
    let metadata: ObjectMeta = serde_json::from_value(metadata).unwrap();
    graph.put(uid, Object::read(scheme::by_kind("v1", "ConfigMap").unwrap(), &metadata))
}

/// References to owners; one that ends in `!` blocks its owner's deletion.
fn owned(owners: &[&str]) -> Value {
    let reference = |owner: &&str| {
        let name = owner.trim_end_matches('!');
        json!({
            "apiVersion": "v1", "kind": "ConfigMap", "name": name, "uid": name,
            "blockOwnerDeletion": owner.ends_with('!'),
        })
    };
    json!({"ownerReferences": owners.iter().map(reference).collect::<Vec<_>>()})
}

fn deleting(finalizer: &str) -> Value {
    json!({"deletionTimestamp": "2024-05-03T10:00:00Z", "finalizers": [finalizer]})
}

fn gone(uids: &[&str]) -> BTreeMap<String, Existence> {
    uids.iter().map(|uid| ((*uid).to_owned(), Existence::Absent)).collect()
}

#[test]
fn an_owner_that_was_never_seen_is_asked_for_before_anything_is_deleted() {
    let graph = graph(&[("child", owned(&["a"]))]);
    assert!(matches!(plan(&graph, "child", &gone(&[])), Action::Ask(owners) if owners[0].uid == "a"));
    assert_eq!(plan(&graph, "child", &gone(&["a"])), Action::Delete { foreground: false });
    let known = BTreeMap::from([("a".to_owned(), Existence::Unknown)]);
    assert_eq!(plan(&graph, "child", &known), Action::Keep);
}

#[test]
fn one_owner_is_enough_to_live_and_the_others_are_forgotten() {
    let graph = graph(&[("a", json!({})), ("child", owned(&["a", "b"]))]);
    assert_eq!(plan(&graph, "child", &gone(&["b"])), Action::DropOwners(vec!["b".to_owned()]));
}

#[test]
fn a_uid_under_another_name_or_in_another_namespace_is_no_owner() {
    let elsewhere = graph(&[("a", json!({"namespace": "other"})), ("child", owned(&["a"]))]);
    assert!(matches!(plan(&elsewhere, "child", &gone(&[])), Action::Ask(_)));
    let renamed = graph(&[("a", json!({"name": "other"})), ("child", owned(&["a"]))]);
    assert!(matches!(plan(&renamed, "child", &gone(&[])), Action::Ask(_)));
}

#[test]
fn a_deletion_in_the_foreground_waits_for_dependents_that_block_it() {
    let mut graph = graph(&[("a", deleting(FOREGROUND)), ("b", owned(&["a!"])), ("c", owned(&["a"]))]);
    let dependents = vec!["b".to_owned(), "c".to_owned()];
    assert_eq!(plan(&graph, "a", &gone(&[])), Action::LookAt(dependents));
    assert_eq!(plan(&graph, "b", &gone(&[])), Action::Delete { foreground: false });
    assert_eq!(graph.remove("b"), ["a"], "the owner is looked at again");
    assert_eq!(plan(&graph, "a", &gone(&[])), Action::LetGo(Waits::Foreground));
}

#[test]
fn a_dependent_with_dependents_goes_in_the_foreground_too() {
    let graph = graph(&[("a", deleting(FOREGROUND)), ("b", owned(&["a!"])), ("c", owned(&["b!"]))]);
    assert_eq!(plan(&graph, "b", &gone(&[])), Action::Delete { foreground: true });
    assert_eq!(plan(&graph, "c", &gone(&[])), Action::Keep);
}

#[test]
fn an_orphaning_deletion_frees_its_dependents() {
    let graph = graph(&[("a", deleting(ORPHAN)), ("b", owned(&["a"]))]);
    assert_eq!(plan(&graph, "a", &gone(&[])), Action::Orphan(vec!["b".to_owned()]));
    assert_eq!(plan(&graph, "b", &gone(&[])), Action::Keep, "the owner is still there");
}

#[test]
fn only_what_is_touched_is_looked_at() {
    let mut graph = Graph::default();
    assert!(put(&mut graph, "a", &json!({})).is_empty());
    assert_eq!(put(&mut graph, "b", &owned(&["a"])), ["b"]);
    assert!(put(&mut graph, "b", &owned(&["a"])).is_empty(), "nothing changed");
    assert_eq!(put(&mut graph, "a", &deleting(FOREGROUND)), ["a"]);
    assert_eq!(put(&mut graph, "b", &json!({})), ["a"], "the former owner may wait for it");
    put(&mut graph, "b", &owned(&["a"]));
    assert_eq!(graph.remove("a").into_iter().collect::<BTreeSet<_>>(), BTreeSet::from(["b".to_owned()]));
}
