//! Cgroups for real: limits, killing, removal. Needs root and writable cgroup hierarchies.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::{
    fs,
    io::Write,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use cri::Resources;
use runtime::cgroup::{Cgroups, ContainerCgroup, ContainerView, DeviceRule, Error, PodCgroup};

const SIGKILL: i32 = 9;

/// A parent cgroup of the test's own that leaves nothing behind.
struct Parent {
    cgroups: Cgroups,
    name: String,
}

impl Parent {
    fn new(cgroups: Cgroups, test: &str) -> Self {
        Self { cgroups, name: format!("/podrig-test-{}/{test}", std::process::id()) }
    }

    fn pod(&self, resources: &Resources) -> PodCgroup {
        PodCgroup::create(&self.cgroups, &self.name, "7c1f", resources).expect("create pod cgroup (are you root?)")
    }
}

impl Drop for Parent {
    fn drop(&mut self) {
        self.cgroups.sweep(&self.name).expect("sweep");
    }
}

/// All hierarchies of the machine, and its unified one alone: the core of v2 works without controllers.
fn layouts() -> Vec<Cgroups> {
    let all = Cgroups::detect().unwrap();
    let mut layouts = vec![all.clone()];
    if !all.is_unified()
        && let Some(mount) = unified_mount()
    {
        layouts.push(Cgroups::unified_at(mount));
    }
    layouts
}

fn unified_mount() -> Option<PathBuf> {
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let line = text.lines().find(|line| line.contains(" - cgroup2 "))?;
    line.split(' ').nth(4).map(PathBuf::from)
}

/// Reads a file of a cgroup, by its name in either version.
fn value(cgroups: &Cgroups, path: &Path, controller: &str, v1: &str, v2: &str) -> String {
    let file = if cgroups.is_unified() {
        unified_mount().unwrap().join(path).join(v2)
    } else {
        Path::new("/sys/fs/cgroup").join(controller).join(path).join(v1)
    };
    fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display())).trim().to_owned()
}

fn resources() -> Resources {
    Resources {
        cpu_shares: Some(512),
        cpu_quota: Some(50_000),
        cpu_period: Some(100_000),
        memory_limit: Some(64 << 20),
        pids_limit: Some(100),
        oom_score_adj: None,
        cpuset_cpus: Some("0".to_owned()),
    }
}

/// A shell that waits for a line before it does anything, so that it can be moved first.
fn shell(script: &str) -> Child {
    Command::new("sh")
        .args(["-c", &format!("read go; {script}")])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

fn go(child: &mut Child) {
    child.stdin.take().unwrap().write_all(b"\n").unwrap();
}

#[test]
fn limits_of_pod_and_container_reach_the_kernel_and_can_be_raised_and_lowered() {
    let parent = Parent::new(Cgroups::detect().unwrap(), "limits");
    let (cgroups, pod) = (&parent.cgroups, parent.pod(&resources()));
    let container = ContainerCgroup::create(&pod, "c1", &resources()).unwrap();
    let memory = || value(cgroups, container.path(), "memory", "memory.limit_in_bytes", "memory.max");
    let quota = || value(cgroups, container.path(), "cpu", "cpu.cfs_quota_us", "cpu.max");

    assert_eq!(memory(), (64 << 20).to_string());
    assert!(quota().starts_with("50000"), "{}", quota());
    assert_eq!(value(cgroups, pod.path(), "pids", "pids.max", "pids.max"), "100");
    assert_eq!(value(cgroups, container.path(), "cpuset", "cpuset.cpus", "cpuset.cpus"), "0");
    let shares = value(cgroups, container.path(), "cpu", "cpu.shares", "cpu.weight");
    assert_eq!(shares, if cgroups.is_unified() { "59" } else { "512" });

    for megabytes in [32_u64, 48, 16] {
        let resized = Resources { memory_limit: Some(megabytes << 20), ..Resources::default() };
        container.apply(&resized).unwrap();
        assert_eq!(memory(), (megabytes << 20).to_string());
    }
    assert!(quota().starts_with("50000"), "what is not given stays");

    container.apply(&Resources { cpu_quota: Some(-1), memory_limit: Some(0), ..Resources::default() }).unwrap();
    assert!(matches!(quota().split(' ').next(), Some("-1" | "max")));
    assert!(memory().parse::<u64>().map_or_else(|_| memory() == "max", |limit| limit > 1 << 60));
}

#[test]
fn a_memory_limit_without_a_memory_controller_is_an_error_and_cpu_shares_are_not() {
    let Some(mount) = unified_mount() else { return };
    let has_memory = fs::read_to_string(mount.join("cgroup.controllers")).unwrap().contains("memory");
    let parent = Parent::new(Cgroups::unified_at(mount), "unsupported");
    let pod = parent.pod(&Resources { cpu_shares: Some(2), ..Resources::default() });
    let limited = Resources { memory_limit: Some(64 << 20), ..Resources::default() };
    match ContainerCgroup::create(&pod, "c1", &limited) {
        Ok(_) => assert!(has_memory),
        Err(Error::Unsupported { controller: "memory", .. }) => assert!(!has_memory),
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn s8_13_a_container_that_exceeds_its_memory_is_killed_and_counted() {
    let parent = Parent::new(Cgroups::detect().unwrap(), "oom");
    let pod = parent.pod(&Resources::default());
    let limit = Resources { memory_limit: Some(16 << 20), ..Resources::default() };
    let greedy = ContainerCgroup::create(&pod, "greedy", &limit).unwrap();
    let bystander = ContainerCgroup::create(&pod, "bystander", &limit).unwrap();
    let mut child = shell("exec tail /dev/zero");
    greedy.add_process(child.id()).unwrap();
    assert_eq!(greedy.oom_kills().unwrap(), 0);
    go(&mut child);
    assert_eq!(child.wait().unwrap().signal(), Some(SIGKILL));
    assert_eq!(greedy.oom_kills().unwrap(), 1);
    assert_eq!(bystander.oom_kills().unwrap(), 0);
}

#[test]
fn removing_kills_processes_that_keep_forking_and_leaves_no_directory() {
    for cgroups in layouts() {
        let parent = Parent::new(cgroups, "bomb");
        let limit = Resources { pids_limit: Some(40), ..Resources::default() };
        let pod = parent.pod(&Resources::default());
        // Without the controller the bomb is small, by itself.
        let container = ContainerCgroup::create(&pod, "bomb", &limit)
            .or_else(|_| ContainerCgroup::create(&pod, "bomb", &Resources::default()))
            .unwrap();
        let mut child = shell("for i in 1 2 3 4 5 6 7 8; do (while :; do sleep 1000 & wait $!; done) & done; wait");
        container.add_process(child.id()).unwrap();
        go(&mut child);
        // A deeper cgroup, as a container with a cgroup manager of its own makes it.
        if let Some(mount) = unified_mount() {
            fs::create_dir_all(mount.join(container.path()).join("inner/most")).unwrap();
        }
        container.remove().unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(SIGKILL));
        assert!(container.pids().unwrap().is_empty());
        pod.remove().unwrap();
        pod.remove().expect("removing again succeeds");
    }
}

#[test]
fn a_dead_instance_is_swept_with_its_processes_by_name_alone() {
    for cgroups in layouts() {
        let parent = Parent::new(cgroups.clone(), "dead");
        let pod = parent.pod(&Resources::default());
        let container = ContainerCgroup::create(&pod, "c1", &Resources::default()).unwrap();
        let (mut app, mut shim) = (shell("sleep 1000"), shell("sleep 1000"));
        container.add_process(app.id()).unwrap();
        pod.add_process(shim.id()).unwrap();

        let reopened = PodCgroup::open(&cgroups, &parent.name, "7c1f").unwrap();
        let mut pids = reopened.pids().unwrap();
        pids.sort_unstable();
        let mut expected = [app.id(), shim.id()];
        expected.sort_unstable();
        assert_eq!(pids, expected);
        assert_eq!(ContainerCgroup::open(&reopened, "c1").unwrap().pids().unwrap(), [app.id()]);

        cgroups.sweep(&parent.name).unwrap();
        assert_eq!(app.wait().unwrap().signal(), Some(SIGKILL));
        assert_eq!(shim.wait().unwrap().signal(), Some(SIGKILL));
        cgroups.sweep(&parent.name).expect("sweeping nothing succeeds");
    }
}

#[test]
fn killing_a_container_spares_the_rest_of_the_pod() {
    for cgroups in layouts() {
        let parent = Parent::new(cgroups, "spare");
        let pod = parent.pod(&Resources::default());
        let [one, two] = ["one", "two"].map(|id| ContainerCgroup::create(&pod, id, &Resources::default()).unwrap());
        let (mut first, mut second) = (shell("sleep 1000"), shell("exit 7"));
        one.add_process(first.id()).unwrap();
        two.add_process(second.id()).unwrap();
        one.kill_all().unwrap();
        assert_eq!(first.wait().unwrap().signal(), Some(SIGKILL));
        go(&mut second);
        assert_eq!(second.wait().unwrap().code(), Some(7));
    }
}

#[test]
fn devices_beyond_the_standard_ones_cannot_be_opened() {
    for cgroups in layouts() {
        let parent = Parent::new(cgroups, "devices");
        let pod = parent.pod(&Resources::default());
        let container = ContainerCgroup::create(&pod, "c1", &Resources::default()).unwrap();
        container.restrict_devices(&DeviceRule::STANDARD).unwrap();
        // 1:11 is kmsg; making a node is allowed, opening it is not.
        let node = std::env::temp_dir().join(format!("podrig-kmsg-{}", std::process::id()));
        let script = format!(
            "rm -f {0}; mknod {0} c 1 11 || exit 3; head -c1 /dev/zero >/dev/null || exit 4; \
             ! (exec 3<{0}) 2>/dev/null; code=$?; rm -f {0}; exit $code",
            node.display()
        );
        let mut child = shell(&script);
        container.add_process(child.id()).unwrap();
        go(&mut child);
        assert_eq!(child.wait().unwrap().code(), Some(0), "{parent:?}", parent = parent.name);
    }
}

#[test]
fn the_view_of_a_container_ends_at_its_own_cgroup() {
    let parent = Parent::new(Cgroups::detect().unwrap(), "view");
    let pod = parent.pod(&Resources::default());
    let container = ContainerCgroup::create(&pod, "c1", &Resources::default()).unwrap();
    match container.container_view() {
        ContainerView::V2 => {
            assert!(parent.cgroups.is_unified());
            assert!(container.directory().unwrap().is_some());
        }
        ContainerView::V1(mounts) => {
            assert!(container.directory().unwrap().is_none(), "v1 hierarchies have to be joined one by one");
            let memory = mounts.iter().find(|mount| mount.name == "memory").expect("memory");
            assert!(memory.source.ends_with(container.path()) && memory.source.join("cgroup.procs").exists());
        }
    }
}

#[test]
fn names_cannot_lead_out_of_the_hierarchy() {
    let cgroups = Cgroups::detect().unwrap();
    for (parent, uid) in [("/a/../..", "1"), ("", "1"), ("/", "1"), ("/a", "x/../../y"), ("/a", "\n")] {
        assert!(matches!(PodCgroup::open(&cgroups, parent, uid), Err(Error::InvalidName { .. })), "{parent:?} {uid:?}");
    }
}

#[test]
fn latency() {
    let parent = Parent::new(Cgroups::detect().unwrap(), "latency");
    let (mut create, mut devices, mut join, mut remove) = (vec![], vec![], vec![], vec![]);
    let pod = parent.pod(&Resources::default());
    for index in 0..100 {
        let start = std::time::Instant::now();
        let container = ContainerCgroup::create(&pod, &index.to_string(), &resources()).unwrap();
        create.push(start.elapsed());
        let start = std::time::Instant::now();
        container.restrict_devices(&DeviceRule::STANDARD).unwrap();
        devices.push(start.elapsed());
        let mut child = shell("exit 0");
        let start = std::time::Instant::now();
        container.add_process(child.id()).unwrap();
        join.push(start.elapsed());
        go(&mut child);
        child.wait().unwrap();
        let start = std::time::Instant::now();
        container.remove().unwrap();
        remove.push(start.elapsed());
    }
    for (what, mut times) in [("create", create), ("devices", devices), ("join", join), ("remove", remove)] {
        times.sort();
        println!("{what}: p50 {:?} p90 {:?}", times[50], times[90]);
    }
}
