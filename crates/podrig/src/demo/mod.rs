//! The story's two CronJobs and the images they need, made from this very executable.

pub(crate) mod apps;

use anyhow::{Context as _, Result};
use runtime::image::{ImageSpec, LayerFile, LayerSource, Store};

/// The CronJob whose sidecar is an ordinary container.
pub(crate) const CLASSIC: &str = include_str!("classic.yaml");
/// The same CronJob with a native sidecar.
pub(crate) const NATIVE: &str = include_str!("native.yaml");

/// Where the executable lies in the images.
const PROGRAM: &str = "podrig";

/// Puts the demo's images into the store, unless they are there already from this executable; returns their names.
pub(crate) fn add_images(store: &Store) -> Result<[&'static str; apps::ALL.len()]> {
    for app in apps::ALL {
        let spec = ImageSpec {
            names: vec![app.image.to_owned()],
            layers: vec![LayerSource { files: vec![LayerFile::executable(PROGRAM, "/proc/self/exe")] }],
            entrypoint: vec![format!("/{PROGRAM}"), apps::COMMAND.to_owned(), app.name.to_owned()],
            exposed_ports: app.port.map(|port| format!("{port}/tcp")).into_iter().collect(),
            pinned: true,
            ..ImageSpec::default()
        };
        store.add(&spec).with_context(|| format!("making image {}", app.image))?;
    }
    Ok(apps::ALL.map(|app| app.image))
}
