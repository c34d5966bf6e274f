//! What a container file says before anybody builds it
//! ([Dockerfile reference](https://docs.docker.com/reference/dockerfile/)).

use crate::spec::name::ImageName;

/// One instruction, its continuation lines joined.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Instruction {
    /// Where its first line begins, in bytes.
    pub(super) start: usize,
    /// In capital letters.
    pub(super) keyword: String,
    /// What follows the keyword.
    pub(super) rest: String,
}

/// The instructions of a container file, and the character that continues a line.
pub(super) fn instructions(file: &str) -> (Vec<Instruction>, char) {
    let mut escape = '\\';
    let mut found: Vec<Instruction> = Vec::new();
    let mut open: Option<(usize, String)> = None;
    let mut documents: Vec<Heredoc> = Vec::new();
    let (mut offset, mut directives) = (0, true);
    for line in file.split_inclusive('\n') {
        let start = offset;
        offset += line.len();
        let line = line.trim_end_matches(['\n', '\r']);
        if let Some(document) = documents.first() {
            if document.ends_with(line) {
                documents.remove(0);
            }
            continue;
        }
        let trimmed = line.trim();
        if let Some(comment) = trimmed.strip_prefix('#') {
            match directive(comment) {
                Some((key, value)) if directives => {
                    if key.eq_ignore_ascii_case("escape") && value == "`" {
                        escape = '`';
                    }
                }
                _ => directives = false,
            }
            continue;
        }
        directives = false;
        if trimmed.is_empty() {
            continue;
        }
        let (begin, mut text) = open.take().unwrap_or((start, String::new()));
        if let Some(part) = line.trim_end().strip_suffix(escape) {
            text.push_str(part);
            open = Some((begin, text));
            continue;
        }
        text.push_str(line);
        let instruction = Instruction::new(begin, &text);
        documents = instruction.heredocs();
        found.push(instruction);
    }
    if let Some((begin, text)) = open {
        found.push(Instruction::new(begin, &text));
    }
    (found, escape)
}

/// The images that stages begin with or copy from, each once, in order.
pub(super) fn base_images(file: &str) -> Vec<ImageName> {
    let (mut stages, mut images): (Vec<String>, Vec<ImageName>) = (Vec::new(), Vec::new());
    for instruction in instructions(file).0 {
        let mut named: Vec<String> = Vec::new();
        match instruction.keyword.as_str() {
            "FROM" => {
                let mut words = instruction.words().skip_while(|word| word.starts_with("--"));
                named.extend(words.next().map(unquoted));
                let as_name = words.next().filter(|word| word.eq_ignore_ascii_case("as"));
                let stage = as_name.and_then(|_| words.next()).unwrap_or_default();
                named.retain(|image| is_image(image, &stages));
                stages.push(stage.to_ascii_lowercase());
            }
            "COPY" | "ADD" | "RUN" => {
                named.extend(instruction.sources().map(unquoted));
                named.retain(|image| is_image(image, &stages));
            }
            _ => {}
        }
        for image in named.iter().filter_map(|image| image.parse().ok()) {
            if !images.contains(&image) {
                images.push(image);
            }
        }
    }
    images
}

impl Instruction {
    fn new(start: usize, text: &str) -> Self {
        let text = text.trim();
        let (keyword, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        Self { start, keyword: keyword.to_ascii_uppercase(), rest: rest.trim().to_owned() }
    }

    fn words(&self) -> impl Iterator<Item = &str> {
        self.rest.split_whitespace()
    }

    /// What `--from=…` and `--mount=…,from=…` name.
    fn sources(&self) -> impl Iterator<Item = &str> {
        let flags = self.words().take_while(|word| word.starts_with("--"));
        flags.flat_map(|flag| {
            let whole = flag.strip_prefix("--from=");
            let parts = flag.strip_prefix("--mount=").unwrap_or_default().split(',');
            whole.into_iter().chain(parts.filter_map(|part| part.strip_prefix("from=")))
        })
    }

    /// The documents that follow on the next lines.
    fn heredocs(&self) -> Vec<Heredoc> {
        if !["RUN", "COPY", "ADD"].contains(&self.keyword.as_str()) {
            return Vec::new();
        }
        self.words().filter_map(Heredoc::begun_by).collect()
    }
}

/// A document on the lines behind its instruction.
struct Heredoc {
    end: String,
    strips_tabs: bool,
}

impl Heredoc {
    fn begun_by(word: &str) -> Option<Self> {
        // A file descriptor may stand in front.
        let word = word.trim_start_matches(|c: char| c.is_ascii_digit()).strip_prefix("<<")?;
        let (strips_tabs, word) = match word.strip_prefix('-') {
            Some(word) => (true, word),
            None => (false, word),
        };
        let end = unquoted(word);
        let is_name = end.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && end.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        is_name.then_some(Self { end, strips_tabs })
    }

    fn ends_with(&self, line: &str) -> bool {
        let line = if self.strips_tabs { line.trim_start_matches('\t') } else { line };
        line == self.end
    }
}

/// `key=value` behind a `#`.
fn directive(comment: &str) -> Option<(&str, &str)> {
    let (key, value) = comment.split_once('=')?;
    let key = key.trim();
    (!key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric())).then_some((key, value.trim()))
}

/// Neither an earlier stage, by name or number, nor nothing, nor something that only the engine can know.
fn is_image(text: &str, stages: &[String]) -> bool {
    let is_stage = stages.contains(&text.to_ascii_lowercase())
        || text.parse::<usize>().is_ok_and(|number| number < stages.len());
    !text.is_empty() && text != "scratch" && !text.contains('$') && !is_stage
}

fn unquoted(word: &str) -> String {
    word.trim_matches(['"', '\'']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(file: &str, images: &[&str]) {
        let found: Vec<String> = base_images(file).iter().map(ToString::to_string).collect();
        assert_eq!(found, images, "{file}");
    }

    #[test]
    fn images_are_named_by_from_and_by_copies() {
        check("FROM busybox\n", &["docker.io/library/busybox"]);
        check("from --platform=linux/arm64 quay.io/a/b:1 as one\n", &["quay.io/a/b:1"]);
        check("FROM a.example/x\nFROM a.example/x\n", &["a.example/x"]);
        check(
            "FROM a.example/x AS One\nCOPY --chown=1 --from=b.example/y:2 /a /b\nRUN --mount=type=bind,from=c.example/z,target=/m true\n\
             FROM one\nCOPY --from=0 /a /b\nCOPY --from=ONE /a /b\nADD x --from=d.example/no /\n",
            &["a.example/x", "b.example/y:2", "c.example/z"],
        );
        check(
            "FROM scratch\nCOPY --from=7 a b\nFROM \"busybox\"\n",
            &["docker.io/library/7", "docker.io/library/busybox"],
        );
    }

    #[test]
    fn what_only_the_engine_knows_is_left_out() {
        check("ARG B=busybox\nFROM $B\nFROM ${B}:1\nFROM oci:/etc/x\nFROM\nFROM --platform=x\n", &[]);
    }

    #[test]
    fn lines_are_joined_and_comments_and_documents_left_out() {
        check(
            "# syntax=docker/dockerfile:1\nFROM \\\n # why\n\n  a.example/x \\ \n AS y\nFROM y\n",
            &["a.example/x"],
        );
        check("# escape=`\nFROM `\n a.example/x\n", &["a.example/x"]);
        check("# a comment\n# escape=`\nFROM a.example/x\\\ny\n", &["a.example/xy"]);
        check(
            "FROM a.example/x\nRUN cat <<E && cat 3<<-\"F\"\nFROM b.example/no\nE\n\tF\nFROM c.example/z\n",
            &["a.example/x", "c.example/z"],
        );
        check("FROM a.example/x\nRUN <<E\nFROM b.example/no", &["a.example/x"]);
        check("FROM a.example/x\r\nFROM b.example/y\\", &["a.example/x", "b.example/y"]);
    }

    #[test]
    fn an_instruction_knows_where_it_begins() {
        let (found, escape) = instructions("# c\nARG A=1\n\n  FROM \\\n x\n");
        assert_eq!(escape, '\\');
        let starts: Vec<_> =
            found.iter().map(|one| (one.start, one.keyword.as_str(), one.rest.as_str())).collect();
        assert_eq!(starts, [(4, "ARG", "A=1"), (13, "FROM", "x")]);
    }
}
