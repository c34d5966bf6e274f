//! Images that are built for real, and run: container files, Conda and Spack recipes, freezes.

#[cfg(feature = "docker-config")]
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::json;

use crate::client::containers::Containers;
use crate::client::docker::Docker;
use crate::client::podman::Podman;
use crate::support::http::send;
use crate::support::image::{Kind, SCRIPT, VARIABLE, image, marker_layer, told};
use crate::support::maker::{Made, Maker, file, file_of, recipe};
use crate::support::registry::Registry;
#[cfg(feature = "docker-config")]
use crate::support::registry::{PASSWORD, USER};
use crate::support::room::Room;

const BESIDE: &str = "from the file beside\n";

/// A registry with the base image, and its name there.
fn base() -> (Registry, String) {
    let registry = Registry::open();
    let base = image(Kind::DockerManifest);
    registry.push(base);
    let name = registry.name(base);
    (registry, name)
}

fn two_stages(base: &str) -> String {
    format!(
        "FROM {base} AS one\nRUN echo made in stage one > /made && echo this is in the log\n\
         FROM {base}\nCOPY --from=one /made /made\nCOPY conda.yml /beside\n"
    )
}

/// Pulls what was made as podman does, and says what a script prints in it.
fn run_in(made: &Made, script: &str) -> String {
    let podman = Podman::new();
    podman.pull(&made.image);
    podman.run(&made.image, script)
}

#[test]
fn buildah_builds_what_podman_runs() {
    need!("docker-registry", "busybox", "buildah", "podman", "runc", "examples/wave");
    let ((registry, base), room) = (base(), Room::new());
    let containers = Containers::new();
    let maker = Maker::with_buildah(&registry, &containers, &room.join("data"), &[]);
    let mut request = recipe(&two_stages(&base), BESIDE);
    request["containerConfig"] = json!({ "env": ["ADDED=on top"] });
    request["cacheRepository"] = json!(format!("{}/cache/steps", registry.address));
    let made = maker.make(&request);
    assert_eq!(made.answer["cached"], false, "{}", made.answer);
    // The pull waits for the build.
    let told = run_in(&made, "cat /made /beside; echo $ADDED");
    assert_eq!(told, format!("made in stage one\n{BESIDE}on top\n"));
    let log = maker.log_of(&made);
    assert!(log.contains("this is in the log"), "{log}");

    // The same again is there.
    let again = maker.make(&request);
    assert_eq!((&again.answer["cached"], &again.answer["succeeded"]), (&json!(true), &json!(true)));
    assert_eq!(again.answer["containerImage"], made.answer["containerImage"]);

    // Elsewhere nothing is, but the steps are kept in the cache repository.
    let (elsewhere, storage) = (Room::new(), Containers::new());
    let other = Maker::with_buildah(&registry, &storage, &elsewhere.join("data"), &[]);
    let cached = other.make(&request);
    let log = other.log_of(&cached);
    assert!(log.contains("Using cache") || log.contains("Cache pulled"), "{log}");
    assert!(!log.contains("\nthis is in the log"), "{log}");
    assert_eq!(run_in(&cached, "cat /made"), "made in stage one\n");
}

#[test]
fn docker_builds_what_podman_runs() {
    need!("docker-registry", "busybox", "docker", "dockerd", "containerd", "podman", "runc", "examples/wave");
    let (registry, base) = base();
    let docker = Docker::start();
    let maker = Maker::with_docker(&registry, &docker.host());
    let made = maker.make(&recipe(&two_stages(&base), BESIDE));
    assert_eq!(run_in(&made, "cat /made /beside"), format!("made in stage one\n{BESIDE}"));
    let log = maker.log_of(&made);
    assert!(log.contains("this is in the log"), "{log}");
}

#[test]
fn a_failing_build_tells_who_pulls() {
    need!("docker-registry", "busybox", "buildah", "podman", "runc", "examples/wave");
    let ((registry, base), room) = (base(), Room::new());
    let containers = Containers::new();
    let maker = Maker::with_buildah(&registry, &containers, &room.join("data"), &[]);
    let broken = format!("FROM {base}\nRUN echo the reason is this; exit 7\n");
    let made = maker.make(&recipe(&broken, BESIDE));
    let told = Podman::new().refused_pull(&made.image);
    let log = format!("its log is at http://{}/v1alpha1/builds/{}/logs", maker.address, made.build);
    assert!(told.contains("the reason is this") && told.contains(&log), "{told}");
    // After a `HEAD` the reason is in a header.
    let (name, tag) = made.image.split_once('/').and_then(|(_, path)| path.rsplit_once(':')).unwrap();
    let head = send(maker.address, "HEAD", &format!("/v2/{name}/manifests/{tag}"), &[], b"");
    assert_eq!(head.status, 404);
    let warning = head.header("warning").unwrap_or_default();
    assert!(warning.contains("the reason is this"), "{warning}");
    let status = maker.of(&made, "/status").text();
    assert!(
        status.contains(r#""status":"COMPLETED""#) && status.contains(r#""succeeded":false"#),
        "{status}"
    );
}

#[test]
fn a_service_that_was_killed_while_it_built_builds_again() {
    need!("docker-registry", "busybox", "buildah", "podman", "runc", "examples/wave");
    let ((registry, base), room) = (base(), Room::new());
    let containers = Containers::new();
    let data = room.join("data");
    // The registry of builds has another port when the service starts again on a free one.
    let repository = format!("{}/built", registry.address);
    let elsewhere = ["--build-repository", repository.as_str()];
    let maker = Maker::with_buildah(&registry, &containers, &data, &elsewhere);
    let slow = format!("FROM {base}\nRUN echo it began; sleep 5\nRUN echo it ended > /ended\n");
    let made = maker.make(&recipe(&slow, BESIDE));
    while !maker.log().contains("it began") {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    maker.kill();
    let maker = Maker::with_buildah(&registry, &containers, &data, &elsewhere);
    let status = maker.of(&made, "/status").text();
    assert!(status.contains(r#""status":"PENDING""#), "{status}");
    let log = maker.log_of(&made);
    assert!(log.contains("it began"), "{log}");
    let status = maker.of(&made, "/status").text();
    assert!(status.contains(r#""status":"COMPLETED""#) && status.contains(r#""succeeded":true"#), "{status}");
}

#[test]
fn a_recipe_is_frozen_with_its_configuration() {
    need!("docker-registry", "busybox", "buildah", "podman", "runc", "examples/wave");
    let ((registry, base), room) = (base(), Room::new());
    let containers = Containers::new();
    let maker = Maker::with_buildah(&registry, &containers, &room.join("data"), &[]);
    let repository = format!("{}/frozen/made", registry.address);
    let mut request = recipe(&two_stages(&base), BESIDE);
    request["containerConfig"] = json!({ "env": ["ADDED=inside"] });
    request["freeze"] = json!(true);
    request["buildRepository"] = json!(repository);
    let made = maker.make(&request);
    assert!(made.image.starts_with(&format!("{repository}:")), "{}", made.image);
    assert_eq!(made.answer["containerToken"], json!(null));
    let log = maker.log_of(&made);
    let status = maker.of(&made, "/status").text();
    assert!(status.contains(r#""succeeded":true"#), "{status}\n{log}");
    // It is in that registry for good.
    drop(maker);
    assert_eq!(run_in(&made, "cat /made; echo $ADDED"), "made in stage one\ninside\n");
}

#[test]
fn a_frozen_image_runs_when_the_service_has_gone() {
    need!("docker-registry", "busybox", "buildah", "podman", "runc", "examples/wave");
    let ((registry, base), room) = (base(), Room::new());
    let containers = Containers::new();
    let maker = Maker::with_buildah(&registry, &containers, &room.join("data"), &[]);
    let layer = marker_layer();
    let made = maker.make(&json!({
        "containerImage": base,
        "freeze": true,
        "buildRepository": format!("{}/frozen/base", registry.address),
        "containerConfig": {
            "env": [format!("{}={}", VARIABLE.0, VARIABLE.1)],
            "layers": [{
                "location": format!("data:{}", file_of(&layer.compressed)),
                "gzipDigest": layer.digest,
                "gzipSize": layer.compressed.len(),
                "tarDigest": layer.diff_id,
            }],
        },
    }));
    assert_eq!((&made.answer["succeeded"], &made.answer["freeze"]), (&json!(true), &json!(true)));
    // The image layers of the source are mounted: the derived config and the new layer alone are sent.
    let log = registry.log();
    let done = log.lines().filter(|line| line.contains("response completed"));
    let sent =
        done.filter(|line| line.contains("method=PUT") && line.contains("/v2/frozen/base/blobs/uploads/"));
    assert_eq!(sent.count(), 2, "{log}");
    assert!(log.contains("&from=test/docker-manifest"), "{log}");
    drop(maker);
    assert_eq!(run_in(&made, SCRIPT), told(Kind::DockerManifest, true));
}

/// The tool is a script: no package registry that is reached here has a micromamba. The container file is the real one,
/// and all that it asks of the tool is checked.
#[test]
fn a_conda_recipe_is_built_by_the_container_file_that_is_written_for_it() {
    need!("docker-registry", "busybox", "buildah", "podman", "runc", "examples/wave");
    let tool = "#!/bin/sh\nset -e\ncase \"$*\" in\n\
        'install -y -n base -f /tmp/conda.yml') mkdir -p /opt/conda/bin; grep -q samtools /tmp/conda.yml;\
        printf '#!/bin/sh\\necho the tool runs\\n' > /opt/conda/bin/samtools; chmod 755 /opt/conda/bin/samtools;;\n\
        'install -y -n base '*) ;;\n\
        'env export --name base --explicit') echo '@EXPLICIT'; echo 'file:///channel/noarch/samtools-1.20-0.conda';;\n\
        'clean -a -y') ;;\n*) echo \"micromamba was asked: $*\" >&2; exit 9;;\nesac\n";
    let ((registry, base), room) = (base(), Room::new());
    let containers = Containers::new();
    let tools = with_tool(&registry, &base, &containers, "micromamba", tool);
    let images = ["--conda-image", &tools, "--conda-base-image", &base];
    let maker = Maker::with_buildah(&registry, &containers, &room.join("data"), &images);
    let recipes = [
        json!({ "condaFile": file("channels: [\"file:///channel\"]\ndependencies:\n  - samtools=1.20\n") }),
        json!({ "packages": { "type": "CONDA", "entries": ["samtools=1.20"], "channels": ["conda-forge"] } }),
    ];
    for request in recipes {
        let made = maker.make(&request);
        let log = maker.log_of(&made);
        let lock = maker.of(&made, "/condalock");
        assert_eq!(lock.text(), "@EXPLICIT\nfile:///channel/noarch/samtools-1.20-0.conda\n", "{log}");
        assert_eq!(run_in(&made, "samtools"), "the tool runs\n");
    }
}

#[test]
fn a_spack_recipe_is_built_by_the_container_file_that_is_written_for_it() {
    need!("docker-registry", "busybox", "buildah", "podman", "runc", "examples/wave");
    let tool = "#!/bin/sh\nset -e\ncase \"$*\" in\n\
        '-D /opt/spack-env config add config:install_tree:root:/opt/software') ;;\n\
        '-D /opt/spack-env env view enable /opt/view') ;;\n\
        '-D /opt/spack-env concretize -f') grep -q zlib /opt/spack-env/spack.yaml; echo '{\"lock\":1}' > /opt/spack-env/spack.lock;;\n\
        '-D /opt/spack-env install --fail-fast') mkdir -p /opt/software /opt/._view/bin; ln -s /opt/._view /opt/view;\
        printf '#!/bin/sh\\necho the package runs\\n' > /opt/._view/bin/zlib; chmod 755 /opt/._view/bin/zlib;;\n\
        '-D /opt/spack-env gc -y') ;;\n\
        'env activate --sh -d /opt/spack-env') echo true;;\n*) echo \"spack was asked: $*\" >&2; exit 9;;\nesac\n";
    let ((registry, base), room) = (base(), Room::new());
    let containers = Containers::new();
    let tools = with_tool(&registry, &base, &containers, "spack", tool);
    let images = ["--spack-image", &tools, "--spack-base-image", &base];
    let maker = Maker::with_buildah(&registry, &containers, &room.join("data"), &images);
    let spack = file("spack:\n  specs: [zlib]\n");
    let own =
        format!("FROM {base}\nCOPY --from=builder /opt/._view /opt/._view\nENV PATH=/opt/._view/bin:$PATH\n");
    for request in [json!({ "spackFile": spack }), json!({ "spackFile": spack, "containerFile": file(&own) })]
    {
        let made = maker.make(&request);
        let log = maker.log_of(&made);
        let lock = maker.of(&made, "/condalock");
        assert_eq!(lock.text().trim(), r#"{"lock":1}"#, "{log}");
        assert_eq!(run_in(&made, "zlib"), "the package runs\n");
    }
}

#[cfg(feature = "docker-config")]
#[test]
fn a_registrys_password_is_nowhere_but_in_a_file_that_goes() {
    need!("docker-registry", "busybox", "buildah", "podman", "runc", "examples/wave");
    let (registry, room) = (Registry::basic(), Room::new());
    registry.push(image(Kind::DockerManifest));
    let base = registry.name(image(Kind::DockerManifest));
    let config = json!({ "auths": { registry.address.to_string(): { "auth": STANDARD.encode(format!("{USER}:{PASSWORD}")) } } });
    let config = room.write("config.json", config.to_string());
    let (containers, data) = (Containers::new(), room.join("data"));
    let repository = format!("{}/built", registry.address);
    let more = ["--docker-config", config.to_str().unwrap(), "--build-repository", repository.as_str()];
    let maker = Maker::with_buildah(&registry, &containers, &data, &more);
    let made = maker.make(&recipe(&format!("FROM {base}\nRUN echo it began; sleep 2\n"), BESIDE));
    while !maker.log().contains("it began") {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let secrets = [PASSWORD.to_owned(), STANDARD.encode(format!("{USER}:{PASSWORD}"))];
    let is_clean = |text: &[u8], place: &str| {
        for secret in &secrets {
            let found = text.windows(secret.len()).any(|part| part == secret.as_bytes());
            assert!(!found, "a secret in {place}");
        }
    };
    let mut looked_at = 0;
    for process in std::fs::read_dir("/proc").unwrap().flatten() {
        for file in ["cmdline", "environ"] {
            // A process may end meanwhile.
            if let Ok(text) = std::fs::read(process.path().join(file)) {
                // The registry's own process and ours know it by what they are.
                is_clean(&text, &format!("{} of {}", file, process.path().display()));
                looked_at += usize::from(text.windows(7).any(|part| part == b"buildah"));
            }
        }
    }
    assert!(looked_at > 0, "no process of the engine was seen");
    let log = maker.log_of(&made);
    assert!(maker.of(&made, "/status").text().contains(r#""succeeded":true"#), "{log}");
    let podman = Podman::new();
    podman.pull(&made.image);
    is_clean(podman.inspect(&made.image).as_bytes(), "the image's configuration or history");
    is_clean(
        podman.run(&made.image, "cat $(find / -xdev -type f -size -64k 2>/dev/null)").as_bytes(),
        "a layer",
    );
    is_clean(log.as_bytes(), "the build's log");
    is_clean(maker.log().as_bytes(), "the service's log");
    is_clean(maker.of(&made, "").text().as_bytes(), "what is told of the build");
    drop(maker);
    files_below(&data, &mut |path, content| is_clean(content, &path.display().to_string()));
}

/// Every file of a directory, and of those in it.
#[cfg(feature = "docker-config")]
fn files_below(directory: &std::path::Path, each: &mut dyn FnMut(&std::path::Path, &[u8])) {
    for entry in std::fs::read_dir(directory).unwrap().flatten() {
        match entry.path() {
            path if path.is_dir() => files_below(&path, each),
            path => each(&path, &std::fs::read(&path).unwrap()),
        }
    }
}

/// The base image with a tool in it, frozen into the registry: its name.
fn with_tool(registry: &Registry, base: &str, containers: &Containers, name: &str, script: &str) -> String {
    let room = Room::new();
    let maker = Maker::with_buildah(registry, containers, &room.join("data"), &[]);
    let mut request =
        recipe(&format!("FROM {base}\nCOPY conda.yml /bin/{name}\nRUN chmod 755 /bin/{name}\n"), script);
    request["freeze"] = json!(true);
    request["buildRepository"] = json!(format!("{}/tools/{name}", registry.address));
    let made = maker.make(&request);
    let log = maker.log_of(&made);
    let status = maker.of(&made, "/status").text();
    assert!(status.contains(r#""succeeded":true"#), "{status}\n{log}");
    made.image
}
