//! `podrig image`: what is in the local image store, and how it gets there.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Subcommand;
use cri::ImageInfo;
use runtime::image::Store;

use super::require_root;
use crate::{
    Dirs, demo,
    error::{CommandError, Exit},
    output::Screen,
    run::executor,
};

/// Load, pull, list and remove images
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Load images from an archive of `docker save`, or an OCI layout (archive or directory)
    Load {
        /// The archive or directory
        #[arg(required_unless_present = "demo", value_name = "FILE")]
        files: Vec<PathBuf>,

        /// Load the two images of `podrig demo`: zwindler/slow-sidecar and zwindler/sidecar-user
        #[arg(long)]
        demo: bool,
    },
    /// Pull images from their registries
    Pull {
        /// Names, such as busybox:1.37.0 or registry.example/team/app:2
        #[arg(required = true, value_name = "IMAGE")]
        images: Vec<String>,
    },
    /// List the images on this machine
    #[command(alias = "ls")]
    List,
    /// Remove images from this machine
    #[command(alias = "rm")]
    Remove {
        /// Names or ids
        #[arg(required = true, value_name = "IMAGE")]
        images: Vec<String>,
    },
}

/// Runs the command.
pub(crate) fn main(args: Args, dirs: &Dirs) -> Result<Exit, CommandError> {
    require_root()?;
    let store = Store::open(&dirs.images()).context("opening the image store")?;
    let screen = Screen::new(false);
    match args.command {
        Command::Load { files, demo } => {
            if demo {
                load_demo(&store, &screen)?;
            }
            load(&store, &screen, &files)?;
        }
        Command::Pull { images } => executor()?.block_on(pull(&store, &screen, &images))?,
        Command::List => screen.result(&table(&store.list().context("listing images")?)),
        Command::Remove { images } => remove(&store, &screen, &images)?,
    }
    Ok(Exit::Success)
}

fn load(store: &Store, screen: &Screen, files: &[PathBuf]) -> Result<(), CommandError> {
    for file in files {
        let images = store.load(file).with_context(|| format!("loading {}", file.display()))?;
        for image in images {
            screen.result(&format!("loaded {}", names(&image).join(", ")));
        }
    }
    Ok(())
}

fn load_demo(store: &Store, screen: &Screen) -> Result<(), CommandError> {
    for image in demo::add_images(store)? {
        screen.result(&format!("loaded {image}"));
    }
    Ok(())
}

async fn pull(store: &Store, screen: &Screen, images: &[String]) -> Result<(), CommandError> {
    for image in images {
        screen.progress(&format!("pulling {image}"));
        let pulled = store.pull(image, Vec::new()).await.with_context(|| format!("pulling {image}"))?;
        screen.result(&format!("pulled {} ({})", names(&pulled).join(", "), size(pulled.size)));
    }
    Ok(())
}

fn remove(store: &Store, screen: &Screen, images: &[String]) -> Result<(), CommandError> {
    for image in images {
        let known = store.status(image).with_context(|| format!("looking up {image}"))?;
        if known.is_none() {
            return Err(CommandError::from(anyhow::anyhow!("there is no image {image:?} on this machine"))
                .hint("`podrig image list` shows which there are"));
        }
        store.remove(image).with_context(|| format!("removing {image}"))?;
        screen.result(&format!("removed {image}"));
    }
    Ok(())
}

/// Draws a line for each name, since a name is what manifests use and what can be removed.
fn table(images: &[ImageInfo]) -> String {
    let rows_of = |image: &ImageInfo| -> Vec<[String; 3]> {
        let row = |name: &str| [name.to_owned(), short(&image.id).to_owned(), size(image.size)];
        names(image).into_iter().map(row).collect()
    };
    let rows: Vec<[String; 3]> = images.iter().flat_map(rows_of).collect();
    let width = rows.iter().map(|row| row[0].chars().count()).max().unwrap_or(0).max(5);
    let mut lines = vec![format!("{:<width$}  {:<12}  SIZE", "IMAGE", "ID")];
    lines.extend(rows.iter().map(|[name, id, size]| format!("{name:<width$}  {id:<12}  {size}")));
    lines.join("\n")
}

/// Returns all names with a tag; without any, the first digest or the id.
fn names(image: &ImageInfo) -> Vec<&str> {
    if image.repo_tags.is_empty() {
        return vec![image.repo_digests.first().unwrap_or(&image.id)];
    }
    image.repo_tags.iter().map(String::as_str).collect()
}

/// Returns the first twelve digits of an id, as image tools show them.
fn short(id: &str) -> &str {
    let digits = id.strip_prefix("sha256:").unwrap_or(id);
    digits.get(..12).unwrap_or(digits)
}

#[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
fn size(bytes: u64) -> String {
    let units = [("GB", 1e9), ("MB", 1e6), ("kB", 1e3)];
    let fitting = units.iter().find(|(_, unit)| bytes as f64 >= *unit);
    fitting.map_or_else(|| format!("{bytes} B"), |(name, unit)| format!("{:.1} {name}", bytes as f64 / unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_of_an_image_is_listed() {
        let id = "sha256:0123456789abcdef".to_owned();
        let named = ImageInfo { id: id.clone(), repo_tags: vec!["a:1".into(), "a:2".into()], ..ImageInfo::default() };
        let unnamed = ImageInfo { id: id.clone(), ..ImageInfo::default() };
        let table = table(&[named, unnamed]);
        let rows: Vec<&str> = table.lines().skip(1).map(|line| line.split(' ').next().unwrap()).collect();
        assert_eq!(rows, ["a:1", "a:2", id.as_str()]);
    }
}
