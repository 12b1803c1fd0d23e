//! Pods with users of their own: root in there is nobody on the host.

use std::{fs, os::unix::fs::MetadataExt, path::Path};

use cri::{
    ContainerConfig, ContainerId, ExecSession, IdMapping, MountSource, NamespaceMode, RuntimeService, SandboxConfig,
    SecurityContext, StreamingService, Streams, UserNamespace,
};

use crate::{
    images::{IMAGE, USER_IMAGE},
    rig::{Rig, memory_volume, shell, with_rig},
    tests,
    volumes::mount,
};

tests![
    root_of_a_pod_is_somebody_else_on_the_host,
    files_of_volumes_keep_the_ids_that_the_pod_gave_them,
    a_user_of_the_image_writes_to_its_streams_and_terminal,
    commands_join_the_user_namespace,
    processes_can_be_shared_in_a_user_namespace,
    a_privileged_container_is_so_in_its_user_namespace_only,
    kernel_parameters_of_a_user_namespace_are_set_by_its_root,
    a_container_that_ends_at_once_is_not_lost,
    a_user_namespace_needs_namespaces_of_the_pods_own,
    what_cannot_be_shown_with_other_owners_is_refused,
];

/// First id on the host of the pods here.
pub(crate) const FIRST: u32 = 70 << 16;

pub(crate) fn own_users(first: u32) -> Option<UserNamespace> {
    let ids = vec![IdMapping { host_id: first, container_id: 0, length: 1 << 16 }];
    Some(UserNamespace { uids: ids.clone(), gids: ids })
}

fn with_users(config: &mut SandboxConfig) {
    config.user_namespace = own_users(FIRST);
}

/// Runs a script in a pod with users of its own and returns what it says.
async fn ask(rig: &mut Rig, config: ContainerConfig) -> Vec<String> {
    let sandbox = rig.sandbox_with(with_users).await;
    let (status, log) = rig.run(&sandbox, config).await;
    assert_eq!(status.exit_code, 0, "{status:?} {log}");
    log.lines().map(str::to_owned).collect()
}

async fn pid(rig: &Rig, id: &ContainerId) -> u32 {
    rig.runtime.container_status(id).await.unwrap().pid.unwrap()
}

fn root_of_a_pod_is_somebody_else_on_the_host() {
    with_rig(|rig| async move {
        let sandbox = rig.sandbox_with(with_users).await;
        let script = "cat /proc/self/uid_map /proc/self/gid_map; id -u; \
                      for f in / /bin/busybox /dev /dev/pts /dev/shm /dev/mqueue /etc/hosts '/work dir'; \
                      do stat -c '%u:%g %n' \"$f\"; done; touch /made /dev/shm/made; echo x >/proc/sys/net/ipv4/ip_forward; \
                      chown 5:6 /made && stat -c '%u:%g' /made; echo told; exec sleep 1000";
        let mut config = shell(script);
        config.security.unmasked_proc = true;
        let id = rig.start(&sandbox, config).await;
        rig.until_logged(&id, "told").await;
        let log = rig.log(&rig.runtime.container_status(&id).await.unwrap());
        let map = format!("{:>10} {FIRST:>10} {:>10}", 0, 65536);
        assert!(log.starts_with(&format!("{map}\n{map}\n0\n")), "{log}");
        for path in ["/", "/bin/busybox", "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue", "/etc/hosts", "/work dir"] {
            assert!(log.contains(&format!("0:0 {path}\n")), "{path} belongs to root: {log}");
        }
        assert!(log.contains("5:6\n"), "{log}");
        let process = fs::metadata(format!("/proc/{}", pid(&rig, &id).await)).unwrap();
        assert_eq!((process.uid(), process.gid()), (FIRST, FIRST));
        let own = |name: &str| fs::read_link(format!("/proc/self/ns/{name}")).unwrap();
        for name in ["user", "pid", "mnt", "net", "ipc", "uts"] {
            let theirs = fs::read_link(format!("/proc/{}/ns/{name}", pid(&rig, &id).await)).unwrap();
            assert_ne!(theirs, own(name), "{name}");
        }
        let layer = rig.runtime.writable_layer(&id).await.unwrap();
        assert_eq!(fs::metadata(layer.join("made")).unwrap().uid(), FIRST + 5);
    });
}

fn files_of_volumes_keep_the_ids_that_the_pod_gave_them() {
    with_rig(|mut rig| async move {
        let volume = rig.scratch();
        fs::write(volume.join("given"), "words\n").unwrap();
        std::os::unix::fs::chown(volume.join("given"), Some(1234), Some(4321)).unwrap();
        let memory = rig.dir.join("memory");
        fs::create_dir(&memory).unwrap();
        let sandbox = rig
            .sandbox_with(|config| {
                with_users(config);
                config.memory_volumes = vec![memory_volume(memory.clone())];
            })
            .await;
        let mut config = shell(
            "cat /v/given; stat -c '%u:%g' /v/given /m; touch /v/root /m/root; chown 7:8 /v/root; \
             mkdir -p /v/d; touch /one; ls -n /i | head -n1; test -x /i/bin/busybox && echo image",
        );
        config.mounts = vec![
            mount(&volume, "/v"),
            mount(&memory, "/m"),
            mount(&volume.join("given"), "/one/file"),
            cri::Mount { source: MountSource::Image(IMAGE.into()), ..mount(Path::new("/"), "/i") },
        ];
        let (status, log) = rig.run(&sandbox, config).await;
        assert_eq!(status.exit_code, 0, "{log}");
        assert!(log.starts_with("words\n1234:4321\n0:0\n") && log.ends_with("image\n"), "{log}");
        let root = fs::metadata(volume.join("root")).unwrap();
        assert_eq!((root.uid(), root.gid()), (7, 8));
        assert_eq!(fs::metadata(volume.join("d")).unwrap().uid(), 0);
    });
}

fn a_user_of_the_image_writes_to_its_streams_and_terminal() {
    with_rig(|mut rig| async move {
        for tty in [false, true] {
            let mut config = shell("id -un; echo out >/dev/stdout; echo err >/dev/stderr; test -t 1 && tty; true");
            config.image = USER_IMAGE.into();
            config.tty = tty;
            let said = ask(&mut rig, config).await;
            let said: Vec<_> = said.iter().map(|line| line.trim_end()).collect();
            let mut expected = vec!["web", "out", "err"];
            expected.extend(tty.then_some("/dev/pts/0"));
            assert_eq!(said.len(), expected.len(), "{said:?}");
            assert!(expected.iter().all(|line| said.contains(line)), "{said:?}");
        }
    });
}

fn commands_join_the_user_namespace() {
    with_rig(|rig| async move {
        let sandbox = rig.sandbox_with(with_users).await;
        let mut config = shell("exec sleep 1000");
        config.security.run_as_user = Some(1000);
        let id = rig.start(&sandbox, config).await;
        let script = "id -u; echo to >/dev/stderr; for n in user mnt pid; do readlink /proc/self/ns/$n; done";
        let output = rig.exec(&id, &["/bin/sh", "-c", script]).await.unwrap();
        let pid = pid(&rig, &id).await;
        let namespace = |name: &str| fs::read_link(format!("/proc/{pid}/ns/{name}")).unwrap();
        let places = ["user", "mnt", "pid"].map(|name| format!("{}\n", namespace(name).display())).concat();
        assert_eq!(String::from_utf8_lossy(&output.stdout), format!("1000\n{places}"));
        assert_eq!(String::from_utf8_lossy(&output.stderr), "to\n");
        let streams = Streams { stdin: false, stdout: true, stderr: false };
        let command = ["/bin/sh", "-c", "test -c \"$(tty)\" && test -O \"$(tty)\" && exit 7"];
        let command = command.map(str::to_owned).to_vec();
        let session = rig.runtime.exec(&id, ExecSession { command, tty: true, streams }).await.unwrap();
        assert_eq!(session.end.await.unwrap(), cri::SessionEnd::Exited(7));
    });
}

fn processes_can_be_shared_in_a_user_namespace() {
    with_rig(|mut rig| async move {
        let sandbox = rig
            .sandbox_with(|config| {
                with_users(config);
                config.namespaces.pid = NamespaceMode::Pod;
            })
            .await;
        let other = rig.start(&sandbox, shell("exec sleep 1000")).await;
        let (_, log) = rig.run(&sandbox, shell("ps -o comm | sort; stat -c %u /proc/1")).await;
        assert!(log.contains("pause\n") && log.contains("sleep\n"), "{log}");
        assert!(log.contains("0\n"), "{log}");
        rig.runtime.stop_container(&other, std::time::Duration::ZERO).await.unwrap();
        assert_eq!(rig.ended(&other).await.exit_code, 137);
    });
}

fn a_privileged_container_is_so_in_its_user_namespace_only() {
    with_rig(|mut rig| async move {
        let mut config = shell(
            "mount -t tmpfs none /tmp && echo mounted; test -e /dev/kmsg && echo devices; echo x >/dev/null && echo null; \
             mknod /tmp/null c 1 3 2>&1; (: </dev/kmsg) 2>&1; hostname other && hostname; true",
        );
        config.security = SecurityContext { privileged: true, ..Default::default() };
        let said = ask(&mut rig, config).await;
        assert_eq!(said[..3], ["mounted", "devices", "null"]);
        assert!(said[3].contains("not permitted") && said.last().unwrap() == "other", "{said:?}");
    });
}

fn kernel_parameters_of_a_user_namespace_are_set_by_its_root() {
    with_rig(|mut rig| async move {
        let sandbox = rig
            .sandbox_with(|config| {
                with_users(config);
                let parameters = [("kernel.shm_rmid_forced", "1"), ("net.ipv4.ip_local_port_range", "20000 30000")];
                config.sysctls = parameters.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
            })
            .await;
        let read = "cat /proc/sys/kernel/shm_rmid_forced /proc/sys/net/ipv4/ip_local_port_range \
                    /proc/sys/net/ipv4/ip_unprivileged_port_start; hostname";
        let (_, log) = rig.run(&sandbox, shell(read)).await;
        assert_eq!(log, "1\n20000\t30000\n0\npod-host\n");
    });
}

fn a_container_that_ends_at_once_is_not_lost() {
    with_rig(|mut rig| async move {
        let sandbox = rig.sandbox_with(with_users).await;
        for code in 0..20 {
            let (status, _) = rig.run(&sandbox, shell(&format!("exit {code}"))).await;
            assert_eq!(status.exit_code, code);
        }
        let id = rig.runtime.create_container(&sandbox, crate::rig::command(&["/missing"])).await.unwrap();
        rig.runtime.start_container(&id).await.unwrap_err();
        assert_eq!(rig.ended(&id).await.exit_code, 128);
    });
}

fn a_user_namespace_needs_namespaces_of_the_pods_own() {
    with_rig(|rig| async move {
        let mut config = crate::rig::sandbox_config(&rig.dir, "refused");
        with_users(&mut config);
        config.namespaces.ipc = NamespaceMode::Node;
        let error = rig.runtime.run_sandbox(config.clone()).await.unwrap_err().to_string();
        assert!(error.contains("user namespace: the host's network, IPC and PID namespaces"), "{error}");
        config.namespaces.ipc = NamespaceMode::Pod;
        config.user_namespace = own_users(u32::MAX);
        let error = rig.runtime.run_sandbox(config).await.unwrap_err().to_string();
        assert!(error.contains("map ids of the user namespace: uid_map"), "{error}");
    });
}

fn what_cannot_be_shown_with_other_owners_is_refused() {
    with_rig(|rig| async move {
        let sandbox = rig.sandbox_with(with_users).await;
        let mut config = shell("true");
        config.mounts = vec![mount(Path::new("/proc/fs"), "/p")];
        let id = rig.runtime.create_container(&sandbox, config).await.unwrap();
        let error = rig.runtime.start_container(&id).await.unwrap_err().to_string();
        let expected = "mount /proc/fs on /p: failed to set MOUNT_ATTR_IDMAP: ";
        assert!(error.contains(expected) && error.contains("no idmapped mounts"), "{error}");
    });
}
