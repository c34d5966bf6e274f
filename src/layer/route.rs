//! Which upstream a name means.
