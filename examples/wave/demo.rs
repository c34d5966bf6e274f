//! The built-in demo image as an upstream of its own, and a request that puts something into it.

#[path = "../support/demo.rs"]
mod image;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;
use tower_oci::hosted::Memory;
use tower_oci::spec::digest::Digest;
use tower_oci::spec::name::Host;

use super::Failure;

/// The registry that the demo image is in: this process.
const HOST: &str = "demo.localhost";

pub(crate) fn host() -> Result<Host, Failure> {
    Ok(HOST.parse()?)
}

/// A registry with the demo image.
pub(crate) fn registry() -> Result<Memory, Failure> {
    let registry = Memory::new();
    image::push(&registry)?;
    Ok(registry)
}

/// The body of a `POST /container-token` for the demo image, with a file and a variable.
pub(crate) fn request() -> Result<String, Failure> {
    let content = b"hello from an injected layer\n";
    let mut header = tar::Header::new_ustar();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    let mut tar = tar::Builder::new(Vec::new());
    tar.append_data(&mut header, image::FILE, &content[..])?;
    let tar = tar.into_inner()?;
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    std::io::Write::write_all(&mut gzip, &tar)?;
    let gzip = gzip.finish()?;
    Ok(format!(
        r#"{{"containerImage":"{HOST}/{repository}","containerConfig":{{"env":["GREETING=hello from an injected variable"],"layers":[{{"location":"data:{location}","gzipDigest":"{gzip_digest}","gzipSize":{size},"tarDigest":"{tar_digest}"}}]}}}}"#,
        repository = image::REPOSITORY,
        location = BASE64_STANDARD.encode(&gzip),
        gzip_digest = Digest::sha256(&gzip),
        size = gzip.len(),
        tar_digest = Digest::sha256(&tar),
    ))
}
