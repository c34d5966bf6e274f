//! Names as they stand in paths, headers and requests: what is accepted is written as it was read, or in a normal form
//! that means the same; what is refused is named, but not at length.

use std::fmt::{Debug, Display};
use std::str::FromStr;

use tower_oci::spec::digest::Digest;
use tower_oci::spec::media_type::MediaType;
use tower_oci::spec::name::{Host, ImageName, Reference, Repository, Tag};
use tower_oci::spec::platform::Platform;

/// No message about a bad name is longer, however long the name is.
const MAX_MESSAGE: usize = 2048;

pub(crate) fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    exact::<Digest>(text);
    exact::<Reference>(text);
    exact::<Tag>(text);
    if let Some(host) = exact::<Host>(text) {
        assert!(text.len() <= 255 && text.starts_with(&host.to_string()));
        assert!(!host.hostname().is_empty() && !host.hostname().contains(['/', '@', '%']));
    }
    if let Some(repository) = exact::<Repository>(text) {
        assert!(text.len() <= Repository::MAX_LEN);
        assert!(repository.components().all(|part| !part.is_empty() && part != "." && part != ".."));
        assert!(repository.is_under(text));
        match repository.with_prefix("mirror") {
            Ok(longer) => assert_eq!(longer.strip_prefix("mirror"), Some(repository)),
            Err(_) => assert!(text.len() + "mirror/".len() > Repository::MAX_LEN),
        }
    }
    normal::<MediaType>(text);
    if let Some(platform) = normal::<Platform>(text) {
        assert!(platform.accepts(&platform));
    }
    if let Some(image) = normal::<ImageName>(text) {
        assert!(!text.contains("://"));
        let digest = image.digest().copied();
        assert_eq!(image.reference().digest().copied(), digest, "the digest decides");
    }
    if let Ok(platforms) = Platform::parse_list(text) {
        let written: Vec<String> = platforms.iter().map(Platform::to_string).collect();
        assert_eq!(Platform::parse_list(&written.join(",")), Ok(platforms));
    }
}

/// What is accepted is written as it was read.
fn exact<T: FromStr<Err: Display> + Display + PartialEq + Debug>(text: &str) -> Option<T> {
    let value = normal::<T>(text)?;
    assert_eq!(value.to_string(), text);
    Some(value)
}

/// What is accepted is written in a form that is read as the same.
fn normal<T: FromStr<Err: Display> + Display + PartialEq + Debug>(text: &str) -> Option<T> {
    match text.parse::<T>() {
        Ok(value) => {
            let again = value.to_string().parse::<T>();
            assert_eq!(again.ok().as_ref(), Some(&value));
            Some(value)
        }
        Err(error) => {
            let message = error.to_string();
            assert!(message.len() <= MAX_MESSAGE, "{} bytes", message.len());
            assert!(!message.contains(char::is_control), "{message:?}");
            None
        }
    }
}
