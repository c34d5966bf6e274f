//! Injects image layers and configuration into images.
