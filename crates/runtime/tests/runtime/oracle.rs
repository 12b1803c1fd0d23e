//! The same questions, asked inside of our containers and of those of runc and crun.
//!
//! Both get the bundle that containerd would write for the same pod. Every difference has to be one of
//! [`DIFFERENCES`], with the reason why it is right.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::Command,
};

use cri::{Capabilities, Resources, RuntimeService, SeccompProfile, SecurityContext};
use serde_json::{Value, json};

use crate::{
    images::TestImages,
    rig::{Rig, command, env, shell, with_rig},
    tests,
    users::{FIRST, own_users},
};

tests![a_container_answers_as_one_of_runc, a_container_answers_as_one_of_crun];

const QUESTIONS: &str = include_str!("questions.sh");

const BOTH: &[&str] = &["runc", "crun"];
const RUNC: &[&str] = &["runc"];
const CRUN: &[&str] = &["crun"];

/// Differences that are meant: with whom, in the questions that begin so, and why.
const DIFFERENCES: &[(&[&str], &str, &str)] = &[
    (BOTH, "mount /dev", "ours is nodev, with nodes bound into it: one made by the container opens nowhere"),
    (BOTH, "mount /etc/", "the pod's files, which a kubelet mounts into the oracle's containers as volumes"),
    (BOTH, "mount /sys/fs/cgroup", "read-only as asked for; theirs leave the tmpfs above the hierarchies writable"),
    (BOTH, "create in /sys/fs/cgroup", "the same"),
    (BOTH, "mount /proc/acpi", "an empty tmpfs, ours with nosuid, nodev and noexec in addition"),
    (BOTH, "mount /sys/firmware", "the same"),
    (BOTH, "mount /proc/interrupts", "a null device on top; the file system that it comes from does not matter"),
    (BOTH, "mount /proc/keys", "the same"),
    (BOTH, "mount /proc/timer_list", "the same"),
    (
        RUNC,
        "node /dev/mqueue",
        "runc takes over the user of the namespace before it makes the queues, but not the group",
    ),
    (CRUN, "mount /proc/", "crun drops nosuid, nodev and noexec where it makes a path read-only; runc does not"),
    (CRUN, "node /dev/null", "crun gives the null device to the user; runc does not"),
    (CRUN, "node /dev/core", "crun makes the link even where the kernel has no /proc/kcore; runc does not"),
    (CRUN, "env HOME", "crun sets none for a user without an entry in /etc/passwd; runc sets /"),
    (CRUN, "status SigIgn", "inherited from crun, which ignores one more"),
    (CRUN, "change the mode of a device", "its user owns the null device; ours and runc's do not"),
    (CRUN, "oom_score_adj", "crun gives executed commands its own; runc that of the container"),
    (CRUN, "lead a session", "crun executes commands in the caller's session; runc in their own"),
];

type Answers = BTreeMap<String, String>;

fn a_container_answers_as_one_of_runc() {
    compare("runc");
}

fn a_container_answers_as_one_of_crun() {
    compare("crun");
}

/// A way to run the questions.
struct Case {
    name: &'static str,
    security: SecurityContext,
    /// First id on the host of a user namespace.
    users: Option<u32>,
}

fn cases(oracle: &str) -> Vec<Case> {
    let user = SecurityContext {
        run_as_user: Some(1234),
        run_as_group: Some(4321),
        supplemental_groups: vec![77, 88],
        no_new_privileges: true,
        ..root()
    };
    let case = |name, security, users| Case { name, security, users };
    let mut cases = vec![case("root", root(), None), case("user", user.clone(), None)];
    if oracle == "runc" {
        // In a user namespace crun would give the host's own null device away.
        cases.extend([case("own-root", root(), Some(FIRST)), case("own-user", user, Some(FIRST))]);
    }
    cases
}

fn root() -> SecurityContext {
    SecurityContext {
        seccomp: SeccompProfile::RuntimeDefault,
        capabilities: Capabilities { add: vec!["SYS_NICE".into()], drop: vec!["FSETID".into()] },
        ..Default::default()
    }
}

fn resources() -> Resources {
    Resources {
        memory_limit: Some(64 << 20),
        pids_limit: Some(100),
        cpu_shares: Some(512),
        oom_score_adj: Some(900),
        ..Default::default()
    }
}

fn compare(oracle: &'static str) {
    with_rig(move |mut rig| async move {
        let mut unexplained = BTreeSet::new();
        for case in cases(oracle) {
            let ours = ours(&mut rig, &case).await;
            let theirs = theirs(oracle, &rig.scratch(), &case);
            for ((how, ours), theirs) in ["first process", "command"].iter().zip(&ours).zip(&theirs) {
                assert!(ours.len() > 60 && theirs.len() > 60, "too few answers: {ours:?} {theirs:?}");
                for key in ours.keys().chain(theirs.keys()) {
                    let (a, b) = (ours.get(key), theirs.get(key));
                    if a != b && !is_meant(oracle, key) {
                        unexplained.insert(format!("{} {how}: {key}: ours {a:?}, {oracle} {b:?}", case.name));
                    }
                }
            }
        }
        let text: Vec<_> = unexplained.into_iter().collect();
        assert!(text.is_empty(), "differences without a reason:\n{}", text.join("\n"));
    });
}

fn is_meant(oracle: &str, key: &str) -> bool {
    DIFFERENCES.iter().any(|(who, question, _)| who.contains(&oracle) && key.starts_with(question))
}

fn parse(text: &str) -> Answers {
    let line = |line: &str| line.split_once('|').map(|(key, answer)| (key.to_owned(), answer.to_owned()));
    text.lines().filter_map(line).collect()
}

/// Asks in our container: its first process, and a command executed in it.
async fn ours(rig: &mut Rig, case: &Case) -> [Answers; 2] {
    let sandbox = rig.sandbox_with(|config| config.user_namespace = case.users.and_then(own_users)).await;
    let mut config = command(&["/bin/sh", "-c", QUESTIONS]);
    config.env = vec![env("GIVEN", "yes")];
    config.security = case.security.clone();
    config.resources = resources();
    let (_, log) = rig.run(&sandbox, config.clone()).await;
    let id = rig.start(&sandbox, cri::ContainerConfig { command: shell("exec sleep 1000").command, ..config }).await;
    let output = rig.exec(&id, &["/bin/sh", "-c", QUESTIONS]).await.unwrap();
    rig.runtime.remove_sandbox(&sandbox).await.unwrap();
    [parse(&log), parse(&String::from_utf8_lossy(&output.stdout))]
}

/// Asks in a container of an OCI runtime.
fn theirs(oracle: &str, scratch: &Path, case: &Case) -> [Answers; 2] {
    let run = |name: &str, args: Value| {
        let bundle = scratch.join(format!("{oracle}-{}-{name}", case.name));
        fs::create_dir_all(&bundle).unwrap();
        make_rootfs(&bundle, case.users);
        let id = bundle.file_name().unwrap().to_str().unwrap().to_owned();
        fs::write(
            bundle.join("config.json"),
            specification(&format!("{}/{id}", cgroup_parent(scratch)), case, args).to_string(),
        )
        .unwrap();
        (bundle, id)
    };
    let (bundle, id) = run("first", json!(["/bin/sh", "-c", QUESTIONS]));
    let first = call(oracle, scratch, &["run", "--bundle", bundle.to_str().unwrap(), &id]);
    let (bundle, id) = run("exec", json!(["/bin/sh", "-c", "exec sleep 1000"]));
    call(oracle, scratch, &["run", "--detach", "--bundle", bundle.to_str().unwrap(), &id]);
    let process = bundle.join("process.json");
    fs::write(&process, process_of(case, json!(["/bin/sh", "-c", QUESTIONS])).to_string()).unwrap();
    let second = call(oracle, scratch, &["exec", "--process", process.to_str().unwrap(), &id]);
    call(oracle, scratch, &["delete", "--force", &id]);
    runtime::cgroup::Cgroups::detect().unwrap().sweep(&cgroup_parent(scratch)).unwrap();
    [parse(&first), parse(&second)]
}

fn cgroup_parent(scratch: &Path) -> String {
    format!("/podrig-oracle/{}", scratch.file_name().unwrap().to_str().unwrap())
}

/// Calls the runtime in a mount namespace without the second hierarchy of hybrid machines, which crun refuses.
fn call(oracle: &str, scratch: &Path, args: &[&str]) -> String {
    let hide = "umount /sys/fs/cgroup/unified 2>/dev/null; exec \"$@\"";
    let root = scratch.join(format!("{oracle}-state"));
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", hide, "sh", oracle, "--root"]).arg(root).args(args);
    // Not the null device: crun would give the host's to the user of the container.
    let file = || fs::File::options().read(true).append(true).create(true).open(scratch.join("streams")).unwrap();
    command.stdin(file());
    let detached = args.contains(&"--detach");
    if detached {
        // Its container would keep a pipe open.
        assert!(command.stdout(file()).stderr(file()).status().unwrap().success(), "{oracle} {args:?}");
        return String::new();
    }
    String::from_utf8_lossy(&command.output().unwrap().stdout).into_owned()
}

fn make_rootfs(bundle: &Path, owner: Option<u32>) {
    let layers = TestImages::at(&bundle.join("image"));
    let rootfs = bundle.join("rootfs");
    fs::create_dir_all(rootfs.join("work dir")).unwrap();
    for layer in layers.layers().iter().rev() {
        let source = format!("{}/.", layer.display());
        assert!(Command::new("cp").args(["-a", &source]).arg(&rootfs).status().unwrap().success());
    }
    if let Some(owner) = owner {
        // Theirs go there by path, as that user.
        for dir in [bundle.parent().unwrap(), bundle] {
            fs::set_permissions(dir, fs::Permissions::from_mode(0o711)).unwrap();
        }
        let owner = format!("{owner}:{owner}");
        assert!(Command::new("chown").args(["-hR", &owner]).arg(&rootfs).status().unwrap().success());
    }
}

fn process_of(case: &Case, args: Value) -> Value {
    let security = &case.security;
    let uid = security.run_as_user.unwrap_or(0);
    let gid = security.run_as_group.unwrap_or(0);
    let mut groups = vec![gid];
    groups.extend(&security.supplemental_groups);
    let capabilities: Vec<_> = [
        "CHOWN",
        "DAC_OVERRIDE",
        "FOWNER",
        "MKNOD",
        "NET_RAW",
        "SETGID",
        "SETUID",
        "SETFCAP",
        "SETPCAP",
        "NET_BIND_SERVICE",
        "SYS_CHROOT",
        "KILL",
        "AUDIT_WRITE",
        "SYS_NICE",
    ]
    .map(|name| format!("CAP_{name}"))
    .to_vec();
    json!({
        "args": args,
        "cwd": "/work dir",
        "env": [
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOSTNAME=pod-host", "FROM_IMAGE=image", "BOTH=image", "GIVEN=yes",
        ],
        "user": {"uid": uid, "gid": gid, "additionalGids": groups},
        "capabilities": {"bounding": capabilities, "effective": capabilities, "permitted": capabilities},
        "noNewPrivileges": security.no_new_privileges,
        "oomScoreAdj": 900,
    })
}

/// What containerd would write for the same container.
fn specification(cgroup: &str, case: &Case, args: Value) -> Value {
    let mount = |target: &str, kind: &str, options: &[&str]| json!({"destination": target, "type": kind, "source": kind, "options": options});
    let kinds = ["pid", "network", "ipc", "uts", "mount"].into_iter().chain(case.users.map(|_| "user"));
    let namespaces: Vec<_> = kinds.map(|kind| json!({"type": kind})).collect();
    let ids: Vec<_> =
        case.users.iter().map(|first| json!({"containerID": 0, "hostID": first, "size": 1 << 16})).collect();
    json!({
        "ociVersion": "1.0.2",
        "hostname": "pod-host",
        "root": {"path": "rootfs", "readonly": false},
        "process": process_of(case, args),
        "mounts": [
            mount("/proc", "proc", &["nosuid", "noexec", "nodev"]),
            mount("/dev", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
            mount("/dev/pts", "devpts", &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]),
            mount("/dev/mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
            mount("/dev/shm", "tmpfs", &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
            mount("/sys", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
            mount("/sys/fs/cgroup", "cgroup", &["nosuid", "noexec", "nodev", "relatime", "ro"]),
        ],
        "linux": {
            "cgroupsPath": cgroup,
            "namespaces": namespaces,
            "uidMappings": ids,
            "gidMappings": ids,
            "resources": {
                "memory": {"limit": 64 << 20},
                "pids": {"limit": 100},
                "cpu": {"shares": 512},
                "devices": [{"allow": false, "access": "rwm"}],
            },
            "maskedPaths": [
                "/proc/asound", "/proc/acpi", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
                "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware",
                "/sys/devices/virtual/powercap",
            ],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
            // The part of containerd's profile that the questions touch.
            "seccomp": {
                "defaultAction": "SCMP_ACT_ALLOW",
                "syscalls": [{
                    "names": ["unshare", "mount", "umount2", "setns", "sethostname", "keyctl", "add_key"],
                    "action": "SCMP_ACT_ERRNO",
                    "errnoRet": 1,
                }],
            },
        },
    })
}
