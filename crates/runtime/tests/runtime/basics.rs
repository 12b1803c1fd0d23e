//! Starting, stopping, logs, commands.

use std::{fs, time::Duration};

use cri::{ContainerState, Error, ExitReason, RuntimeService};

use crate::{
    rig::{command, env, shell, with_rig},
    tests,
};

tests![
    a_container_runs_writes_its_log_and_ends_with_its_code,
    s11_22_entrypoint_cmd_command_and_args_combine,
    s5_08_a_missing_program_is_a_start_error,
    s4_40_a_stubborn_container_is_killed_after_the_grace,
    an_executed_command_answers,
    sandboxes_stop_and_are_removed,
    pods_have_addresses_and_reach_each_other,
];

fn a_container_runs_writes_its_log_and_ends_with_its_code() {
    with_rig(|mut rig| async move {
        let sandbox = rig.sandbox().await;
        let (status, _) = rig.run(&sandbox, shell("echo out; echo err >&2; printf last; exit 3")).await;
        assert_eq!((status.exit_code, status.reason), (3, Some(ExitReason::Error)));
        assert!(status.created_at <= status.started_at && status.started_at <= status.finished_at, "{status:?}");
        let log = fs::read_to_string(&status.log_path).unwrap();
        let mut tails: Vec<_> = log.lines().map(|line| line.split_once(' ').unwrap().1).collect();
        tails.sort_unstable();
        assert_eq!(tails, ["stderr F err", "stdout F last", "stdout F out"]);
    });
}

fn s11_22_entrypoint_cmd_command_and_args_combine() {
    with_rig(|mut rig| async move {
        let sandbox = rig.sandbox().await;
        let image = command(&[]);
        assert_eq!(rig.run(&sandbox, image).await.1, "entry from-cmd\n");
        let mut with_args = command(&[]);
        with_args.args = vec!["mine".into()];
        assert_eq!(rig.run(&sandbox, with_args).await.1, "entry mine\n");
        let mut variables = shell("echo $FROM_IMAGE $BOTH $MINE $HOSTNAME $HOME; pwd; hostname");
        variables.env = vec![env("BOTH", "pod"), env("MINE", "m")];
        assert_eq!(rig.run(&sandbox, variables).await.1, "image pod m pod-host /root\n/work dir\npod-host\n");
    });
}

fn s5_08_a_missing_program_is_a_start_error() {
    with_rig(|mut rig| async move {
        let sandbox = rig.sandbox().await;
        let id = rig.runtime.create_container(&sandbox, command(&["/does-not-exist"])).await.unwrap();
        let error = rig.runtime.start_container(&id).await.unwrap_err();
        let text = "unable to start container process: error during container init: \
            exec: \"/does-not-exist\": stat /does-not-exist: no such file or directory";
        assert_eq!(error, Error::StartFailed { message: text.into() });
        let status = rig.ended(&id).await;
        assert_eq!((status.exit_code, status.reason), (128, Some(ExitReason::StartError)));
        assert_eq!((status.message.as_str(), status.started_at), (text, 0));
    });
}

fn s4_40_a_stubborn_container_is_killed_after_the_grace() {
    with_rig(|mut rig| async move {
        let sandbox = rig.sandbox().await;
        let stubborn = rig.start(&sandbox, shell("trap '' TERM; echo up; while :; do sleep 1; done")).await;
        rig.until_logged(&stubborn, "up").await;
        let start = std::time::Instant::now();
        rig.runtime.stop_container(&stubborn, Duration::from_millis(300)).await.unwrap();
        assert!(start.elapsed() >= Duration::from_millis(300), "{:?}", start.elapsed());
        let status = rig.ended(&stubborn).await;
        assert_eq!((status.exit_code, status.reason), (137, Some(ExitReason::Error)));

        let polite = rig.start(&sandbox, shell("trap 'exit 7' TERM; echo up; while :; do sleep 0.01; done")).await;
        rig.until_logged(&polite, "up").await;
        rig.runtime.stop_container(&polite, Duration::from_secs(30)).await.unwrap();
        assert_eq!(rig.ended(&polite).await.exit_code, 7);
        rig.runtime.stop_container(&polite, Duration::from_secs(30)).await.unwrap();
    });
}

fn an_executed_command_answers() {
    with_rig(|rig| async move {
        let sandbox = rig.sandbox().await;
        let id = rig.start(&sandbox, shell("sleep 1000")).await;
        let output = rig.exec(&id, &["sh", "-c", "echo out; echo err >&2; exit 4"]).await.unwrap();
        assert_eq!((output.stdout.as_slice(), output.stderr.as_slice()), (&b"out\n"[..], &b"err\n"[..]));
        assert_eq!((output.exit_code, output.timed_out), (4, false));
        let error = rig.exec(&id, &["no-such-program"]).await.unwrap_err();
        let text = "exec failed: unable to start container process: \
            exec: \"no-such-program\": executable file not found in $PATH";
        assert_eq!(error, Error::StartFailed { message: text.into() });
    });
}

fn sandboxes_stop_and_are_removed() {
    with_rig(|mut rig| async move {
        let sandbox = rig.sandbox().await;
        let id = rig.start(&sandbox, shell("sleep 1000")).await;
        rig.runtime.stop_sandbox(&sandbox).await.unwrap();
        let status = rig.ended(&id).await;
        assert_eq!((status.state, status.exit_code), (ContainerState::Exited, 137));
        rig.runtime.remove_container(&id).await.unwrap();
        rig.runtime.remove_sandbox(&sandbox).await.unwrap();
        rig.runtime.remove_sandbox(&sandbox).await.unwrap();
        assert!(rig.runtime.list_sandboxes().await.unwrap().is_empty());
    });
}

fn pods_have_addresses_and_reach_each_other() {
    with_rig(|mut rig| async move {
        let (server, client) = (rig.sandbox().await, rig.sandbox().await);
        let ip = rig.runtime.list_sandboxes().await.unwrap().iter().find(|s| s.id == server).unwrap().ips[0];
        let id = rig.start(&server, shell("echo up; nc -l -p 80 -e echo hello")).await;
        rig.until_logged(&id, "up").await;
        let script = format!("until nc {ip} 80; do sleep 0.01; done; nc 127.0.0.1 1 2>&1");
        let (_, log) = rig.run(&client, shell(&script)).await;
        assert!(log.starts_with("hello\n") && log.contains("Connection refused"), "{log}");
    });
}
