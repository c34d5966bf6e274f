//! The lines that clients need to use the registry.

use std::net::SocketAddr;

use super::settings::Settings;

/// What is said at the start.
pub(crate) fn welcome(settings: &Settings, url: &str, address: SocketAddr) -> String {
    let is_plain = url.starts_with("http://");
    let mut text = format!(
        "tower-oci {version}, a registry, listening on {scheme}://{address}\nkept: {kept}\nallowed: {allowed}\n",
        scheme = settings.scheme(),
        version = env!("CARGO_PKG_VERSION"),
        kept = settings.kept(),
        allowed = allowed(settings),
    );
    if is_plain && settings.htpasswd.is_some() && !address.ip().is_loopback() {
        text += "Passwords travel unencrypted: --tls-cert and --tls-key, or a proxy with TLS in front, mend that.\n";
    }
    // Host and port, as names of images have them.
    let registry = url.split_once("://").map_or(url, |(_, registry)| registry);
    if settings.lacks_url(address) {
        text += "For other machines, tell by --url how they reach it.\n";
    }
    if !is_plain {
        text += &format!(
            "\nA certificate authority that machines don't know is told to podman by a file \
             /etc/containers/certs.d/{registry}/ca.crt,\nto docker by /etc/docker/certs.d/{registry}/ca.crt.\n"
        );
    }
    let insecure = if is_plain { " --tls-verify=false" } else { "" };
    let podman = lines(settings, registry, "podman", insecure);
    let docker = lines(settings, registry, "docker", "");
    let note = if is_plain { ", which takes registries without TLS at loopback addresses" } else { "" };
    format!("{text}\npodman:\n\n{podman}\ndocker{note}:\n\n{docker}\nStop with ^C.\n")
}

fn allowed(settings: &Settings) -> String {
    let writes = if settings.read_only { "" } else { ", push and delete" };
    match &settings.htpasswd {
        None => format!("everybody may pull{writes}"),
        Some(file) if settings.anonymous_pull && settings.read_only => {
            format!("everybody may pull, with or without a password of {}", file.display())
        }
        Some(file) if settings.anonymous_pull => {
            format!("everybody may pull, users of {} may push and delete", file.display())
        }
        Some(file) => format!("users of {} may pull{writes}", file.display()),
    }
}

/// What to type for one of the clients.
fn lines(settings: &Settings, registry: &str, client: &str, insecure: &str) -> String {
    let mut lines = Vec::new();
    if settings.htpasswd.is_some() {
        lines.push(format!("{client} login{insecure} {registry}"));
    }
    if !settings.read_only {
        lines.push(format!("{client} pull docker.io/library/busybox"));
        lines.push(format!("{client} tag docker.io/library/busybox {registry}/busybox"));
        lines.push(format!("{client} push{insecure} {registry}/busybox"));
    }
    lines.push(format!("{client} pull{insecure} {registry}/busybox"));
    lines.iter().map(|line| format!("  {line}\n")).collect()
}
