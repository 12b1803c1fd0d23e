//! Services, policies, roles, leases and endpoint slices.

use super::*;

fn named(more: Value) -> Value {
    with(json!({"metadata": {"name": "x"}}), more)
}

fn errors(kind: &str, more: Value) -> String {
    create_errors(kind, named(more)).join("; ")
}

#[test]
fn services_are_completed_by_their_type() {
    let spec = |spec: Value| prepared("service", named(json!({"spec": spec})))["spec"].clone();
    assert_eq!(
        spec(json!({"ports": [{"port": 80}], "selector": {"a": "b"}})),
        json!({"ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}], "selector": {"a": "b"},
            "sessionAffinity": "None", "type": "ClusterIP", "internalTrafficPolicy": "Cluster",
            "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack"})
    );
    let external = spec(json!({"type": "ExternalName", "externalName": "a.b"}));
    assert_eq!(external, json!({"type": "ExternalName", "externalName": "a.b", "sessionAffinity": "None"}));
    assert_eq!(spec(json!({"clusterIP": "None"}))["ipFamilyPolicy"], "RequireDualStack");
    assert_eq!(spec(json!({"type": "NodePort"}))["externalTrafficPolicy"], "Cluster");
}

#[test]
fn services_are_checked() {
    let cases = [
        (json!({"ports": [{"port": 80}]}), ""),
        (json!({"clusterIP": "None"}), ""),
        (json!({}), "spec.ports: Required value"),
        (json!({"type": "ExternalName"}), "spec.externalName: Required value"),
        (
            json!({"type": "Foo", "ports": [{"port": 1}]}),
            "spec.type: Unsupported value: \"Foo\": supported values: \"ClusterIP\", \"ExternalName\", \
             \"LoadBalancer\", \"NodePort\"",
        ),
        (
            json!({"ports": [{"port": 80, "nodePort": 30000}]}),
            "spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'",
        ),
        (
            json!({"ports": [{"port": 0, "name": "a"}, {"port": 81}]}),
            "spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive; \
             spec.ports[0].targetPort: Invalid value: 0: must be between 1 and 65535, inclusive; \
             spec.ports[1].name: Required value",
        ),
        (
            json!({"type": "NodePort", "clusterIP": "None", "ports": [{"port": 80}]}),
            "spec.clusterIPs[0]: Invalid value: \"None\": may not be set to 'None' for NodePort services",
        ),
    ];
    for (spec, expected) in cases {
        assert_eq!(errors("service", json!({"spec": spec})), expected, "{spec}");
    }
    let name = create_errors("service", json!({"metadata": {"name": "1x"}, "spec": {"clusterIP": "None"}}));
    assert!(name[0].starts_with("metadata.name: Invalid value: \"1x\": a DNS-1035 label must consist"), "{name:?}");
}

#[test]
fn what_a_service_was_given_stays_with_it() {
    let ports = json!([{"name": "a", "port": 80, "nodePort": 30001}]);
    let stored =
        prepared("service", named(json!({"spec": {"type": "NodePort", "clusterIP": "10.96.1.1", "ports": ports}})));
    let change = |patch: Value| {
        let mut new = with(stored.clone(), patch);
        let ctx = UpdateContext { now: NOW.parse().unwrap() };
        prepare::update(ty("service"), &stored, &mut new, Subresource::None, &ctx).unwrap();
        new["spec"].clone()
    };
    let replaced = json!({"spec": {"clusterIP": null, "clusterIPs": null, "ports": [{"name": "a", "port": 81}]}});
    let spec = change(replaced);
    assert_eq!((&spec["clusterIP"], &spec["ports"][0]["nodePort"]), (&json!("10.96.1.1"), &json!(30001)));
    let spec = change(json!({"spec": {"type": "ClusterIP"}}));
    assert_eq!((&spec["clusterIPs"], &spec["ports"][0].get("nodePort")), (&json!(["10.96.1.1"]), &None));
    let spec = change(json!({"spec": {"type": "ExternalName", "externalName": "a.b"}}));
    assert_eq!(spec.get("clusterIP"), None);
    let other = update_errors("service", stored, &json!({"spec": {"clusterIP": "10.96.1.2"}}));
    assert_eq!(other, ["spec.clusterIPs[0]: Invalid value: [\"10.96.1.2\"]: may not change once set"]);
}

#[test]
fn limit_ranges_complete_themselves_and_are_in_order() {
    let range = |item: Value| named(json!({"spec": {"limits": [item]}}));
    let item = prepared("limits", range(json!({"type": "Container", "max": {"cpu": "2"}, "min": {"memory": "1Mi"}})));
    let item = &item["spec"]["limits"][0];
    assert_eq!(
        (&item["default"], &item["defaultRequest"]),
        (&json!({"cpu": "2"}), &json!({"cpu": "2", "memory": "1Mi"}))
    );
    let cases = [
        (json!({"type": "Container", "max": {"cpu": "2"}}), ""),
        (
            json!({"type": "Pod", "default": {"cpu": "1"}}),
            "spec.limits[0].default: Forbidden: may not be specified when `type` is 'Pod'",
        ),
        (
            json!({"type": "Pod", "min": {"cpu": "2"}, "max": {"cpu": "1"}}),
            "spec.limits[0].min[cpu]: Invalid value: \"2\": min value 2 is greater than max value 1",
        ),
        (
            json!({"type": "Pod", "maxLimitRequestRatio": {"cpu": "500m"}}),
            "spec.limits[0].maxLimitRequestRatio[cpu]: Invalid value: \"500m\": ratio 500m is less than 1",
        ),
        (
            json!({"type": "Node"}),
            "spec.limits[0].type: Invalid value: \"Node\": must be a standard limit type or fully qualified",
        ),
    ];
    for (item, expected) in cases {
        assert_eq!(create_errors("limits", range(item.clone())).join("; "), expected, "{item}");
    }
}

#[test]
fn quotas_name_resources_and_whole_numbers_of_objects() {
    let quota = |hard: Value| errors("quota", json!({"spec": {"hard": hard}}));
    assert_eq!(
        quota(json!({"pods": "3", "requests.cpu": "500m", "count/jobs.batch": "1", "hugepages-2Mi": "4Mi"})),
        ""
    );
    assert_eq!(quota(json!({"pods": "1500m"})), "spec.hard[pods]: Invalid value: \"1500m\": must be an integer");
    assert_eq!(
        quota(json!({"cpu": "-1"})),
        "spec.hard[cpu]: Invalid value: \"-1\": must be greater than or equal to 0"
    );
    assert_eq!(
        quota(json!({"cups": "1"})),
        "spec.hard[cups]: Invalid value: \"cups\": must be a standard resource for quota"
    );
    let scoped = named(json!({"spec": {"hard": {"pods": "1"}, "scopes": ["BestEffort"]}}));
    let found = update_errors("quota", scoped, &json!({"spec": {"scopes": ["NotBestEffort"]}}));
    assert_eq!(found, ["spec.scopes: Invalid value: [\"NotBestEffort\"]: field is immutable"]);
}

#[test]
fn priority_classes_keep_what_pods_have_copied() {
    assert_eq!(errors("pc", json!({"value": 1000})), "");
    assert_eq!(
        errors("pc", json!({"value": 1_000_000_001})),
        "value: Forbidden: maximum allowed value of a user defined priority is 1000000000"
    );
    let system = create_errors("pc", json!({"metadata": {"name": "system-x"}, "value": 1}));
    assert!(system[0].ends_with("error: system-x is not a known system priority class"), "{system:?}");
    assert_eq!(
        update_errors("pc", named(json!({"value": 1})), &json!({"value": 2})),
        ["value: Forbidden: may not be changed in an update."]
    );
}

#[test]
fn roles_and_bindings_are_checked() {
    assert_eq!(
        create_errors(
            "role",
            json!({"metadata": {"name": "system:a"}, "rules": [
        {"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]})
        ),
        [""; 0]
    );
    assert_eq!(
        errors("role", json!({"rules": [{"verbs": [], "nonResourceURLs": ["/x"]}, {"verbs": ["get"]}]})),
        "rules[0].verbs: Required value: verbs must contain at least one value; \
         rules[0].nonResourceURLs: Invalid value: [\"/x\"]: namespaced rules cannot apply to non-resource URLs; \
         rules[1].apiGroups: Required value: resource rules must supply at least one api group; \
         rules[1].resources: Required value: resource rules must supply at least one resource"
    );
    let binding =
        |kind: &str| json!({"roleRef": {"kind": kind, "name": "r"}, "subjects": [{"kind": "User", "name": "u"}]});
    let stored = prepared("rolebinding", named(binding("Role")));
    assert_eq!(stored["roleRef"]["apiGroup"], "rbac.authorization.k8s.io");
    assert_eq!(stored["subjects"][0]["apiGroup"], "rbac.authorization.k8s.io");
    assert_eq!(errors("rolebinding", binding("Role")), "");
    assert_eq!(
        errors("clusterrolebinding", binding("Role")),
        "roleRef.kind: Unsupported value: \"Role\": supported values: \"ClusterRole\""
    );
    let subject =
        json!({"roleRef": {"kind": "Role", "name": "r"}, "subjects": [{"kind": "ServiceAccount", "name": "a"}]});
    assert_eq!(errors("rolebinding", subject), "subjects[0].namespace: Required value");
    let found = update_errors("rolebinding", named(binding("Role")), &json!({"roleRef": {"name": "s"}}));
    assert!(found[0].ends_with("cannot change roleRef"), "{found:?}");
}

#[test]
fn leases_and_endpoint_slices_are_checked() {
    assert_eq!(
        errors("lease", json!({"spec": {"leaseDurationSeconds": 0}})),
        "spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0"
    );
    assert_eq!(
        errors("endpointslice", json!({"addressType": "IP", "endpoints": [{"addresses": []}]})),
        "addressType: Unsupported value: \"IP\": supported values: \"FQDN\", \"IPv4\", \"IPv6\"; \
         endpoints[0].addresses: Required value: must contain at least 1 address"
    );
}
