//! Hashes what an embedder's own leaf answers.
