//! A machine that runs short of memory or disk: what is too little is said by flags.

use std::time::{Duration, Instant};

use runtime::image::{ImageSpec, LayerFile, LayerSource, Store};
use serde_json::{Value, json};

use crate::{common::server::Server, container};

/// Thresholds that no machine can satisfy.
const NO_MEMORY: [&str; 2] = ["--eviction-hard", "memory.available<1Ei"];

fn pod(name: &str, requests: &Value, command: &str) -> String {
    let image = if name == "imaged" { "other:1" } else { "busybox:1.37.0" };
    let container = json!({
        "name": "app", "image": image, "command": ["/bin/busybox", "sh", "-c", command],
        "resources": {"requests": requests}, "volumeMounts": [{"name": "mem", "mountPath": "/mem"}]
    });
    let volume = json!({"name": "mem", "emptyDir": {"medium": "Memory"}});
    let spec = json!({"restartPolicy": "Always", "containers": [container], "volumes": [volume]});
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}).to_string()
}

fn condition(object: &Value, type_: &str) -> Value {
    let all = object["status"]["conditions"].as_array().unwrap();
    all.iter().find(|condition| condition["type"] == type_).cloned().unwrap_or_default()
}

fn taints(server: &Server) -> Vec<Value> {
    let taints = server.get(&["node/podrig"])["spec"]["taints"].as_array().cloned().unwrap_or_default();
    taints.iter().map(|taint| json!([taint["key"], taint["effect"]])).collect()
}

#[test]
fn s4_56_s12_15_without_memory_pods_go_one_by_one_those_above_their_request_first_and_none_comes() {
    let mut server = Server::start_with(&["--eviction-hard", ""]);
    let deaf = "trap '' TERM; while :; do sleep 1; done";
    server.apply(&pod("modest", &json!({"memory": "200Mi"}), deaf));
    server.apply(&pod(
        "greedy",
        &json!({"memory": "1Mi"}),
        &format!("head -c 30000000 /dev/zero >/mem/it; touch /ok; {deaf}"),
    ));
    let mut vital: Value = serde_json::from_str(&pod("vital", &json!({}), deaf)).unwrap();
    vital["spec"]["priorityClassName"] = json!("system-node-critical");
    vital["spec"]["terminationGracePeriodSeconds"] = json!(0);
    server.apply(&vital.to_string());
    server.wait("pod/vital", "condition=Ready");
    server.wait("pod/modest", "condition=Ready");
    server.wait("pod/greedy", "condition=Ready");
    server.until("the memory is taken", |server| {
        let looked =
            server.kubectl().args(["exec", "greedy", "--", "/bin/busybox", "test", "-e", "/ok"]).output().unwrap();
        looked.status.success().then_some(())
    });
    server.restart_with(&NO_MEMORY);
    let start = Instant::now();
    for name in ["greedy", "modest"] {
        server.wait(&format!("pod/{name}"), "jsonpath={.status.phase}=Failed");
    }
    assert!(start.elapsed() < Duration::from_secs(30), "they had more time than a second");
    let (greedy, modest) = (server.get(&["pod/greedy"]), server.get(&["pod/modest"]));
    let message = greedy["status"]["message"].as_str().unwrap();
    let low = "The node was low on resource: memory. Threshold quantity: 1Ei, available: ";
    assert!(message.starts_with(low), "{message}");
    assert!(
        message.contains(". Container app was using ")
            && message.ends_with(", request is 1Mi, has larger consumption of memory. "),
        "{message}"
    );
    assert!(!modest["status"]["message"].as_str().unwrap().contains("Container"), "{modest:#}");
    for pod in [&greedy, &modest] {
        assert_eq!(pod["status"]["reason"], "Evicted");
        let target = condition(pod, "DisruptionTarget");
        assert_eq!((&target["status"], &target["reason"]), (&json!("True"), &json!("TerminationByKubelet")));
        assert_eq!(target["message"], pod["status"]["message"]);
        assert_eq!(container(pod, "app")["state"]["terminated"]["exitCode"], 137);
    }
    let ended = |pod: &Value| container(pod, "app")["state"]["terminated"]["finishedAt"].as_str().unwrap().to_owned();
    assert!(ended(&greedy) <= ended(&modest));
    let event =
        server.get(&["events", "--field-selector", "reason=Evicted,involvedObject.name=greedy"])["items"][0].clone();
    assert_eq!((&event["type"], &event["message"]), (&json!("Warning"), &greedy["status"]["message"]));

    // It is above its request too, but the node needs it.
    assert_eq!(server.get(&["pod/vital"])["status"]["phase"], "Running");
    server.wait("node/podrig", "condition=MemoryPressure");
    server.until("an event of the node", |server| {
        let selector = "reason=NodeHasInsufficientMemory,involvedObject.kind=Node";
        server.get(&["events", "--field-selector", selector])["items"].get(0).map(|_| ())
    });
    let pressure = condition(&server.get(&["node/podrig"]), "MemoryPressure");
    assert_eq!(pressure["reason"], "KubeletHasInsufficientMemory");
    let taint = json!(["node.kubernetes.io/memory-pressure", "NoSchedule"]);
    server.until("a taint", |server| (taints(server) == [taint.clone()]).then_some(()));
    server.apply(&pod("late", &json!({}), "true"));
    server.wait("pod/late", "jsonpath={.status.conditions[0].reason}=Unschedulable");
    let mut bound: Value = serde_json::from_str(&pod("bound", &json!({}), "true")).unwrap();
    bound["spec"]["nodeName"] = json!("podrig");
    server.apply(&bound.to_string());
    server.wait("pod/bound", "jsonpath={.status.phase}=Failed");
    let bound = server.get(&["pod/bound"]);
    assert_eq!(bound["status"]["reason"], "Evicted");
    assert_eq!(bound["status"]["message"], "Pod was rejected: The node had condition: [MemoryPressure]. ");

    server.restart_with(&["--eviction-hard", ""]);
    server.until("no taint", |server| taints(server).is_empty().then_some(()));
    server.wait("pod/late", "jsonpath={.spec.nodeName}=podrig");
}

/// Adds images that nobody put into the store by hand.
fn add_pulled(server: &Server, names: &[&str]) {
    let store = Store::open(&server.sealed.data().join("images")).unwrap();
    for name in names {
        let busybox = LayerFile::executable("bin/busybox", "/bin/busybox");
        let layers = vec![LayerSource {
            files: vec![busybox, LayerFile::executable(format!("bin/{}", &name[..1]), "/bin/busybox")],
        }];
        store.add(&ImageSpec { names: vec![(*name).to_owned()], layers, ..ImageSpec::default() }).unwrap();
    }
}

fn images(server: &Server) -> Vec<String> {
    let store = Store::open(&server.sealed.data().join("images")).unwrap();
    let all = store.list().unwrap().into_iter().flat_map(|image| image.repo_tags);
    let mut all: Vec<_> = all.map(|name| name.trim_start_matches("docker.io/library/").to_owned()).collect();
    all.sort();
    all
}

#[test]
fn s4_56_without_disk_unused_images_go_before_pods_and_a_soft_threshold_leaves_them_time() {
    let mut server = Server::start_with(&["--eviction-hard", ""]);
    add_pulled(&server, &["other:1", "unused:1"]);
    let polite = "trap 'sleep 1; exit 7' TERM; while :; do sleep 0.1; done";
    server.apply(&pod("imaged", &json!({}), polite));
    server.wait("pod/imaged", "condition=Ready");
    server.restart_with(&[
        "--eviction-hard",
        "",
        "--eviction-soft",
        "nodefs.available<1Ei",
        "--eviction-soft-grace-period",
        "nodefs.available=1s",
        "--eviction-max-pod-grace-period",
        "20",
        "--minimum-image-ttl-duration",
        "0s",
    ]);
    server.wait("pod/imaged", "jsonpath={.status.phase}=Failed");
    let imaged = server.get(&["pod/imaged"]);
    assert_eq!(container(&imaged, "app")["state"]["terminated"]["exitCode"], 7, "it had its time: {imaged:#}");
    let message = imaged["status"]["message"].as_str().unwrap();
    assert!(
        message.starts_with("The node was low on resource: ephemeral-storage. Threshold quantity: 1Ei, "),
        "{message}"
    );
    assert!(message.contains("Container app was using "), "{message}");
    server.wait("node/podrig", "condition=DiskPressure");
    let taint = json!(["node.kubernetes.io/disk-pressure", "NoSchedule"]);
    server.until("a taint", |server| (taints(server) == [taint.clone()]).then_some(()));
    assert!(!images(&server).contains(&"unused:1".to_owned()));
    let told = server.get(&["events", "--field-selector", "reason=EvictionThresholdMet"])["items"][0].clone();
    assert_eq!(told["message"], "Attempting to reclaim ephemeral-storage");
    assert_eq!(told["involvedObject"]["kind"], "Node");
}

#[test]
fn s4_56_a_full_disk_costs_the_images_that_nobody_uses_or_has_loaded() {
    let mut server = Server::start_with(&["--eviction-hard", ""]);
    add_pulled(&server, &["other:1", "unused:1"]);
    server.apply(&pod("imaged", &json!({}), "sleep 3600"));
    server.wait("pod/imaged", "condition=Ready");
    let full = ["--image-gc-high-threshold", "1", "--image-gc-low-threshold", "0", "--eviction-hard", ""];
    server.restart_with(&full);
    assert_eq!(images(&server), ["busybox:1.37.0", "other:1", "unused:1"], "they are younger than two minutes");
    server.restart_with(&[&full[..], &["--minimum-image-ttl-duration", "0s"]].concat());
    server.until("unused images go", |server| (images(server) == ["busybox:1.37.0", "other:1"]).then_some(()));
    server.run(&["delete", "pod", "imaged", "--grace-period=0", "--force"]);
}

#[test]
fn s4_56_a_run_without_memory_fails_and_says_why() {
    let sealed = crate::common::Sealed::new();
    let mut greedy: Value = serde_json::from_str(&pod("greedy", &json!({"memory": "1Mi"}), "sleep 3600")).unwrap();
    // Else it might wait for ever, if the taint is there first.
    greedy["spec"]["tolerations"] = json!([{"operator": "Exists"}]);
    let output = sealed.run(&greedy.to_string(), &[&NO_MEMORY[..], &["--timeout", "60"]].concat());
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("the pod failed as a whole (Evicted): The node was low on resource: memory."), "{text}");
    sealed.assert_clean();
}
