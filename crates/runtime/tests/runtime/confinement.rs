//! What a process in a container is and may do.

use std::{path::Path, time::Duration};

use cri::{
    Capabilities, ContainerConfig, ExecRequest, ExitReason, NamespaceMode, Resources, RuntimeService, SeccompProfile,
    SecurityContext,
};

use crate::{
    images::USER_IMAGE,
    rig::{command, shell, with_rig},
    tests,
};

tests![
    a_command_has_the_containers_user_groups_capabilities_and_filter,
    image_users_bring_their_groups_unless_strict,
    an_unknown_user_refuses_the_container,
    the_default_filter_refuses_what_reaches_around_the_container,
    kernel_paths_are_masked_or_read_only,
    devices_are_the_standard_ones_and_no_others_can_be_made,
    s8_13_a_container_that_eats_too_much_is_oom_killed,
    a_command_that_takes_too_long_is_killed_with_its_children,
    many_commands_run_at_once,
    output_of_a_command_is_bounded,
    containers_share_what_the_pod_shares,
    a_shared_pid_namespace_ends_with_its_container_only,
    the_first_process_of_a_pod_has_no_files,
    a_terminal_is_a_terminal,
    a_privileged_container_is_not_confined,
    the_working_directory_cannot_lie_outside,
    stdin_that_is_kept_open_does_not_end,
];

/// Prints everything that confines a process, one a line.
const SELF_PORTRAIT: &str = "id; grep -E '^(Cap|NoNewPrivs|Seccomp:|Groups)' /proc/self/status; \
    cat /proc/self/oom_score_adj; umask; pwd; echo $HOME $PATH";

fn confined() -> SecurityContext {
    SecurityContext {
        run_as_user: Some(1234),
        run_as_group: Some(4321),
        supplemental_groups: vec![77, 88],
        no_new_privileges: true,
        seccomp: SeccompProfile::RuntimeDefault,
        capabilities: Capabilities { add: vec!["NET_ADMIN".into()], drop: vec!["CHOWN".into()] },
        ..Default::default()
    }
}

fn a_command_has_the_containers_user_groups_capabilities_and_filter() {
    with_rig(|rig| async move {
        let sandbox = rig.sandbox().await;
        for no_new_privileges in [true, false] {
            let mut config = shell(&format!("{SELF_PORTRAIT}; echo end; exec sleep 1000"));
            config.security = SecurityContext { no_new_privileges, ..confined() };
            config.resources.oom_score_adj = Some(789);
            let id = rig.start(&sandbox, config).await;
            rig.until_logged(&id, "end").await;
            let portrait = rig.log(&rig.runtime.container_status(&id).await.unwrap()).replace("end\n", "");
            let output = rig.exec(&id, &["sh", "-c", SELF_PORTRAIT]).await.unwrap();
            assert_eq!(String::from_utf8(output.stdout).unwrap(), portrait);
            let expected = [
                "uid=1234 gid=4321 groups=77,88,4321",
                "Seccomp:\t2",
                "CapPrm:\t0000000000000000",
                "CapBnd:\t00000000a80435fa",
                &format!("NoNewPrivs:\t{}", u8::from(no_new_privileges)),
                "789",
                "0022",
                "/work dir",
                "/ /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            ];
            for line in expected {
                assert!(portrait.lines().any(|l| l == line), "{line:?} not in\n{portrait}");
            }
            rig.runtime.remove_container(&id).await.unwrap();
        }
    });
}

fn image_users_bring_their_groups_unless_strict() {
    with_rig(|mut rig| async move {
        let sandbox = rig.sandbox().await;
        let config = |strict| ContainerConfig {
            image: USER_IMAGE.into(),
            security: SecurityContext { supplemental_groups_strict: strict, ..Default::default() },
            ..shell("id; echo $HOME")
        };
        let (_, log) = rig.run(&sandbox, config(false)).await;
        assert_eq!(log, "uid=101(web) gid=201(web) groups=201(web),300(logs)\n/srv/web\n");
        let (_, log) = rig.run(&sandbox, config(true)).await;
        assert_eq!(log, "uid=101(web) gid=201(web) groups=201(web)\n/srv/web\n");
    });
}

fn an_unknown_user_refuses_the_container() {
    with_rig(|rig| async move {
        let sandbox = rig.sandbox().await;
        let mut config = shell("true");
        config.image = crate::images::STRANGER_IMAGE.into();
        let error = rig.runtime.create_container(&sandbox, config).await.unwrap_err();
        assert_eq!(error.to_string(), "unable to find user stranger: no matching entries in passwd file");
        assert!(rig.runtime.list_containers(Default::default()).await.unwrap().is_empty());
    });
}

fn the_default_filter_refuses_what_reaches_around_the_container() {
    with_rig(|mut rig| async move {
        let sandbox = rig.sandbox().await;
        // All of these are allowed to root by capabilities or need none.
        let script = "unshare -U true && echo unshared; \
            mount -t tmpfs none /tmp && echo mounted; \
            echo done";
        let mut config = shell(script);
        config.security.seccomp = SeccompProfile::RuntimeDefault;
        config.security.capabilities.drop = vec!["ALL".into()];
        let (_, log) = rig.run(&sandbox, config).await;
        let lines: Vec<_> = log.lines().filter(|line| ["unshared", "mounted", "done"].contains(line)).collect();
        assert_eq!(lines, ["done"]);
        let mut config = shell("unshare -U true && echo unshared");
        config.security.seccomp = SeccompProfile::RuntimeDefault;
        assert!(!rig.run(&sandbox, config).await.1.contains("unshared\n"), "the filter let unshare pass");
        // The same without the filter, so that the filter is what made the difference.
        assert!(rig.run(&sandbox, shell("unshare -U true && echo unshared")).await.1.contains("unshared\n"));
    });
}

fn kernel_paths_are_masked_or_read_only() {
    with_rig(|mut rig| async move {
        let sandbox = rig.sandbox().await;
        let script = "cat /proc/interrupts | wc -c; cat /proc/keys /proc/timer_list | wc -c; ls /sys/firmware | wc -l; \
            for f in /proc/sysrq-trigger /proc/sys/kernel/panic /sys/kernel/uevent_seqnum \
                /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/cgroup.procs; do \
                [ -e $f ] && (: >> $f) 2>/dev/null && echo opened $f; done; \
            mkdir /sys/fs/cgroup/x 2>/dev/null && echo made a cgroup; echo end";
        let mut config = shell(script);
        config.security.capabilities.add = vec!["ALL".into()];
        assert_eq!(rig.run(&sandbox, config).await.1, "0\n0\n0\nend\n");
        let mut config = shell("head -n1 /proc/interrupts | wc -l; touch /root-file && echo wrote");
        config.security.unmasked_proc = true;
        config.security.read_only_root = true;
        config.security.capabilities.add = vec!["ALL".into()];
        assert_eq!(rig.run(&sandbox, config).await.1.lines().next(), Some("1"));
    });
}

fn devices_are_the_standard_ones_and_no_others_can_be_made() {
    with_rig(|mut rig| async move {
        let sandbox = rig.sandbox().await;
        let script = "ls /dev | grep -v core | tr '\\n' ' '; echo; echo x > /dev/null; head -c3 /dev/zero | wc -c; \
            mknod /dev/kmsg2 c 1 11; mknod /tmp/kmsg2 c 1 11; \
            for f in /dev/kmsg2 /tmp/kmsg2; do [ -c $f ] && echo made; (: < $f) 2>/dev/null && echo opened $f; done; \
            (echo > /dev/stdout); ls -l /dev/ptmx | wc -l; echo end";
        let (_, log) = rig.run(&sandbox, shell(script)).await;
        assert_eq!(
            log,
            "fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero \n\
             3\nmade\nmade\n\n1\nend\n"
        );
    });
}

fn s8_13_a_container_that_eats_too_much_is_oom_killed() {
    with_rig(|mut rig| async move {
        let sandbox = rig.sandbox().await;
        let mut config = shell("x=$(head -c 200000000 /dev/zero | tr '\\0' x); echo survived");
        config.resources = Resources { memory_limit: Some(32 << 20), ..Default::default() };
        let (status, _) = rig.run(&sandbox, config).await;
        assert_eq!((status.exit_code, status.reason), (137, Some(ExitReason::OomKilled)));
    });
}

fn a_command_that_takes_too_long_is_killed_with_its_children() {
    with_rig(|rig| async move {
        let sandbox = rig.sandbox().await;
        let id = rig.start(&sandbox, shell("exec sleep 1000")).await;
        let script = "sleep 4711 & setsid sleep 4712 & (sleep 4713 &) ; echo before; sleep 4714";
        let request = ExecRequest {
            command: ["sh", "-c", script].map(str::to_owned).to_vec(),
            timeout: Some(Duration::from_millis(400)),
            output_limit: 100,
        };
        let output = rig.runtime.exec_sync(&id, request).await.unwrap();
        assert_eq!((output.exit_code, output.timed_out, output.stdout.as_slice()), (137, true, &b"before\n"[..]));
        let left = rig.exec(&id, &["sh", "-c", "ps -o args | grep '[s]leep 471'"]).await.unwrap();
        assert_eq!(String::from_utf8_lossy(&left.stdout), "");
    });
}

fn many_commands_run_at_once() {
    with_rig(|rig| async move {
        let sandbox = rig.sandbox().await;
        let id = rig.start(&sandbox, shell("exec sleep 1000")).await;
        let rig = std::sync::Arc::new(rig);
        let tasks: Vec<_> = (0..60)
            .map(|n| {
                let (rig, id) = (std::sync::Arc::clone(&rig), id.clone());
                tokio::spawn(async move {
                    let word = format!("number {n}");
                    let output = rig.exec(&id, &["sh", "-c", "sleep 0.05; echo \"$0\"", &word]).await.unwrap();
                    assert_eq!(String::from_utf8(output.stdout).unwrap().trim(), word);
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
}

fn output_of_a_command_is_bounded() {
    with_rig(|rig| async move {
        let sandbox = rig.sandbox().await;
        let id = rig.start(&sandbox, shell("exec sleep 1000")).await;
        let request = ExecRequest {
            command: ["sh", "-c", "head -c 5000000 /dev/zero; echo end >&2; sleep 1000 & exit 2"]
                .map(str::to_owned)
                .to_vec(),
            timeout: None,
            output_limit: 1000,
        };
        // The child that keeps the pipe open is not waited for.
        let output = rig.runtime.exec_sync(&id, request).await.unwrap();
        assert_eq!((output.stdout.len(), output.stderr.as_slice(), output.exit_code), (1000, &b"end\n"[..], 2));
    });
}

fn containers_share_what_the_pod_shares() {
    with_rig(|mut rig| async move {
        let sandbox = rig.sandbox().await;
        let links = "for ns in net ipc uts pid mnt; do readlink /proc/self/ns/$ns; done; echo $$";
        let first = rig.start(&sandbox, shell(&format!("{links}; echo shared > /dev/shm/x; exec sleep 1000"))).await;
        rig.until_logged(&first, " 1\n").await;
        let first = rig.log(&rig.runtime.container_status(&first).await.unwrap());
        let (_, second) = rig.run(&sandbox, shell(&format!("{links}; cat /dev/shm/x"))).await;
        let (first, second): (Vec<_>, Vec<_>) = (first.lines().collect(), second.lines().collect());
        assert_eq!(first[..3], second[..3]);
        assert_ne!(first[3], second[3]);
        assert_ne!(first[4], second[4]);
        assert_eq!((second[5], second[6]), ("1", "shared"));
        for (inside, ns) in first.iter().zip(["net", "ipc", "uts", "pid", "mnt"]) {
            assert_ne!(Path::new(inside), std::fs::read_link(format!("/proc/self/ns/{ns}")).unwrap());
        }
    });
}

fn a_shared_pid_namespace_ends_with_its_container_only() {
    for mode in [NamespaceMode::Pod, NamespaceMode::Node] {
        with_rig(|mut rig| async move {
            let sandbox = rig.sandbox_with(|config| config.namespaces.pid = mode).await;
            let stays = rig.start(&sandbox, shell("echo up; exec sleep 4801")).await;
            let goes = rig.start(&sandbox, shell("setsid sleep 4802 & sleep 4803 & echo up; wait")).await;
            rig.until_logged(&stays, "up").await;
            rig.until_logged(&goes, "up").await;
            let count = "ps -o args | grep -c '^sleep 480'";
            let until = |number: u32| format!("until [ $({count}) = {number} ]; do sleep 0.01; done");
            assert!(!rig.exec(&stays, &["sh", "-c", &until(3)]).await.unwrap().timed_out, "processes are not shared");
            rig.runtime.stop_container(&goes, Duration::from_millis(100)).await.unwrap();
            assert_eq!(rig.ended(&goes).await.exit_code, 143);
            // They are killed with it, but a kill takes its time.
            let left = rig.exec(&stays, &["sh", "-c", &until(1)]).await.unwrap();
            assert!(!left.timed_out, "processes outlive their container");
        });
    }
}

fn the_first_process_of_a_pod_has_no_files() {
    with_rig(|mut rig| async move {
        let sandbox = rig.sandbox_with(|config| config.namespaces.pid = NamespaceMode::Pod).await;
        let mut config = shell("cat /proc/1/comm; ls -A /proc/1/root/ && echo looked");
        config.security.capabilities.add = vec!["SYS_PTRACE".into()];
        let (_, log) = rig.run(&sandbox, config).await;
        assert_eq!(log, "pause\nlooked\n");
    });
}

fn a_terminal_is_a_terminal() {
    with_rig(|mut rig| async move {
        let sandbox = rig.sandbox().await;
        let mut config = shell("tty; [ -t 0 ] && [ -t 1 ] && echo terminal; echo $TERM; : > /dev/tty && echo control");
        config.tty = true;
        let (_, log) = rig.run(&sandbox, config).await;
        assert_eq!(log.replace('\r', ""), "/dev/pts/0\nterminal\nxterm\ncontrol\n");
    });
}

fn a_privileged_container_is_not_confined() {
    with_rig(|mut rig| async move {
        let sandbox = rig.sandbox().await;
        let mut config = shell(
            "mount -t tmpfs none /tmp && echo mounted; [ -e /dev/kmsg ] && echo devices; \
             head -n1 /proc/interrupts | wc -l; grep Seccomp: /proc/self/status",
        );
        config.security =
            SecurityContext { privileged: true, seccomp: SeccompProfile::RuntimeDefault, ..Default::default() };
        let (_, log) = rig.run(&sandbox, config).await;
        assert_eq!(log, "mounted\ndevices\n1\nSeccomp:\t0\n");
    });
}

fn the_working_directory_cannot_lie_outside() {
    with_rig(|rig| async move {
        let sandbox = rig.sandbox().await;
        for fd in 3..12 {
            let mut config = command(&["/bin/pwd"]);
            config.working_dir = Some(format!("/proc/self/fd/{fd}"));
            let id = rig.runtime.create_container(&sandbox, config).await.unwrap();
            rig.runtime.start_container(&id).await.unwrap_err();
        }
    });
}

fn stdin_that_is_kept_open_does_not_end() {
    with_rig(|mut rig| async move {
        let sandbox = rig.sandbox().await;
        let (status, _) = rig.run(&sandbox, shell("cat; exit 5")).await;
        assert_eq!(status.exit_code, 5, "without stdin, reading ends at once");
        let mut config = shell("timeout 0.2 cat; exit 6");
        config.stdin = true;
        let (status, _) = rig.run(&sandbox, config).await;
        assert_eq!(status.exit_code, 6);
        assert!(status.finished_at - status.started_at >= 200_000_000, "cat did not wait");
    });
}
