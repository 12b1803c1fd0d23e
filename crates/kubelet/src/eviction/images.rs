//! Images that nobody uses go when their file system fills up (pkg/kubelet/images/image_gc_manager.go).
//!
//! The store knows which ones are used, by whichever node on the machine. Those that were put there by hand stay: no
//! registry has to have them.

use std::time::Duration;

use cri::{ImageService, Removal};

use super::{
    observe::Places,
    options::{ImageGcOptions, Signal},
    pressure::Observation,
};
use crate::clock::wall_nanos;

/// What came of a collection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Collected {
    /// Bytes that were to become free.
    pub(super) wanted: i64,
    /// Bytes that did.
    pub(super) freed: i64,
}

/// Returns how many bytes must become free, if the file system of images is too full.
pub(super) fn excess(seen: Observation, options: ImageGcOptions) -> Option<i64> {
    let (available, capacity) = (i128::from(seen.available.min(seen.capacity)), i128::from(seen.capacity));
    if options.high_percent >= 100 || capacity <= 0 {
        return None;
    }
    let used_percent = 100 - available * 100 / capacity;
    let wanted = capacity * (100 - i128::from(options.low_percent)) / 100 - available;
    (used_percent >= i128::from(options.high_percent)).then(|| i64::try_from(wanted).unwrap_or(i64::MAX))
}

/// Removes images until so many bytes have become free, the one that was not used for longest first.
pub(super) async fn collect<R: ImageService>(
    runtime: &R,
    places: &Places,
    wanted: i64,
    minimum_age: Duration,
) -> Result<Collected, cri::Error> {
    let available = || places.observe().get(&Signal::ImageFs).map_or(0, |seen| seen.available);
    let before = available();
    let newest = wall_nanos().saturating_sub(i64::try_from(minimum_age.as_nanos()).unwrap_or(i64::MAX));
    let unused = runtime.unused_images().await?;
    let mut freed = available().saturating_sub(before);
    for image in unused.into_iter().take_while(|image| image.used_at <= newest) {
        if freed >= wanted {
            break;
        }
        match runtime.remove_unused_image(&image.id).await? {
            Removal::Removed => tracing::info!(image = image.id, "unused image removed: disk space is short"),
            Removal::Used => {}
            Removal::Busy => break,
        }
        freed = available().saturating_sub(before);
    }
    Ok(Collected { wanted, freed })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s4_56_images_go_from_the_high_mark_on_down_to_the_low_one() {
        let options = ImageGcOptions { high_percent: 85, low_percent: 80, minimum_age: Duration::ZERO };
        let excess = |available, options| excess(Observation { available, capacity: 1000 }, options);
        assert_eq!(excess(160, options), None);
        assert_eq!(excess(159, options), Some(41));
        assert_eq!(excess(0, options), Some(200));
        assert_eq!(excess(2000, options), None);
        assert_eq!(excess(0, ImageGcOptions { high_percent: 100, ..options }), None);
    }
}
