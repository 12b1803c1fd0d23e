//! Resources changed while containers run, as the kernel and kubectl see it.

use serde_json::json;

use crate::{common::server::Server, container};

const POD: &str = "
apiVersion: v1
kind: Pod
metadata: {name: rig}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: app
    image: busybox:1.37.0
    command: [sleep, '3600']
    resources: {limits: {cpu: 500m, memory: 64Mi}}
    resizePolicy: [{resourceName: cpu, restartPolicy: NotRequired}, {resourceName: memory, restartPolicy: NotRequired}]
";

/// Reads memory limit and CPU quota as the container sees them, in either cgroup version.
const LIMITS: &str = "cd /sys/fs/cgroup; cat memory.max memory/memory.limit_in_bytes 2>/dev/null; \
                      cat cpu.max cpu/cpu.cfs_quota_us 2>/dev/null; true";

fn limits(server: &Server) -> String {
    let text = server.run(&["exec", "rig", "--", "sh", "-c", LIMITS]);
    text.lines().map(|line| line.trim_end_matches(" 100000")).collect::<Vec<_>>().join(" ")
}

fn resize(server: &Server, cpu: &str, memory: &str) {
    let amounts = json!({"cpu": cpu, "memory": memory});
    let app = json!({"name": "app", "resources": {"requests": amounts, "limits": amounts}});
    let patch = json!({"spec": {"containers": [app]}}).to_string();
    server.run(&["patch", "pod", "rig", "--subresource=resize", "-p", &patch]);
}

#[test]
fn s8_07_s8_08_a_resize_changes_the_cgroup_of_a_container_that_goes_on() {
    let server = Server::start();
    server.apply(POD);
    server.wait("pod/rig", "condition=Ready");
    assert_eq!(limits(&server), "67108864 50000");
    for (cpu, memory, want) in [("1", "96Mi", "100663296 100000"), ("250m", "32Mi", "33554432 25000")] {
        resize(&server, cpu, memory);
        let shown = format!("jsonpath={{.status.containerStatuses[0].resources.limits.memory}}={memory}");
        server.wait("pod/rig", &shown);
        assert_eq!(limits(&server), want);
    }
    let pod = server.get(&["pod/rig"]);
    let app = container(&pod, "app");
    assert_eq!(app["restartCount"], 0, "{pod:#}");
    assert_eq!(app["allocatedResources"], json!({"cpu": "250m", "memory": "32Mi"}));
    // What is in use is not taken away.
    resize(&server, "250m", "4Ki");
    let refused = "jsonpath={.status.conditions[?(@.type=='PodResizeInProgress')].reason}=Error";
    server.wait("pod/rig", refused);
    assert_eq!(limits(&server), "33554432 25000");
}
