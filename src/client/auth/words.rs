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
pub(crate) fn read(body: &[u8]) -> Option<String> {
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

/// Whether a text has one of `secrets` in it, or a piece of one: an upstream may echo what it was sent, and the text may
/// have been escaped and cut since.
pub(crate) fn hides(text: &str, secrets: &[Secret]) -> bool {
    secrets.iter().any(|secret| {
        let escaped: String = secret.expose().chars().flat_map(char::escape_debug).collect();
        has_piece(text, secret.expose()) || has_piece(text, &escaped)
    })
}

/// Two or three characters are found in any text.
const SHORTEST_SECRET: usize = 4;

/// So many characters in a row of a secret aren't found in a text by chance.
const PIECE: usize = 16;

fn has_piece(text: &str, secret: &str) -> bool {
    if secret.len() < SHORTEST_SECRET {
        return false;
    }
    let starts = || text.char_indices().map(|(at, _)| at);
    let piece = |at| text.get(at..at + PIECE).is_some_and(|piece| secret.contains(piece));
    // Where the text is cut, the beginning of a secret may stand.
    let is_cut = |(cut, _)| {
        let beginnings = starts().filter_map(|at| text.get(at..cut));
        beginnings.filter(|beginning| beginning.len() >= SHORTEST_SECRET).any(|b| secret.starts_with(b))
    };
    text.contains(secret) || starts().any(piece) || text.match_indices('…').any(is_cut)
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
        assert!(hides(r#"you sent p\"a\'s\\s"#, &[r#"p"a's\s"#.into()]));
        let long = "0123456789abcdefghijklmnopqrstuvwxyz";
        for (text, hidden) in [
            ("no user 56789abcdefghijk", true),
            ("no user 56789abcdefghij", false),
            ("no user 0123…: there is none", true),
            ("no user 012…: there is none", false),
            ("no user 1234…", false),
            ("…", false),
        ] {
            assert_eq!(hides(text, &[long.into()]), hidden, "{text}");
        }
    }
}
