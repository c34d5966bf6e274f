use crate::layer::rewrite::Limits as LayerLimits;

/// How large a container-token request and its parts may be.
///
/// ```
/// use tower_oci::wave::Limits;
///
/// let mut limits = Limits::default();
/// assert_eq!(limits.max_location, 14_000_000);
/// limits.max_layers = 4;
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// The most bytes of a request. 32 MiB by default; more gets a 413.
    pub max_request: usize,
    /// The most characters of a layer's `location`, base64 text included. 14,000,000 by default.
    pub max_location: usize,
    /// The most characters of `containerFile`, in base64. 10,000 by default.
    pub max_container_file: usize,
    /// The most characters of `condaFile` and of `spackFile`, in base64. 50,000 by default.
    pub max_conda_file: usize,
    /// The most layers. 20 by default.
    pub max_layers: usize,
    /// The most characters of an http location, of `towerEndpoint` and of other texts that are kept: 8,192 by
    /// default.
    pub max_text: usize,
    /// How far a layer is inflated to be checked: 512 MiB, and 100 times its size, by default.
    pub layer: LayerLimits,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_request: 32 * 1024 * 1024,
            max_location: 14_000_000,
            max_container_file: 10_000,
            max_conda_file: 50_000,
            max_layers: 20,
            max_text: 8192,
            layer: LayerLimits::default().with_max_inflated(512 * 1024 * 1024),
        }
    }
}
