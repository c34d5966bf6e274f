use std::collections::BTreeMap;
use std::fs::{DirBuilder, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use tempfile::TempDir;

use crate::build::request::{BuildContext, RegistryAccess};
use crate::error::Error;
use crate::operation::Credential;
use crate::spec::name::{Host, ImageName};

/// The private directory of one build: its context, its credentials, and whatever its engine writes. It is removed
/// when this is dropped.
#[derive(Debug)]
pub(super) struct Workspace {
    directory: TempDir,
}

impl Workspace {
    /// Makes the directory, in `parent` or where temporary files go.
    pub(super) fn new(parent: Option<&Path>, context: &BuildContext) -> Result<Self, Error> {
        Self::create(parent, context)
            .map_err(|error| Error::internal("a build's directory can't be made").with_source(error))
    }

    fn create(parent: Option<&Path>, context: &BuildContext) -> io::Result<Self> {
        let mut builder = tempfile::Builder::new();
        builder.prefix("build-").permissions(Permissions::from_mode(0o700));
        let directory = match parent {
            Some(parent) => builder.tempdir_in(parent)?,
            None => builder.tempdir()?,
        };
        let workspace = Self { directory };
        for name in [CONTEXT, RECIPE, CONFIG, HOME, TMP, RUN] {
            DirBuilder::new().mode(0o700).create(workspace.join(name))?;
        }
        workspace.write_new(&workspace.container_file(), context.container_file().as_bytes(), 0o600)?;
        for (name, content) in context.files() {
            // Copied into the image with this mode, where the user may be another.
            workspace.write_new(&workspace.context().join(name), content, 0o644)?;
        }
        Ok(workspace)
    }

    /// Writes a file that only this user may read.
    pub(super) fn write(&self, path: &Path, content: &[u8]) -> Result<(), Error> {
        self.write_new(path, content, 0o600)
            .map_err(|error| Error::internal("a build's file can't be written").with_source(error))
    }

    fn write_new(&self, path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
        debug_assert!(path.starts_with(self.directory.path()));
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
        // The process may have a mask that is narrower than the mode.
        file.set_permissions(Permissions::from_mode(mode))?;
        file.write_all(content)
    }

    /// Writes the rule that images come from registries only, and not from the machine's files, its storage or its
    /// docker daemon.
    pub(super) fn policy(&self) -> Result<(), Error> {
        let directory = self.home().join(".config/containers");
        DirBuilder::new()
            .mode(0o700)
            .recursive(true)
            .create(&directory)
            .map_err(|error| Error::internal("a build's directory can't be made").with_source(error))?;
        self.write(&directory.join("policy.json"), POLICY.as_bytes())
    }

    /// Reads a small file that the engine has written.
    pub(super) fn read(&self, path: &Path) -> Result<Vec<u8>, Error> {
        use io::Read as _;
        let mut content = Vec::new();
        std::fs::File::open(path)
            .and_then(|file| file.take(MAX_RESULT).read_to_end(&mut content))
            .map_err(|error| Error::bad_gateway("the engine didn't say what it made").with_source(error))?;
        Ok(content)
    }

    /// A name that no other build has.
    pub(super) fn name(&self) -> String {
        let name = self.directory.path().file_name().unwrap_or_default().to_string_lossy();
        name.trim_start_matches("build-").bytes().map(|b| format!("{b:02x}")).collect()
    }

    pub(super) fn join(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The files beside the container file, which isn't among them.
    pub(super) fn context(&self) -> PathBuf {
        self.join(CONTEXT)
    }

    /// The directory with nothing but the container file.
    pub(super) fn recipe(&self) -> PathBuf {
        self.join(RECIPE)
    }

    pub(super) fn container_file(&self) -> PathBuf {
        self.join(RECIPE).join("Dockerfile")
    }

    pub(super) fn config(&self) -> PathBuf {
        self.join(CONFIG)
    }

    pub(super) fn home(&self) -> PathBuf {
        self.join(HOME)
    }

    pub(super) fn tmp(&self) -> PathBuf {
        self.join(TMP)
    }

    pub(super) fn run(&self) -> PathBuf {
        self.join(RUN)
    }
}

/// Variables that tell an engine where its files are.
pub(super) type Variables = Vec<(&'static str, PathBuf)>;

/// The form of docker's `config.json` and of podman's `auth.json`.
#[derive(Default, Serialize)]
pub(super) struct Logins {
    auths: BTreeMap<String, Login>,
}

#[derive(Serialize)]
struct Login {
    #[serde(skip_serializing_if = "Option::is_none")]
    auth: Option<String>,
    #[serde(rename = "identitytoken", skip_serializing_if = "Option::is_none")]
    identity_token: Option<String>,
    #[serde(rename = "registrytoken", skip_serializing_if = "Option::is_none")]
    registry_token: Option<String>,
}

impl Logins {
    /// For podman's family: a repository may have its own, and the longest match counts.
    pub(super) fn by_repository(access: &[RegistryAccess]) -> Result<Self, Error> {
        let mut logins = Self::default();
        for one in access {
            if matches!(one.credential, Credential::RegistryToken(_)) {
                let registry = &one.registry;
                let what = "buildah can't use a registry token; give it a password or an identity token";
                return Err(Error::unsupported(format!("{registry}: {what}")));
            }
            let key = match &one.repository {
                Some(repository) => format!("{}/{repository}", one.registry),
                None => one.registry.to_string(),
            };
            logins.add(key, &one.credential);
        }
        Ok(logins)
    }

    /// For docker's family, which knows one for each registry: that of `target` where it covers it, then that of the
    /// whole registry, then the first.
    pub(super) fn by_registry(access: &[RegistryAccess], target: &ImageName) -> Self {
        let rank = |one: &RegistryAccess| match &one.repository {
            Some(repository)
                if one.registry == *target.registry()
                    && target.repository().is_under(repository.as_str()) =>
            {
                0
            }
            None => 1,
            Some(_) => 2,
        };
        let mut ordered: Vec<&RegistryAccess> =
            access.iter().filter(|one| !matches!(one.credential, Credential::Anonymous)).collect();
        // Stable: what comes first stays first. The longest repository that covers the target comes before others.
        ordered.sort_by_key(|one| {
            (rank(one), std::cmp::Reverse(one.repository.as_ref().map_or(0, |r| r.as_str().len())))
        });
        let mut logins = Self::default();
        for one in ordered {
            let key = if one.registry == Host::docker_hub() {
                "https://index.docker.io/v1/".to_owned()
            } else {
                one.registry.to_string()
            };
            logins.add(key, &one.credential);
        }
        logins
    }

    /// The content of the file. It is a secret.
    pub(super) fn to_json(&self) -> Result<Vec<u8>, Error> {
        serde_json::to_vec(self)
            .map_err(|error| Error::internal("logins can't be written").with_source(error))
    }

    /// The first for a key stays.
    fn add(&mut self, key: String, credential: &Credential) {
        let login = match credential {
            Credential::Anonymous => return,
            Credential::Basic { username, password } => {
                let auth = STANDARD.encode(format!("{username}:{}", password.expose()));
                Login { auth: Some(auth), identity_token: None, registry_token: None }
            }
            // The user name that docker writes beside an identity token.
            Credential::IdentityToken(token) => Login {
                auth: Some(STANDARD.encode("<token>:")),
                identity_token: Some(token.expose().to_owned()),
                registry_token: None,
            },
            Credential::RegistryToken(token) => {
                Login { auth: None, identity_token: None, registry_token: Some(token.expose().to_owned()) }
            }
        };
        self.auths.entry(key).or_insert(login);
    }
}

/// A digest, or a metadata file, in bytes.
const MAX_RESULT: u64 = 1 << 20;
const POLICY: &str =
    r#"{"default":[{"type":"reject"}],"transports":{"docker":{"":[{"type":"insecureAcceptAnything"}]}}}"#;
const CONTEXT: &str = "context";
const RECIPE: &str = "recipe";
const CONFIG: &str = "config";
const HOME: &str = "home";
const TMP: &str = "tmp";
const RUN: &str = "run";
