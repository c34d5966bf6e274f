use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::file::File;
use crate::error::Error;
use crate::rt::blocking;

/// A file that is looked at again from time to time, so that a login or a rotated token is seen.
#[derive(Debug)]
pub(super) struct Source {
    path: PathBuf,
    /// Whether it has to be there.
    required: bool,
    state: Mutex<State>,
}

#[derive(Clone, Debug)]
struct State {
    file: Arc<File>,
    stamp: Option<Stamp>,
    looked: Option<Instant>,
}

/// What tells one version of a file from another.
type Stamp = (SystemTime, u64);

impl Source {
    /// How long it may take until a change is seen.
    pub(super) const INTERVAL: Duration = Duration::from_secs(5);

    /// The largest file.
    const MAX_BYTES: u64 = 1024 * 1024;

    /// Reads the file at `path`, blocking.
    pub(super) fn open(path: PathBuf, required: bool) -> Result<Self, Error> {
        let (file, stamp) = read(&path, required)?;
        let state = State { file: Arc::new(file), stamp, looked: None };
        Ok(Self { path, required, state: Mutex::new(state) })
    }

    /// The entries as they are now.
    pub(super) async fn current(self: &Arc<Self>) -> Result<Arc<File>, Error> {
        let state = self.state();
        if state.looked.is_some_and(|looked| looked.elapsed() < Self::INTERVAL) {
            return Ok(state.file);
        }
        let source = Arc::clone(self);
        let new = blocking(move || source.look(state)).await??;
        let file = Arc::clone(&new.file);
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) =
            State { looked: Some(Instant::now()), ..new };
        Ok(file)
    }

    fn state(&self) -> State {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn look(&self, known: State) -> Result<State, Error> {
        let stamp = std::fs::metadata(&self.path).ok().and_then(|metadata| stamp(&metadata));
        if stamp == known.stamp {
            return Ok(known);
        }
        let (file, stamp) = read(&self.path, self.required)?;
        Ok(State { file: Arc::new(file), stamp, looked: None })
    }
}

fn read(path: &Path, required: bool) -> Result<(File, Option<Stamp>), Error> {
    let told =
        |reason: String| Error::internal(format!("the credentials file `{}`: {reason}", path.display()));
    let mut file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if !required && error.kind() == io::ErrorKind::NotFound => {
            return Ok((File::default(), None));
        }
        Err(error) => return Err(told(format!("it can't be read: {}", error.kind())).with_source(error)),
    };
    let mut bytes = Vec::new();
    // The stamp is taken first: what is written meanwhile is seen the next time.
    let stamp = file.metadata().ok().and_then(|metadata| stamp(&metadata));
    if let Err(error) = (&mut file).take(Source::MAX_BYTES + 1).read_to_end(&mut bytes) {
        return Err(told(format!("it can't be read: {}", error.kind())).with_source(error));
    }
    if bytes.len() as u64 > Source::MAX_BYTES {
        return Err(told(format!("it is larger than {} bytes", Source::MAX_BYTES)));
    }
    Ok((File::parse(&bytes).map_err(told)?, stamp))
}

fn stamp(metadata: &std::fs::Metadata) -> Option<Stamp> {
    Some((metadata.modified().ok()?, metadata.len()))
}
