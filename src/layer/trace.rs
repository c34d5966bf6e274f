//! Spans without secrets.
