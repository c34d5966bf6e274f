use std::fmt;

use tower_layer::Layer;

use super::service::Endpoints;
use crate::operation::BoxRegistry;
use crate::wave::Wave;

/// The layer of [`Wave::endpoints`].
#[derive(Clone)]
pub struct EndpointsLayer {
    wave: Wave,
    images: BoxRegistry,
}

impl EndpointsLayer {
    pub(in crate::wave) fn new(wave: Wave, images: BoxRegistry) -> Self {
        Self { wave, images }
    }
}

impl<S> Layer<S> for EndpointsLayer {
    type Service = Endpoints<S>;

    fn layer(&self, inner: S) -> Endpoints<S> {
        Endpoints::new(inner, self.wave.clone(), self.images.clone())
    }
}

impl fmt::Debug for EndpointsLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EndpointsLayer").field("wave", &self.wave).finish_non_exhaustive()
    }
}
