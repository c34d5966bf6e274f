//! Pulling blobs: `Range`, in accordance with
//! [RFC 9110, section 14](https://www.rfc-editor.org/rfc/rfc9110#section-14).

use super::answer::Answer;
use super::case::{Case, Checked, Group, must, should};
use super::fixtures::Blob;
use super::site::Site;
use super::target::Feature;

pub(super) const GROUP: Group = Group { section: "Pulling blobs: ranges", cases: CASES };

const CASES: &[Case] = &[
    should("A range is answered with 206, its bytes and `Content-Range`.", |site| Box::pin(one(site)))
        .needs(&[Feature::Ranges]),
    should("A range may lack its end, or count from the end.", |site| Box::pin(open_ended(site)))
        .needs(&[Feature::Ranges]),
    should("A range beyond the end stops there.", |site| Box::pin(beyond(site))).needs(&[Feature::Ranges]),
    should("A range that has nothing of the blob is 416, with its size.", |site| Box::pin(nothing(site)))
        .needs(&[Feature::Ranges]),
    should("A range of an empty blob has nothing, or is ignored.", |site| Box::pin(of_nothing(site)))
        .needs(&[Feature::Ranges]),
    should("Parts of a blob make the whole.", |site| Box::pin(resumed(site))).needs(&[Feature::Ranges]),
    should("Support of ranges is told in `Accept-Ranges`.", |site| Box::pin(told(site)))
        .needs(&[Feature::Ranges]),
    should("Several ranges come as `multipart/byteranges`, or the whole blob does.", |site| {
        Box::pin(several(site))
    })
    .needs(&[Feature::Ranges]),
    should("`If-Range` with the `ETag` of the blob lets the range through.", |site| Box::pin(if_range(site)))
        .needs(&[Feature::Ranges, Feature::Conditions]),
    must("`If-Range` with anything else makes it the whole blob.", |site| Box::pin(if_range_not(site))),
    must("A `Range` that can't be understood is ignored.", |site| Box::pin(ignored(site))),
    must("A `Range` of a HEAD is ignored.", |site| Box::pin(of_head(site))),
    must("A `Range` is answered with the whole blob where ranges aren't offered.", |site| {
        Box::pin(not_offered(site))
    })
    .unless(Feature::Ranges),
];

const SIZE: usize = 300_000;

async fn blob(site: &Site) -> Checked<Blob> {
    site.put_blob(Blob::of_length(SIZE, site.name()).content).await
}

async fn ranged(site: &Site, blob: &Blob, range: &str) -> Checked<Answer> {
    site.get_with(&blob.path(), &[("range", range)]).await
}

async fn is_part(site: &Site, blob: &Blob, range: &str, first: usize, last: usize) -> Checked {
    let answer = ranged(site, blob, range).await?;
    answer.has_status(&[206])?;
    answer.has_content(blob.content.get(first..=last).unwrap_or_default())?;
    answer.has_header("content-range", format!("bytes {first}-{last}/{}", blob.content.len()))?;
    answer.has_header("content-length", last + 1 - first)
}

async fn one(site: &Site) -> Checked {
    let blob = blob(site).await?;
    for (first, last) in [(0, 0), (0, 99), (1, 1), (100, 70_000), (SIZE - 1, SIZE - 1), (1, SIZE - 1)] {
        is_part(site, &blob, &format!("bytes={first}-{last}"), first, last).await?;
    }
    Ok(())
}

async fn open_ended(site: &Site) -> Checked {
    let blob = blob(site).await?;
    is_part(site, &blob, "bytes=100-", 100, SIZE - 1).await?;
    is_part(site, &blob, "bytes=299999-", SIZE - 1, SIZE - 1).await?;
    is_part(site, &blob, "bytes=-1", SIZE - 1, SIZE - 1).await?;
    is_part(site, &blob, "bytes=-70000", SIZE - 70_000, SIZE - 1).await
}

async fn beyond(site: &Site) -> Checked {
    let blob = blob(site).await?;
    is_part(site, &blob, "bytes=299990-400000", SIZE - 10, SIZE - 1).await?;
    is_part(site, &blob, "bytes=299999-99999999999999999999", SIZE - 1, SIZE - 1).await?;
    // A suffix that is longer than the blob is all of it, as a part or as a whole.
    let answer = ranged(site, &blob, "bytes=-400000").await?;
    answer.has_status(&[200, 206])?;
    answer.has_content(&blob.content)
}

async fn nothing(site: &Site) -> Checked {
    let blob = blob(site).await?;
    for range in ["bytes=300000-", "bytes=300000-300001", "bytes=900000-", "bytes=-0"] {
        let answer = ranged(site, &blob, range).await?;
        answer.has_status(&[416])?;
        answer.has_header("content-range", format!("bytes */{SIZE}"))?;
    }
    Ok(())
}

async fn of_nothing(site: &Site) -> Checked {
    let blob = site.put_blob("").await?;
    for range in ["bytes=0-", "bytes=0-9", "bytes=-5"] {
        let answer = ranged(site, &blob, range).await?;
        answer.has_status(&[200, 416])?;
        if answer.status == 200 {
            answer.has_content(b"")?;
            answer.has_header("content-length", 0)?;
        } else {
            answer.has_header("content-range", "bytes */0")?;
        }
    }
    Ok(())
}

async fn resumed(site: &Site) -> Checked {
    let blob = blob(site).await?;
    let mut whole = Vec::new();
    while whole.len() < SIZE {
        let first = whole.len();
        let last = (first + 77_777).min(SIZE) - 1;
        let answer = ranged(site, &blob, &format!("bytes={first}-{last}")).await?;
        answer.has_status(&[206])?;
        if answer.body.len() != last + 1 - first {
            return Err(answer.fails("a part of another length"));
        }
        whole.extend_from_slice(&answer.body);
    }
    let last = ranged(site, &blob, "bytes=0-0").await?;
    if whole == blob.content { Ok(()) } else { Err(last.fails("the parts make something else")) }
}

async fn told(site: &Site) -> Checked {
    let blob = blob(site).await?;
    site.get(&blob.path()).await?.has_header("accept-ranges", "bytes")?;
    site.head(&blob.path()).await?.has_header("accept-ranges", "bytes")
}

async fn several(site: &Site) -> Checked {
    let blob = blob(site).await?;
    let answer = ranged(site, &blob, "bytes=0-4,100-109, -3").await?;
    answer.has_status(&[200, 206])?;
    if answer.status == 200 {
        return answer.has_content(&blob.content);
    }
    let kind = answer.has("content-type")?;
    let Some(boundary) = kind.strip_prefix("multipart/byteranges; boundary=") else {
        return Err(answer.fails("several parts that aren't `multipart/byteranges`"));
    };
    let boundary = format!("--{}", boundary.trim_matches('"'));
    answer.lacks("content-range")?;
    answer.has_header("content-length", answer.body.len())?;
    let mut rest = answer.body.as_ref();
    for (first, last) in [(0, 4), (100, 109), (SIZE - 3, SIZE - 1)] {
        let range = format!("bytes {first}-{last}/{SIZE}");
        let part = blob.content.get(first..=last).unwrap_or_default();
        rest = part_of(rest, &boundary, &range, part)
            .ok_or_else(|| answer.fails(format!("the part `{range}` isn't there as it should be")))?;
    }
    let end = format!("\r\n{boundary}--");
    if rest.trim_ascii_end() == end.as_bytes() {
        Ok(())
    } else {
        Err(answer.fails("the last boundary is missing"))
    }
}

/// What stands behind the part with this range and content.
fn part_of<'a>(body: &'a [u8], boundary: &str, range: &str, content: &[u8]) -> Option<&'a [u8]> {
    let body = body.strip_prefix(b"\r\n").unwrap_or(body).strip_prefix(boundary.as_bytes())?;
    let end = body.windows(4).position(|window| window == b"\r\n\r\n")?;
    let (head, body) = body.split_at_checked(end)?;
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    let is_there = head.split("\r\n").any(|line| line == format!("content-range: {range}"));
    body.get(4..)?.strip_prefix(content).filter(|_| is_there)
}

async fn if_range(site: &Site) -> Checked {
    let blob = blob(site).await?;
    let whole = site.get(&blob.path()).await?;
    let tag = whole.has("etag")?;
    let answer = site.get_with(&blob.path(), &[("range", "bytes=5-9"), ("if-range", tag)]).await?;
    answer.has_status(&[206])?;
    answer.has_content(blob.content.get(5..10).unwrap_or_default())
}

async fn if_range_not(site: &Site) -> Checked {
    let blob = blob(site).await?;
    let weak = format!("W/\"{}\"", blob.digest);
    for condition in ["\"another\"", &weak, "Thu, 01 Jan 1970 00:00:00 GMT"] {
        let answer = site.get_with(&blob.path(), &[("range", "bytes=5-9"), ("if-range", condition)]).await?;
        answer.has_status(&[200])?;
        answer.has_content(&blob.content)?;
    }
    Ok(())
}

async fn ignored(site: &Site) -> Checked {
    let blob = blob(site).await?;
    for range in ["lines=1-2", "bytes=9-5", "bytes=", "bytes=a-b", "5-9", "bytes=5"] {
        let answer = ranged(site, &blob, range).await?;
        answer.has_status(&[200])?;
        answer.has_content(&blob.content)?;
    }
    Ok(())
}

async fn of_head(site: &Site) -> Checked {
    let blob = blob(site).await?;
    let url = site.at(&blob.path())?;
    let answer = site.send(http::Method::HEAD, url, &[("range", "bytes=5-9")], "").await?;
    answer.has_status(&[200])?;
    answer.has_header("content-length", SIZE)
}

async fn not_offered(site: &Site) -> Checked {
    let blob = blob(site).await?;
    let answer = ranged(site, &blob, "bytes=5-9").await?;
    answer.has_status(&[200])?;
    answer.has_content(&blob.content)
}
