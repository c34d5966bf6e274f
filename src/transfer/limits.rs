/// How large an image tree may be that is copied.
///
/// ```
/// use tower_oci::transfer::Limits;
///
/// let limits = Limits::new().manifests(16).bytes(10 << 30);
/// # let _ = limits;
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct Limits {
    pub(super) manifests: usize,
    pub(super) manifest_bytes: usize,
    pub(super) depth: usize,
    pub(super) bytes: u64,
}

impl Limits {
    /// 512 manifests and indexes with 64 MiB together, indexes within indexes within an index, blobs of any size.
    pub fn new() -> Self {
        Self { manifests: 512, manifest_bytes: 64 << 20, depth: 3, bytes: u64::MAX }
    }

    /// How many manifests and indexes there may be in all.
    pub fn manifests(mut self, most: usize) -> Self {
        self.manifests = most;
        self
    }

    /// How many bytes manifests and indexes may have together: they are in memory until they are written.
    pub fn manifest_bytes(mut self, most: usize) -> Self {
        self.manifest_bytes = most;
        self
    }

    /// How many steps an image manifest may be below the root: 0 for no index, 1 for an index of images.
    pub fn depth(mut self, most: usize) -> Self {
        self.depth = most;
        self
    }

    /// How many bytes the blobs may have together, each counted once. They say so themselves, and are held to it.
    pub fn bytes(mut self, most: u64) -> Self {
        self.bytes = most;
        self
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::new()
    }
}
