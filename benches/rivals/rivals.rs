//! Those that are measured.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use tower_oci::spec::digest::Digest;

use super::load::Client;
use super::origin::{Origin, REPOSITORY};
use super::push;
use super::servers::{self, Scratch, Server, free_port, program, ready, registry};

pub(crate) const PROXY: &str = "docker-registry as a proxy";

#[derive(Debug)]
pub(crate) struct Rivals {
    pub(crate) ours: Server,
    /// hyper by itself, which sends the same bytes each time.
    pub(crate) hyper: Server,
    pub(crate) nginx: Option<Server>,
    pub(crate) proxy: Option<Server>,
    pub(crate) registry: Option<Server>,
}

impl Rivals {
    pub(crate) fn start(scratch: &Scratch, origin: &Origin) -> Self {
        let rivals = Self {
            ours: ours(origin.address, &scratch.directory("ours")),
            hyper: servers::ours("hyper alone", &scratch.directory("hyper"), ["--serve-fixed"]),
            nginx: nginx(origin, &scratch.directory("nginx")),
            proxy: registry(PROXY, Some(origin.address), &scratch.directory("proxy")),
            registry: registry("docker-registry", None, &scratch.directory("registry")),
        };
        if let Some(registry) = &rivals.registry {
            push_image(registry.address, origin);
        }
        rivals
    }
}

/// Ours, as a cache in `directory`.
pub(crate) fn ours(origin: SocketAddr, directory: &Path) -> Server {
    let origin = origin.to_string();
    servers::ours("tower-oci", directory, ["--serve".as_ref(), origin.as_ref(), directory.as_os_str()])
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
    Some(ready(Server { name: "nginx", address, child, directory: directory.to_owned() }))
}

/// Puts the image into a registry.
fn push_image(address: SocketAddr, origin: &Origin) {
    let mut client = Client::connect(address);
    for blob in [&origin.config, &origin.layer] {
        push::blob(&mut client, REPOSITORY, &Digest::sha256(blob), blob);
    }
    push::manifest(&mut client, REPOSITORY, "latest", &origin.manifest);
}
