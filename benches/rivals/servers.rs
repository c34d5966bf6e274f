//! The servers, each a process that is ended with its handle.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::load::cpu;

/// A directory that goes with its handle.
#[derive(Debug)]
pub(crate) struct Scratch(tempfile::TempDir);

impl Scratch {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().expect("a directory"))
    }

    pub(crate) fn directory(&self, name: &str) -> PathBuf {
        let path = self.0.path().join(name);
        fs::create_dir_all(&path).expect("a directory");
        path
    }
}

#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) name: &'static str,
    pub(crate) address: SocketAddr,
    pub(crate) child: Child,
    /// Where it keeps what it has.
    pub(crate) directory: PathBuf,
}

impl Server {
    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }

    /// Waits until the server has nothing left to do, as far as can be seen: at most a minute.
    pub(crate) fn settle(&self) {
        for _ in 0..300 {
            let before = cpu(self.process());
            std::thread::sleep(Duration::from_millis(200));
            if cpu(self.process()) == before {
                return;
            }
        }
    }

    /// Removes the large files that it keeps: the memory that they have in the page cache is used again.
    pub(crate) fn forget_blobs(&self) {
        remove_large(&self.directory);
    }

    /// The CPU time in seconds that the server takes while `work` runs, and how long that takes.
    pub(crate) fn cost(&self, work: impl FnOnce()) -> (f64, f64) {
        let (start, before) = (Instant::now(), cpu(self.process()));
        work();
        let wall = start.elapsed().as_secs_f64();
        ((cpu(self.process()).saturating_sub(before)).as_secs_f64(), wall)
    }
}

fn remove_large(directory: &Path) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let Ok(found) = entry.metadata() else { continue };
        if found.is_dir() {
            remove_large(&entry.path());
        } else if found.len() > 1 << 20 {
            let _ = fs::remove_file(entry.path());
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// This program once more, told by the arguments to serve, until its standard input ends. It says where it listens.
pub(crate) fn ours<A: AsRef<OsStr>>(
    name: &'static str,
    directory: &Path,
    arguments: impl IntoIterator<Item = A>,
) -> Server {
    let program = std::env::current_exe().expect("a program");
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("started");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
    let address = line.trim().strip_prefix("listening on ").and_then(|text| text.parse().ok());
    Server { name, address: address.expect("an address"), child, directory: directory.to_owned() }
}

/// Where the programs of Debian's packages are, also when the path has no `sbin`.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let found = ["/usr/bin", "/usr/sbin", "/usr/local/bin"].map(|directory| Path::new(directory).join(name));
    let found = found.into_iter().find(|path| path.exists());
    if found.is_none() {
        println!("{name} is not installed: it is left out");
    }
    found
}

/// docker-registry, with its files in `directory`; as a proxy where there is an upstream.
pub(crate) fn registry(name: &'static str, upstream: Option<SocketAddr>, directory: &Path) -> Option<Server> {
    let program = program("docker-registry")?;
    let address = free_port();
    let proxy =
        upstream.map(|upstream| format!("proxy:\n  remoteurl: http://{upstream}\n")).unwrap_or_default();
    let config = format!(
        "version: 0.1\nlog:\n  level: error\n  accesslog:\n    disabled: true\n\
         storage:\n  filesystem:\n    rootdirectory: {}\n  cache:\n    blobdescriptor: inmemory\n\
         http:\n  addr: {address}\n{proxy}",
        directory.join("storage").display()
    );
    let file = directory.join("config.yml");
    fs::write(&file, config).expect("written");
    let child = Command::new(program)
        .arg("serve")
        .arg(file)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("started");
    Some(ready(Server { name, address, child, directory: directory.to_owned() }))
}

pub(crate) fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port")
}

pub(crate) fn ready(mut server: Server) -> Server {
    let deadline = Instant::now() + Duration::from_secs(20);
    while TcpStream::connect(server.address).is_err() {
        if let Ok(Some(status)) = server.child.try_wait() {
            panic!("{} ended at once: {status}", server.name);
        }
        assert!(Instant::now() < deadline, "{} doesn't start", server.name);
        std::thread::sleep(Duration::from_millis(20));
    }
    server
}
