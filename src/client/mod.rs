//! The leaf that reaches registries over HTTP.
