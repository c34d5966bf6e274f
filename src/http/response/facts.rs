//! What is told beside a reply: warnings, rate limits, the namespace, what a cache did.

use http::header::WARNING;
use http::{Extensions, HeaderMap, HeaderName, HeaderValue};

use super::encode::value;
use crate::http::headers::{CACHE_STATUS, OCI_NAMESPACE, RATE_LIMIT_PREFIX};
use crate::operation::{CacheStatus, Namespace, RateLimit, Warnings};
use crate::spec::name::shortened;

/// The most headers about a rate limit that are taken over.
const MAX_RATE_LIMITS: usize = 8;

/// The most warnings that are taken over.
const MAX_WARNINGS: usize = 16;

/// Writes the facts of a response into its headers.
pub(super) fn encode(facts: &Extensions, headers: &mut HeaderMap) {
    if facts.is_empty() {
        return;
    }
    if let Some(Namespace(host)) = facts.get() {
        headers.extend(value(host.as_str().to_owned()).map(|value| (OCI_NAMESPACE, value)));
    }
    if let Some(status) = facts.get::<CacheStatus>() {
        headers.extend(value(status.to_string()).map(|value| (CACHE_STATUS, value)));
    }
    if let Some(RateLimit(limits)) = facts.get() {
        let limits = limits.iter().filter(|(name, _)| is_rate_limit(name)).take(MAX_RATE_LIMITS);
        for (name, value) in limits {
            headers.append(name, value.clone());
        }
    }
    if let Some(Warnings(texts)) = facts.get() {
        let mut left = Warnings::MAX_BYTES;
        for value in texts.iter().filter_map(|text| warning(text)) {
            let Some(rest) = left.checked_sub(value.len()) else { break };
            left = rest;
            headers.append(WARNING, value);
        }
    }
}

/// Reads the facts of a response from its headers.
pub(super) fn decode(headers: &HeaderMap, facts: &mut Extensions) {
    let warnings = headers.get_all(WARNING).iter().filter_map(warning_text).take(MAX_WARNINGS);
    let warnings: Vec<_> = warnings.collect();
    if !warnings.is_empty() {
        facts.insert(Warnings::new(warnings));
    }
    let limits = headers.iter().filter(|(name, _)| is_rate_limit(name)).take(MAX_RATE_LIMITS);
    let limits: Vec<_> = limits.map(|(name, value)| (name.clone(), value.clone())).collect();
    if !limits.is_empty() {
        facts.insert(RateLimit::new(limits));
    }
}

fn is_rate_limit(name: &HeaderName) -> bool {
    name.as_str().starts_with(RATE_LIMIT_PREFIX)
}

/// `299 - "<text>"`, at most [`Warnings::MAX_BYTES`] long.
pub(super) fn warning(text: &str) -> Option<HeaderValue> {
    const START: &str = "299 - \"";
    let mut line = String::from(START);
    for c in text.chars() {
        let c = if c.is_control() { ' ' } else { c };
        if line.len() + c.len_utf8() + 2 > Warnings::MAX_BYTES {
            break;
        }
        if c == '"' || c == '\\' {
            line.push('\\');
        }
        line.push(c);
    }
    line.push('"');
    if line.len() > START.len() + 1 { HeaderValue::from_bytes(line.as_bytes()).ok() } else { None }
}

/// The text of a warning, as it may be shown: control characters escaped, cut where it is long.
pub(super) fn warning_text(value: &HeaderValue) -> Option<String> {
    let line = std::str::from_utf8(value.as_bytes()).ok()?;
    let quoted = line.trim().strip_prefix("299 ")?.trim_start();
    let (_agent, quoted) = quoted.split_once(' ')?;
    let mut chars = quoted.trim().strip_prefix('"')?.chars();
    let mut text = String::new();
    loop {
        match chars.next()? {
            '"' => break,
            '\\' => text.push(chars.next()?),
            c => text.push(c),
        }
    }
    (!text.is_empty()).then(|| if text.len() > 1024 { shortened(&text) } else { text })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_are_quoted_and_bounded() {
        let line = warning("say \"hi\"\\\r\nx: y").unwrap();
        assert_eq!(line, r#"299 - "say \"hi\"\\  x: y""#);
        assert_eq!(warning_text(&line).unwrap(), r#"say "hi"\  x: y"#);
        assert_eq!(warning(""), None);
        assert_eq!(warning(&"é".repeat(5000)).unwrap().len(), 4094);
        assert_eq!(warning(&"\"".repeat(5000)).unwrap().len(), 4096);
        for foreign in ["199 - \"x\"", "299 -", "299 - x", "299 - \"open", ""] {
            assert_eq!(warning_text(&HeaderValue::from_static(foreign)), None, "{foreign}");
        }
    }

    #[test]
    fn all_warnings_together_are_bounded() {
        let mut facts = Extensions::new();
        facts.insert(Warnings::new((0..10).map(|_| "x".repeat(1000))));
        let mut headers = HeaderMap::new();
        encode(&facts, &mut headers);
        assert_eq!(headers.get_all(WARNING).iter().count(), 4);
    }

    #[test]
    fn only_headers_about_rate_limits_are_passed_on() {
        let limits = [("ratelimit-remaining", "5;w=60"), ("set-cookie", "secret")];
        let limits = limits.map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v)));
        let mut facts = Extensions::new();
        facts.insert(RateLimit::new(limits));
        let mut headers = HeaderMap::new();
        encode(&facts, &mut headers);
        assert_eq!(headers.len(), 1);
        let mut read = Extensions::new();
        decode(&headers, &mut read);
        assert_eq!(read.get::<RateLimit>().unwrap().0.len(), 1);
    }
}
