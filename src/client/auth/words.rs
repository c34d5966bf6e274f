use serde::Deserialize;

use crate::secret::Secret;

/// The most characters of an upstream's words that are told on.
const MAX_WORDS: usize = 400;

/// The forms in which registries and token services say what is wrong.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Complaint {
    errors: Vec<Entry>,
    error_description: Option<String>,
    details: Option<String>,
    message: Option<String>,
    error: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Entry {
    code: Option<String>,
    message: Option<String>,
}

/// What an answer's body says in words, made fit for a message; none of a body that isn't JSON.
pub(in crate::client) fn read(body: &[u8]) -> Option<String> {
    let complaint: Complaint = serde_json::from_slice(body).ok()?;
    let entry = complaint.errors.into_iter().next().and_then(|entry| match (entry.code, entry.message) {
        (Some(code), Some(message)) if !message.is_empty() => Some(format!("{code}: {message}")),
        (code, message) => code.or(message),
    });
    let words = [entry, complaint.error_description, complaint.details, complaint.message, complaint.error]
        .into_iter()
        .flatten()
        .find(|words| !words.trim().is_empty())?;
    let mut fit: String = words.trim().chars().take(MAX_WORDS).flat_map(char::escape_debug).collect();
    if words.chars().nth(MAX_WORDS).is_some() {
        fit.push('…');
    }
    Some(fit)
}

/// Whether a text has one of `secrets` in it: an upstream may echo what it was sent.
pub(in crate::client) fn hides(text: &str, secrets: &[Secret]) -> bool {
    // Two or three characters are found in any text.
    secrets.iter().any(|secret| secret.expose().len() > 3 && text.contains(secret.expose()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_found_in_the_forms_of_the_wild() {
        for (body, words) in [
            (
                r#"{"errors":[{"code":"UNAUTHORIZED","message":"authentication required","detail":[]}]}"#,
                Some("UNAUTHORIZED: authentication required"),
            ),
            (r#"{"errors":[{"code":"DENIED"}]}"#, Some("DENIED")),
            (r#"{"details":"incorrect username or password"}"#, Some("incorrect username or password")),
            (r#"{"error":"invalid_grant","error_description":"expired"}"#, Some("expired")),
            (r#"{"message":"a\nb"}"#, Some("a\\nb")),
            (r#"{"errors":[]}"#, None),
            ("<html>no</html>", None),
            ("[]", None),
        ] {
            assert_eq!(read(body.as_bytes()).as_deref(), words, "{body}");
        }
        let long = format!(r#"{{"message":"{}"}}"#, "x".repeat(500));
        assert_eq!(read(long.as_bytes()).unwrap().chars().count(), MAX_WORDS + 1);
    }

    #[test]
    fn echoes_are_noticed() {
        assert!(hides("you sent hunter2!", &["hunter2".into()]));
        assert!(!hides("you sent something", &["hunter2".into(), "".into(), "you".into()]));
    }
}
