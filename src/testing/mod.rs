//! A registry with quirks and faults, for tests.
