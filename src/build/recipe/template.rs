use super::super::container_file::instructions;
use super::{Words, image};
use crate::error::Error;
use crate::spec::name::shortened;

/// The container files that we write, and the images in them.
///
/// A template has placeholders between two pairs of braces: `{{micromamba_image}}`. A line is left out when its
/// placeholder stands for nothing.
///
/// | template | placeholders |
/// |---|---|
/// | conda | `micromamba_image`, `base_image`, `base_packages` (shell words), `commands` (whole lines) |
/// | spack stage | `spack_builder_image` |
/// | spack runner | `spack_runner_image` |
///
/// A container file of a client's beside a Spack file copies from the stage that the Spack stage makes, which is named
/// `builder` by custom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Templates(TemplatesBuilder);

/// Makes [`Templates`] of the embedder's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplatesBuilder {
    conda: String,
    spack_stage: String,
    spack_runner: String,
    micromamba_image: String,
    base_image: String,
    base_packages: Words,
    spack_builder_image: String,
    spack_runner_image: String,
}

impl Templates {
    /// The default templates and images, each to be replaced.
    ///
    /// ```
    /// use tower_oci::build::recipe::Templates;
    ///
    /// let templates = Templates::builder().base_image("registry.example/base:12").build()?;
    /// assert!(Templates::builder().conda("FROM {{no_such_image}}").build().is_err());
    /// # Ok::<_, tower_oci::error::Error>(())
    /// ```
    #[must_use]
    pub fn builder() -> TemplatesBuilder {
        TemplatesBuilder {
            conda: include_str!("conda.dockerfile").to_owned(),
            spack_stage: include_str!("spack-stage.dockerfile").to_owned(),
            spack_runner: include_str!("spack-runner.dockerfile").to_owned(),
            micromamba_image: "docker.io/mambaorg/micromamba:2.1.1".to_owned(),
            base_image: "docker.io/library/debian:12-slim".to_owned(),
            base_packages: Words::fixed(["conda-forge::procps-ng"]),
            spack_builder_image: "docker.io/spack/ubuntu-jammy:0.23".to_owned(),
            spack_runner_image: "docker.io/library/ubuntu:22.04".to_owned(),
        }
    }

    /// The container file for a Conda environment; what a request doesn't say is the template's own.
    pub(super) fn conda(&self, asked: &Asked<'_>) -> String {
        let Self(own) = self;
        let base_packages = asked.base_packages.unwrap_or(&own.base_packages).quoted();
        let commands = asked.commands.join("\n");
        let values = [
            ("micromamba_image", asked.micromamba_image.unwrap_or(&own.micromamba_image)),
            ("base_image", asked.base_image.unwrap_or(&own.base_image)),
            ("base_packages", &base_packages),
            ("commands", &commands),
        ];
        fill(&own.conda, &values)
    }

    pub(super) fn spack_stage(&self) -> String {
        fill(&self.0.spack_stage, &[("spack_builder_image", &self.0.spack_builder_image)])
    }

    pub(super) fn spack_runner(&self) -> String {
        fill(&self.0.spack_runner, &[("spack_runner_image", &self.0.spack_runner_image)])
    }
}

impl Default for Templates {
    fn default() -> Self {
        Self(Self::builder())
    }
}

/// What a request chooses by itself, checked.
pub(super) struct Asked<'a> {
    pub(super) micromamba_image: Option<&'a str>,
    pub(super) base_image: Option<&'a str>,
    pub(super) base_packages: Option<&'a Words>,
    pub(super) commands: &'a [String],
}

impl TemplatesBuilder {
    /// The container file for a Conda environment, which lies beside it as `conda.yml`.
    #[must_use]
    pub fn conda(mut self, template: impl Into<String>) -> Self {
        self.conda = template.into();
        self
    }

    /// The stage that installs a Spack environment, which lies beside it as `spack.yaml`.
    #[must_use]
    pub fn spack_stage(mut self, template: impl Into<String>) -> Self {
        self.spack_stage = template.into();
        self
    }

    /// What follows the Spack stage when the request has no container file.
    #[must_use]
    pub fn spack_runner(mut self, template: impl Into<String>) -> Self {
        self.spack_runner = template.into();
        self
    }

    /// The image that installs Conda packages. A request may name another.
    #[must_use]
    pub fn micromamba_image(mut self, image: impl Into<String>) -> Self {
        self.micromamba_image = image.into();
        self
    }

    /// The image that Conda packages are put on. A request may name another.
    #[must_use]
    pub fn base_image(mut self, image: impl Into<String>) -> Self {
        self.base_image = image.into();
        self
    }

    /// Conda packages that every image gets, separated by spaces; none when empty. A request may name others.
    ///
    /// # Errors
    ///
    /// When one of them can't be a package.
    pub fn base_packages(mut self, packages: &str) -> Result<Self, Error> {
        self.base_packages = Words::parse("base package", packages)?;
        Ok(self)
    }

    /// The image that installs Spack environments.
    #[must_use]
    pub fn spack_builder_image(mut self, image: impl Into<String>) -> Self {
        self.spack_builder_image = image.into();
        self
    }

    /// The image that a Spack environment is put on.
    #[must_use]
    pub fn spack_runner_image(mut self, image: impl Into<String>) -> Self {
        self.spack_runner_image = image.into();
        self
    }

    /// The templates, checked.
    ///
    /// # Errors
    ///
    /// When a template has a placeholder that it can't have, and when an image has no valid name.
    pub fn build(self) -> Result<Templates, Error> {
        let conda = ["micromamba_image", "base_image", "base_packages", "commands"];
        check("conda template", &self.conda, &conda)?;
        check("Spack stage", &self.spack_stage, &["spack_builder_image"])?;
        check("Spack runner", &self.spack_runner, &["spack_runner_image"])?;
        image("micromamba image", &self.micromamba_image)?;
        image("base image", &self.base_image)?;
        image("Spack builder image", &self.spack_builder_image)?;
        image("Spack runner image", &self.spack_runner_image)?;
        Ok(Templates(self))
    }
}

/// The names between braces; an empty one where a brace is not closed.
fn placeholders(template: &str) -> impl Iterator<Item = &str> {
    template.split("{{").skip(1).map(|rest| rest.split_once("}}").map_or("", |(name, _)| name))
}

fn check(what: &str, template: &str, known: &[&str]) -> Result<(), Error> {
    if instructions(template).1 != '\\' {
        return Err(super::invalid(format!(
            "the {what} has the directive `escape`, which would change what values mean"
        )));
    }
    match placeholders(template).find(|name| !known.contains(name)) {
        None => Ok(()),
        Some(name) => Err(super::invalid(format!(
            "the {what} has the placeholder `{}`; it may have `{}`",
            shortened(name),
            known.join("`, `")
        ))),
    }
}

/// Fills in each value once: what a value holds is never taken for a placeholder.
fn fill(template: &str, values: &[(&str, &str)]) -> String {
    let mut filled = String::with_capacity(template.len());
    for line in template.split_inclusive('\n') {
        let mut parts = line.split("{{");
        let mut text = parts.next().unwrap_or_default().to_owned();
        let mut is_left_out = false;
        for part in parts {
            let (name, rest) = part.split_once("}}").unwrap_or((part, ""));
            let value = values.iter().find(|(known, _)| *known == name).map_or("", |(_, value)| value);
            is_left_out |= value.is_empty();
            text.push_str(value);
            text.push_str(rest);
        }
        if !is_left_out {
            filled.push_str(&text);
        }
    }
    filled
}
