//! Tests of Jobs and CronJobs.

use super::*;

const NONE: [&str; 0] = [];

fn job(spec: Value) -> Value {
    let template = json!({"spec": {"restartPolicy": "Never", "containers": [container("a")]}});
    json!({"metadata": {"name": "j"}, "spec": with(json!({"template": template}), spec)})
}

fn job_errors(spec: Value) -> Vec<String> {
    create_errors("job", job(spec))
}

fn cron_job(spec: Value) -> Value {
    let job_template = json!({"spec": job(json!({}))["spec"]});
    let spec = with(json!({"schedule": "*/5 * * * *", "jobTemplate": job_template}), spec);
    json!({"metadata": {"name": "c"}, "spec": spec})
}

fn cron_job_errors(spec: Value) -> Vec<String> {
    create_errors("cronjob", cron_job(spec))
}

#[test]
fn s1_30_a_job_template_says_never_or_on_failure() {
    let policy = |policy: Value| job_errors(json!({"template": {"spec": {"restartPolicy": policy}}}));
    assert_eq!(policy(json!("Never")), NONE);
    assert_eq!(policy(json!("OnFailure")), NONE);
    let path = "spec.template.spec.restartPolicy";
    for absent in [Value::Null, json!("Always")] {
        assert_eq!(policy(absent), [format!(r#"{path}: Required value: valid values: "OnFailure", "Never""#)]);
    }
    assert_eq!(
        policy(json!("Once")),
        [
            format!(r#"{path}: Unsupported value: "Once": supported values: "Always", "OnFailure", "Never""#),
            format!(r#"{path}: Unsupported value: "Once": supported values: "OnFailure", "Never""#),
        ]
    );
    let sidecar = with(container("s"), json!({"restartPolicy": "Always"}));
    assert_eq!(job_errors(json!({"template": {"spec": {"initContainers": [sidecar]}}})), NONE);
}

#[test]
fn s9_02_numbers_are_not_negative() {
    for field in ["parallelism", "completions", "activeDeadlineSeconds", "backoffLimit", "ttlSecondsAfterFinished"] {
        assert_eq!(
            job_errors(json!({field: -1})),
            [format!("spec.{field}: Invalid value: -1: must be greater than or equal to 0")]
        );
    }
    for field in ["backoffLimitPerIndex", "maxFailedIndexes"] {
        let indexed = json!({"completionMode": "Indexed", "completions": 3, "backoffLimitPerIndex": 1});
        assert_eq!(
            job_errors(with(indexed, json!({field: -1}))),
            [format!("spec.{field}: Invalid value: -1: must be greater than or equal to 0")]
        );
    }
}

#[test]
fn s9_03_indexed_jobs_say_how_many_and_stay_within_limits() {
    let indexed = |fields: Value| job_errors(with(json!({"completionMode": "Indexed"}), fields));
    assert_eq!(indexed(json!({"completions": 3})), NONE);
    assert_eq!(
        indexed(json!({"parallelism": 100_001})),
        [
            "spec.completions: Required value: when completion mode is Indexed",
            "spec.parallelism: Invalid value: 100001: must be less than or equal to 100000 when completion mode is Indexed",
        ]
    );
    assert_eq!(
        indexed(json!({"completions": 3, "backoffLimitPerIndex": 1, "maxFailedIndexes": 4})),
        ["spec.maxFailedIndexes: Invalid value: 4: must be less than or equal to completions"]
    );
    assert_eq!(
        indexed(json!({"completions": 100_001, "backoffLimitPerIndex": 1, "parallelism": 10_001})),
        [
            "spec.maxFailedIndexes: Required value: must be specified when completions is above 100000",
            "spec.parallelism: Invalid value: 10001: must be less than or equal to 10000 when completions are above 100000 and used with backoff limit per index",
        ]
    );
    let mut long = job(json!({"completionMode": "Indexed", "completions": 11}));
    long["metadata"]["name"] = "a".repeat(61).into();
    let errors = create_errors("job", long);
    assert!(errors.iter().any(|e| e.contains("will not able to create pod with invalid DNS label")), "{errors:?}");
}

#[test]
fn s9_04_some_fields_are_only_for_indexed_jobs() {
    assert_eq!(
        job_errors(json!({"backoffLimitPerIndex": 1})),
        ["spec.backoffLimitPerIndex: Invalid value: 1: requires indexed completion mode"]
    );
    assert_eq!(
        job_errors(json!({"completionMode": "Indexed", "completions": 3, "maxFailedIndexes": 1})),
        ["spec.backoffLimitPerIndex: Required value: when maxFailedIndexes is specified"]
    );
    let errors = job_errors(json!({"successPolicy": {"rules": [{"succeededCount": 1}]}}));
    assert_eq!(errors.len(), 1);
    assert!(errors[0].starts_with("spec.successPolicy: Invalid value: {"), "{errors:?}");
    assert!(errors[0].ends_with(": requires indexed completion mode"), "{errors:?}");
}

#[test]
fn s9_05_failure_policies_are_checked() {
    let rules = |rule: Value| job_errors(json!({"podFailurePolicy": {"rules": [rule]}}));
    let codes = |codes: Value| rules(json!({"action": "FailJob", "onExitCodes": codes}));
    let path = "spec.podFailurePolicy.rules[0]";
    assert_eq!(codes(json!({"operator": "In", "values": [1, 2], "containerName": "a"})), NONE);
    assert_eq!(
        codes(json!({"operator": "In", "values": [2, 1, 1, 0]})),
        [
            format!("{path}.onExitCodes.values[2]: Duplicate value: 1"),
            format!("{path}.onExitCodes.values[3]: Invalid value: 0: must not be 0 for the In operator"),
            format!("{path}.onExitCodes.values: Invalid value: [2,1,1,0]: must be ordered"),
        ]
    );
    assert_eq!(
        codes(json!({"operator": "In", "values": [1], "containerName": "x"})),
        [format!(
            r#"{path}.onExitCodes.containerName: Invalid value: "x": must be one of the container or initContainer names in the pod template"#
        )]
    );
    assert_eq!(
        rules(json!({"action": "FailIndex", "onPodConditions": [{"type": "DisruptionTarget"}]})),
        [format!(r#"{path}.action: Invalid value: "FailIndex": requires the backoffLimitPerIndex to be set"#)]
    );
    assert_eq!(
        rules(json!({"action": "Ignore"})),
        [format!("{path}: Invalid value: specifying one of OnExitCodes and OnPodConditions is required")]
    );
    assert_eq!(codes(json!({"operator": "NotIn", "values": [0]})), NONE);
    let lost = json!([{"type": "DisruptionTarget"}]);
    let both = json!({"action": "Ignore", "onExitCodes": {"operator": "In", "values": [1]}, "onPodConditions": lost});
    let bad = [
        (rules(both), format!("{path}: ")),
        (
            rules(json!({"action": "Retry", "onPodConditions": lost})),
            format!(r#"{path}.action: Unsupported value: "Retry""#),
        ),
        (
            codes(json!({"operator": "Is", "values": [1]})),
            format!(r#"{path}.onExitCodes.operator: Unsupported value: "Is""#),
        ),
        (codes(json!({"operator": "In", "values": []})), format!("{path}.onExitCodes.values: ")),
        (
            codes(json!({"operator": "In", "values": (1..=256).collect::<Vec<_>>()})),
            format!("{path}.onExitCodes.values: Too many: 256"),
        ),
        (
            rules(json!({"action": "Ignore", "onPodConditions": vec![lost[0].clone(); 21]})),
            format!("{path}.onPodConditions: Too many: 21"),
        ),
        (
            job_errors(
                json!({"podFailurePolicy": {"rules": vec![json!({"action": "Count", "onPodConditions": lost}); 21]}}),
            ),
            "spec.podFailurePolicy.rules: Too many: 21".to_owned(),
        ),
    ];
    for (errors, start) in bad {
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert!(errors[0].starts_with(&start), "{errors:?}");
    }
    let policy = json!({"rules": [{"action": "Ignore", "onPodConditions": [{"type": "X"}]}]});
    assert_eq!(
        job_errors(json!({"podFailurePolicy": policy, "template": {"spec": {"restartPolicy": "OnFailure"}},
            "podReplacementPolicy": "TerminatingOrFailed"})),
        [
            r#"spec.podReplacementPolicy: Unsupported value: "TerminatingOrFailed": supported values: "Failed""#,
            r#"spec.template.spec.restartPolicy: Invalid value: "OnFailure": only "Never" is supported when podFailurePolicy is specified"#,
        ]
    );
}

#[test]
fn s9_05_a_failure_policy_may_name_a_sidecar() {
    let sidecar = with(container("s"), json!({"restartPolicy": "Always"}));
    let rule = json!({"action": "Ignore", "onExitCodes": {"operator": "In", "values": [137], "containerName": "s"}});
    let template = json!({"spec": {"initContainers": [sidecar]}});
    assert_eq!(job_errors(json!({"podFailurePolicy": {"rules": [rule]}, "template": template})), NONE);
}

#[test]
fn s9_06_success_policies_name_indexes_that_exist() {
    let rule = |rule: Value| {
        job_errors(json!({"completionMode": "Indexed", "completions": 5, "successPolicy": {"rules": [rule]}}))
    };
    let path = "spec.successPolicy.rules[0]";
    assert_eq!(rule(json!({"succeededIndexes": "0,2-4", "succeededCount": 4})), NONE);
    assert_eq!(
        rule(json!({"succeededIndexes": "0,2-4", "succeededCount": 5})),
        [format!(
            "{path}.succeededCount: Invalid value: 5: must be less than or equal to 4 (the number of indexes in the specified succeededIndexes field)"
        )]
    );
    for bad in ["0,0", "3-2", "5", "x", "1,"] {
        let errors = rule(json!({"succeededIndexes": bad}));
        assert_eq!(errors.len(), 1, "{bad}");
        assert!(errors[0].contains("error parsing succeededIndexes: "), "{errors:?}");
    }
    assert_eq!(
        rule(json!({})),
        [format!("{path}: Required value: at least one of succeededCount or succeededIndexes must be specified")]
    );
    let rules = |rules: Vec<Value>| {
        job_errors(json!({"completionMode": "Indexed", "completions": 5, "successPolicy": {"rules": rules}}))
    };
    let bad = [
        (rules(vec![]), "spec.successPolicy.rules: Required value".to_owned()),
        (rules(vec![json!({"succeededCount": 1}); 21]), "spec.successPolicy.rules: Too many: 21".to_owned()),
        (
            rule(json!({"succeededCount": 6})),
            format!("{path}.succeededCount: Invalid value: 6: must be less than or equal to 5"),
        ),
        (rule(json!({"succeededIndexes": "0,".repeat(33_000)})), format!("{path}.succeededIndexes: Too long")),
    ];
    for (errors, start) in bad {
        assert!(errors[0].starts_with(&start), "{errors:?}");
    }
}

#[test]
fn s9_07_the_manager_of_a_job_has_a_domain() {
    assert_eq!(job_errors(json!({"managedBy": "example.com/me"})), NONE);
    assert_eq!(job_errors(json!({"managedBy": "me"})).len(), 1);
    assert_eq!(
        job_errors(json!({"managedBy": format!("example.com/{}", "a".repeat(60))})),
        ["spec.managedBy: Too long: may not be more than 63 bytes"]
    );
}

#[test]
fn s9_08_what_a_job_is_made_of_is_immutable() {
    let base = job(json!({"completions": 2}));
    let change = |spec: Value| update_errors("job", base.clone(), &json!({"spec": spec}));
    for fine in [
        json!({"parallelism": 3}),
        json!({"suspend": true}),
        json!({"backoffLimit": 1, "activeDeadlineSeconds": 5, "ttlSecondsAfterFinished": 0}),
    ] {
        assert_eq!(change(fine.clone()), NONE, "{fine}");
    }
    assert_eq!(change(json!({"completions": 3})), ["spec.completions: Invalid value: 3: field is immutable"]);
    assert_eq!(
        change(json!({"managedBy": "example.com/x"})),
        [r#"spec.managedBy: Invalid value: "example.com/x": field is immutable"#]
    );
    let indexed = job(json!({"completionMode": "Indexed", "completions": 2, "backoffLimitPerIndex": 1}));
    let change_indexed = |spec: Value| update_errors("job", indexed.clone(), &json!({"spec": spec}));
    for fine in [json!({"maxFailedIndexes": 1}), json!({"podReplacementPolicy": "Failed"})] {
        assert_eq!(change_indexed(fine.clone()), NONE, "{fine}");
    }
    let rule = json!({"action": "Count", "onPodConditions": [{"type": "X", "status": "True"}]});
    for (field, value) in [
        ("completionMode", json!("NonIndexed")),
        ("backoffLimitPerIndex", json!(2)),
        ("selector", json!({"matchLabels": {"a": "b"}})),
        ("successPolicy", json!({"rules": [{"succeededCount": 1}]})),
        ("podFailurePolicy", json!({"rules": [rule]})),
    ] {
        let errors = change_indexed(json!({field: value}));
        let refused = |e: &String| e.starts_with(&format!("spec.{field}: ")) && e.ends_with(": field is immutable");
        assert!(errors.iter().any(refused), "{field}: {errors:?}");
    }
    let errors = change(json!({"template": {"spec": {"containers": [container("b")]}}}));
    assert_eq!(errors.len(), 1);
    assert!(errors[0].starts_with("spec.template: Invalid value: {"), "{errors:?}");
    assert!(errors[0].ends_with(": field is immutable"), "{errors:?}");
}

#[test]
fn s9_08_indexes_may_change_in_tandem_with_parallelism() {
    let base = job(json!({"completionMode": "Indexed", "completions": 2, "parallelism": 2}));
    let change = |spec: Value| update_errors("job", base.clone(), &json!({"spec": spec}));
    assert_eq!(change(json!({"completions": 4, "parallelism": 4})), NONE);
    assert_eq!(
        change(json!({"completions": 4})),
        ["spec.completions: Invalid value: 4: can only be modified in tandem with spec.parallelism"]
    );
}

#[test]
fn s9_08_a_suspended_job_may_be_sent_elsewhere_and_given_other_resources() {
    let base = job(json!({"suspend": true}));
    let resources = with(container("a"), json!({"resources": {"requests": {"cpu": "1"}}}));
    let spec = json!({"nodeSelector": {"a": "b"}, "containers": [resources]});
    assert_eq!(update_errors("job", base, &json!({"spec": {"template": {"spec": spec}}})), NONE);
    let running = job(json!({}));
    let spec = json!({"nodeSelector": {"a": "b"}});
    assert_eq!(update_errors("job", running, &json!({"spec": {"template": {"spec": spec}}})).len(), 1);
}

#[test]
fn s9_09_a_selector_is_generated_or_claimed() {
    assert_eq!(job_errors(json!({"template": {"metadata": {"labels": {"job-name": "other"}}}})).len(), 1,);
    let own = json!({"manualSelector": true, "selector": {"matchLabels": {"a": "b"}}});
    assert_eq!(
        job_errors(own.clone()).iter().filter(|e| e.ends_with("`selector` does not match template `labels`")).count(),
        1
    );
    assert_eq!(job_errors(with(own, json!({"template": {"metadata": {"labels": {"a": "b"}}}}))), NONE);
    assert_eq!(job_errors(json!({"manualSelector": true})), ["spec.selector: Required value"]);
    let errors = job_errors(json!({"selector": {"matchLabels": {"a": "b"}}}));
    assert!(errors[0].ends_with("`selector` not auto-generated"), "{errors:?}");
}

#[test]
fn s10_01_s10_02_schedules_have_five_fields() {
    for schedule in ["* * * * *", "@hourly", "@every 5m", "0 0 * jan-mar sun"] {
        assert_eq!(cron_job_errors(json!({"schedule": schedule})), NONE, "{schedule}");
    }
    for schedule in ["* * * *", "* * * * * *", "0 0 * * 7", "x"] {
        let errors = cron_job_errors(json!({"schedule": schedule}));
        assert_eq!(errors.len(), 1, "{schedule}");
        assert!(errors[0].starts_with(&format!("spec.schedule: Invalid value: {schedule:?}: ")), "{errors:?}");
    }
    assert_eq!(cron_job_errors(json!({"schedule": ""})), ["spec.schedule: Required value"]);
}

#[test]
fn s10_04_time_zones_are_named_outside_the_schedule() {
    assert_eq!(cron_job_errors(json!({"timeZone": "UTC"})), NONE);
    let path = "spec.timeZone: Invalid value";
    assert_eq!(
        cron_job_errors(json!({"timeZone": "Mars/Olympus"})),
        [format!(r#"{path}: "Mars/Olympus": unknown time zone Mars/Olympus"#)]
    );
    assert_eq!(
        cron_job_errors(json!({"timeZone": ""})),
        [format!(r#"{path}: "": timeZone must be nil or non-empty string"#)]
    );
    assert_eq!(
        cron_job_errors(json!({"timeZone": "Local"})),
        [format!(
            r#"{path}: "Local": timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones"#
        )]
    );
    let inside = "TZ=UTC 0 * * * *";
    assert_eq!(
        cron_job_errors(json!({"schedule": inside})),
        [
            r#"spec.schedule: Invalid value: "TZ=UTC 0 * * * *": cannot use TZ or CRON_TZ in schedule, use timeZone field instead"#
        ]
    );
    let old = cron_job(json!({"schedule": inside}));
    assert_eq!(update_errors("cronjob", old, &json!({"spec": {"suspend": true}})), NONE);
}

#[test]
fn s10_06_limits_and_policies_are_checked() {
    assert_eq!(
        cron_job_errors(json!({"concurrencyPolicy": "Never", "failedJobsHistoryLimit": -1})),
        [
            "spec.failedJobsHistoryLimit: Invalid value: -1: must be greater than or equal to 0",
            r#"spec.concurrencyPolicy: Unsupported value: "Never": supported values: "Allow", "Forbid", "Replace""#,
        ]
    );
}

#[test]
fn s10_07_names_leave_room_for_the_time() {
    let named = |length: usize| with(cron_job(json!({})), json!({"metadata": {"name": "a".repeat(length)}}));
    assert_eq!(create_errors("cronjob", named(52)), NONE);
    let errors = create_errors("cronjob", named(53));
    assert_eq!(errors.len(), 1);
    assert!(errors[0].ends_with(": must be no more than 52 characters"), "{errors:?}");
}

#[test]
fn s10_08_the_template_has_no_selector_and_is_a_right_job() {
    let template = |spec: Value| cron_job_errors(json!({"jobTemplate": {"spec": spec}}));
    assert!(
        template(json!({"selector": {"matchLabels": {"a": "b"}}}))[0].ends_with(": `selector` will be auto-generated")
    );
    assert_eq!(
        template(json!({"manualSelector": true})),
        [r#"spec.jobTemplate.spec.manualSelector: Unsupported value: true: supported values: "nil", "false""#]
    );
    assert_eq!(
        template(json!({"template": {"spec": {"restartPolicy": "Always"}}})),
        [r#"spec.jobTemplate.spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never""#]
    );
}
