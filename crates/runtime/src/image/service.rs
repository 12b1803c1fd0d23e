//! The store as the image half of the runtime interface.

use std::path::PathBuf;

use cri::{ImageAuth, ImageInfo, ImageService, Removal, Result, UnusedImage};

use super::Store;

impl ImageService for Store {
    async fn image_status(&self, image: &str) -> Result<Option<ImageInfo>> {
        self.status(image)
    }

    async fn pull_image(&self, image: &str, auth: Vec<ImageAuth>) -> Result<ImageInfo> {
        self.pull(image, auth).await
    }

    async fn list_images(&self) -> Result<Vec<ImageInfo>> {
        self.list()
    }

    async fn remove_image(&self, image: &str) -> Result<()> {
        let (store, image) = (self.clone(), image.to_owned());
        super::pull::blocking(move || store.remove(&image)).await
    }

    fn image_dir(&self) -> PathBuf {
        self.dir().to_owned()
    }

    async fn unused_images(&self) -> Result<Vec<UnusedImage>> {
        let store = self.clone();
        super::pull::blocking(move || store.unused()).await
    }

    async fn remove_unused_image(&self, id: &str) -> Result<Removal> {
        let (store, id) = (self.clone(), id.to_owned());
        super::pull::blocking(move || store.remove_unused(&id)).await
    }
}
