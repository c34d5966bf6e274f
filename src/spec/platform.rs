//! Platforms: operating system, architecture, variant
//! ([image-spec, Image Index](https://github.com/opencontainers/image-spec/blob/main/image-index.md#image-index-property-descriptions)).

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use super::name::shortened;
use crate::error::{Error, ErrorCode};

/// A platform in its normal form: `x86_64` is `amd64`, `aarch64` is `arm64`, `arm64/v8` is `arm64`, `arm` is `arm/v7`.
///
/// Written as `arch`, `os/arch` or `os/arch/variant`; the operating system is `linux` when none is written.
///
/// ```
/// use tower_oci::spec::platform::Platform;
///
/// let platform: Platform = "linux/x86_64".parse()?;
/// assert_eq!(platform, Platform::LINUX_AMD64);
/// assert_eq!(platform.to_string(), "linux/amd64");
/// # Ok::<_, tower_oci::spec::platform::InvalidPlatform>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Platform {
    os: Cow<'static, str>,
    architecture: Cow<'static, str>,
    variant: Option<Cow<'static, str>>,
}

impl Platform {
    /// `linux/amd64`.
    pub const LINUX_AMD64: Self =
        Self { os: Cow::Borrowed("linux"), architecture: Cow::Borrowed("amd64"), variant: None };
    /// `linux/arm64`.
    pub const LINUX_ARM64: Self =
        Self { os: Cow::Borrowed("linux"), architecture: Cow::Borrowed("arm64"), variant: None };

    /// The platform that an index entry or a config names, whatever its words: unknown ones are kept, known ones
    /// brought into their normal form.
    #[must_use]
    pub fn from_parts(os: &str, architecture: &str, variant: Option<&str>) -> Self {
        let architecture = architecture.to_ascii_lowercase();
        let variant = variant.map(str::to_ascii_lowercase).filter(|variant| !variant.is_empty());
        let (architecture, variant) = match (architecture.as_str(), variant.as_deref()) {
            ("amd64" | "x86_64" | "x86-64", None | Some("v1" | "1")) => ("amd64".into(), None),
            ("x86_64" | "x86-64", _) => ("amd64".into(), variant),
            ("arm64" | "aarch64", None | Some("v8" | "8")) => ("arm64".into(), None),
            ("aarch64", _) => ("arm64".into(), variant),
            ("arm", None) => ("arm".into(), Some("v7".into())),
            ("arm", Some(digit @ ("5" | "6" | "7" | "8"))) => {
                let variant = format!("v{digit}");
                ("arm".into(), Some(variant))
            }
            _ => (architecture, variant),
        };
        Self {
            os: os.to_ascii_lowercase().into(),
            architecture: architecture.into(),
            variant: variant.map(Cow::Owned),
        }
    }

    /// The operating system.
    #[must_use]
    pub fn os(&self) -> &str {
        &self.os
    }

    /// The architecture.
    #[must_use]
    pub fn architecture(&self) -> &str {
        &self.architecture
    }

    /// The variant, where the architecture's normal form has one.
    #[must_use]
    pub fn variant(&self) -> Option<&str> {
        self.variant.as_deref()
    }

    /// Whether an image for `other` is what is wanted when this is asked for: the same, or this names no variant.
    #[must_use]
    pub fn accepts(&self, other: &Self) -> bool {
        self.os == other.os
            && self.architecture == other.architecture
            && (self.variant.is_none() || self.variant == other.variant)
    }

    /// A comma list of platforms, without repetitions, in the order written.
    ///
    /// # Errors
    ///
    /// When the list is empty, or one of its items is no platform.
    pub fn parse_list(text: &str) -> Result<Vec<Self>, InvalidPlatform> {
        let mut platforms = Vec::new();
        for item in text.split(',') {
            let platform = item.trim().parse()?;
            if !platforms.contains(&platform) {
                platforms.push(platform);
            }
        }
        Ok(platforms)
    }
}

impl FromStr for Platform {
    type Err = InvalidPlatform;

    fn from_str(text: &str) -> Result<Self, InvalidPlatform> {
        let invalid = |reason| InvalidPlatform { text: shortened(text), reason };
        let mut parts = text.split('/');
        let (os, architecture, variant) = match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(architecture), None, ..) => ("linux", architecture, None),
            (Some(os), Some(architecture), variant, None) => (os, architecture, variant),
            _ => return Err(invalid("it has more than three parts")),
        };
        if !OPERATING_SYSTEMS.contains(&os.to_ascii_lowercase().as_str()) {
            return Err(invalid("its operating system is not known"));
        }
        if !ARCHITECTURES.contains(&architecture.to_ascii_lowercase().as_str()) {
            return Err(invalid("its architecture is not known"));
        }
        if let Some(variant) = variant
            && (variant.is_empty()
                || variant.len() > 16
                || !variant.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.'))
        {
            return Err(invalid("its variant is not made of letters and digits"));
        }
        Ok(Self::from_parts(os, architecture, variant))
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}

/// A text that is no platform, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid platform `{text}`: {reason}")]
pub struct InvalidPlatform {
    text: String,
    reason: &'static str,
}

impl From<InvalidPlatform> for Error {
    fn from(error: InvalidPlatform) -> Self {
        Self::invalid(ErrorCode::ManifestInvalid, error.to_string())
    }
}

const OPERATING_SYSTEMS: &[&str] = &[
    "aix", "android", "darwin", "freebsd", "illumos", "linux", "netbsd", "openbsd", "solaris", "wasip1",
    "windows",
];

const ARCHITECTURES: &[&str] = &[
    "386", "aarch64", "amd64", "arm", "arm64", "loong64", "mips", "mips64", "mips64le", "mipsle", "ppc64",
    "ppc64le", "riscv64", "s390x", "wasm", "x86-64", "x86_64",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_into_their_normal_form() {
        for (text, normal) in [
            ("amd64", "linux/amd64"),
            ("x86_64", "linux/amd64"),
            ("linux/x86-64", "linux/amd64"),
            ("arm64", "linux/arm64"),
            ("linux/aarch64", "linux/arm64"),
            ("linux/arm64/v8", "linux/arm64"),
            ("linux/arm64/8", "linux/arm64"),
            ("arm", "linux/arm/v7"),
            ("linux/arm/5", "linux/arm/v5"),
            ("linux/arm/6", "linux/arm/v6"),
            ("linux/arm/v6", "linux/arm/v6"),
            ("linux/arm/8", "linux/arm/v8"),
            ("windows/amd64", "windows/amd64"),
            ("linux/amd64/v3", "linux/amd64/v3"),
        ] {
            assert_eq!(text.parse::<Platform>().unwrap().to_string(), normal, "{text}");
        }
    }

    #[test]
    fn what_is_no_platform_is_refused() {
        for bad in [
            "",
            "foo",
            "linux/",
            "linux/foo",
            "linux/arm/v7/x",
            "plan10/amd64",
            "linux/arm/",
            "linux/arm/a b",
        ] {
            assert!(bad.parse::<Platform>().is_err(), "{bad}");
        }
    }

    #[test]
    fn lists_have_no_repetitions() {
        let list = Platform::parse_list("linux/amd64, arm64,x86_64").unwrap();
        assert_eq!(list, [Platform::LINUX_AMD64, Platform::LINUX_ARM64]);
        assert!(Platform::parse_list("amd64,,arm64").is_err());
    }
}
