//! The servers, each a process that is ended with its handle.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tower_oci::spec::digest::Digest;
use tower_oci::spec::media_type::MediaType;

use super::load::Client;
use super::origin::{Origin, REPOSITORY};

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
    child: Child,
}

impl Server {
    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }

    /// Waits until the server has nothing left to do, as far as can be seen: at most a minute.
    pub(crate) fn settle(&self) {
        for _ in 0..300 {
            let before = super::load::cpu(self.process());
            std::thread::sleep(Duration::from_millis(200));
            if super::load::cpu(self.process()) == before {
                return;
            }
        }
    }

    /// The CPU time in seconds that the server takes while `work` runs, and how long that takes.
    pub(crate) fn cost(&self, work: impl FnOnce()) -> (f64, f64) {
        let (start, before) = (Instant::now(), super::load::cpu(self.process()));
        work();
        let wall = start.elapsed().as_secs_f64();
        ((super::load::cpu(self.process()).saturating_sub(before)).as_secs_f64(), wall)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[derive(Debug)]
pub(crate) struct Rivals {
    pub(crate) ours: Server,
    pub(crate) nginx: Option<Server>,
    pub(crate) proxy: Option<Server>,
    pub(crate) registry: Option<Server>,
}

impl Rivals {
    pub(crate) fn start(scratch: &Scratch, origin: &Origin) -> Self {
        let rivals = Self {
            ours: ours(origin.address, &scratch.directory("ours")),
            nginx: nginx(origin, &scratch.directory("nginx")),
            proxy: registry("docker-registry as a proxy", Some(origin.address), &scratch.directory("proxy")),
            registry: registry("docker-registry", None, &scratch.directory("registry")),
        };
        if let Some(registry) = &rivals.registry {
            push(registry.address, origin);
        }
        rivals
    }
}

pub(crate) fn ours(origin: SocketAddr, directory: &Path) -> Server {
    let program = std::env::current_exe().expect("a program");
    let mut child = Command::new(program)
        .args(["--serve", &origin.to_string()])
        .arg(directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("started");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
    let address = line.trim().strip_prefix("listening on ").and_then(|text| text.parse().ok());
    Server { name: "tower-oci", address: address.expect("an address"), child }
}

/// Where the programs of Debian's packages are, also when the path has no `sbin`.
fn program(name: &str) -> Option<PathBuf> {
    let found = ["/usr/bin", "/usr/sbin", "/usr/local/bin"].map(|directory| Path::new(directory).join(name));
    let found = found.into_iter().find(|path| path.exists());
    if found.is_none() {
        println!("{name} is not installed: it is left out");
    }
    found
}

fn nginx(origin: &Origin, directory: &Path) -> Option<Server> {
    let program = program("nginx")?;
    let address = free_port();
    let statics = directory.join("static");
    fs::create_dir_all(&statics).expect("a directory");
    fs::write(statics.join("manifest"), &origin.manifest).expect("written");
    let config = format!(
        "worker_processes 1; master_process off; daemon off; pid {dir}/pid; error_log stderr error;\n\
         events {{ worker_connections 4096; }}\n\
         http {{\n\
           access_log off; sendfile on; tcp_nopush on; tcp_nodelay on; keepalive_requests 10000000;\n\
           client_body_temp_path {dir}/body; proxy_temp_path {dir}/temp; fastcgi_temp_path {dir}/fastcgi;\n\
           uwsgi_temp_path {dir}/uwsgi; scgi_temp_path {dir}/scgi;\n\
           proxy_cache_path {dir}/cache levels=1:2 keys_zone=c:10m max_size=40g inactive=1d use_temp_path=off;\n\
           upstream origin {{ server {origin}; keepalive 64; }}\n\
           server {{\n\
             listen {address};\n\
             location /v2/ {{ proxy_pass http://origin; proxy_http_version 1.1; proxy_set_header Connection '';\n\
               proxy_cache c; proxy_cache_valid 200 1d; proxy_cache_lock on; }}\n\
             location /static/ {{ root {dir}; default_type application/json; }}\n\
           }}\n\
         }}\n",
        dir = directory.display(),
        origin = origin.address,
    );
    let file = directory.join("nginx.conf");
    fs::write(&file, config).expect("written");
    let log = fs::File::create(directory.join("log")).expect("a file");
    let child = Command::new(program)
        .arg("-c")
        .arg(file)
        .args(["-g", "user root;"])
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("started");
    Some(ready(Server { name: "nginx", address, child }))
}

fn registry(name: &'static str, upstream: Option<SocketAddr>, directory: &Path) -> Option<Server> {
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
    Some(ready(Server { name, address, child }))
}

fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port")
}

fn ready(mut server: Server) -> Server {
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

/// Puts the image into a registry.
fn push(address: SocketAddr, origin: &Origin) {
    let mut client = Client::connect(address);
    for blob in [&origin.config, &origin.layer] {
        let path = format!("/v2/{REPOSITORY}/blobs/uploads/");
        assert_eq!(client.send("POST", &path, "content-length: 0\r\n", &[]).status, 202);
        let location = client.location.clone().expect("a location");
        let path =
            location.split_once("//").and_then(|(_, rest)| rest.find('/').map(|at| rest[at..].to_owned()));
        let path = path.unwrap_or(location);
        let joined = if path.contains('?') { '&' } else { '?' };
        let path = format!("{path}{joined}digest={}", Digest::sha256(blob));
        let status = client.send("PUT", &path, "content-type: application/octet-stream\r\n", blob).status;
        assert_eq!(status, 201);
    }
    let path = format!("/v2/{REPOSITORY}/manifests/latest");
    let header = format!("content-type: {}\r\n", MediaType::OCI_MANIFEST);
    assert_eq!(client.send("PUT", &path, &header, &origin.manifest).status, 201);
}
