//! Images made by other tools are loaded by the command and used by pods, also where the policy is `Always`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::{fs, path::Path, process::Command};

use common::Sealed;

/// Makes an image of a static busybox with umoci, and an archive of it with skopeo.
fn archive(dir: &Path, transport: &str, name: &str) {
    let script = format!(
        "set -e
        umoci init --layout layout && umoci new --image layout:t && umoci unpack --image layout:t bundle
        mkdir -p bundle/rootfs/bin && cp /bin/busybox bundle/rootfs/bin/ && ln -s busybox bundle/rootfs/bin/echo
        umoci repack --image layout:t bundle && umoci config --image layout:t --config.cmd /bin/echo --config.cmd hello
        skopeo copy --dest-compress-format zstd oci:layout:t {transport}:archive.tar:{name}"
    );
    fs::create_dir(dir).unwrap();
    let output = Command::new("sh").arg("-c").arg(script).current_dir(dir).output().unwrap();
    assert!(output.status.success(), "umoci and skopeo are needed: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn archives_of_other_tools_are_loaded_and_run_without_a_registry() {
    let sealed = Sealed::new();
    for (transport, name) in [("docker-archive", "team/docker:latest"), ("oci-archive", "team/oci:latest")] {
        let dir = sealed.root.path().join(transport);
        archive(&dir, transport, name);
        let loaded = sealed.podrig().args(["image", "load"]).arg(dir.join("archive.tar")).output().unwrap();
        assert!(loaded.status.success(), "{}", String::from_utf8_lossy(&loaded.stderr));
        assert_eq!(String::from_utf8_lossy(&loaded.stdout), format!("loaded docker.io/{name}\n"));
        let manifest = format!(
            "{{apiVersion: v1, kind: Pod, metadata: {{name: x}}, spec: {{restartPolicy: Never,
            containers: [{{name: app, image: {name}, imagePullPolicy: Always}}]}}}}"
        );
        let output = sealed.run(&manifest, &["--quiet"]);
        assert_eq!(String::from_utf8_lossy(&output.stdout), "x/app  hello\n");
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let list = sealed.podrig().args(["image", "list"]).output().unwrap();
    let list = String::from_utf8(list.stdout).unwrap();
    assert!(list.contains("docker.io/team/docker:latest") && list.contains("docker.io/team/oci:latest"), "{list}");
    let removed = sealed.podrig().args(["image", "remove", "team/oci"]).output().unwrap();
    assert!(removed.status.success());
    let again = sealed.podrig().args(["image", "remove", "team/oci"]).output().unwrap();
    assert_eq!(again.status.code(), Some(1));
    sealed.assert_clean();
}
