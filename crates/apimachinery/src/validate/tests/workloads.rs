//! ReplicaSets, Deployments, PodTemplates and ControllerRevisions.

use super::*;

fn deployment(spec: Value) -> Value {
    let base = json!({"metadata": {"name": "d"}, "spec": {
        "selector": {"matchLabels": {"app": "x"}},
        "template": {"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [container("a")]}},
    }});
    with(base, json!({"spec": spec}))
}

fn errors(kind: &str, spec: Value) -> String {
    create_errors(kind, deployment(spec)).join("; ")
}

#[test]
fn new_deployments_and_replica_sets_are_completed() {
    let stored = prepared("deployment", deployment(json!({})));
    let spec = &stored["spec"];
    assert_eq!(
        spec["strategy"],
        json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}})
    );
    assert_eq!([&spec["replicas"], &spec["revisionHistoryLimit"], &spec["progressDeadlineSeconds"]], [1, 10, 600]);
    assert_eq!(spec["template"]["spec"]["dnsPolicy"], "ClusterFirst");
    assert_eq!((&stored["status"], &stored["metadata"]["generation"]), (&json!({}), &json!(1)));
    let stored = prepared("replicaset", deployment(json!({})));
    assert_eq!((&stored["spec"]["replicas"], &stored["status"]), (&json!(1), &json!({"replicas": 0})));
}

#[test]
fn good_ones_have_no_errors() {
    for kind in ["deployment", "replicaset"] {
        assert_eq!(errors(kind, json!({"replicas": 0})), "", "{kind}");
    }
    assert_eq!(errors("deployment", json!({"strategy": {"type": "Recreate"}})), "");
}

#[test]
fn selectors_must_select_the_template() {
    let path =
        "spec.template.metadata.labels: Invalid value: {\"app\":\"y\"}: `selector` does not match template `labels`";
    let other = json!({"template": {"metadata": {"labels": {"app": "y"}}}});
    assert_eq!(errors("deployment", other.clone()), path);
    assert_eq!(errors("replicaset", other), path);
    let none = json!({"selector": null});
    assert!(errors("deployment", none).contains("empty selector is invalid for deployment"));
}

#[test]
fn pods_of_a_replica_set_run_always() {
    let spec = json!({"template": {"spec": {"restartPolicy": "Never", "activeDeadlineSeconds": 5}}});
    assert_eq!(
        errors("replicaset", spec),
        "spec.template.spec.restartPolicy: Unsupported value: \"Never\": supported values: \"Always\"; \
         spec.template.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds in ReplicaSet is not Supported"
    );
}

#[test]
fn strategies_and_numbers_are_checked() {
    let rolling = |unavailable: Value, surge: Value| json!({"strategy": {"rollingUpdate": {"maxUnavailable": unavailable, "maxSurge": surge}}});
    let at = "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: ";
    let cases = [
        (json!({"replicas": -1}), "spec.replicas: Invalid value: -1: must be greater than or equal to 0".to_owned()),
        (rolling(json!(0), json!("0%")), format!("{at}0: may not be 0 when `maxSurge` is 0")),
        (rolling(json!("101%"), json!(1)), format!("{at}\"101%\": must not be greater than 100%")),
        (
            json!({"progressDeadlineSeconds": 5, "minReadySeconds": 5}),
            "spec.progressDeadlineSeconds: Invalid value: 5: must be greater than minReadySeconds".to_owned(),
        ),
        (
            json!({"strategy": {"type": "Recreate", "rollingUpdate": {}}}),
            "spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'"
                .to_owned(),
        ),
        (
            json!({"strategy": {"type": "Blue"}}),
            "spec.strategy: Unsupported value: \"Blue\": supported values: \"Recreate\", \"RollingUpdate\"".to_owned(),
        ),
    ];
    for (spec, expected) in cases {
        assert_eq!(errors("deployment", spec), expected);
    }
    assert!(
        errors("deployment", rolling(json!("x"), json!(1)))
            .contains("must be a numeric string followed by an ending '%'")
    );
}

#[test]
fn selectors_never_change_and_changes_are_counted() {
    let change = json!({"spec": {"selector": {"matchLabels": {"app": "x", "b": "c"}},
        "template": {"metadata": {"labels": {"b": "c"}}}}});
    let found = update_errors("deployment", deployment(json!({})), &change);
    assert_eq!(found.len(), 1);
    assert!(
        found[0].starts_with("spec.selector: Invalid value: ") && found[0].ends_with("field is immutable"),
        "{found:?}"
    );
    let old = prepared("deployment", deployment(json!({})));
    for (patch, generation) in [
        (json!({"metadata": {"labels": {"a": "b"}}}), 1),
        (json!({"metadata": {"annotations": {"a": "b"}}}), 2),
        (json!({"spec": {"replicas": 3}}), 2),
    ] {
        let mut new = with(old.clone(), patch);
        let ctx = UpdateContext { now: NOW.parse().unwrap() };
        prepare::update(ty("deployment"), &old, &mut new, Subresource::None, &ctx).unwrap();
        assert_eq!(new["metadata"]["generation"], generation);
    }
}

#[test]
fn more_replicas_cannot_be_ready_than_there_are() {
    let old = prepared("replicaset", deployment(json!({})));
    let new = with(old.clone(), json!({"status": {"replicas": 1, "readyReplicas": 2}}));
    let found = texts(&status_update(ty("replicaset"), &old, &new));
    assert_eq!(found, ["status.readyReplicas: Invalid value: 2: cannot be greater than status.replicas"]);
}

#[test]
fn the_data_of_a_revision_never_changes() {
    let revision = json!({"metadata": {"name": "r"}, "revision": 1, "data": {"a": 1}});
    assert_eq!(create_errors("controllerrevision", revision.clone()), [""; 0]);
    let found = update_errors("controllerrevision", revision, &json!({"data": {"a": 2}}));
    assert_eq!(found, ["data: Invalid value: {\"a\":2}: field is immutable"]);
    let found = create_errors("controllerrevision", json!({"metadata": {"name": "r"}, "revision": -1}));
    assert_eq!(
        found,
        ["revision: Invalid value: -1: must be greater than or equal to 0", "data: Required value: data is mandatory"]
    );
}
