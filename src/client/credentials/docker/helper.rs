//! Credential helpers: programs named `docker-credential-<name>`, by the protocol of docker-credential-helpers.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use futures_util::future::join3;
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;

use crate::error::Error;
use crate::operation::Credential;
use crate::secret::Secret;
use crate::spec::name::shortened;

/// How long a helper may take.
pub(super) const TIMEOUT: Duration = Duration::from_secs(10);

/// The most bytes of a helper's answer.
const MAX_ANSWER: u64 = 256 * 1024;

/// The most bytes of a helper's complaint that are looked at.
const MAX_COMPLAINT: u64 = 4096;

/// The name of a helper, without `docker-credential-`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Helper(String);

impl Helper {
    /// A name of letters, digits, `.`, `_` and `-`: it becomes part of a program's name, never of a path.
    pub(super) fn named(name: &str) -> Option<Self> {
        let fine = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        (!name.is_empty() && name.len() <= 128 && name.bytes().all(fine)).then(|| Self(name.to_owned()))
    }

    /// Asks the program, in `directory` or else on the path, for the credential of `server`; `None` when it has none.
    ///
    /// What it writes to its standard output is never told, since that is where secrets come.
    pub(super) async fn get(
        &self,
        directory: Option<&Path>,
        server: &str,
    ) -> Result<Option<Credential>, Error> {
        let program = format!("docker-credential-{}", self.0);
        let path = directory.map_or_else(|| PathBuf::from(&program), |directory| directory.join(&program));
        let output = match tokio::time::timeout(TIMEOUT, run(&path, server)).await {
            Ok(Ok(output)) => output,
            Ok(Err(error)) => {
                return Err(
                    Error::internal(format!("`{program}` can't be run: {}", error.kind())).with_source(error)
                );
            }
            Err(_) => {
                let seconds = TIMEOUT.as_secs();
                return Err(Error::timed_out(format!("`{program}` took longer than {seconds} s")));
            }
        };
        if !output.status.success() {
            if contains(&output.answer, b"credentials not found") {
                return Ok(None);
            }
            let complaint = String::from_utf8_lossy(&output.complaint);
            let complaint = shortened(complaint.trim());
            return Err(Error::internal(format!("`{program}` failed ({}): {complaint}", output.status)));
        }
        // The parser's own words may quote what it found.
        let answer: Answer = serde_json::from_slice(&output.answer)
            .map_err(|_| Error::internal(format!("`{program}` gave something other than a credential")))?;
        Ok(answer.credential())
    }
}

#[derive(Deserialize)]
struct Answer {
    #[serde(rename = "Username", default)]
    username: String,
    #[serde(rename = "Secret")]
    secret: Secret,
}

impl Answer {
    fn credential(self) -> Option<Credential> {
        match self.username.as_str() {
            _ if self.secret.is_empty() => None,
            "<token>" => Some(Credential::IdentityToken(self.secret)),
            _ => Some(Credential::Basic { username: self.username, password: self.secret }),
        }
    }
}

struct Output {
    status: ExitStatus,
    answer: Vec<u8>,
    complaint: Vec<u8>,
}

async fn run(program: &Path, server: &str) -> io::Result<Output> {
    let mut child = Command::new(program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let ask = async move {
        if let Some(mut stdin) = stdin {
            // A helper that knows without reading may be gone already.
            let _ = stdin.write_all(server.as_bytes()).await;
        }
    };
    let ((), answer, complaint) = join3(ask, read(stdout, MAX_ANSWER), read(stderr, MAX_COMPLAINT)).await;
    Ok(Output { status: child.wait().await?, answer: answer?, complaint: complaint? })
}

async fn read(pipe: Option<impl AsyncRead + Unpin>, max: u64) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    if let Some(mut pipe) = pipe {
        (&mut pipe).take(max).read_to_end(&mut all).await?;
        // Read on, so that a talkative helper isn't held up.
        tokio::io::copy(&mut pipe, &mut tokio::io::sink()).await?;
    }
    Ok(all)
}

fn contains(text: &[u8], words: &[u8]) -> bool {
    text.windows(words.len()).any(|window| window == words)
}
