//! The store as the image half of the runtime interface.

use cri::{ImageAuth, ImageInfo, ImageService, Result};

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
}
