//! What tables say, rule by rule.

use serde_json::{Value, json};

use super::{columns, row};
use crate::scheme;

/// READY, STATUS and RESTARTS of a pod.
fn pod(pod: Value) -> String {
    let row = row(scheme::by_name("pod").unwrap(), &pod, "2024-01-01T01:00:00Z".parse().unwrap());
    let cell = |index: usize| row.cells[index].as_str().unwrap_or_default().to_owned();
    format!("{} {} {}", cell(1), cell(2), cell(3))
}

/// A pod of a plain init container `i`, a sidecar `s` and the mains `a` and `b`, with these statuses.
fn with(phase: &str, init: Value, mains: Value, more: Value) -> Value {
    let mut pod = json!({
        "metadata": {"name": "p", "creationTimestamp": "2024-01-01T00:00:00Z"},
        "spec": {
            "initContainers": [{"name": "i"}, {"name": "s", "restartPolicy": "Always"}],
            "containers": [{"name": "a"}, {"name": "b"}],
        },
        "status": {"phase": phase, "initContainerStatuses": init, "containerStatuses": mains},
    });
    crate::patch::merge(&mut pod, &more);
    pod
}

fn waiting(name: &str, reason: &str) -> Value {
    json!({"name": name, "state": {"waiting": {"reason": reason}}})
}

fn ended(name: &str, code: i32, reason: &str) -> Value {
    json!({"name": name, "state": {"terminated": {"exitCode": code, "reason": reason}}})
}

fn running(name: &str, ready: bool) -> Value {
    json!({"name": name, "ready": ready, "started": true, "state": {"running": {}}})
}

fn initialized() -> Value {
    json!({"status": {"conditions": [{"type": "Initialized", "status": "True"}]}})
}

#[test]
fn s5_50_ready_counts_mains_and_sidecars() {
    let init = json!([ended("i", 0, "Completed"), running("s", true)]);
    let mains = json!([running("a", true), running("b", false)]);
    assert_eq!(pod(with("Running", init, mains, json!({}))), "2/3 Running 0");
}

#[test]
fn s5_51_status_is_the_phase_unless_there_is_a_reason() {
    let plain = |more| pod(with("Pending", json!([]), json!([]), more));
    assert_eq!(plain(json!({})), "0/3 Pending 0");
    assert_eq!(plain(json!({"status": {"reason": "Evicted"}})), "0/3 Evicted 0");
    let gated = json!({"status": {"conditions": [{"type": "PodScheduled", "reason": "SchedulingGated"}]}});
    assert_eq!(plain(gated), "0/3 SchedulingGated 0");
}

#[test]
fn s5_52_the_blocking_init_container_is_shown() {
    let cases = [
        (json!([waiting("i", "PodInitializing"), waiting("s", "PodInitializing")]), "Init:0/2"),
        (json!([ended("i", 0, "Completed"), waiting("s", "PodInitializing")]), "Init:1/2"),
        (json!([ended("i", 1, "Error")]), "Init:Error"),
        (json!([ended("i", 3, "")]), "Init:ExitCode:3"),
        (json!([{"name": "i", "state": {"terminated": {"exitCode": 137, "signal": 9}}}]), "Init:Signal:9"),
        (json!([ended("i", 137, "OOMKilled")]), "Init:OOMKilled"),
        (json!([waiting("i", "CrashLoopBackOff")]), "Init:CrashLoopBackOff"),
        (json!([waiting("i", "ErrImagePull")]), "Init:ErrImagePull"),
    ];
    for (init, status) in cases {
        assert_eq!(pod(with("Pending", init, json!([]), json!({}))), format!("0/3 {status} 0"));
    }
}

#[test]
fn s5_53_the_first_main_that_has_something_to_say_wins() {
    let init = || json!([ended("i", 0, "Completed"), running("s", true)]);
    let cases = [
        (json!([waiting("a", "CrashLoopBackOff"), waiting("b", "ErrImagePull")]), "1/3 CrashLoopBackOff 0"),
        (json!([running("a", true), waiting("b", "ContainerCreating")]), "2/3 ContainerCreating 0"),
        (json!([ended("a", 2, ""), running("b", true)]), "2/3 ExitCode:2 0"),
    ];
    for (mains, expected) in cases {
        assert_eq!(pod(with("Running", init(), mains, json!({}))), expected);
    }
}

#[test]
fn s5_54_a_completed_main_beside_others() {
    let ready = || json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}});
    let cases = [
        (json!([ended("a", 0, "Completed"), running("b", true)]), ready(), "1/3 Running 0"),
        (json!([ended("a", 0, "Completed"), running("b", true)]), json!({}), "1/3 NotReady 0"),
        (json!([ended("a", 0, "Completed"), ended("b", 1, "Error")]), json!({}), "0/3 Error 0"),
        (json!([ended("a", 0, "Completed"), ended("b", 0, "Completed")]), json!({}), "0/3 Completed 0"),
    ];
    for (mains, more, expected) in cases {
        assert_eq!(pod(with("Running", json!([]), mains, more)), expected);
    }
}

#[test]
fn s5_55_a_sidecar_in_back_off_shows_through() {
    let mains = || json!([running("a", true), running("b", true)]);
    let init = |sidecar: Value| json!([ended("i", 0, "Completed"), sidecar]);
    let cases = [
        (waiting("s", "CrashLoopBackOff"), "2/3 Init:CrashLoopBackOff 0"),
        (ended("s", 1, "Error"), "2/3 Init:Error 0"),
        (ended("s", 0, "Completed"), "2/3 Running 0"),
    ];
    for (sidecar, expected) in cases {
        assert_eq!(pod(with("Running", init(sidecar), mains(), initialized())), expected);
    }
}

#[test]
fn s5_56_mains_that_wait_for_their_image_show_as_initializing() {
    let init = json!([ended("i", 0, "Completed"), running("s", true)]);
    let mains = json!([waiting("a", "PodInitializing"), waiting("b", "PodInitializing")]);
    assert_eq!(pod(with("Pending", init, mains, json!({}))), "1/3 PodInitializing 0");
}

#[test]
fn s5_57_a_pod_on_its_way_out_is_terminating_unless_it_has_ended() {
    let deleted = json!({"metadata": {"deletionTimestamp": "2024-01-01T00:10:00Z"}});
    let mains = || json!([ended("a", 0, "Completed"), ended("b", 0, "Completed")]);
    assert_eq!(pod(with("Running", json!([]), mains(), deleted.clone())), "0/3 Terminating 0");
    assert_eq!(pod(with("Succeeded", json!([]), mains(), deleted.clone())), "0/3 Completed 0");
    let mut lost = deleted;
    lost["status"] = json!({"reason": "NodeLost"});
    assert_eq!(pod(with("Running", json!([]), json!([]), lost)), "0/3 Unknown 0");
}

#[test]
fn s5_58_restarts_of_plain_init_containers_count_only_while_they_run() {
    let again = |mut status: Value, count: i32, at: &str| {
        status["restartCount"] = json!(count);
        status["lastState"] = json!({"terminated": {"exitCode": 1, "finishedAt": at}});
        status
    };
    let failing = json!([again(waiting("i", "CrashLoopBackOff"), 2, "2024-01-01T00:55:00Z")]);
    assert_eq!(pod(with("Pending", failing, json!([]), json!({}))), "0/3 Init:CrashLoopBackOff 2 (5m ago)");
    let init = json!([
        again(ended("i", 0, "Completed"), 2, "2024-01-01T00:55:00Z"),
        again(running("s", true), 1, "2024-01-01T00:30:00Z"),
    ]);
    let mains = json!([again(running("a", true), 3, "2024-01-01T00:57:30Z"), running("b", true)]);
    assert_eq!(pod(with("Running", init.clone(), mains, json!({}))), "3/3 Running 4 (2m30s ago)");
    let mains = json!([running("a", true), running("b", true)]);
    assert_eq!(pod(with("Running", init, mains, json!({}))), "3/3 Running 1 (30m ago)");
}

fn cells(kind: &str, object: Value) -> Vec<Value> {
    row(scheme::by_name(kind).unwrap(), &object, "2024-01-01T01:00:00Z".parse().unwrap()).cells
}

#[test]
fn s5_59_status_and_completions_of_jobs() {
    let job = |spec: Value, status: Value| {
        let created = "2024-01-01T00:00:00Z";
        let cells = cells("job", json!({"metadata": {"creationTimestamp": created}, "spec": spec, "status": status}));
        cells[1..4].iter().map(|cell| cell.as_str().unwrap()).collect::<Vec<_>>().join("|")
    };
    let condition = |kind: &str| json!({"conditions": [{"type": kind, "status": "True"}]});
    assert_eq!(job(json!({"completions": 3}), json!({"succeeded": 1})), "Running|1/3|");
    assert_eq!(job(json!({"parallelism": 2}), condition("Suspended")), "Suspended|0/1 of 2|");
    assert_eq!(job(json!({"parallelism": 1}), condition("FailureTarget")), "FailureTarget|0/1|");
    let times = json!({"startTime": "2024-01-01T00:00:00Z", "completionTime": "2024-01-01T00:00:42Z", "succeeded": 1,
        "conditions": [{"type": "SuccessCriteriaMet", "status": "True"}, {"type": "Complete", "status": "True"}]});
    assert_eq!(job(json!({"completions": 1}), times), "Complete|1/1|42s");
    assert_eq!(job(json!({"completions": 1}), json!({"startTime": "2024-01-01T00:59:00Z"})), "Running|0/1|60s");
}

#[test]
fn s5_59_cron_jobs_say_none_for_what_is_absent() {
    let plain =
        cells("cronjob", json!({"metadata": {"name": "c"}, "spec": {"schedule": "* * * * *", "suspend": false}}));
    let expected = ["c", "* * * * *", "<none>", "False"].map(|text| json!(text));
    assert_eq!(plain[..4], expected);
    assert_eq!(plain[4..7], [json!(0), json!("<none>"), json!("<unknown>")]);
}

#[test]
fn every_kind_has_a_cell_for_each_column() {
    for kind in scheme::all() {
        let row = row(kind, &json!({"metadata": {"name": "x"}}), "2024-01-01T01:00:00Z".parse().unwrap());
        assert_eq!(row.cells.len(), columns(kind).len(), "{}", kind.kind);
        assert!(columns(kind).iter().any(|column| column.format == "name"), "{}", kind.kind);
    }
}

#[test]
fn services_and_endpoints_say_how_they_are_reached() {
    let service = |spec: Value| {
        let cells = cells("svc", json!({"metadata": {"name": "s"}, "spec": spec}));
        cells[1..5].iter().map(|cell| cell.as_str().unwrap()).collect::<Vec<_>>().join(" ")
    };
    let port = json!([{"port": 80, "protocol": "TCP"}, {"port": 53, "protocol": "UDP", "nodePort": 30053}]);
    assert_eq!(
        service(json!({"type": "NodePort", "clusterIPs": ["10.96.0.9"], "ports": port})),
        "NodePort 10.96.0.9 <none> 80/TCP,53:30053/UDP"
    );
    assert_eq!(service(json!({"type": "ExternalName", "externalName": "a.b"})), "ExternalName <none> a.b <none>");
    assert_eq!(service(json!({"type": "LoadBalancer", "clusterIPs": ["None"]})), "LoadBalancer None <pending> <none>");
    let addresses: Vec<Value> = (1..=5).map(|n| json!({"ip": format!("10.0.0.{n}")})).collect();
    let endpoints = json!({"subsets": [{"addresses": addresses, "ports": [{"port": 80}]}]});
    assert_eq!(cells("ep", endpoints)[1], "10.0.0.1:80,10.0.0.2:80,10.0.0.3:80 + 2 more...");
    assert_eq!(cells("ep", json!({}))[1], "<none>");
}

#[test]
fn an_event_shows_its_series_or_its_times() {
    let event = |more: Value| {
        let mut event = json!({"metadata": {"name": "e"}, "type": "Normal", "reason": "R", "message": "m\n",
            "involvedObject": {"kind": "Pod", "name": "a"}, "source": {"component": "kubelet", "host": "n"}});
        crate::patch::merge(&mut event, &more);
        let cells = cells("event", event);
        [0, 3, 5, 6, 7, 8].map(|index| cells[index].to_string()).join(" ")
    };
    let times = json!({"firstTimestamp": "2024-01-01T00:30:00Z", "lastTimestamp": "2024-01-01T00:59:50Z", "count": 4});
    assert_eq!(event(times), r#""10s" "pod/a" "kubelet, n" "m" "30m" 4"#);
    let series = json!({"eventTime": "2024-01-01T00:30:00.000000Z",
        "series": {"count": 7, "lastObservedTime": "2024-01-01T00:59:00.000000Z"}});
    assert_eq!(event(series), r#""60s" "pod/a" "kubelet, n" "m" "30m" 7"#);
    assert_eq!(event(json!({"eventTime": "2024-01-01T00:30:00.000000Z"})), r#""30m" "pod/a" "kubelet, n" "m" "30m" 1"#);
}

#[test]
fn s5_50_s5_53_only_what_runs_and_is_ready_counts() {
    let init = |status: Value| json!([status, waiting("s", "PodInitializing")]);
    let begun = init(json!({"name": "i", "started": true, "state": {"terminated": null, "running": {}}}));
    assert_eq!(pod(with("Pending", begun, json!([]), json!({}))), "0/3 Init:0/2 0");
    let mains = json!([
        {"name": "a", "ready": true, "state": {"waiting": {}}},
        {"name": "b", "ready": true, "state": {"terminated": null, "running": {}}},
    ]);
    assert_eq!(pod(with("Running", json!([]), mains, json!({}))), "1/3 Running 0");
}

#[test]
fn s5_51_s5_54_s5_57_conditions_count_by_type_status_and_reason() {
    let plain = |more| pod(with("Pending", json!([]), json!([]), more));
    let conditions = |list: Value| json!({"status": {"conditions": list}});
    assert_eq!(plain(conditions(json!([{"type": "PodScheduled", "reason": "Unschedulable"}]))), "0/3 Pending 0");
    assert_eq!(plain(conditions(json!([{"type": "Other", "reason": "SchedulingGated"}]))), "0/3 Pending 0");
    assert_eq!(plain(json!({"status": {"reason": "NodeLost"}})), "0/3 NodeLost 0");
    let done = || json!([ended("a", 0, "Completed"), running("b", true)]);
    for others in [json!([{"type": "Ready", "status": "False"}]), json!([{"type": "Other", "status": "True"}])] {
        assert_eq!(pod(with("Running", json!([]), done(), conditions(others))), "1/3 NotReady 0");
    }
    let ready = conditions(json!([{"type": "Ready", "status": "True"}]));
    let ended = json!([ended("a", 0, "Completed"), ended("b", 0, "Completed")]);
    assert_eq!(pod(with("Running", json!([]), ended, ready)), "0/3 Completed 0");
}

#[test]
fn s5_58_without_restarts_no_time_is_shown() {
    let mut main = running("a", true);
    main["lastState"] = json!({"terminated": {"exitCode": 1, "finishedAt": "2024-01-01T00:55:00Z"}});
    assert_eq!(pod(with("Running", json!([]), json!([main]), json!({}))), "1/3 Running 0");
}

#[test]
fn readiness_gates_are_counted_and_rows_of_pods_that_ended_are_marked() {
    let row = |pod: Value| row(scheme::by_name("pod").unwrap(), &pod, "2024-01-01T01:00:00Z".parse().unwrap());
    let gates = json!({
        "spec": {"readinessGates": [{"conditionType": "a/b"}, {"conditionType": "c"}]},
        "status": {"conditions": [{"type": "a/b", "status": "True"}]},
    });
    assert_eq!(row(gates).cells[8], "1/2");
    let ended = |phase: &str| row(json!({"status": {"phase": phase}}));
    assert_eq!((ended("Running").cells[8].as_str(), ended("Running").conditions), (Some("<none>"), Vec::new()));
    for (phase, message) in [("Succeeded", "The pod has completed successfully."), ("Failed", "The pod failed.")] {
        let expected = json!({"type": "Completed", "status": "True", "reason": phase, "message": message});
        assert_eq!(ended(phase).conditions, [expected]);
    }
}
