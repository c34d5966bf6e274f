//! Where credentials for upstream registries come from.
