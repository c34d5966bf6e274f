//! The lines that clients need to find the mirror.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use tower_oci::spec::name::{DOCKER_HUB, Host};

use super::settings::{Settings, component};

/// What is said at the start.
pub(crate) fn welcome(settings: &Settings, address: SocketAddr) -> String {
    let (mirrored, mirror) = (settings.mirrored(), reachable(address));
    let names: Vec<&str> = mirrored.iter().map(Host::as_str).collect();
    let mut text = format!(
        "tower-oci {version}, listening on http://{address}\nmirrored: {names}\nkept: {kept}\n",
        version = env!("CARGO_PKG_VERSION"),
        names = names.join(", "),
        kept = settings.kept(),
    );
    if address.ip().is_unspecified() {
        text += &format!("For other machines, write this one's name in place of {} below.\n", mirror.ip());
    }
    for host in &mirrored {
        let is_plain = settings.insecure.contains(host);
        text += &format!("\ncontainerd: /etc/containerd/certs.d/{host}/hosts.toml\n\n");
        text += &indented(&hosts_toml(host, is_plain, mirror));
    }
    text += "\npodman, buildah, skopeo, CRI-O: /etc/containers/registries.conf.d/mirror.conf\n\n";
    let registries: Vec<_> =
        mirrored.iter().map(|host| registries_conf(host, settings.insecure.contains(host), mirror)).collect();
    text += &indented(&registries.join("\n"));
    if names.contains(&DOCKER_HUB) {
        text += "\ndocker, for images of Docker Hub: /etc/docker/daemon.json\n\n";
        text += &indented(&format!("{{ \"registry-mirrors\": [\"http://{mirror}\"] }}\n"));
    }
    text += "\nOr, with no settings, pull by these names:\n\n";
    for host in &mirrored {
        text += &format!("  {mirror}/{}/<image>\n", component(host));
    }
    text + "\nStop with ^C.\n"
}

/// The address as a client on this machine can use it.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    address
}

/// containerd says which registry it means by `ns`, and falls back to `server`.
fn hosts_toml(host: &Host, is_plain: bool, mirror: SocketAddr) -> String {
    let server = match host.as_str() {
        DOCKER_HUB => "registry-1.docker.io",
        host => host,
    };
    let scheme = if is_plain { "http" } else { "https" };
    format!(
        "server = \"{scheme}://{server}\"\n\n\
         [host.\"http://{mirror}\"]\n  capabilities = [\"pull\", \"resolve\"]\n"
    )
}

/// The containers tools put the mirror's location in place of the registry's host: it says which one is meant.
fn registries_conf(host: &Host, is_plain: bool, mirror: SocketAddr) -> String {
    let insecure = if is_plain { "insecure = true\n" } else { "" };
    format!(
        "[[registry]]\nlocation = \"{host}\"\n{insecure}\n\
         [[registry.mirror]]\nlocation = \"{mirror}/{}\"\ninsecure = true\n",
        component(host)
    )
}

fn indented(text: &str) -> String {
    text.lines().map(|line| if line.is_empty() { "\n".to_owned() } else { format!("  {line}\n") }).collect()
}
