//! The death of the agent and of the shim.

use std::{
    ffi::OsString,
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, Stdio},
    time::Duration,
};

use cri::{ContainerId, ContainerState, ExitReason, RuntimeEventKind, RuntimeService, SandboxState};

use rustix::process::{Pid, Signal};

use crate::{
    rig::{PATIENCE, Rig, shell, with_rig},
    tests,
};

tests![
    containers_outlive_the_agent_with_exit_codes_and_logs,
    the_stop_timer_strikes_without_an_agent,
    a_lost_shim_is_a_lost_sandbox,
    a_shim_that_died_unseen_is_found_out,
    a_half_made_sandbox_is_cleared_away,
    the_shims_binary_cannot_be_changed_through_proc,
];

/// An agent that starts containers with the scripts it is given, says so, and waits to be killed.
pub(crate) fn main(mut args: impl Iterator<Item = OsString>) -> ExitCode {
    let dir = PathBuf::from(args.next().unwrap());
    let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    tokio.block_on(async {
        let rig = Rig::open(&dir).await;
        let sandbox = rig.sandbox().await;
        for script in args {
            let id = rig.start(&sandbox, shell(script.to_str().unwrap())).await;
            rig.until_logged(&id, "up").await;
            println!("{id}");
        }
        println!("ready");
        std::future::pending::<()>().await;
    });
    ExitCode::FAILURE
}

/// Starts an agent and returns it with its containers.
fn agent(dir: &Path, scripts: &[&str]) -> (Child, Vec<ContainerId>) {
    let mut agent =
        Command::new("/proc/self/exe").arg("agent").arg(dir).args(scripts).stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(agent.stdout.take().unwrap()).lines().map(Result::unwrap);
    let ids = lines.take_while(|line| line != "ready").map(ContainerId).collect();
    (agent, ids)
}

fn kill(mut agent: Child) {
    agent.kill().unwrap();
    agent.wait().unwrap();
}

fn containers_outlive_the_agent_with_exit_codes_and_logs() {
    with_rig(|rig| async move {
        let dir = rig.dir.clone();
        drop(rig);
        let ends = "echo up; while [ ! -e /dev/shm/go ]; do sleep 0.01; done; echo after; exit 42";
        let runs = "trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.01; done";
        let opens = "echo up; while [ ! -e /dev/shm/open ]; do sleep 0.01; done; : > /dev/shm/go; exec sleep 1000";
        let (first, ids) = agent(&dir, &[ends, runs, opens]);
        kill(first);
        // Nobody is connected while the first container ends.
        let mut rig = Rig::open(&dir).await;
        assert_eq!(rig.runtime.list_containers(Default::default()).await.unwrap().len(), 3);
        rig.exec(&ids[2], &["touch", "/dev/shm/open"]).await.unwrap();
        let status = rig.ended(&ids[0]).await;
        assert_eq!((status.exit_code, status.reason), (42, Some(ExitReason::Error)));
        assert_eq!(rig.log(&status), "up\nafter\n");
        rig.runtime.stop_container(&ids[1], PATIENCE).await.unwrap();
        let status = rig.ended(&ids[1]).await;
        assert_eq!((status.exit_code, rig.log(&status).as_str()), (0, "up\nbye\n"));
        // And again by a third agent, from the records.
        drop(rig);
        let rig = Rig::open(&dir).await;
        assert_eq!(rig.runtime.container_status(&ids[0]).await.unwrap().exit_code, 42);
        assert_eq!(rig.runtime.container_status(&ids[2]).await.unwrap().state, ContainerState::Running);
    });
}

fn the_stop_timer_strikes_without_an_agent() {
    with_rig(|rig| async move {
        let sandbox = rig.sandbox().await;
        let id = rig.start(&sandbox, shell("trap '' TERM; echo up; while :; do sleep 1; done")).await;
        rig.until_logged(&id, "up").await;
        let runtime = rig.runtime.clone();
        let stop = {
            let id = id.clone();
            tokio::spawn(async move { runtime.stop_container(&id, Duration::from_millis(500)).await })
        };
        let mut rig = rig;
        // Wait for the signal, then forget the caller and all its connections.
        loop {
            if let RuntimeEventKind::ContainerSignalled { signal: 15, .. } = rig.events.recv().await.unwrap().kind {
                break;
            }
        }
        stop.abort();
        let dir = rig.dir.clone();
        drop(rig);
        let mut rig = Rig::open(&dir).await;
        assert_eq!(rig.ended(&id).await.exit_code, 137);
    });
}

/// Returns the process id of the only shim of a rig.
fn shim(dir: &Path) -> Pid {
    let needle = dir.join("state/sandboxes").to_str().unwrap().to_owned();
    let shim = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path()).find(|path| {
        let line = fs::read(path.join("cmdline")).unwrap_or_default();
        // Containers' first processes have another command line, or none.
        String::from_utf8_lossy(&line).contains(&needle)
    });
    Pid::from_raw(shim.unwrap().file_name().unwrap().to_str().unwrap().parse().unwrap()).unwrap()
}

fn kill_shim(dir: &Path) {
    rustix::process::kill_process(shim(dir), Signal::KILL).unwrap();
}

fn the_shims_binary_cannot_be_changed_through_proc() {
    with_rig(|rig| async move {
        rig.sandbox().await;
        let exe = format!("/proc/{}/exe", shim(&rig.dir));
        let permissions = fs::metadata(&exe).unwrap().permissions();
        let error = fs::set_permissions(&exe, permissions).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
    });
}

fn a_lost_shim_is_a_lost_sandbox() {
    with_rig(|mut rig| async move {
        let sandbox = rig.sandbox().await;
        let (done, _) = rig.run(&sandbox, shell("exit 9")).await;
        let id = rig.start(&sandbox, shell("exec sleep 4901")).await;
        let created = rig.runtime.create_container(&sandbox, shell("true")).await.unwrap();
        kill_shim(&rig.dir);
        let mut ended = Vec::new();
        loop {
            match tokio::time::timeout(PATIENCE, rig.events.recv()).await.unwrap().unwrap().kind {
                RuntimeEventKind::SandboxLost(status) => {
                    assert_eq!((status.id, status.state), (sandbox.clone(), SandboxState::NotReady));
                    break;
                }
                RuntimeEventKind::ContainerExited(status) => ended.push(status),
                _ => {}
            }
        }
        for status in ended.iter().filter(|status| status.id != done.id) {
            assert_eq!((status.exit_code, status.reason), (137, Some(ExitReason::Unknown)));
        }
        assert!(ended.iter().any(|status| status.id == id) && ended.iter().any(|status| status.id == created));
        assert_eq!(rig.runtime.container_status(&done.id).await.unwrap().exit_code, 9);
        let sleeping = fs::read_dir("/proc")
            .unwrap()
            .any(|entry| fs::read(entry.unwrap().path().join("cmdline")).unwrap_or_default() == b"sleep\x004901\0");
        assert!(!sleeping, "a container outlives its sandbox");
        rig.runtime.stop_container(&id, PATIENCE).await.unwrap();
        rig.runtime.exec_sync(&id, exec_true()).await.unwrap_err();
        rig.runtime.remove_container(&id).await.unwrap();
        rig.runtime.remove_sandbox(&sandbox).await.unwrap();
        assert!(rig.runtime.list_containers(Default::default()).await.unwrap().is_empty());
    });
}

fn exec_true() -> cri::ExecRequest {
    cri::ExecRequest { command: vec!["true".into()], timeout: None, output_limit: 1 }
}

fn a_shim_that_died_unseen_is_found_out() {
    with_rig(|rig| async move {
        let dir = rig.dir.clone();
        drop(rig);
        let (first, ids) = agent(&dir, &["echo up; exec sleep 1000"]);
        kill(first);
        kill_shim(&dir);
        let rig = Rig::open(&dir).await;
        let status = rig.runtime.container_status(&ids[0]).await.unwrap();
        assert_eq!((status.state, status.exit_code), (ContainerState::Exited, 137));
        assert_eq!(status.reason, Some(ExitReason::Unknown));
        assert_eq!(rig.runtime.list_sandboxes().await.unwrap()[0].state, SandboxState::NotReady);
    });
}

fn a_half_made_sandbox_is_cleared_away() {
    with_rig(|rig| async move {
        let dir = rig.dir.clone();
        drop(rig);
        let (first, _) = agent(&dir, &["echo up; exec sleep 1000"]);
        kill(first);
        let sandboxes = dir.join("state/sandboxes");
        let record = fs::read_dir(&sandboxes).unwrap().next().unwrap().unwrap().path().join("sandbox.json");
        let text = fs::read_to_string(&record).unwrap().replace("\"complete\":true", "\"complete\":false");
        fs::write(&record, text).unwrap();
        let rig = Rig::open(&dir).await;
        assert!(rig.runtime.list_sandboxes().await.unwrap().is_empty());
        assert_eq!(fs::read_dir(&sandboxes).unwrap().count(), 0);
    });
}
