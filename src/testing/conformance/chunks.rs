//! Pushing a blob in chunks.

use bytes::Bytes;
use futures_util::stream;
use http::{Method, Uri};

use super::answer::Answer;
use super::case::{Case, Checked, Group, must, should};
use super::fixtures::{Blob, OCTETS, with_digest};
use super::push_blobs::NO_DIGESTS;
use super::site::Site;
use super::target::Feature;
use crate::body::Body;
use crate::error::Error;
use crate::spec::digest::{Algorithm, Digest};

pub(super) const GROUP: Group = Group { section: "Pushing a blob in chunks", cases: CASES };

const CHUNKS: &[Feature] = &[Feature::Push, Feature::Chunks];
const CANCEL: &[Feature] = &[Feature::Push, Feature::Cancel];

const CASES: &[Case] = &[
    must("A chunk is answered with 202, `Location` and `Range`.", |site| Box::pin(a_chunk(site)))
        .needs(CHUNKS),
    must("The last chunk comes with a PATCH, and a PUT ends the upload with 201.", |site| {
        Box::pin(all_by_patch(site))
    })
    .needs(CHUNKS),
    must("The last chunk comes with the PUT that ends the upload.", |site| Box::pin(last_by_put(site)))
        .needs(CHUNKS),
    must("A chunk that leaves a gap is 416.", |site| Box::pin(gap(site))).needs(CHUNKS),
    must("A chunk that came already is 416.", |site| Box::pin(again(site))).needs(CHUNKS),
    must("A first chunk that doesn't begin with 0 is 416.", |site| Box::pin(not_at_zero(site))).needs(CHUNKS),
    must("A last chunk out of order is 416.", |site| Box::pin(last_out_of_order(site))).needs(CHUNKS),
    must("A GET of an upload is 204, `Location` and `Range`.", |site| Box::pin(status(site))).needs(CHUNKS),
    must("After a 416 the upload goes on from where a GET says.", |site| Box::pin(recovers(site)))
        .needs(CHUNKS),
    must("The location of any answer before tells the status.", |site| Box::pin(old_location(site)))
        .needs(CHUNKS),
    must("A `Content-Range` is `<first>-<last>`, and as long as the chunk.", |site| {
        Box::pin(malformed_ranges(site))
    })
    .needs(CHUNKS),
    should("`OCI-Chunk-Min-Length` tells the minimum, and chunks of it are taken.", |site| {
        Box::pin(min_length(site))
    })
    .needs(CHUNKS),
    should("A wrong or malformed digest at the end is 400, and nothing is kept.", |site| {
        Box::pin(wrong_digest(site))
    })
    .needs(CHUNKS),
    must("An upload without any chunk is an empty blob.", |site| Box::pin(no_chunk(site))).needs(CHUNKS),
    should("A digest of another algorithm is announced with `digest-algorithm`.", |site| {
        Box::pin(sha512(site))
    })
    .needs(&[Feature::Push, Feature::Chunks, Feature::Sha512]),
    should("A PATCH without `Content-Range` is a chunk of any length, as Docker sends it.", |site| {
        Box::pin(streamed(site))
    })
    .needs(CHUNKS),
    should("A DELETE of an upload is 204, and ends it.", |site| Box::pin(cancelled(site))).needs(CANCEL),
    must("A cancelled upload leaves nothing.", |site| Box::pin(nothing_left(site))).needs(CANCEL),
];

const CONTENT: &str = "0123456789abcdef";

async fn chunk(site: &Site, location: &Uri, range: &str, content: &'static str) -> Checked<Answer> {
    let length = content.len().to_string();
    let headers = [OCTETS, ("content-range", range), ("content-length", &length)];
    site.send(Method::PATCH, location.clone(), &headers, content).await
}

async fn opened(site: &Site) -> Checked<Uri> {
    site.open("").await?.location()
}

/// What a chunk is answered with of which `end` is the last byte.
fn is_taken(answer: &Answer, end: usize) -> Checked<Uri> {
    answer.has_status(&[202])?;
    answer.has_header("range", format!("0-{end}"))?;
    answer.location()
}

/// An upload of which the bytes 0 to 4 have come.
async fn begun(site: &Site) -> Checked<Uri> {
    is_taken(&chunk(site, &opened(site).await?, "0-4", "01234").await?, 4)
}

async fn put(site: &Site, location: &Uri, range: &str, content: &'static str) -> Checked<Answer> {
    let url = site.root(&with_digest(location, Digest::sha256(CONTENT.as_bytes())))?;
    site.send(Method::PUT, url, &[OCTETS, ("content-range", range)], content).await
}

async fn is_pushed(site: &Site, answer: &Answer) -> Checked {
    answer.has_status(&[201])?;
    site.follow(answer.location()?).await?.has_content(CONTENT.as_bytes())?;
    site.get(&Blob::new(CONTENT).path()).await?.has_content(CONTENT.as_bytes())
}

async fn a_chunk(site: &Site) -> Checked {
    begun(site).await?;
    Ok(())
}

async fn all_by_patch(site: &Site) -> Checked {
    let location = begun(site).await?;
    let location = is_taken(&chunk(site, &location, "5-9", "56789").await?, 9)?;
    let location = is_taken(&chunk(site, &location, "10-15", "abcdef").await?, 15)?;
    let blob = Blob::new(CONTENT);
    is_pushed(site, &site.finish(location, &blob.digest, &Bytes::new()).await?).await
}

async fn last_by_put(site: &Site) -> Checked {
    let location = begun(site).await?;
    is_pushed(site, &put(site, &location, "5-15", "56789abcdef").await?).await?;
    // The only chunk may be the last.
    let site = site.named("only");
    is_pushed(&site, &put(&site, &opened(&site).await?, "0-15", CONTENT).await?).await
}

async fn gap(site: &Site) -> Checked {
    let location = begun(site).await?;
    chunk(site, &location, "10-15", "abcdef").await?.is_error(&[416], &["BLOB_UPLOAD_INVALID"])
}

async fn again(site: &Site) -> Checked {
    let location = begun(site).await?;
    chunk(site, &location, "0-4", "01234").await?.is_error(&[416], &["BLOB_UPLOAD_INVALID"])?;
    chunk(site, &location, "4-9", "456789").await?.is_error(&[416], &["BLOB_UPLOAD_INVALID"])
}

async fn not_at_zero(site: &Site) -> Checked {
    let location = opened(site).await?;
    chunk(site, &location, "5-9", "56789").await?.is_error(&[416], &["BLOB_UPLOAD_INVALID"])
}

async fn last_out_of_order(site: &Site) -> Checked {
    let location = begun(site).await?;
    put(site, &location, "10-15", "abcdef").await?.is_error(&[416], &["BLOB_UPLOAD_INVALID"])?;
    put(site, &location, "0-4", "01234").await?.is_error(&[416], &["BLOB_UPLOAD_INVALID"])?;
    site.get(&Blob::new(CONTENT).path()).await?.has_status(&[404])
}

/// What a status is answered with of which `end` is the last byte.
async fn goes_on(site: &Site, location: Uri, end: usize) -> Checked<Uri> {
    let answer = site.follow(location).await?;
    answer.has_status(&[204])?;
    answer.has_header("range", format!("0-{end}"))?;
    answer.location()
}

async fn status(site: &Site) -> Checked {
    // There is no way to write that nothing has come; `0-0` is what Docker's registry says.
    let location = goes_on(site, opened(site).await?, 0).await?;
    let location = is_taken(&chunk(site, &location, "0-4", "01234").await?, 4)?;
    let location = goes_on(site, location, 4).await?;
    is_pushed(site, &put(site, &location, "5-15", "56789abcdef").await?).await
}

async fn recovers(site: &Site) -> Checked {
    let location = begun(site).await?;
    chunk(site, &location, "9-10", "9a").await?.has_status(&[416])?;
    let location = goes_on(site, location, 4).await?;
    let location = is_taken(&chunk(site, &location, "5-8", "5678").await?, 8)?;
    put(site, &location, "10-15", "abcdef").await?.has_status(&[416])?;
    let location = goes_on(site, location, 8).await?;
    is_pushed(site, &put(site, &location, "9-15", "9abcdef").await?).await
}

async fn old_location(site: &Site) -> Checked {
    let first = opened(site).await?;
    let second = is_taken(&chunk(site, &first, "0-4", "01234").await?, 4)?;
    let third = is_taken(&chunk(site, &second, "5-9", "56789").await?, 9)?;
    for location in [first, second, third] {
        let location = goes_on(site, location, 9).await?;
        chunk(site, &location, "0-4", "01234").await?.has_status(&[416])?;
    }
    Ok(())
}

async fn malformed_ranges(site: &Site) -> Checked {
    for range in ["0", "-", "0-", "-4", "a-b", "4-0", "0--4", "0-4, 5-9"] {
        let location = opened(site).await?;
        let answer = chunk(site, &location, range, "01234").await?;
        answer.is_error(&[400, 416], &["BLOB_UPLOAD_INVALID", "SIZE_INVALID"])?;
    }
    for range in ["0-3", "0-5"] {
        let location = opened(site).await?;
        let answer = chunk(site, &location, range, "01234").await?;
        answer.is_error(&[400, 416], &["BLOB_UPLOAD_INVALID", "SIZE_INVALID"])?;
        // It left nothing.
        is_taken(&chunk(site, &location, "0-4", "01234").await?, 4)?;
    }
    Ok(())
}

async fn min_length(site: &Site) -> Checked {
    let answer = site.open("").await?;
    let Some(told) = answer.header("oci-chunk-min-length") else {
        return match site.target().min_chunk {
            Some(_) => Err(answer.fails("`OCI-Chunk-Min-Length` is missing")),
            None => Ok(()),
        };
    };
    let Ok(length) = told.parse::<usize>() else {
        return Err(answer.fails("`OCI-Chunk-Min-Length` is no number"));
    };
    if let Some(expected) = site.target().min_chunk {
        answer.has_header("oci-chunk-min-length", expected)?;
    }
    // Two chunks of that length, and a last one of one byte.
    let blob = Blob::of_length(2 * length + 1, site.name());
    let mut location = answer.location()?;
    for number in 0..2 {
        let (first, end) = (number * length, (number + 1) * length);
        let range = format!("{first}-{}", end - 1);
        let content = blob.content.slice(first..end);
        let answer =
            site.send(Method::PATCH, location, &[OCTETS, ("content-range", &range)], content).await?;
        location = is_taken(&answer, end - 1)?;
    }
    let last = blob.content.slice(2 * length..);
    let answer = site.finish(location, &blob.digest, &last).await?;
    answer.has_status(&[201])?;
    site.get(&blob.path()).await?.has_content(&blob.content)
}

async fn wrong_digest(site: &Site) -> Checked {
    let location = begun(site).await?;
    let answer = put(site, &location, "5-9", "56789").await?;
    answer.is_error(&[400], &["DIGEST_INVALID"])?;
    for content in [CONTENT, "0123456789", "01234"] {
        site.get(&Blob::new(content).path()).await?.has_status(&[404])?;
    }
    for digest in NO_DIGESTS {
        let url = site.root(&with_digest(&begun(site).await?, digest))?;
        let answer = site.send(Method::PUT, url, &[], "").await?;
        answer.is_error(&[400], &["DIGEST_INVALID", "UNSUPPORTED"])?;
    }
    Ok(())
}

async fn no_chunk(site: &Site) -> Checked {
    let blob = Blob::new("");
    let answer = site.finish(opened(site).await?, &blob.digest, &blob.content).await?;
    answer.has_status(&[201])?;
    site.get(&blob.path()).await?.has_content(b"")
}

async fn sha512(site: &Site) -> Checked {
    let digest = Digest::of(Algorithm::Sha512, CONTENT.as_bytes());
    let location = site.open("?digest-algorithm=sha512").await?.location()?;
    let location = is_taken(&chunk(site, &location, "0-4", "01234").await?, 4)?;
    let location = is_taken(&chunk(site, &location, "5-15", "56789abcdef").await?, 15)?;
    let answer = site.finish(location, &digest, &Bytes::new()).await?;
    answer.has_status(&[201])?;
    site.get(&format!("blobs/{digest}")).await?.has_content(CONTENT.as_bytes())
}

async fn streamed(site: &Site) -> Checked {
    let blob = Blob::of_length(1_000_000, site.name());
    let pieces: Vec<_> = (0..10).map(|at| blob.content.slice(at * 100_000..(at + 1) * 100_000)).collect();
    let body = Body::from_stream(stream::iter(pieces.into_iter().map(Ok::<_, Error>)));
    let answer = site.send(Method::PATCH, opened(site).await?, &[OCTETS], body).await?;
    let location = is_taken(&answer, 999_999)?;
    let answer = site.finish(location, &blob.digest, &Bytes::new()).await?;
    answer.has_status(&[201])?;
    site.get(&blob.path()).await?.has_content(&blob.content)
}

async fn cancelled(site: &Site) -> Checked {
    let takes_chunks = site.target().offers(Feature::Chunks);
    for location in [opened(site).await?, begun_if_possible(site).await?] {
        let answer = site.send(Method::DELETE, location.clone(), &[("content-length", "0")], "").await?;
        answer.has_status(&[204])?;
        site.follow(location.clone()).await?.is_error(&[404], &["BLOB_UPLOAD_UNKNOWN"])?;
        if takes_chunks {
            let answer = chunk(site, &location, "0-4", "01234").await?;
            answer.is_error(&[404], &["BLOB_UPLOAD_UNKNOWN"])?;
        }
    }
    Ok(())
}

/// An upload with a chunk, or without where none is taken.
async fn begun_if_possible(site: &Site) -> Checked<Uri> {
    if site.target().offers(Feature::Chunks) { begun(site).await } else { opened(site).await }
}

async fn nothing_left(site: &Site) -> Checked {
    let location = begun_if_possible(site).await?;
    site.send(Method::DELETE, location.clone(), &[("content-length", "0")], "").await?.has_status(&[204])?;
    let blob = Blob::new("01234");
    let answer = site.finish(location, &blob.digest, &Bytes::new()).await?;
    answer.is_error(&[404], &["BLOB_UPLOAD_UNKNOWN"])?;
    site.get(&blob.path()).await?.has_status(&[404])
}
