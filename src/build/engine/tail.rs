use std::collections::VecDeque;

/// The last bytes that an engine printed.
#[derive(Debug, Default)]
pub(super) struct Tail(VecDeque<u8>);

impl Tail {
    pub(super) fn add(&mut self, bytes: &[u8]) {
        let bytes = bytes.get(bytes.len().saturating_sub(KEPT)..).unwrap_or(bytes);
        self.0.extend(bytes);
        let surplus = self.0.len().saturating_sub(KEPT);
        self.0.drain(..surplus);
    }

    /// The last lines that say something, [`MAX_MESSAGE`] bytes at most, without control characters.
    pub(super) fn message(&self) -> String {
        let bytes: Vec<u8> = self.0.iter().copied().collect();
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<String> =
            text.split(['\n', '\r']).map(plain).filter(|line| says_something(line)).collect();
        let mut message = String::new();
        for line in lines.iter().rev() {
            if message.is_empty() {
                let mut start = line.len().saturating_sub(MAX_MESSAGE);
                while !line.is_char_boundary(start) {
                    start += 1;
                }
                message = line.get(start..).unwrap_or_default().to_owned();
            } else if message.len() + line.len() < MAX_MESSAGE {
                message = format!("{line}\n{message}");
            } else {
                break;
            }
        }
        message
    }
}

/// Without colours and other control characters.
fn plain(line: &str) -> String {
    let mut text = String::with_capacity(line.len());
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        if c == '\u{1b}' {
            // `ESC [ … letter`.
            if chars.next() == Some('[') {
                chars.by_ref().find(|c| ('@'..='~').contains(c));
            }
        } else if c == '\t' {
            text.push(' ');
        } else if !c.is_control() {
            text.push(c);
        }
    }
    text.trim_end().to_owned()
}

/// Rulers and the like say nothing.
fn says_something(line: &str) -> bool {
    line.chars().any(char::is_alphanumeric)
}

/// What is kept, and what is shown of it, in bytes.
const KEPT: usize = 8 * 1024;
const MAX_MESSAGE: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(log: &str, message: &str) {
        let mut tail = Tail::default();
        tail.add(log.as_bytes());
        assert_eq!(tail.message(), message);
    }

    #[test]
    fn the_last_lines_are_shown_as_plain_text() {
        check("", "");
        check("one\r\n\n---\ntwo\u{1b}[31m red\u{1b}[0m\u{7}\tx  \n", "one\ntwo red x");
    }

    #[test]
    fn a_message_is_short() {
        let line = "é".repeat(1000);
        check(&format!("first\n{line}\n"), &"é".repeat(512));
        let lines = "0123456789abcde\n".repeat(1000);
        let mut tail = Tail::default();
        for part in lines.as_bytes().chunks(7) {
            tail.add(part);
        }
        assert_eq!(tail.message(), "0123456789abcde\n".repeat(64).trim_end());
    }
}
