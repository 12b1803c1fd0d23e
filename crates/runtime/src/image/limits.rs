//! What the store accepts at most, so that no archive can fill the disk or the memory.

/// Bounds on what one image may be. Each is far above what real images need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of all layer streams of one image after decompression, headers included. It bounds disk use and
    /// the decompression ratio at once. The largest images in common use (GPU toolkits) unpack to about 30 GiB.
    pub unpacked_bytes: u64,
    /// Files in all layers of one image. A full desktop distribution has about half a million.
    pub entries: u64,
    /// Layers of one image: overlayfs accepts 500, Docker builds 127.
    pub layers: usize,
    /// Bytes of a path inside a layer: `PATH_MAX` of Linux.
    pub path_bytes: usize,
    /// Directories in a path. The longest in common use (nested `node_modules`) stay below 60.
    pub path_depth: usize,
    /// Bytes of one extended tar header (long names, extended attributes): Linux allows 64 KiB for one attribute.
    pub extended_header_bytes: u64,
    /// Bytes of one manifest, index or configuration. Registries are required to accept 4 MiB.
    pub document_bytes: u64,
    /// Members of an archive file.
    pub archive_members: usize,
    /// Manifests in all indexes of one image or archive.
    pub manifests: usize,
    /// Nested indexes.
    pub index_depth: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            unpacked_bytes: 128 << 30,
            entries: 4_000_000,
            layers: 256,
            path_bytes: 4096,
            path_depth: 256,
            extended_header_bytes: 1 << 20,
            document_bytes: 4 << 20,
            archive_members: 100_000,
            manifests: 1000,
            index_depth: 4,
        }
    }
}
