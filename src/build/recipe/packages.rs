use serde::Serialize;

use super::template::{Asked, Templates};
use super::{CONDA_FILE, image, invalid};
use crate::build::request::BuildContext;
use crate::error::Error;
use crate::spec::name::shortened;

/// Conda packages by name, as Wave's `packages` has them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CondaPackages {
    /// Packages: `samtools=1.20`, `conda-forge::pigz>=2`. At most [`CondaPackages::MAX`].
    pub entries: Vec<String>,
    /// Channels by name or address, the first before the others. At most [`CondaPackages::MAX`].
    pub channels: Vec<String>,
    /// An environment file in the place of entries and channels.
    pub environment: Option<String>,
    /// The image that installs them: `condaOpts.mambaImage`.
    pub micromamba_image: Option<String>,
    /// The image that they are put on: `condaOpts.baseImage`.
    pub base_image: Option<String>,
    /// Packages beside, separated by spaces; none when empty: `condaOpts.basePackages`.
    pub base_packages: Option<String>,
    /// Instructions at the end of the container file, or shell commands, one line each: `condaOpts.commands`. At most
    /// [`CondaPackages::MAX`].
    pub commands: Vec<String>,
}

impl CondaPackages {
    /// How many entries, channels and commands there may be.
    pub const MAX: usize = 256;

    /// Packages from channels.
    #[must_use]
    pub fn new<E: Into<String>, C: Into<String>>(
        entries: impl IntoIterator<Item = E>,
        channels: impl IntoIterator<Item = C>,
    ) -> Self {
        Self {
            entries: entries.into_iter().map(Into::into).collect(),
            channels: channels.into_iter().map(Into::into).collect(),
            ..Self::default()
        }
    }

    /// What an environment file says.
    #[must_use]
    pub fn file(environment: impl Into<String>) -> Self {
        Self { environment: Some(environment.into()), ..Self::default() }
    }

    pub(super) fn context(&self, templates: &Templates) -> Result<BuildContext, Error> {
        let environment = self.environment()?;
        let base_packages = self.base_packages.as_deref();
        let base_packages = base_packages.map(|text| Words::parse("base package", text)).transpose()?;
        let image_of = |what, name: &'_ Option<String>| {
            name.as_deref().map(|name| image(what, name).map(str::to_owned)).transpose()
        };
        let micromamba_image = image_of("micromamba image", &self.micromamba_image)?;
        let base_image = image_of("base image", &self.base_image)?;
        check_count("command", self.commands.len())?;
        let commands = self.commands.iter().map(|text| command(text)).collect::<Result<Vec<_>, _>>()?;
        let container_file = templates.conda(&Asked {
            micromamba_image: micromamba_image.as_deref(),
            base_image: base_image.as_deref(),
            base_packages: base_packages.as_ref(),
            commands: &commands,
        });
        Ok(BuildContext::new(container_file).file(CONDA_FILE, environment))
    }

    /// The environment file. JSON is YAML, and has no place where a name could become anything else.
    fn environment(&self) -> Result<String, Error> {
        #[derive(Serialize)]
        struct Environment<'a> {
            #[serde(skip_serializing_if = "<[String]>::is_empty")]
            channels: &'a [String],
            dependencies: &'a [String],
        }
        match &self.environment {
            Some(_) if !(self.entries.is_empty() && self.channels.is_empty()) => {
                Err(invalid("an environment can't stand beside packages and channels"))
            }
            Some(environment) if environment.trim().is_empty() => Err(invalid("the environment is empty")),
            Some(environment) => Ok(environment.clone()),
            None if self.entries.is_empty() => Err(invalid("there are no packages")),
            None => {
                check_count("package", self.entries.len())?;
                check_count("channel", self.channels.len())?;
                for entry in &self.entries {
                    check_word("package", entry)?;
                    if entry.contains("://") {
                        let what = "is an address: send what is there as the environment";
                        return Err(invalid(format!("the package `{}` {what}", shortened(entry))));
                    }
                }
                for channel in &self.channels {
                    check_word("channel", channel)?;
                }
                let environment = Environment { channels: &self.channels, dependencies: &self.entries };
                serde_json::to_string_pretty(&environment)
                    .map(|text| text + "\n")
                    .map_err(|error| Error::internal("an environment can't be written").with_source(error))
            }
        }
    }
}

/// Words for a shell, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Words(Vec<String>);

impl Words {
    /// Words that need no check.
    pub(super) fn fixed<const N: usize>(words: [&'static str; N]) -> Self {
        Self(words.map(str::to_owned).to_vec())
    }

    /// What stands between spaces.
    pub(super) fn parse(what: &str, text: &str) -> Result<Self, Error> {
        let words: Vec<String> = text.split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect();
        check_count(what, words.len())?;
        words.iter().try_for_each(|word| check_word(what, word))?;
        Ok(Self(words))
    }

    /// Each in quotes: `>` and `*` are usual in versions.
    pub(super) fn quoted(&self) -> String {
        let quoted: Vec<String> = self.0.iter().map(|word| format!("'{word}'")).collect();
        quoted.join(" ")
    }
}

fn check_count(what: &str, count: usize) -> Result<(), Error> {
    if count > CondaPackages::MAX {
        return Err(invalid(format!("there are {count} {what}s, more than {}", CondaPackages::MAX)));
    }
    Ok(())
}

/// A package or a channel: nothing that ends a quoted word or a line, or that could be an option.
fn check_word(what: &str, word: &str) -> Result<(), Error> {
    let is_allowed = |b: u8| b.is_ascii_alphanumeric() || b"._-:/+=<>!~^*|,@[]% ".contains(&b);
    let starts_well = word.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
    if starts_well && word.len() <= MAX_WORD && word.bytes().all(is_allowed) {
        return Ok(());
    }
    let reason =
        "it has characters that no name, version or address has, or begins with one of them, or is too long";
    Err(invalid(format!("the {what} `{}` is not one: {reason}", shortened(word))))
}

/// An instruction for the end of the container file. What has no keyword is a shell command.
fn command(text: &str) -> Result<String, Error> {
    let refuse = |reason| invalid(format!("the command `{}` {reason}", shortened(text)));
    let text = text.trim();
    let (keyword, rest) = text.split_once(' ').unwrap_or((text, ""));
    if text.is_empty() || text.len() > MAX_COMMAND {
        return Err(refuse("is empty or too long"));
    }
    if text.chars().any(char::is_control) {
        return Err(refuse("is more than a line"));
    }
    // Either would take the next line for a part of this one.
    if text.ends_with('\\') || text.contains("<<") {
        return Err(refuse("goes on after its line"));
    }
    if text.starts_with('#') {
        return Err(refuse("is a comment"));
    }
    if keyword.eq_ignore_ascii_case("from") {
        return Err(refuse("begins another image"));
    }
    if keyword.eq_ignore_ascii_case("onbuild") {
        return Err(refuse("is for other images"));
    }
    if KEYWORDS.contains(&keyword) && !rest.trim().is_empty() {
        return Ok(text.to_owned());
    }
    if text.starts_with("--") {
        return Err(refuse("begins with an option"));
    }
    Ok(format!("RUN {text}"))
}

const MAX_WORD: usize = 256;
const MAX_COMMAND: usize = 4096;
const KEYWORDS: [&str; 15] = [
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "HEALTHCHECK",
    "LABEL",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];
