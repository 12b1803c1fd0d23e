//! Start, end, and what lasts beyond them.

use std::os::unix::fs::PermissionsExt as _;

use crate::{
    common::server::{Server, text},
    container, names,
};

/// A pod with a sidecar that never ends and an app that ends when it is told to.
const POD: &str = "
apiVersion: v1
kind: Pod
metadata: {name: rig}
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 1
  initContainers:
  - name: sidecar
    image: busybox:1.37.0
    restartPolicy: Always
    command: [sleep, '3600']
    startupProbe: {exec: {command: ['true']}, periodSeconds: 1}
  containers:
  - name: app
    image: busybox:1.37.0
    command: [sh, -c, 'until test -e /tmp/end; do sleep 0.1; done; exit 7']
";

#[test]
fn kubectl_works_with_the_kubeconfig_that_is_printed() {
    let server = Server::start();
    assert_eq!(server.run(&["get", "namespaces", "-o", "name"]).lines().count(), 4);
    assert_eq!(server.run(&["config", "current-context"]), "podrig\n");
    server.wait("node/podrig", "condition=Ready");
    let secrets = ["server/kubeconfig", "server/pki/ca.key"].map(|name| server.sealed.data().join(name));
    for secret in secrets {
        let mode = std::fs::metadata(&secret).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{}", secret.display());
    }
}

#[test]
fn strangers_learn_health_and_version_only() {
    let server = Server::start();
    let stranger = |path: &str| {
        let mut kubectl = server.kubectl();
        kubectl.env_remove("KUBECONFIG").args(["--kubeconfig=/dev/null", "--insecure-skip-tls-verify", "--server"]);
        kubectl.arg(format!("https://{}", server.address())).args(["--username=x", "--password=y"]);
        let output = kubectl.args(["get", "--raw", path]).output().unwrap();
        (output.status.success(), text(&output))
    };
    for path in ["/healthz", "/livez", "/readyz", "/version"] {
        assert!(stranger(path).0, "{path}: {}", stranger(path).1);
    }
    let (allowed, answer) = stranger("/api/v1/namespaces/default/secrets");
    assert!(!allowed, "{answer}");
}

#[test]
fn a_second_server_on_the_same_directory_is_refused() {
    let server = Server::start();
    let output = server.command().output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let pid = server.pid().as_raw_nonzero();
    let want = format!(
        "error: another server (process {pid}) uses {}\nhint: end it, or choose another --data-dir\n",
        server.sealed.data().display()
    );
    assert_eq!(text(&output), want);
    server.run(&["get", "pods"]);
}

#[test]
fn pods_go_on_without_their_server_and_the_next_one_takes_them_over() {
    let mut server = Server::start();
    server.apply(POD);
    server.wait("pod/rig", "condition=Ready");
    let before = server.get(&["pod/rig"]);
    server.terminate();
    assert!(server.sealed.processes() > 0, "the pod ended with the server");
    // Others start and sweep; a server that does not run is not dead.
    let run = server.sealed.podrig().args(["run", "/nonexistent"]).output().unwrap();
    assert!(!run.status.success());
    server.resume();
    server.wait("pod/rig", "condition=Ready");
    let after = server.get(&["pod/rig"]);
    for status in ["initContainerStatuses", "containerStatuses"] {
        assert_eq!(before["status"][status], after["status"][status]);
    }
    assert_eq!(before["metadata"]["uid"], after["metadata"]["uid"]);
    // The exit that happens while no server runs is seen by the next one.
    server.run(&["exec", "rig", "-c", "app", "--", "touch", "/tmp/end"]);
    server.kill();
    server.resume();
    server.wait("pod/rig", "jsonpath={.status.phase}=Failed");
    let ended = server.get(&["pod/rig"]);
    assert_eq!(container(&ended, "app")["state"]["terminated"]["exitCode"], 7, "{ended:#}");
    assert_eq!(container(&ended, "sidecar")["restartCount"], 0, "{ended:#}");
}

#[test]
fn objects_outlive_a_server_that_is_killed() {
    let mut server = Server::start();
    server.apply("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: kept}");
    server.kill();
    server.resume();
    let list = server.get(&["configmaps"]);
    assert!(names(&list).contains(&"kept"), "{list:#}");
}

#[test]
fn a_server_that_is_told_so_ends_its_pods_first_and_keeps_their_objects() {
    let mut server = Server::start_with(&["--stop-pods"]);
    server.apply(POD);
    server.apply(
        &POD.replace("name: rig", "name: done").replace("until test -e /tmp/end; do sleep 0.1; done; exit 7", "true"),
    );
    server.wait("pod/rig", "condition=Ready");
    server.wait("pod/done", "jsonpath={.status.phase}=Succeeded");
    server.terminate();
    assert_eq!(server.sealed.processes(), 0, "processes are left");
    server.resume();
    let rig = server.get(&["pod/rig"]);
    assert_eq!(rig["status"]["phase"], "Failed", "{rig:#}");
    assert_eq!(rig["status"]["reason"], "Terminated", "{rig:#}");
    assert_eq!(rig["status"]["message"], "Pod was terminated in response to imminent node shutdown.", "{rig:#}");
    assert_eq!(server.get(&["pod/done"])["status"]["phase"], "Succeeded");
}

#[test]
fn the_node_describes_itself_and_renews_its_lease() {
    let server = Server::start();
    let lease = server.until("a lease", |server| {
        let leases = server.get(&["leases", "-n", "kube-node-lease"]);
        leases["items"].get(0).cloned()
    });
    assert_eq!(lease["metadata"]["name"], "podrig");
    assert_eq!(lease["spec"]["leaseDurationSeconds"], 40);
    assert_eq!(lease["metadata"]["ownerReferences"][0]["kind"], "Node");
    server.until("a renewal", |server| {
        let now = server.get(&["lease/podrig", "-n", "kube-node-lease"]);
        (now["spec"]["renewTime"] != lease["spec"]["renewTime"]).then_some(())
    });
    let text = server.run(&["describe", "node", "podrig"]);
    for part in ["KubeletReady", "kubelet has no disk pressure", "v1.36.2", "podrig://", "InternalIP", "Lease:"] {
        assert!(text.contains(part), "{part} is missing: {text}");
    }
    let node = server.get(&["node/podrig"]);
    let names = node["status"]["images"][0]["names"].as_array().unwrap();
    assert!(names.iter().any(|name| name == "docker.io/library/busybox:1.37.0"), "{names:?}");
}

#[test]
fn s11_27_a_sidecar_can_be_entered_while_a_later_init_container_runs() {
    let server = Server::start();
    server.apply(
        "
apiVersion: v1
kind: Pod
metadata: {name: rig}
spec:
  terminationGracePeriodSeconds: 0
  initContainers:
  - {name: sidecar, image: 'busybox:1.37.0', restartPolicy: Always, command: [sleep, '3600']}
  - {name: init, image: 'busybox:1.37.0', command: [sleep, '3600']}
  containers:
  - {name: app, image: 'busybox:1.37.0', command: [sleep, '3600']}
",
    );
    server.wait("pod/rig", "jsonpath={.status.initContainerStatuses[1].state.running}");
    assert_eq!(server.run(&["exec", "rig", "-c", "sidecar", "--", "echo", "in"]), "in\n");
}
