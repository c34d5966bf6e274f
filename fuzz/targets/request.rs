//! Requests: whatever comes, it is an operation or a refusal that names what is wrong; an operation written as a
//! request is read as the same again, and stays inside its repository whatever a client made up.
//!
//! An input is a request line without a version, header lines, an empty line, and the body.

use futures_util::FutureExt as _;
use http::request::Parts;
use tower_oci::body::Body;
use tower_oci::error::ErrorKind;
use tower_oci::http::request::{decode, encode};
use tower_oci::operation::{Accept, EntityTags, Namespace, Operation, Request};

pub(crate) fn run(data: &[u8]) {
    let Some((parts, content)) = request(data) else { return };
    let request = match read(&parts, Body::from(content.to_vec())) {
        Ok(request) => request,
        Err(error) => {
            assert!(error.status().is_client_error(), "{error:?}");
            let message = error.to_string();
            assert!(!message.is_empty() && message.len() < 4096, "{message}");
            assert!(!message.chars().any(char::is_control), "{message:?}");
            return;
        }
    };
    if let Some(namespace) = request.extensions().get::<Namespace>() {
        assert!(matches!(parts.method.as_str(), "GET" | "HEAD"), "{namespace:?} on a write");
    }
    let operation = normal(request.into_operation());
    let (kind, repository) = (operation.kind(), operation.repository().cloned());
    let (packed, before) = (is_packed(&operation), format!("{operation:?}"));
    let written = match encode(operation) {
        Ok(written) => written,
        Err(error) => {
            assert!(packed && error.kind() == ErrorKind::Invalid, "{before}: {error:?}");
            return;
        }
    };
    assert!(written.uri().authority().is_none());
    for secret in ["authorization", "cookie", "proxy-authorization", "host", "x-forwarded-host"] {
        assert!(!written.headers().contains_key(secret), "{secret} was passed on");
    }
    if let Some(repository) = &repository {
        assert!(written.uri().path().starts_with(&format!("/v2/{repository}/")), "{}", written.uri());
    }
    let (parts, body) = written.into_parts();
    let again = match read(&parts, body) {
        Ok(again) => {
            assert!(again.extensions().get::<Namespace>().is_none(), "{}", parts.uri);
            normal(again.into_operation())
        }
        // The query that a marker stands for is the other registry's own.
        Err(error) => {
            return assert!(packed && error.kind() == ErrorKind::Invalid, "{}: {error:?}", parts.uri);
        }
    };
    assert_eq!((again.kind(), again.repository()), (kind, repository.as_ref()));
    if !packed {
        assert_eq!(format!("{again:?}"), before);
    }
}

fn request(data: &[u8]) -> Option<(Parts, &[u8])> {
    let end = data.windows(2).position(|pair| pair == b"\n\n");
    let (head, body) = end.map_or((data, &[][..]), |end| (&data[..end], &data[end + 2..]));
    let mut lines = head.split(|byte| *byte == b'\n');
    let mut line = lines.next()?.splitn(2, |byte| *byte == b' ');
    let mut builder = http::Request::builder().method(line.next()?).uri(line.next()?);
    for line in lines {
        let colon = line.iter().position(|byte| *byte == b':')?;
        builder = builder.header(&line[..colon], line[colon + 1..].trim_ascii());
    }
    Some((builder.body(()).ok()?.into_parts().0, body))
}

fn read(parts: &Parts, body: Body) -> Result<Request, tower_oci::error::Error> {
    decode(parts, body).now_or_never().unwrap_or_else(|| unreachable!("all of the body is there"))
}

/// What `encode` doesn't promise to keep is left out: `Accept`, and further tags of an `If-Range`, which may have one.
fn normal(mut operation: Operation) -> Operation {
    match &mut operation {
        Operation::GetManifest(get) => get.accept = Accept::default(),
        Operation::GetBlob(get) if get.conditions.if_range.is_some() => {
            get.conditions.if_range = Some(EntityTags::Digests(vec![get.digest]));
        }
        _ => {}
    }
    operation
}

/// Whether a marker or an identity stands for a query of another registry.
fn is_packed(operation: &Operation) -> bool {
    let text = match operation {
        Operation::ListTags(list) => list.page.last.as_deref(),
        Operation::ListReferrers(list) => list.page.last.as_deref(),
        Operation::ListRepositories(list) => list.page.last.as_deref(),
        Operation::UploadChunk(upload) => Some(upload.upload.as_str()),
        Operation::FinishUpload(upload) => Some(upload.upload.as_str()),
        Operation::UploadStatus(upload) => Some(upload.upload.as_str()),
        Operation::CancelUpload(upload) => Some(upload.upload.as_str()),
        _ => None,
    };
    text.is_some_and(|text| text.starts_with('~'))
}
