//! What a container sees of files that are not its own.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
};

use cri::{DnsConfig, HostAlias, Mount, MountPropagation, MountSource, NamespaceMode, RuntimeService};

use crate::{
    images::IMAGE,
    rig::{memory_volume, shell, with_rig},
    tests,
};

tests![
    volumes_are_writable_or_read_only,
    s11_13_sub_paths_are_made_and_cannot_escape,
    mount_points_in_the_image_cannot_lead_outside,
    memory_volumes_are_shared_and_bounded,
    s11_23_hosts_hostname_and_resolv_conf_are_the_pods,
    a_read_only_root_refuses_writes,
    an_image_can_be_a_volume,
    devices_in_volumes_cannot_be_opened,
];

pub(crate) fn mount(source: &Path, target: &str) -> Mount {
    Mount {
        container_path: target.into(),
        source: MountSource::Host(source.into()),
        sub_path: None,
        read_only: false,
        recursive_read_only: false,
        propagation: MountPropagation::Private,
    }
}

fn volumes_are_writable_or_read_only() {
    with_rig(|mut rig| async move {
        let volume = rig.scratch();
        fs::write(volume.join("file"), "content\n").unwrap();
        let sandbox = rig.sandbox().await;
        let mut config = shell(
            "cat /rw/file /deep/er/file; echo new > /rw/new; (echo x > /ro/x) 2>&1; (echo x > /deep/er/file) 2>&1; \
             ls /ro; ls /rw/missing-made",
        );
        let read_only = |target: &str, recursive| Mount {
            read_only: true,
            recursive_read_only: recursive,
            ..mount(&volume, target)
        };
        config.mounts = vec![
            // A child before its parent: the order of depth counts.
            mount(&volume.join("missing-made"), "/rw/missing-made"),
            mount(&volume, "/rw"),
            read_only("/ro", true),
            Mount { read_only: true, ..mount(&volume.join("file"), "/deep/er/file") },
        ];
        let (_, log) = rig.run(&sandbox, config).await;
        assert_eq!(
            log,
            "content\ncontent\n\
             /bin/sh: can't create /ro/x: Read-only file system\n\
             /bin/sh: can't create /deep/er/file: Read-only file system\n\
             file\nmissing-made\nnew\n"
        );
        assert_eq!(fs::read_to_string(volume.join("new")).unwrap(), "new\n");
    });
}

fn s11_13_sub_paths_are_made_and_cannot_escape() {
    with_rig(|mut rig| async move {
        let scratch = rig.scratch();
        let (volume, secret) = (scratch.join("volume"), scratch.join("secret"));
        fs::create_dir_all(&volume).unwrap();
        fs::create_dir_all(&secret).unwrap();
        fs::write(secret.join("key"), "secret\n").unwrap();
        fs::set_permissions(&volume, fs::Permissions::from_mode(0o2775)).unwrap();
        symlink(&secret, volume.join("absolute")).unwrap();
        symlink("../secret", volume.join("relative")).unwrap();
        symlink("/proc/1/root/etc", volume.join("magic")).unwrap();
        let sandbox = rig.sandbox().await;
        let sub = |path: &str, target: &str| Mount { sub_path: Some(path.into()), ..mount(&volume, target) };
        let mut config = shell("exec 2>&1; cat /a/key /r/key /m/hostname; stat -c %a /new; touch /new/here; ls /new");
        config.mounts =
            vec![sub("absolute", "/a"), sub("relative", "/r"), sub("magic", "/m"), sub("made/by/us", "/new")];
        let (_, log) = rig.run(&sandbox, config).await;
        assert!(!log.contains("secret"), "{log}");
        assert!(log.contains("2775\nhere\n"), "{log}");
        assert!(volume.join("made/by/us/here").exists());
        assert_eq!(fs::read_dir(&secret).unwrap().count(), 1);
    });
}

fn mount_points_in_the_image_cannot_lead_outside() {
    with_rig(|mut rig| async move {
        let scratch = rig.scratch();
        let (volume, outside) = (scratch.join("volume"), scratch.join("outside"));
        fs::create_dir_all(&volume).unwrap();
        fs::write(volume.join("file"), "content\n").unwrap();
        // The image is at fault here: a link of it to a path of the host.
        symlink(&outside, rig.dir.join("image/upper/evil")).unwrap();
        let sandbox = rig.sandbox().await;
        let mut config = shell("cat /evil/dir/file; cat /etc/run-link/x/file");
        config.mounts = vec![mount(&volume, "/evil/dir"), mount(&volume, "/etc/run-link/x")];
        let (_, log) = rig.run(&sandbox, config).await;
        assert_eq!(log, "content\ncontent\n");
        assert!(!outside.exists(), "a mount point was made on the host");
    });
}

fn memory_volumes_are_shared_and_bounded() {
    with_rig(|mut rig| async move {
        let volume = rig.scratch().join("memory");
        fs::create_dir_all(&volume).unwrap();
        let sandbox = rig.sandbox_with(|config| config.memory_volumes = vec![memory_volume(volume.clone())]).await;
        let with_volume = |script| {
            let mut config = shell(script);
            config.mounts = vec![mount(&volume, "/m")];
            config
        };
        let script = "echo shared > /m/x; head -c 2000000 /dev/zero > /m/big || echo full; grep ' /m ' /proc/mounts";
        let (_, log) = rig.run(&sandbox, with_volume(script)).await;
        assert!(log.contains("full") && log.contains("tmpfs /m tmpfs rw"), "{log}");
        let (_, log) = rig.run(&sandbox, with_volume("cat /m/x; stat -c %a /m")).await;
        assert_eq!(log, "shared\n1777\n");
        assert_eq!(fs::read_dir(&volume).unwrap().count(), 0, "the host sees the volume");
    });
}

fn s11_23_hosts_hostname_and_resolv_conf_are_the_pods() {
    with_rig(|mut rig| async move {
        let sandbox = rig
            .sandbox_with(|config| {
                config.dns = Some(DnsConfig {
                    servers: vec!["10.0.0.10".into()],
                    searches: vec!["a.local".into(), "b.local".into()],
                    options: vec!["ndots:5".into()],
                });
                config.host_aliases =
                    vec![HostAlias { ip: "1.2.3.4".into(), hostnames: vec!["one".into(), "two".into()] }];
            })
            .await;
        let (_, log) =
            rig.run(&sandbox, shell("cat /etc/resolv.conf /etc/hostname /etc/hosts; echo >> /etc/hosts")).await;
        assert!(log.starts_with("search a.local b.local\nnameserver 10.0.0.10\noptions ndots:5\npod-host\n"), "{log}");
        assert!(log.contains("# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n"), "{log}");
        let ip = rig.runtime.list_sandboxes().await.unwrap()[0].ips[0];
        assert!(log.contains(&format!("\n{ip}\tpod-host\n")), "{log}");
        assert!(log.ends_with("\n# Entries added by HostAliases.\n1.2.3.4\tone\ttwo\n"), "{log}");
        let own = rig.scratch().join("own-hosts");
        fs::write(&own, "mine\n").unwrap();
        let mut config = shell("cat /etc/hosts");
        config.mounts = vec![mount(&own, "/etc/hosts")];
        assert_eq!(rig.run(&sandbox, config).await.1, "mine\n");
        let node = rig.sandbox_with(|config| config.namespaces.network = NamespaceMode::Node).await;
        let (_, log) = rig.run(&node, shell("readlink /proc/self/ns/net; cat /etc/hosts")).await;
        let host = fs::read_link("/proc/self/ns/net").unwrap();
        assert!(log.starts_with(host.to_str().unwrap()), "{log}");
        assert!(log.contains("# Kubernetes-managed hosts file (host network)."), "{log}");
    });
}

fn a_read_only_root_refuses_writes() {
    with_rig(|mut rig| async move {
        let volume = rig.scratch();
        let sandbox = rig.sandbox().await;
        let mut config = shell("(: > /x) 2>&1; (: >> /etc/hosts) 2>&1; : > /v/x && echo v; : > /dev/shm/x && echo shm");
        config.security.read_only_root = true;
        config.mounts = vec![mount(&volume, "/v")];
        let (_, log) = rig.run(&sandbox, config).await;
        assert_eq!(
            log,
            "/bin/sh: can't create /x: Read-only file system\n\
             /bin/sh: can't create /etc/hosts: Read-only file system\nv\nshm\n"
        );
    });
}

fn an_image_can_be_a_volume() {
    with_rig(|mut rig| async move {
        let sandbox = rig.sandbox().await;
        let mut config = shell("head -n1 /img/entry; (: > /img/x) 2>&1; ls /sub");
        let image = |target: &str, sub_path: Option<&str>| Mount {
            source: MountSource::Image(IMAGE.into()),
            sub_path: sub_path.map(Into::into),
            ..mount(Path::new("/"), target)
        };
        config.mounts = vec![image("/img", None), image("/sub", Some("etc"))];
        let (_, log) = rig.run(&sandbox, config).await;
        assert_eq!(log, "#!/bin/sh\n/bin/sh: can't create /img/x: Read-only file system\ngroup\npasswd\nrun-link\n");
    });
}

fn devices_in_volumes_cannot_be_opened() {
    with_rig(|mut rig| async move {
        let volume = rig.scratch();
        let sandbox = rig.sandbox().await;
        let mut config = shell("mknod /v/kmsg c 1 11; (: < /v/kmsg) 2>/dev/null && echo opened; echo end");
        config.mounts = vec![mount(&volume, "/v")];
        assert_eq!(rig.run(&sandbox, config).await.1, "end\n");
    });
}
