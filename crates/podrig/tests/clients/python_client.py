"""Does with the Python client what its users do, on the server of KUBECONFIG. Fails with an exception."""

import json
import yaml
from kubernetes import client, config, dynamic, utils, watch
from kubernetes.stream import portforward, stream

POD = yaml.safe_load("""
apiVersion: v1
kind: Pod
metadata: {name: rig, labels: {app: rig}}
spec:
  terminationGracePeriodSeconds: 1
  initContainers:
  - name: echo
    image: busybox:1.37.0
    restartPolicy: Always
    command: [nc, -ll, -p, '7000', -e, cat]
    startupProbe: {tcpSocket: {port: 7000}, periodSeconds: 1}
  containers:
  - name: app
    image: busybox:1.37.0
    command: [sh, -c, 'echo one; echo two; exec sleep 3600']
""")
PATIENCE = 60


def same(seen, wanted):
    assert seen == wanted, f"{seen!r} is not {wanted!r}"


def create_and_watch(core):
    seen = watch.Watch()
    utils.create_from_dict(client.ApiClient(), POD, namespace="default")
    phases = []
    for event in seen.stream(core.list_namespaced_pod, "default", label_selector="app=rig", timeout_seconds=PATIENCE):
        phases.append(event["object"].status.phase)
        if phases[-1] == "Running":
            seen.stop()
    same(phases[-1], "Running")
    pod = core.read_namespaced_pod("rig", "default")
    same(pod.status.init_container_statuses[0].started, True)
    return pod


def execute(core):
    attach = core.connect_get_namespaced_pod_exec
    options = dict(container="app", stdout=True, stderr=True, tty=False)
    same(stream(attach, "rig", "default", command=["echo", "hello"], stdin=False, **options), "hello\n")
    command = ["sh", "-c", "read line; echo got $line; echo problem >&2; exit 3"]
    session = stream(attach, "rig", "default", command=command, stdin=True, _preload_content=False, **options)
    session.write_stdin("words\n")
    session.run_forever(timeout=PATIENCE)
    same((session.read_stdout(), session.read_stderr(), session.returncode), ("got words\n", "problem\n", 3))


def read_logs(core):
    same(core.read_namespaced_pod_log("rig", "default", container="app"), "one\ntwo\n")
    same(core.read_namespaced_pod_log("rig", "default", container="app", tail_lines=1), "two\n")
    follow = watch.Watch()
    lines = []
    for line in follow.stream(core.read_namespaced_pod_log, name="rig", namespace="default", container="app"):
        lines.append(line)
        if len(lines) == 2:
            follow.stop()
    same(lines, ["one", "two"])


def forward(core):
    ports = portforward(core.connect_get_namespaced_pod_portforward, "rig", "default", ports="7000")
    socket = ports.socket(7000)
    socket.settimeout(PATIENCE)
    socket.sendall(b"hello")
    answer = b""
    while len(answer) < 5:
        answer += socket.recv(5)
    same(answer, b"hello")
    same(ports.error(7000), None)
    socket.close()


def change(core):
    same(core.patch_namespaced_pod("rig", "default", {"metadata": {"labels": {"by": "patch"}}}).metadata.labels["by"], "patch")
    pod = core.read_namespaced_pod("rig", "default")
    pod.metadata.annotations = {"by": "replace"}
    core.replace_namespaced_pod("rig", "default", pod)
    try:
        core.replace_namespaced_pod("rig", "default", pod)
        raise AssertionError("a stale replace was not refused")
    except client.ApiException as error:
        same((error.status, json.loads(error.body)["reason"]), (409, "Conflict"))


def page(core):
    for number in range(5):
        core.create_namespaced_config_map("default", {"metadata": {"name": f"map-{number}", "labels": {"set": "five"}}})
    names, token = [], None
    while token != "":
        answer = core.list_namespaced_config_map("default", label_selector="set=five", limit=2, _continue=token)
        names += [item.metadata.name for item in answer.items]
        token = answer.metadata._continue or ""
    same(names, [f"map-{number}" for number in range(5)])
    core.delete_collection_namespaced_config_map("default", label_selector="set=five")
    same(core.list_namespaced_config_map("default", label_selector="set=five").items, [])


def discover():
    jobs = dynamic.DynamicClient(client.ApiClient()).resources.get(api_version="batch/v1", kind="Job")
    spec = {"template": {"spec": {"restartPolicy": "Never", "containers": POD["spec"]["containers"]}}, "suspend": True}
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "idle"}, "spec": spec}
    applied = jobs.server_side_apply(body=job, name="idle", namespace="default", field_manager="python")
    same(applied.metadata.managedFields[0].manager, "python")
    jobs.delete(name="idle", namespace="default", propagation_policy="Background")


def delete(core, pod):
    version = core.list_namespaced_pod("default").metadata.resource_version
    core.delete_namespaced_pod("rig", "default")
    gone = watch.Watch()
    for event in gone.stream(core.list_namespaced_pod, "default", resource_version=version, timeout_seconds=PATIENCE):
        if event["type"] == "DELETED":
            same(event["object"].metadata.uid, pod.metadata.uid)
            gone.stop()
    try:
        core.read_namespaced_pod("rig", "default")
        raise AssertionError("the pod is still there")
    except client.ApiException as error:
        same(error.status, 404)


config.load_kube_config()
core = client.CoreV1Api()
same(client.VersionApi().get_code().minor, "36")
pod = create_and_watch(core)
execute(core)
read_logs(core)
forward(core)
change(core)
page(core)
discover()
delete(core, pod)
print("all done")
