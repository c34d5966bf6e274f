//! An embedded OCI registry proxy made of composable tower services.
