//! With whose credentials an upstream is asked.
