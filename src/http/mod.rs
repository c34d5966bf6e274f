//! HTTP to operations and back: the codec in both directions, and the server edge.
