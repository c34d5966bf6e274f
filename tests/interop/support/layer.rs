//! Layers: a tar made by hand, compressed.

use std::io::Write as _;

use flate2::{Compression, write::GzEncoder};

use crate::support::image::digest;

/// A compressed layer, with what the container-token API wants to know of one.
#[derive(Debug)]
pub(crate) struct Layer {
    pub(crate) compressed: Vec<u8>,
    pub(crate) digest: String,
    pub(crate) diff_id: String,
}

/// What a path in a tar is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Entry<'a> {
    Directory,
    /// Content and mode.
    File(&'a [u8], u32),
    Link(&'a str),
}

/// A tar of these paths, the same bytes each time.
pub(crate) fn tar(entries: &[(&str, Entry<'_>)]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (path, entry) in entries {
        let mut header = tar::Header::new_gnu();
        header.set_mtime(1_714_979_289);
        match entry {
            Entry::Directory => {
                header.set_entry_type(tar::EntryType::Directory);
                header.set_mode(0o755);
                header.set_size(0);
                archive.append_data(&mut header, path, std::io::empty()).unwrap();
            }
            Entry::File(content, mode) => {
                header.set_entry_type(tar::EntryType::Regular);
                header.set_mode(*mode);
                header.set_size(content.len() as u64);
                archive.append_data(&mut header, path, *content).unwrap();
            }
            Entry::Link(target) => {
                header.set_entry_type(tar::EntryType::Symlink);
                header.set_mode(0o777);
                header.set_size(0);
                archive.append_link(&mut header, path, target).unwrap();
            }
        }
    }
    archive.into_inner().unwrap()
}

/// Compresses a tar with zstd or with gzip.
pub(crate) fn packed(tar: &[u8], zstd: bool) -> Layer {
    let compressed = if zstd { zstd::encode_all(tar, 1).unwrap() } else { gzip(tar) };
    Layer { digest: digest(&compressed), diff_id: digest(tar), compressed }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}
