//! The container-token API of the Wave service.
