//! Sessions: commands with live streams, attaching, connections into the pod.

use std::time::Duration;

use cri::{
    ContainerId, Error, ExecSession, Input, Output, RuntimeService, Session, SessionEnd, StreamingService, Streams,
    TerminalSize,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{
    rig::{PATIENCE, Rig, shell, with_rig},
    tests,
};

tests![
    a_session_has_three_streams_and_the_exact_exit_code,
    a_program_that_is_missing_ends_the_session,
    no_byte_is_lost_in_either_direction_and_input_ends_apart_from_output,
    a_session_with_a_terminal_is_one,
    a_client_that_goes_away_hangs_up,
    sessions_keep_the_containers_user_who_can_open_its_streams,
    sessions_are_bounded,
    attached_clients_see_what_is_logged_and_reach_stdin,
    attaching_works_after_the_agents_death_and_stdin_once_ends_with_the_first,
    the_terminal_of_a_container_is_logged_and_attached,
    slow_clients_lose_nothing_and_dead_ones_are_detached,
    ports_are_reached_inside_the_pod,
    s1_28_a_debugger_sees_the_processes_of_its_target,
];

const ALL: Streams = Streams { stdin: true, stdout: true, stderr: true };
const OUTPUT: Streams = Streams { stdin: false, stdout: true, stderr: true };

async fn open(rig: &Rig, id: &ContainerId, script: &str, streams: Streams, tty: bool) -> Session {
    let command = ["sh", "-c", script].map(str::to_owned).to_vec();
    rig.runtime.exec(id, ExecSession { command, streams, tty }).await.unwrap()
}

async fn read_all(output: Option<Output>) -> String {
    let mut bytes = Vec::new();
    let mut output = output.unwrap();
    tokio::time::timeout(PATIENCE, output.read_to_end(&mut bytes)).await.expect("output does not end").unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

async fn read_until(output: &mut Output, needle: &str) -> String {
    let mut text = String::new();
    let read = async {
        while !text.contains(needle) {
            text.push(char::from(output.read_u8().await.unwrap()));
        }
    };
    tokio::time::timeout(PATIENCE, read).await.expect("the text does not come");
    text
}

async fn say(input: &mut Option<Input>, text: &str) {
    input.as_mut().unwrap().write_all(text.as_bytes()).await.unwrap();
}

async fn end(session: Session) -> cri::Result<SessionEnd> {
    tokio::time::timeout(PATIENCE, session.end).await.expect("the session does not end")
}

async fn sleeper(rig: &Rig) -> ContainerId {
    let sandbox = rig.sandbox().await;
    rig.start(&sandbox, shell("exec sleep 1000")).await
}

fn a_session_has_three_streams_and_the_exact_exit_code() {
    with_rig(|rig| async move {
        let id = sleeper(&rig).await;
        let mut session = open(&rig, &id, "cat; echo err >&2; exit 7", ALL, false).await;
        say(&mut session.stdin, "in and out").await;
        session.stdin.as_mut().unwrap().shutdown().await.unwrap();
        assert_eq!(read_all(session.stdout.take()).await, "in and out");
        assert_eq!(read_all(session.stderr.take()).await, "err\n");
        assert!(session.resize.is_none());
        assert_eq!(end(session).await, Ok(SessionEnd::Exited(7)));
        for (script, code) in [("kill -9 $$", 137), ("kill $$", 143), ("no-such-program", 127), ("/etc/hosts", 126)] {
            let session = open(&rig, &id, script, OUTPUT, false).await;
            assert_eq!(end(session).await, Ok(SessionEnd::Exited(code)), "{script}");
        }
        // Without input it reads none, and output that nobody wants goes nowhere.
        let session = open(&rig, &id, "read x || echo lost; [ -c /dev/stdout ]", Streams::default(), false).await;
        assert!(session.stdin.is_none() && session.stdout.is_none() && session.stderr.is_none());
        assert_eq!(end(session).await, Ok(SessionEnd::Exited(0)));
    });
}

fn a_program_that_is_missing_ends_the_session() {
    with_rig(|rig| async move {
        let id = sleeper(&rig).await;
        for tty in [false, true] {
            let session = ExecSession { command: vec!["x".into()], streams: OUTPUT, tty };
            let session = rig.runtime.exec(&id, session).await.unwrap();
            let text = "exec failed: unable to start container process: \
                exec: \"x\": executable file not found in $PATH";
            assert_eq!(end(session).await, Err(Error::StartFailed { message: text.into() }));
        }
        let gone = ContainerId("f".repeat(64));
        let session = ExecSession { command: vec!["x".into()], streams: OUTPUT, tty: false };
        assert!(matches!(rig.runtime.exec(&gone, session).await, Err(Error::NotFound { .. })));
        rig.runtime.stop_container(&id, Duration::ZERO).await.unwrap();
        let session = ExecSession { command: vec!["true".into()], streams: OUTPUT, tty: false };
        let error = rig.runtime.exec(&id, session).await.unwrap_err();
        assert_eq!(error, Error::FailedPrecondition { message: format!("container {id} is not running") });
        let error = rig.runtime.attach(&id, OUTPUT).await.unwrap_err();
        assert_eq!(error, Error::FailedPrecondition { message: format!("container {id} is not running") });
    });
}

fn no_byte_is_lost_in_either_direction_and_input_ends_apart_from_output() {
    with_rig(|rig| async move {
        let id = sleeper(&rig).await;
        let data: Vec<u8> = (0..8 << 20).map(|n: u32| n.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
        let mut session = open(&rig, &id, "tee /dev/shm/copy; cat /dev/shm/copy", ALL, false).await;
        let mut input = session.stdin.take().unwrap();
        let sent = data.clone();
        let writer = tokio::spawn(async move {
            input.write_all(&sent).await.unwrap();
            input.shutdown().await.unwrap();
            input
        });
        let mut received = Vec::new();
        session.stdout.as_mut().unwrap().read_to_end(&mut received).await.unwrap();
        assert!(received[..data.len()] == data[..] && received[data.len()..] == data[..], "bytes are lost or changed");
        drop(writer.await.unwrap());
        assert_eq!(end(session).await, Ok(SessionEnd::Exited(0)));
    });
}

fn a_session_with_a_terminal_is_one() {
    with_rig(|rig| async move {
        let id = sleeper(&rig).await;
        let script = "tty; echo TERM=$TERM; [ -t 2 ] && echo all; read x; stty size; exit 5";
        let mut session = open(&rig, &id, script, Streams { stderr: false, ..ALL }, true).await;
        assert!(session.stderr.is_none());
        let mut output = session.stdout.take().unwrap();
        let text = read_until(&mut output, "all\r\n").await;
        assert!(text.starts_with("/dev/pts/") && text.contains("TERM=xterm\r\n"), "{text:?}");
        session.resize.as_ref().unwrap()(TerminalSize { width: 132, height: 43 });
        say(&mut session.stdin, "go\n").await;
        assert_eq!(read_all(Some(output)).await, "go\r\n43 132\r\n");
        assert_eq!(end(session).await, Ok(SessionEnd::Exited(5)));
        // It is the controlling one: its keys make signals.
        let script = "trap 'echo int; exit 9' INT; echo ready; while :; do sleep 0.01; done";
        let mut session = open(&rig, &id, script, Streams { stderr: false, ..ALL }, true).await;
        read_until(session.stdout.as_mut().unwrap(), "ready").await;
        say(&mut session.stdin, "\x03").await;
        assert!(read_all(session.stdout.take()).await.ends_with("int\r\n"));
        assert_eq!(end(session).await, Ok(SessionEnd::Exited(9)));
    });
}

fn a_client_that_goes_away_hangs_up() {
    with_rig(|mut rig| async move {
        let sandbox = rig.sandbox().await;
        let waits = "while [ ! -e /dev/shm/eof ] || [ ! -e /dev/shm/hup ]; do sleep 0.01; done";
        let id = rig.start(&sandbox, shell(waits)).await;
        let reads = open(&rig, &id, "cat; touch /dev/shm/eof", ALL, false).await;
        let script = "trap 'touch /dev/shm/hup; exit' HUP; echo ready; while :; do sleep 0.01; done";
        let mut hangs = open(&rig, &id, script, Streams { stderr: false, ..ALL }, true).await;
        read_until(hangs.stdout.as_mut().unwrap(), "ready").await;
        drop((reads, hangs));
        assert_eq!(rig.ended(&id).await.exit_code, 0);
    });
}

fn sessions_keep_the_containers_user_who_can_open_its_streams() {
    with_rig(|mut rig| async move {
        let sandbox = rig.sandbox().await;
        let mut config = shell("echo own > /dev/stderr; exec sleep 1000");
        config.security.run_as_user = Some(1234);
        config.working_dir = Some("/dev".into());
        let id = rig.start(&sandbox, config).await;
        rig.until_logged(&id, "own").await;
        for tty in [false, true] {
            let streams = Streams { stdin: false, stdout: true, stderr: false };
            let mut session = open(&rig, &id, "id -u > /dev/stdout; pwd", streams, tty).await;
            assert_eq!(read_all(session.stdout.take()).await.replace('\r', ""), "1234\n/dev\n");
            assert_eq!(end(session).await, Ok(SessionEnd::Exited(0)));
        }
        rig.runtime.stop_container(&id, Duration::ZERO).await.unwrap();
        rig.ended(&id).await;
    });
}

fn sessions_are_bounded() {
    with_rig(|rig| async move {
        let sandbox = rig.sandbox().await;
        let mut config = shell("exec cat");
        config.stdin = true;
        let id = rig.start(&sandbox, config).await;
        let mut sessions = Vec::new();
        let error = loop {
            match rig.runtime.attach(&id, Streams { stdin: true, ..OUTPUT }).await {
                Ok(session) => sessions.push(session),
                Err(error) => break error,
            }
        };
        assert_eq!(error, Error::FailedPrecondition { message: "256 sessions run in this pod already".into() });
        assert_eq!(sessions.len(), 256);
        // The shim goes on, and has room again as soon as one is over.
        assert_eq!(rig.exec(&id, &["echo", "ok"]).await.unwrap().stdout, b"ok\n");
        sessions.pop();
        let retry = async { while rig.runtime.attach(&id, OUTPUT).await.is_err() {} };
        tokio::time::timeout(PATIENCE, retry).await.expect("no room again");
    });
}

const ECHO: &str = "echo up; while read line; do echo got $line; echo err $line >&2; done; echo over";

fn attached_clients_see_what_is_logged_and_reach_stdin() {
    with_rig(|mut rig| async move {
        let sandbox = rig.sandbox().await;
        let mut config = shell(ECHO);
        config.stdin = true;
        let id = rig.start(&sandbox, config).await;
        rig.until_logged(&id, "up").await;
        let mut first = rig.runtime.attach(&id, ALL).await.unwrap();
        let mut second = rig.runtime.attach(&id, Streams { stderr: false, ..ALL }).await.unwrap();
        say(&mut first.stdin, "one\n").await;
        assert_eq!(read_until(second.stdout.as_mut().unwrap(), "\n").await, "got one\n");
        assert_eq!(read_until(first.stdout.as_mut().unwrap(), "\n").await, "got one\n");
        assert_eq!(read_until(first.stderr.as_mut().unwrap(), "\n").await, "err one\n");
        // The end of one client's input ends its attachment, and nothing else.
        first.stdin.as_mut().unwrap().shutdown().await.unwrap();
        assert_eq!(end(first).await, Ok(SessionEnd::Detached));
        say(&mut second.stdin, "two\n").await;
        assert_eq!(read_until(second.stdout.as_mut().unwrap(), "\n").await, "got two\n");
        rig.runtime.stop_container(&id, Duration::ZERO).await.unwrap();
        assert_eq!(read_all(second.stdout.take()).await, "");
        assert_eq!(end(second).await, Ok(SessionEnd::Exited(137)));
        let status = rig.ended(&id).await;
        let mut log: Vec<_> = rig.log(&status).lines().map(str::to_owned).collect();
        log.sort_unstable();
        assert_eq!(log, ["err one", "err two", "got one", "got two", "up"]);
    });
}

fn attaching_works_after_the_agents_death_and_stdin_once_ends_with_the_first() {
    with_rig(|rig| async move {
        let dir = rig.dir.clone();
        let sandbox = rig.sandbox().await;
        let mut config = shell(ECHO);
        (config.stdin, config.stdin_once) = (true, true);
        let id = rig.start(&sandbox, config).await;
        let mut deaf = shell("echo up; read x || echo none; exec sleep 1000");
        deaf.stdin = false;
        let without = rig.start(&sandbox, deaf).await;
        drop(rig);
        let mut rig = Rig::open(&dir).await;
        let mut session = rig.runtime.attach(&id, ALL).await.unwrap();
        say(&mut session.stdin, "x\n").await;
        read_until(session.stdout.as_mut().unwrap(), "got x\n").await;
        session.stdin.as_mut().unwrap().shutdown().await.unwrap();
        assert_eq!(read_all(session.stdout.take()).await, "over\n");
        assert_eq!(end(session).await, Ok(SessionEnd::Exited(0)));
        assert_eq!(rig.ended(&id).await.exit_code, 0);
        // A container without input takes none, and says so to nobody.
        let session = rig.runtime.attach(&without, ALL).await.unwrap();
        assert!(session.stdin.is_none() && session.stdout.is_some());
    });
}

fn the_terminal_of_a_container_is_logged_and_attached() {
    with_rig(|mut rig| async move {
        let sandbox = rig.sandbox().await;
        let mut config = shell("tty; while read line; do echo got $line; stty size; done");
        (config.stdin, config.tty, config.stdin_once) = (true, true, true);
        let id = rig.start(&sandbox, config).await;
        rig.until_logged(&id, "/dev/pts/0").await;
        for (word, size) in [("a", "30 100"), ("b", "31 101")] {
            let mut session = rig.runtime.attach(&id, ALL).await.unwrap();
            assert!(session.stderr.is_none());
            let (height, width) = size.split_once(' ').unwrap();
            let size_of = TerminalSize { width: width.parse().unwrap(), height: height.parse().unwrap() };
            session.resize.as_ref().unwrap()(size_of);
            say(&mut session.stdin, &format!("{word}\n")).await;
            let text = read_until(session.stdout.as_mut().unwrap(), &format!("{size}\r\n")).await;
            assert_eq!(text, format!("{word}\r\ngot {word}\r\n{size}\r\n"));
            drop(session);
        }
        // An attached client that goes does not hang the container's terminal up.
        rig.until_logged(&id, "31 101").await;
        let mut session = rig.runtime.attach(&id, ALL).await.unwrap();
        say(&mut session.stdin, "\x04").await;
        assert_eq!(end(session).await, Ok(SessionEnd::Exited(0)));
        rig.ended(&id).await;
    });
}

fn slow_clients_lose_nothing_and_dead_ones_are_detached() {
    with_rig(|mut rig| async move {
        let sandbox = rig.sandbox().await;
        let mut config = shell("read x; seq 1 100000; echo end");
        config.stdin = true;
        let id = rig.start(&sandbox, config).await;
        let dead = rig.runtime.attach(&id, OUTPUT).await.unwrap();
        let mut slow = rig.runtime.attach(&id, ALL).await.unwrap();
        say(&mut slow.stdin, "go\n").await;
        let got = tokio::spawn(read_all(slow.stdout.take()));
        let error = end(dead).await.unwrap_err();
        let text = "detached: the client took no output for 5 s";
        assert_eq!(error, Error::FailedPrecondition { message: text.into() });
        let status = rig.ended(&id).await;
        let want: String = (1..=100_000).map(|n| format!("{n}\n")).chain(["end\n".to_owned()]).collect();
        assert!(got.await.unwrap() == want, "output is lost");
        assert!(rig.log(&status) == want, "log entries are lost");
        assert_eq!(end(slow).await, Ok(SessionEnd::Exited(0)));
    });
}

fn ports_are_reached_inside_the_pod() {
    with_rig(|rig| async move {
        let sandbox = rig.sandbox().await;
        rig.start(&sandbox, shell("echo up; nc -l -p 8080 -e cat")).await;
        let connect = async {
            loop {
                if let Ok(connection) = rig.runtime.connect(&sandbox, 8080).await {
                    return connection;
                }
            }
        };
        let mut connection = tokio::time::timeout(PATIENCE, connect).await.expect("nobody listens");
        let data = vec![b'x'; 1 << 20];
        let (mut read, mut write) = tokio::io::split(&mut connection);
        let mut back = Vec::new();
        let send = async {
            write.write_all(&data).await.unwrap();
            write.shutdown().await.unwrap();
        };
        let (_, received) = tokio::join!(send, read.read_to_end(&mut back));
        received.unwrap();
        assert!(back == data, "bytes are lost");
        let Err(error) = rig.runtime.connect(&sandbox, 9).await.map(drop) else { panic!("somebody listens") };
        let text = format!(
            "failed to connect to localhost:9 inside namespace {:?}, IPv4: dial tcp 127.0.0.1:9: connect: connection \
             refused IPv6 dial tcp [::1]:9: connect: connection refused",
            sandbox.0
        );
        assert_eq!(error, Error::FailedPrecondition { message: text });
    });
}

fn s1_28_a_debugger_sees_the_processes_of_its_target() {
    with_rig(|mut rig| async move {
        let sandbox = rig.sandbox().await;
        let target = rig.start(&sandbox, shell("trap 'exit 5' TERM; echo up; while :; do sleep 0.01; done")).await;
        rig.until_logged(&target, "up").await;
        let config = |script: &str, target: &ContainerId| {
            let mut config = shell(script);
            (config.name, config.pid_target) = ("debug".into(), Some(target.clone()));
            config
        };
        // What it leaves behind ends with it, although the namespace goes on.
        let script = "[ $$ != 1 ] && sleep 4902 & tr '\\0' ' ' < /proc/1/cmdline; id -u; exit 3";
        let (status, log) = rig.run(&sandbox, config(script, &target)).await;
        assert_eq!(status.exit_code, 3);
        assert!(log.starts_with("/bin/sh -c trap 'exit 5' TERM") && log.ends_with("0\n"), "{log}");
        let left =
            rig.exec(&target, &["sh", "-c", "grep -c sleep.490[2] /proc/[0-9]*/cmdline | grep -v :0"]).await.unwrap();
        assert_eq!(String::from_utf8_lossy(&left.stdout), "", "it is not alone");
        // It can signal the target, whose end ends it too.
        let id = rig.start(&sandbox, config("kill 1; exec sleep 1000", &target)).await;
        assert_eq!(rig.ended(&target).await.exit_code, 5);
        assert_eq!(rig.ended(&id).await.exit_code, 137);
        let error = rig.runtime.create_container(&sandbox, config("true", &target)).await.unwrap_err();
        assert_eq!(error, Error::FailedPrecondition { message: format!("target container {target} is not running") });
    });
}
