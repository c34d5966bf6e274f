//! What is kept: records, behind a small trait.
