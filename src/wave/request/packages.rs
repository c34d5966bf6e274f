//! `packages` of `/v1alpha2/container`.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::member::{invalid, list, object, text};
use super::not_here;
use crate::error::Error;
use crate::wave::layers;

/// Conda packages that an image is to have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::wave) struct Packages {
    /// The content of an environment file, in place of `entries`.
    pub(in crate::wave) environment: Option<String>,
    /// The packages, as conda writes them.
    pub(in crate::wave) entries: Vec<String>,
    /// Where they are looked for, in this order.
    pub(in crate::wave) channels: Vec<String>,
    pub(in crate::wave) options: CondaOptions,
}

/// `condaOpts`: what replaces the service's own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::wave) struct CondaOptions {
    pub(in crate::wave) mamba_image: Option<String>,
    pub(in crate::wave) base_image: Option<String>,
    pub(in crate::wave) base_packages: Option<String>,
    pub(in crate::wave) commands: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Members<'a> {
    #[serde(rename = "type", borrow, default)]
    kind: Option<&'a RawValue>,
    #[serde(borrow, default)]
    environment: Option<&'a RawValue>,
    #[serde(borrow, default)]
    entries: Option<&'a RawValue>,
    #[serde(borrow, default)]
    channels: Option<&'a RawValue>,
    #[serde(borrow, default)]
    conda_opts: Option<&'a RawValue>,
}

impl Members<'_> {
    fn is_empty(&self) -> bool {
        [self.kind, self.environment, self.entries].iter().all(Option::is_none)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OptionMembers<'a> {
    #[serde(borrow, default)]
    mamba_image: Option<&'a RawValue>,
    #[serde(borrow, default)]
    base_image: Option<&'a RawValue>,
    #[serde(borrow, default)]
    base_packages: Option<&'a RawValue>,
    #[serde(borrow, default)]
    commands: Option<&'a RawValue>,
}

pub(super) fn read(raw: Option<&RawValue>) -> Result<Option<Packages>, Error> {
    let Some(members) = object::<Members<'_>>("packages", raw)? else { return Ok(None) };
    if members.is_empty() {
        return Ok(None);
    }
    match text("packages.type", members.kind)?.as_deref() {
        Some("CONDA") => {}
        Some("CRAN") => return Err(not_here("this service doesn't install CRAN packages, only CONDA ones")),
        Some(other) => {
            let other = crate::spec::name::shortened(other);
            return Err(invalid(format!("`packages.type` is neither CONDA nor CRAN: `{other}`")));
        }
        None => return Err(invalid("`packages.type` is missing: CONDA is what there is")),
    }
    let environment = match text("packages.environment", members.environment)? {
        Some(encoded) => Some(layers::base64_text("packages.environment", &encoded)?),
        None => None,
    };
    let packages = Packages {
        environment,
        entries: list("packages.entries", members.entries)?,
        channels: list("packages.channels", members.channels)?,
        options: options(members.conda_opts)?,
    };
    match (&packages.environment, packages.entries.as_slice()) {
        (None, []) => Err(invalid("`packages` has neither `entries` nor an `environment`")),
        (Some(_), [_, ..]) => {
            Err(invalid("`packages.entries` and `packages.environment` are both given: only one can be"))
        }
        _ => Ok(Some(packages)),
    }
}

fn options(raw: Option<&RawValue>) -> Result<CondaOptions, Error> {
    let Some(members) = object::<OptionMembers<'_>>("packages.condaOpts", raw)? else {
        return Ok(CondaOptions::default());
    };
    let owned = |name, raw| text(name, raw).map(|text| text.map(std::borrow::Cow::into_owned));
    Ok(CondaOptions {
        mamba_image: owned("packages.condaOpts.mambaImage", members.mamba_image)?,
        base_image: owned("packages.condaOpts.baseImage", members.base_image)?,
        base_packages: owned("packages.condaOpts.basePackages", members.base_packages)?,
        commands: list("packages.condaOpts.commands", members.commands)?,
    })
}
