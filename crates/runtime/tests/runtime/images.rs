//! An image store of one hand-made image: busybox with all its applets.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::Command,
};

use cri::{Error, ImageAuth, ImageInfo, ImageService, ImageUser, ObjectKind, Removal, Result, UnusedImage};
use runtime::{ImageRoot, Images};

/// Id of the only image.
pub(crate) const IMAGE: &str = "sha256:busybox";
/// Id of the same image with a user that has a name, groups and a home.
pub(crate) const USER_IMAGE: &str = "sha256:user";

/// Id of the same image with a user that it does not know.
pub(crate) const STRANGER_IMAGE: &str = "sha256:stranger";

/// The store.
#[derive(Debug, Clone)]
pub(crate) struct TestImages {
    layers: Vec<PathBuf>,
}

impl TestImages {
    /// Makes the image's layers in `dir`, or finds them there.
    pub(crate) fn at(dir: &Path) -> Self {
        let (lower, upper) = (dir.join("lower"), dir.join("upper"));
        if !lower.exists() {
            make_layers(&lower, &upper);
        }
        Self { layers: vec![upper, lower] }
    }

    /// Returns the layers, the topmost first.
    pub(crate) fn layers(&self) -> &[PathBuf] {
        &self.layers
    }

    fn info(&self, id: &str) -> Option<ImageInfo> {
        let user = match id {
            IMAGE => ImageUser::Unset,
            USER_IMAGE => ImageUser::Name("web".into()),
            STRANGER_IMAGE => ImageUser::Name("stranger".into()),
            _ => return None,
        };
        Some(ImageInfo {
            id: id.into(),
            user,
            entrypoint: vec!["/entry".into()],
            cmd: vec!["from-cmd".into()],
            env: vec!["FROM_IMAGE=image".into(), "BOTH=image".into()],
            working_dir: "/work dir".into(),
            ..Default::default()
        })
    }
}

fn make_layers(lower: &Path, upper: &Path) {
    for dir in ["bin", "etc", "tmp", "root"] {
        fs::create_dir_all(lower.join(dir)).unwrap();
    }
    fs::set_permissions(lower.join("tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
    fs::copy("/bin/busybox", lower.join("bin/busybox")).expect("a static busybox at /bin/busybox");
    let applets = Command::new("/bin/busybox").arg("--list").output().unwrap().stdout;
    for applet in String::from_utf8(applets).unwrap().lines().filter(|&name| name != "busybox") {
        symlink("busybox", lower.join("bin").join(applet)).unwrap();
    }
    fs::write(lower.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\nweb:x:101:201::/srv/web:/bin/sh\n").unwrap();
    fs::write(lower.join("etc/group"), "root:x:0:\nweb:x:201:\nlogs:x:300:web\n").unwrap();
    symlink("/run", lower.join("etc/run-link")).unwrap();
    fs::create_dir_all(upper).unwrap();
    fs::write(upper.join("entry"), "#!/bin/sh\necho entry \"$@\"\n").unwrap();
    fs::set_permissions(upper.join("entry"), fs::Permissions::from_mode(0o755)).unwrap();
}

impl Images for TestImages {
    fn lease(&self, image_id: &str, _owner: &str) -> Result<ImageRoot> {
        let info = self.info(image_id);
        let info = info.ok_or_else(|| Error::NotFound { kind: ObjectKind::Image, id: image_id.into() })?;
        Ok(ImageRoot { layers: self.layers.clone(), info })
    }

    fn release(&self, _owner: &str) -> Result<()> {
        Ok(())
    }
}

impl ImageService for TestImages {
    async fn image_status(&self, image: &str) -> Result<Option<ImageInfo>> {
        Ok(self.info(image))
    }

    async fn pull_image(&self, image: &str, _auth: Vec<ImageAuth>) -> Result<ImageInfo> {
        Err(Error::RegistryUnavailable { image: image.into(), message: "there is none".into() })
    }

    async fn list_images(&self) -> Result<Vec<ImageInfo>> {
        Ok(self.info(IMAGE).into_iter().collect())
    }

    async fn remove_image(&self, _image: &str) -> Result<()> {
        Ok(())
    }

    fn image_dir(&self) -> PathBuf {
        PathBuf::new()
    }

    async fn unused_images(&self) -> Result<Vec<UnusedImage>> {
        Ok(Vec::new())
    }

    async fn remove_unused_image(&self, _id: &str) -> Result<Removal> {
        Ok(Removal::Used)
    }
}
