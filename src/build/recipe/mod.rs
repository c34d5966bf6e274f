//! Recipes: from what people write to a container file and its context.
//!
//! Everything here is a pure function. A [`Recipe`] is what a request carries: a container file, a Conda environment, a
//! Spack environment, or a list of packages. [`Recipe::context`] makes a [`BuildContext`] of it with the embedder's
//! [`Templates`].
//!
//! | the recipe has | what is built |
//! |---|---|
//! | a container file | just that |
//! | a container file and a Conda file | that, with `conda.yml` in its context |
//! | a container file and a Spack file | that, with a stage `builder` in front that installs `spack.yaml` |
//! | a Conda file, or packages | our own file: install, print the lock, copy the prefix to a plain base image |
//! | a Spack file | our own file: install, print the lock, copy software and view to a plain base image |
//!
//! The container file that we write prints the exact versions that were chosen to the build's log, between two lines;
//! [`lock`] finds them there.
//!
//! ```
//! use tower_oci::build::recipe::{Recipe, Templates};
//!
//! let recipe = Recipe::conda("channels: [conda-forge]\ndependencies: [samtools=1.20]\n");
//! let context = recipe.context(&Templates::default())?;
//! assert!(context.container_file().starts_with("FROM docker.io/mambaorg/micromamba:"));
//! assert_eq!(context.files().map(|(name, _)| name).collect::<Vec<_>>(), ["conda.yml"]);
//! # Ok::<_, tower_oci::error::Error>(())
//! ```

mod lock;
mod packages;
mod template;

use self::packages::Words;
use super::container_file::instructions;
use super::request::BuildContext;
use crate::error::{Error, ErrorCode};
use crate::spec::name::{ImageName, shortened};

pub use self::lock::lock;
pub use self::packages::CondaPackages;
pub use self::template::{Templates, TemplatesBuilder};

/// What is to be built, in the words of who asks for it.
///
/// The text of files is taken as it is: what a container file does is for the engine to confine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recipe {
    /// A container file.
    pub container_file: Option<String>,
    /// A Conda environment file: `conda.yml` in the context.
    pub conda_file: Option<String>,
    /// A Spack environment file: `spack.yaml` in the context.
    pub spack_file: Option<String>,
    /// Packages, in the place of all files.
    pub packages: Option<CondaPackages>,
}

impl Recipe {
    /// A container file.
    #[must_use]
    pub fn container_file(text: impl Into<String>) -> Self {
        Self { container_file: Some(text.into()), ..Self::default() }
    }

    /// A Conda environment file, for which the container file is ours.
    #[must_use]
    pub fn conda(text: impl Into<String>) -> Self {
        Self::default().with_conda_file(text)
    }

    /// A Spack environment file, for which the container file is ours.
    #[must_use]
    pub fn spack(text: impl Into<String>) -> Self {
        Self::default().with_spack_file(text)
    }

    /// Conda packages, for which both files are ours.
    #[must_use]
    pub fn packages(packages: CondaPackages) -> Self {
        Self { packages: Some(packages), ..Self::default() }
    }

    /// With a Conda environment file.
    #[must_use]
    pub fn with_conda_file(mut self, text: impl Into<String>) -> Self {
        self.conda_file = Some(text.into());
        self
    }

    /// With a Spack environment file.
    #[must_use]
    pub fn with_spack_file(mut self, text: impl Into<String>) -> Self {
        self.spack_file = Some(text.into());
        self
    }

    /// The container file and what lies beside it.
    ///
    /// # Errors
    ///
    /// 400 with the offending value, when there is nothing to build, when parts exclude each other, when a container
    /// file has no `FROM`, and when a package, a channel, a command or an image isn't one.
    pub fn context(&self, templates: &Templates) -> Result<BuildContext, Error> {
        for (what, file) in [
            ("container file", &self.container_file),
            ("Conda file", &self.conda_file),
            ("Spack file", &self.spack_file),
        ] {
            if file.as_ref().is_some_and(|file| file.trim().is_empty()) {
                return Err(invalid(format!("the {what} is empty")));
            }
        }
        match (&self.container_file, &self.conda_file, &self.spack_file, &self.packages) {
            (None, None, None, None) => {
                Err(invalid("there is nothing to build: no container file, no packages"))
            }
            (None, None, None, Some(packages)) => packages.context(templates),
            (_, _, _, Some(_)) => {
                Err(invalid("packages can't stand beside a container, Conda or Spack file"))
            }
            (None, Some(_), Some(_), None) => {
                Err(invalid("a Conda file and a Spack file can't be one image without a container file"))
            }
            (None, Some(conda), None, None) => CondaPackages::file(conda).context(templates),
            (None, None, Some(spack), None) => Ok(spack_only(spack, templates)),
            (Some(file), conda, spack, None) => beside(file, conda.as_deref(), spack.as_deref(), templates),
        }
    }
}

fn spack_only(spack: &str, templates: &Templates) -> BuildContext {
    let stage = templates.spack_stage();
    let file = format!("{stage}\n{}", templates.spack_runner());
    BuildContext::new(file).file(SPACK_FILE, spack.to_owned())
}

fn beside(
    file: &str,
    conda: Option<&str>,
    spack: Option<&str>,
    templates: &Templates,
) -> Result<BuildContext, Error> {
    let (instructions, escape) = instructions(file);
    let Some(from) = instructions.iter().find(|one| one.keyword == "FROM") else {
        return Err(invalid("the container file has no `FROM`"));
    };
    let mut context = match spack {
        None => BuildContext::new(file),
        Some(_) if escape != '\\' => {
            return Err(invalid("a container file beside a Spack file can't have the directive `escape`"));
        }
        // What stands before the first stage belongs to the whole file, and stays there.
        Some(spack) => {
            let (head, stages) = file.split_at_checked(from.start).unwrap_or(("", file));
            let stage = templates.spack_stage();
            BuildContext::new(format!("{head}{stage}\n{stages}")).file(SPACK_FILE, spack.to_owned())
        }
    };
    if let Some(conda) = conda {
        context = context.file(CONDA_FILE, conda.to_owned());
    }
    Ok(context)
}

fn invalid(message: impl Into<String>) -> Error {
    Error::invalid(ErrorCode::ManifestInvalid, message)
}

/// An image that a template or a request names, checked and as it was written.
fn image<'a>(what: &str, name: &'a str) -> Result<&'a str, Error> {
    match name.parse::<ImageName>() {
        Ok(_) => Ok(name),
        Err(error) => Err(invalid(format!("the {what} `{}`: {error}", shortened(name)))),
    }
}

const CONDA_FILE: &str = "conda.yml";
const SPACK_FILE: &str = "spack.yaml";

#[cfg(test)]
mod tests;
