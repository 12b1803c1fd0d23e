//! Pods of many shapes, all run at once on one node; each test looks at how one of them went.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::{collections::BTreeMap, process::Command, sync::LazyLock};

use common::{Sealed, add_image, busybox};
use runtime::image::{Content, ImageSpec, LayerFile, LayerSource};
use serde_json::{Value, json};

/// What happened to all pods.
struct Outcome {
    /// Final object and timeline, by name of the pod.
    pods: BTreeMap<String, Value>,
    /// `pod/container  text` of every line of output.
    lines: Vec<String>,
}

/// One run for all tests: nothing is shared by the pods but the node.
static OUTCOME: LazyLock<Outcome> = LazyLock::new(|| {
    let sealed = Sealed::new();
    let images = sealed.data().join("images");
    add_image(&images, &ImageSpec { stop_signal: Some("SIGUSR1".into()), ..busybox("usr1:1") });
    add_image(&images, &ImageSpec { stop_signal: Some("SIGKILL".into()), ..busybox("kill:1") });
    add_image(&images, &image_with_defaults());
    let host = NestedMount::new(&sealed.root.path().join("host"));
    let manifests = [
        include_str!("shapes/ends.yaml"),
        include_str!("shapes/volumes.yaml"),
        include_str!("shapes/environment.yaml"),
        include_str!("shapes/security.yaml"),
        include_str!("shapes/probes-and-hooks.yaml"),
    ];
    let manifests = manifests.join("---\n").replace("HOST_PATH", host.outer.to_str().unwrap());
    let output = sealed.run(&manifests, &["--output", "json", "--timeout", "120s"]);
    let said = String::from_utf8_lossy(&output.stderr);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"));
    assert_eq!(output.status.code(), Some(1), "some of the pods are made to fail: {said}");
    let name = |pod: &Value| pod["object"]["metadata"]["name"].as_str().unwrap().to_owned();
    let pods = report["pods"].as_array().unwrap().iter().map(|pod| (name(pod), pod.clone())).collect();
    sealed.assert_clean();
    Outcome { pods, lines: said.lines().map(str::to_owned).collect() }
});

/// An image that says everything that an image can say of how it is run.
fn image_with_defaults() -> ImageSpec {
    let text = |path: &str, mode, text: &str| LayerFile {
        path: path.into(),
        mode,
        content: Content::Bytes(text.as_bytes().to_vec()),
    };
    let files = vec![
        text("bin/tell", 0o755, "#!/bin/sh\necho $@\npwd\nid -u\nid -G\necho $VARIABLE $HOME\n"),
        text("etc/passwd", 0o644, "root:x:0:0::/root:/bin/sh\nweb:x:101:201::/srv/home:/bin/sh\n"),
        text("etc/group", 0o644, "root:x:0:\nweb:x:201:\nextra:x:301:web\n"),
    ];
    let mut image = busybox("defaults:1");
    image.layers.push(LayerSource { files });
    ImageSpec {
        entrypoint: vec!["/bin/tell".into(), "entry".into()],
        cmd: vec!["of image".into()],
        env: vec!["PATH=/bin".into(), "VARIABLE=image".into()],
        working_dir: "/srv/web".into(),
        user: "web".into(),
        ..image
    }
}

/// A directory of the host with a file system of its own mounted on `inner`; it is gone when this is dropped.
struct NestedMount {
    outer: std::path::PathBuf,
}

impl NestedMount {
    fn new(outer: &std::path::Path) -> Self {
        let inner = outer.join("inner");
        std::fs::create_dir_all(&inner).unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "nested"]).arg(&inner).status().unwrap();
        assert!(mounted.success());
        Self { outer: outer.to_owned() }
    }
}

impl Drop for NestedMount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.outer.join("inner")).status();
    }
}

fn pod(name: &str) -> &'static Value {
    &OUTCOME.pods.get(name).unwrap_or_else(|| panic!("no pod {name}"))["object"]
}

/// `phase` of a pod, with its reason if it has one.
fn phase(name: &str) -> String {
    let status = &pod(name)["status"];
    let reason = status["reason"].as_str().map(|reason| format!(" {reason}")).unwrap_or_default();
    format!("{}{reason}", status["phase"].as_str().unwrap())
}

/// Whole status of one container.
fn container(name: &str, container: &str) -> &'static Value {
    let status = &pod(name)["status"];
    let lists = [&status["initContainerStatuses"], &status["containerStatuses"]];
    let mut all = lists.into_iter().flat_map(|list| list.as_array().into_iter().flatten());
    all.find(|one| one["name"] == container).unwrap_or_else(|| panic!("no container {container} in {status}"))
}

/// How a container ended: `Completed 0`; with restarts ` after 1`.
fn end(name: &str, of: &str) -> String {
    let status = container(name, of);
    let ended = &status["state"]["terminated"];
    let restarts = status["restartCount"].as_i64().unwrap();
    let after = if restarts == 0 { String::new() } else { format!(" after {restarts}") };
    format!("{} {}{after}", ended["reason"].as_str().unwrap_or("alive"), ended["exitCode"])
}

/// What a container has written, line by line.
fn lines(name: &str, of: &str) -> Vec<&'static str> {
    let prefix = format!("{name}/{of}  ");
    OUTCOME.lines.iter().filter_map(|line| line.strip_prefix(&prefix)).collect()
}

fn has(lines: &[&str], part: &str) -> bool {
    lines.iter().any(|line| line.contains(part))
}

#[test]
fn s4_40_s4_41_s4_65_a_sidecar_without_a_handler_is_killed_and_does_not_count() {
    assert_eq!((end("stubborn-sidecar", "proxy"), phase("stubborn-sidecar")), ("Error 137".into(), "Succeeded".into()));
}

#[test]
fn s4_17_the_stop_signal_of_the_image_is_sent() {
    assert_eq!(end("stop-signal-of-the-image", "proxy"), "Error 7");
    assert_eq!(lines("stop-signal-of-the-image", "proxy"), ["got USR1"]);
}

#[test]
fn s7_15_a_container_whose_stop_signal_is_kill_has_no_time_to_say_anything() {
    assert_eq!(end("kill-signal-of-the-image", "proxy"), "Error 137");
    assert_eq!(lines("kill-signal-of-the-image", "proxy"), [""; 0]);
    let ended = |name: &str| {
        let at = container("kill-signal-of-the-image", name)["state"]["terminated"]["finishedAt"].as_str().unwrap();
        at.parse::<jiff::Timestamp>().unwrap().as_second()
    };
    assert!(ended("proxy") - ended("app") < 5, "it does not wait for the end of its grace of 30 s");
}

#[test]
fn s4_40_s5_08_exit_codes_and_reasons() {
    let ends = ["zero", "three", "killed", "missing"].map(|name| end("codes", name));
    assert_eq!(ends, ["Completed 0", "Error 3", "Error 137", "StartError 128"]);
    assert_eq!(phase("codes"), "Failed");
}

#[test]
fn s3_03_s3_21_s3_24_each_kind_of_container_is_retried_at_once_the_first_time() {
    let ends = ["init", "proxy", "app"].map(|name| end("retried", name));
    assert_eq!(ends, ["Completed 0 after 1", "Completed 0 after 1", "Completed 0 after 1"]);
    assert_eq!(container("retried", "app")["lastState"]["terminated"]["exitCode"], 1);
    assert_eq!(phase("retried"), "Succeeded");
}

#[test]
fn s3_04_s5_34_a_failed_init_container_fails_a_never_pod() {
    assert_eq!(phase("init-fails"), "Failed");
    assert_eq!(container("init-fails", "app")["state"]["waiting"]["reason"], "PodInitializing");
}

#[test]
fn s4_54_a_pod_past_its_deadline_fails() {
    assert_eq!(phase("deadline"), "Failed DeadlineExceeded");
    assert_eq!(pod("deadline")["status"]["message"], "Pod was active on the node longer than the specified deadline");
}

#[test]
fn s3_11_a_rule_restarts_a_container_of_a_never_pod() {
    assert_eq!(
        (end("rule-restarts", "app"), phase("rule-restarts")),
        ("Completed 0 after 1".into(), "Succeeded".into())
    );
}

#[test]
fn s3_40_s3_42_all_containers_restart_in_the_same_sandbox() {
    let ends = ["init", "proxy", "app"].map(|name| end("all-restart", name));
    assert_eq!(ends, ["Completed 0 after 1", "Completed 0 after 1", "Completed 0 after 1"]);
    assert_eq!(phase("all-restart"), "Succeeded");
}

#[test]
fn s5_09_the_termination_message_comes_from_the_file_or_the_log() {
    let message = |name| container("message", name)["state"]["terminated"]["message"].clone();
    assert_eq!((message("file"), message("logs")), ("words\n".into(), "the last line\n".into()));
}

#[test]
fn s8_13_a_main_that_takes_too_much_memory_is_killed_and_its_sidecar_stopped() {
    assert_eq!(end("out-of-memory", "app"), "OOMKilled 137");
    assert_eq!((end("out-of-memory", "proxy"), phase("out-of-memory")), ("Completed 0".into(), "Failed".into()));
}

#[test]
fn s11_01_containers_of_a_pod_share_its_volumes() {
    assert_eq!(lines("shared", "app"), ["from init"]);
}

#[test]
fn s11_13_s11_14_s11_15_sub_paths_are_parts_of_the_volume() {
    let said = lines("sub-paths", "app");
    for part in ["a", "b", "red", "read-only"] {
        assert!(said.iter().any(|line| *line == part || line.ends_with(part)), "{part} in {said:?}");
    }
}

#[test]
fn s11_02_s11_04_s11_11_projected_sources_lie_together_and_memory_is_memory() {
    let said = lines("projected", "app");
    assert!(has(&said, "7open sesameprojected"), "{said:?}");
    assert!(said.iter().any(|line| line.starts_with("tmpfs /m ") && line.contains("size=1024k")), "{said:?}");
}

#[test]
fn s11_25_groups_of_the_pod_own_its_volumes() {
    let said = lines("groups", "app");
    assert_eq!(said[0], "1000");
    let mut groups: Vec<&str> = said[1].split(' ').collect();
    groups.sort_unstable();
    assert_eq!(groups, ["2000", "3000", "4000"]);
    assert!(said[2].contains(" 1000 ") && said[2].contains(" 3000 "), "{said:?}");
    assert_eq!(lines("groups", "other"), ["1001", "2000"]);
}

#[test]
fn s11_15_read_only_mounts_are_read_only_inside_as_far_as_they_say() {
    let written = lines("read-only", "app");
    assert_eq!(written, ["plain", "plain/inner", "silent/inner", "disabled/inner"], "what could be written to");
    let shown = |path: &str, mode: &str| json!({"name": "host", "mountPath": path, "readOnly": true, "recursiveReadOnly": mode});
    let want = [
        json!({"name": "host", "mountPath": "/plain"}),
        shown("/silent", "Disabled"),
        shown("/disabled", "Disabled"),
        shown("/enabled", "Enabled"),
        shown("/possible", "Enabled"),
    ];
    assert_eq!(container("read-only", "app")["volumeMounts"].as_array().unwrap()[..5], want);
}

#[test]
fn s11_25_the_groups_of_the_image_are_added_unless_the_policy_is_strict() {
    let (merged, strict) = (lines("merged-groups", "app"), lines("strict-groups", "app"));
    assert_eq!((merged, strict), (vec!["201 301 3000 4000"], vec!["201 3000 4000"]));
    let user = |name| container(name, "app")["user"].clone();
    let linux = |groups: Value| json!({"linux": {"uid": 101, "gid": 201, "supplementalGroups": groups}});
    assert_eq!(user("merged-groups"), linux(json!([201, 301, 3000, 4000])));
    assert_eq!(user("strict-groups"), linux(json!([201, 3000, 4000])));
}

#[test]
fn s11_22_s11_24_the_image_says_what_the_pod_does_not() {
    let told = |of| lines("image-defaults", of);
    assert_eq!(told("as-it-is"), ["entry of image", "/srv/web", "101", "201 301", "image /srv/home"]);
    assert_eq!(told("other-arguments"), ["entry mine", "/srv/web", "101", "201 301", "image /srv/home"]);
    assert_eq!(told("other-command"), ["mine", "/srv/web", "101", "201 301", "image /srv/home"]);
    assert_eq!(told("other-rest"), ["entry of image", "/tmp", "7", "8", "pod /"]);
}

#[test]
fn s8_05_the_limit_of_a_pod_is_one_for_all_its_containers() {
    assert_eq!((end("pod-limit", "app"), phase("pod-limit")), ("OOMKilled 137".into(), "Failed".into()));
    let limits = json!({"cpu": "500m", "memory": "64Mi"});
    assert_eq!(pod("pod-limit")["status"]["resources"]["limits"], limits);
}

#[test]
fn s8_07_what_a_container_has_is_in_its_status() {
    let app = container("shown-resources", "app");
    let amounts = json!({"cpu": "100m", "memory": "32Mi"});
    assert_eq!(app["allocatedResources"], amounts);
    assert_eq!(app["resources"], json!({"requests": amounts, "limits": {"cpu": "200m", "memory": "64Mi"}}));
    assert_eq!(pod("shown-resources")["status"]["observedGeneration"], 1);
}

#[test]
fn s6_21_a_server_on_the_loopback_address_of_a_pod_is_not_reached_by_probes() {
    assert_eq!(phase("loopback-only"), "Failed DeadlineExceeded");
    assert_eq!(end("loopback-only", "web"), "Error 143");
    assert_eq!(container("loopback-only", "app")["state"]["waiting"]["reason"], "PodInitializing");
}

#[test]
fn s2_32_the_hosts_processes_are_seen_when_the_pod_says_so() {
    let host = std::fs::read_to_string("/proc/1/comm").unwrap();
    assert_eq!(lines("host-processes", "app"), [host.trim()]);
}

#[test]
fn s11_12_files_and_directories_of_the_host_are_made_when_asked_for() {
    assert_eq!(lines("host-paths", "app"), ["a file", "a directory"]);
    assert_eq!(phase("host-path-missing"), "Failed DeadlineExceeded");
}

#[test]
fn s11_16_an_image_is_a_read_only_volume() {
    let said = lines("image-volume", "app");
    assert!(has(&said, "/v/bin/busybox") && has(&said, "read-only"), "{said:?}");
}

#[test]
fn s11_09_s11_17_s11_19_s11_22_s8_15_variables_and_arguments_are_expanded() {
    assert_eq!(lines("variables", "init"), ["has an address"]);
    let said = lines("variables", "app");
    assert_eq!(said, ["first and mine $(NOT) $(W_ONE)", "sesame variables 250 64 unset", "/tmp", "variables $(ME)"]);
}

#[test]
fn s5_05_a_missing_key_names_itself() {
    let waiting = OUTCOME.pods["missing-key"]["timeline"].to_string();
    assert_eq!(phase("missing-key"), "Failed DeadlineExceeded");
    assert!(waiting.contains("couldn't find key THREE in ConfigMap default/words"), "{waiting}");
}

#[test]
fn s11_23_names_and_resolver_are_as_the_pod_says() {
    let said = lines("names", "app");
    assert_eq!(said[0], "web");
    for part in ["10.1.2.3\tother", "web.inner", "nameserver 10.9.8.7", "search example.org", "ndots:3"] {
        assert!(has(&said, part), "{part} in {said:?}");
    }
}

#[test]
fn s2_32_processes_are_shared_when_the_pod_says_so() {
    let said = lines("one-process-table", "app");
    assert_eq!(said, ["1", "not the first"]);
    assert_eq!(end("one-process-table", "proxy"), "Error 143", "only the first process of a table ignores SIGTERM");
    let own = ["app", "other"].map(|name| lines("own-process-table", name));
    assert_eq!(own, [["1"], ["1"]]);
}

#[test]
fn s2_32_the_hosts_network_is_the_hosts() {
    let status = &pod("host-network")["status"];
    assert_eq!(status["podIP"], status["hostIP"]);
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    assert_eq!(lines("host-network", "app")[1], host.trim());
}

#[test]
fn s11_24_a_terminal_is_there_when_asked_for_and_input_ends_otherwise() {
    assert_eq!(lines("terminal", "with").len(), 1);
    assert!(lines("terminal", "with")[0].starts_with("a terminal"));
    assert_eq!(lines("terminal", "without"), ["no terminal", "end of input"]);
}

#[test]
fn s11_24_a_confined_container_has_no_powers() {
    let said = lines("confined", "app");
    let value = |field: &str| said.iter().find_map(|line| line.strip_prefix(field)).unwrap().trim();
    assert_eq!((value("CapEff:"), value("NoNewPrivs:"), value("Seccomp:")), ("0000000000000000", "1", "2"));
    assert!(has(&said, "Read-only file system") && has(&said, "65534"), "{said:?}");
    assert_eq!(lines("confined", "added"), ["CapEff:\t0000000000000400"]);
}

#[test]
fn s11_24_a_privileged_container_has_devices_and_may_mount() {
    assert_eq!(lines("privileged", "app"), ["devices", "mounted"]);
}

#[test]
fn s5_05_s11_24_root_is_refused_where_it_may_not_run() {
    assert_eq!(phase("root-refused"), "Failed DeadlineExceeded");
    let told = OUTCOME.pods["root-refused"]["timeline"].to_string();
    assert!(told.contains("container has runAsNonRoot and image will run as root"), "{told}");
}

#[test]
fn s11_24_s11_25_a_pod_has_users_of_its_own() {
    let first = |line: &str| {
        let numbers: Vec<u32> = line.split_whitespace().map(|number| number.parse().unwrap()).collect();
        assert_eq!((numbers[0], numbers[1] % 65_536, numbers[2]), (0, 0, 65_536), "{line}");
        numbers[1]
    };
    let ours = first(lines("own-users", "proxy")[0]);
    let others = first(lines("other-users", "app")[0]);
    assert!(ours >= 65_536 && others >= 65_536 && ours != others, "{ours} and {others}");
    let said = lines("own-users", "app");
    assert_eq!(said, ["one namespace", "1000 3000", "1000 3000", "sesame", "refused"]);
    assert_eq!(container("own-users", "app")["state"]["terminated"]["message"], "ended well\n");
    assert_eq!((end("own-users", "proxy"), phase("own-users")), ("Completed 0".into(), "Succeeded".into()));
}

#[test]
fn s8_10_s8_11_oom_scores_follow_the_requests() {
    assert_eq!(lines("best-effort", "app"), ["1000"]);
    let score = |of| lines("scores", of)[0].parse::<i32>().unwrap();
    let (app, proxy) = (score("app"), score("proxy"));
    assert!((3..1000).contains(&app) && app <= proxy, "app {app}, proxy {proxy}");
    assert!(has(&lines("scores", "app"), "3221225472"), "the limit: {:?}", lines("scores", "app"));
}

#[test]
fn s6_18_s2_07_an_http_probe_by_port_name_gates_the_app() {
    assert_eq!((lines("http-gate", "app"), phase("http-gate")), (vec!["hello"], "Succeeded".into()));
}

#[test]
fn s6_19_s2_07_a_tcp_probe_gates_the_app() {
    assert_eq!((lines("tcp-gate", "app"), phase("tcp-gate")), (vec!["hi"], "Succeeded".into()));
}

#[test]
fn s6_17_s6_27_a_command_that_takes_too_long_is_a_failed_probe() {
    assert_eq!(phase("slow-probe"), "Succeeded");
    let moments = OUTCOME.pods["slow-probe"]["timeline"]["containers"][0]["moments"].as_array().unwrap();
    let at = |kind: Value| moments.iter().find(|moment| moment["kind"] == kind).unwrap()["at"].as_i64().unwrap();
    let waited = at(json!({"ProbePassed": "Startup"})) - at(json!("Started"));
    assert!((1_000_000_000..15_000_000_000).contains(&waited), "the first run is ended after a second: {waited} ns");
}

#[test]
fn s6_13_a_main_that_fails_liveness_is_stopped_and_started_again() {
    assert_eq!((end("liveness", "app"), phase("liveness")), ("Completed 0 after 1".into(), "Succeeded".into()));
    assert_eq!(container("liveness", "app")["lastState"]["terminated"]["exitCode"], 143);
}

#[test]
fn s7_01_s7_06_s7_08_s7_13_hooks_run_and_reach_other_containers() {
    assert_eq!((lines("hooks", "app"), phase("hooks")), (vec!["the hook ran"], "Succeeded".into()));
    let said = lines("hooks", "first");
    assert!(has(&said, "/bye"), "the earlier sidecar is alive when the later one's hook asks it: {said:?}");
    let started = container("hooks", "third")["state"]["terminated"]["finishedAt"].clone();
    assert!(started.is_string());
}

#[test]
fn s1_24_a_host_port_leads_into_the_pod() {
    assert_eq!(lines("host-port-client", "app"), ["through the host"]);
}

#[test]
fn s4_57_a_volume_that_outgrows_its_limit_gets_its_pod_evicted() {
    assert_eq!(phase("over-limit"), "Failed Evicted");
    let message = "Usage of EmptyDir volume \"v\" exceeds the limit \"1Mi\". ";
    assert_eq!(pod("over-limit")["status"]["message"], message);
    assert_eq!(end("over-limit", "app"), "Error 137");
}
