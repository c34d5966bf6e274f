//! Reads Rust source far enough to know which paths its code names: comments, strings and test items are left out.

use std::collections::BTreeSet;

/// What one file's code says, tests excluded.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    /// Every path that is imported or written inline, one entry for each leaf of a `use` tree.
    pub(crate) paths: Vec<Path>,
    /// Every identifier with its line.
    pub(crate) idents: Vec<(String, usize)>,
    /// Lines that hold code.
    pub(crate) lines: usize,
    /// Modules declared as `#[cfg(test)] mod name;`: their files are tests.
    pub(crate) test_modules: Vec<String>,
}

/// A path as it stands in the source.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Path {
    pub(crate) segments: Vec<String>,
    /// The name that a `use` binds, where it isn't the last segment.
    pub(crate) alias: Option<String>,
    /// Inline modules around it, outermost first.
    pub(crate) inside: Vec<String>,
    pub(crate) imported: bool,
    pub(crate) line: usize,
}

impl Path {
    /// The path from the root of the crate, as seen from `module`; `None` where it doesn't start with `crate`,
    /// `self` or `super`.
    pub(crate) fn absolute(&self, module: &[String]) -> Option<Vec<String>> {
        let mut base: Vec<String> = module.iter().chain(&self.inside).cloned().collect();
        let mut rest = self.segments.as_slice();
        match rest.first().map(String::as_str) {
            Some("crate") => (base, rest) = (Vec::new(), &rest[1..]),
            Some("self") => rest = &rest[1..],
            Some("super") => {}
            _ => return None,
        }
        while rest.first().is_some_and(|segment| segment == "super") {
            base.pop();
            rest = &rest[1..];
        }
        base.extend_from_slice(rest);
        Some(base)
    }

    /// Whether `names` stand side by side somewhere in the path.
    pub(crate) fn names(&self, names: &[&str]) -> bool {
        self.segments.windows(names.len()).any(|window| window == names)
    }
}

/// Reads one file.
pub(crate) fn scan(source: &str) -> Scan {
    let (tokens, test_modules) = without_tests(tokens(source));
    let lines: BTreeSet<usize> = tokens.iter().flat_map(|token| token.line..=token.last_line).collect();
    let idents = tokens
        .iter()
        .filter_map(|token| match &token.kind {
            Kind::Ident(name) => Some((name.clone(), token.line)),
            _ => None,
        })
        .collect();
    Scan { paths: paths(&tokens), idents, lines: lines.len(), test_modules }
}

#[derive(Clone, Debug, PartialEq)]
enum Kind {
    Ident(String),
    Colons,
    Punct(char),
    Literal,
}

#[derive(Clone, Debug)]
struct Token {
    kind: Kind,
    line: usize,
    last_line: usize,
}

impl Token {
    fn is(&self, punct: char) -> bool {
        self.kind == Kind::Punct(punct)
    }

    fn word(&self) -> Option<&str> {
        match &self.kind {
            Kind::Ident(name) => Some(name),
            _ => None,
        }
    }
}

fn tokens(source: &str) -> Vec<Token> {
    let text: Vec<char> = source.chars().collect();
    let at = |index: usize| text.get(index).copied().unwrap_or('\0');
    let (mut found, mut here, mut line) = (Vec::new(), 0, 1);
    while here < text.len() {
        let (start, first_line) = (here, line);
        let kind = match at(here) {
            '/' if at(here + 1) == '/' => {
                while here < text.len() && at(here) != '\n' {
                    here += 1;
                }
                None
            }
            '/' if at(here + 1) == '*' => {
                here = after_block_comment(&text, here);
                None
            }
            c if c.is_whitespace() => {
                here += 1;
                None
            }
            '"' => {
                here = after_string(&text, here);
                Some(Kind::Literal)
            }
            '\'' if at(here + 1) == '\\' || at(here + 2) == '\'' => {
                here += if at(here + 1) == '\\' { 3 } else { 2 };
                while here < text.len() && at(here) != '\'' {
                    here += 1;
                }
                here += 1;
                Some(Kind::Literal)
            }
            c if c.is_alphabetic() || c == '_' || c == '\'' => {
                here += 1;
                while at(here).is_alphanumeric() || at(here) == '_' {
                    here += 1;
                }
                let word: String = text[start..here].iter().collect();
                let hashes = text[here..].iter().take_while(|c| **c == '#').count();
                if matches!(word.as_str(), "r" | "br" | "cr") && at(here + hashes) == '"' {
                    here = after_raw_string(&text, here + hashes + 1, hashes);
                    Some(Kind::Literal)
                } else if matches!(word.as_str(), "b" | "c") && matches!(at(here), '"' | '\'') {
                    // The literal itself follows as the next token.
                    None
                } else if word == "r" && hashes == 1 {
                    here += 1;
                    None
                } else if c == '\'' {
                    Some(Kind::Literal)
                } else {
                    Some(Kind::Ident(word))
                }
            }
            c if c.is_ascii_digit() => {
                while at(here).is_alphanumeric() || at(here) == '_' {
                    here += 1;
                }
                Some(Kind::Literal)
            }
            ':' if at(here + 1) == ':' => {
                here += 2;
                Some(Kind::Colons)
            }
            c => {
                here += 1;
                Some(Kind::Punct(c))
            }
        };
        line += text[start..here.min(text.len())].iter().filter(|c| **c == '\n').count();
        if let Some(kind) = kind {
            found.push(Token { kind, line: first_line, last_line: line });
        }
    }
    found
}

fn after_block_comment(text: &[char], mut here: usize) -> usize {
    let mut depth = 0;
    while here < text.len() {
        match (text[here], text.get(here + 1)) {
            ('/', Some('*')) => (depth, here) = (depth + 1, here + 2),
            ('*', Some('/')) => (depth, here) = (depth - 1, here + 2),
            _ => here += 1,
        }
        if depth == 0 {
            break;
        }
    }
    here
}

fn after_string(text: &[char], mut here: usize) -> usize {
    here += 1;
    while here < text.len() && text[here] != '"' {
        here += if text[here] == '\\' { 2 } else { 1 };
    }
    here + 1
}

fn after_raw_string(text: &[char], mut here: usize, hashes: usize) -> usize {
    while here < text.len() {
        let closed = text[here] == '"'
            && text[here + 1..].iter().take(hashes).filter(|c| **c == '#').count() == hashes;
        here += 1;
        if closed {
            return here + hashes;
        }
    }
    here
}

/// Takes out items behind `#[cfg(test)]`; a file that says `#![cfg(test)]` is left empty.
fn without_tests(tokens: Vec<Token>) -> (Vec<Token>, Vec<String>) {
    let (mut kept, mut modules, mut here) = (Vec::new(), Vec::new(), 0);
    while here < tokens.len() {
        let inner = usize::from(tokens.get(here + 1).is_some_and(|token| token.is('!')));
        if !tokens[here].is('#') || !tokens.get(here + 1 + inner).is_some_and(|token| token.is('[')) {
            kept.push(tokens[here].clone());
            here += 1;
            continue;
        }
        let end = after_group(&tokens, here + 1 + inner);
        let is_test = is_test_attribute(&tokens[here + 2 + inner..end.saturating_sub(1)]);
        if is_test && inner == 1 {
            return (Vec::new(), modules);
        }
        if is_test {
            let after = after_item(&tokens, end);
            let words: Vec<&str> = tokens[end..after].iter().filter_map(Token::word).collect();
            if let [.., "mod", name] = words.as_slice() {
                modules.push((*name).to_owned());
            }
            here = after;
        } else {
            kept.extend_from_slice(&tokens[here..end]);
            here = end;
        }
    }
    (kept, modules)
}

/// `cfg(test)` and `cfg(all(test, …))`; not `any(test, …)` or `not(test)`, whose items also exist outside tests.
fn is_test_attribute(inside: &[Token]) -> bool {
    let words: Vec<&str> = inside.iter().filter_map(Token::word).collect();
    match words.as_slice() {
        ["cfg", "test"] => true,
        ["cfg", "all", rest @ ..] => {
            rest.contains(&"test") && !rest.contains(&"any") && !rest.contains(&"not")
        }
        _ => false,
    }
}

/// The index behind the group that opens at `open`.
fn after_group(tokens: &[Token], open: usize) -> usize {
    let mut depth = 0_usize;
    for (index, token) in tokens.iter().enumerate().skip(open) {
        match token.kind {
            Kind::Punct('(' | '[' | '{') => depth += 1,
            Kind::Punct(')' | ']' | '}') => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return index + 1;
        }
    }
    tokens.len()
}

/// The index behind the item (or field, or statement) that starts at `start`.
fn after_item(tokens: &[Token], start: usize) -> usize {
    const ITEMS: [&str; 14] = [
        "fn",
        "mod",
        "impl",
        "struct",
        "enum",
        "trait",
        "const",
        "static",
        "type",
        "unsafe",
        "async",
        "extern",
        "macro_rules",
        "union",
    ];
    let mut here = start;
    let (mut is_item, mut is_use) = (false, false);
    while let Some(token) = tokens.get(here) {
        match (&token.kind, token.word()) {
            (_, Some("use" | "let")) if !is_item => is_use = true,
            (_, Some(word)) if ITEMS.contains(&word) && !is_use => is_item = true,
            (Kind::Punct(';'), _) => return here + 1,
            (Kind::Punct(','), _) if !is_item && !is_use => return here + 1,
            (Kind::Punct('}' | ')' | ']'), _) => return here,
            (Kind::Punct('{'), _) if !is_use => return after_group(tokens, here),
            (Kind::Punct('(' | '[' | '{'), _) => {
                here = after_group(tokens, here);
                continue;
            }
            _ => {}
        }
        here += 1;
    }
    here
}

fn paths(tokens: &[Token]) -> Vec<Path> {
    let (mut found, mut here, mut depth) = (Vec::new(), 0, 0_usize);
    let mut inside: Vec<(String, usize)> = Vec::new();
    while let Some(token) = tokens.get(here) {
        let next = tokens.get(here + 1);
        match &token.kind {
            Kind::Punct('{') => depth += 1,
            Kind::Punct('}') => {
                depth = depth.saturating_sub(1);
                inside.retain(|(_, opened)| *opened <= depth);
            }
            Kind::Ident(word) if word == "mod" && tokens.get(here + 2).is_some_and(|token| token.is('{')) => {
                if let Some(name) = next.and_then(Token::word) {
                    inside.push((name.to_owned(), depth + 1));
                }
            }
            Kind::Ident(word) if word == "use" && !next.is_some_and(|token| token.is('<')) => {
                let first = found.len();
                here = use_tree(tokens, here + 1, &[], &mut found);
                let around: Vec<String> = inside.iter().map(|(name, _)| name.clone()).collect();
                found[first..].iter_mut().for_each(|path| path.inside.clone_from(&around));
                continue;
            }
            Kind::Ident(word) if next.is_some_and(|token| token.kind == Kind::Colons) => {
                let mut segments = vec![word.clone()];
                let line = token.line;
                while tokens.get(here + 1).is_some_and(|token| token.kind == Kind::Colons)
                    && let Some(name) = tokens.get(here + 2).and_then(Token::word)
                {
                    segments.push(name.to_owned());
                    here += 2;
                }
                let inside = inside.iter().map(|(name, _)| name.clone()).collect();
                found.push(Path { segments, alias: None, inside, imported: false, line });
            }
            _ => {}
        }
        here += 1;
    }
    found
}

/// Reads one branch of a `use` tree and gives the index behind it.
fn use_tree(tokens: &[Token], mut here: usize, prefix: &[String], found: &mut Vec<Path>) -> usize {
    let mut segments = prefix.to_vec();
    let line = tokens.get(here).map_or(0, |token| token.line);
    let mut alias = None;
    while let Some(token) = tokens.get(here) {
        match &token.kind {
            Kind::Punct('{') => {
                here += 1;
                while tokens.get(here).is_some_and(|token| !token.is('}')) {
                    here = use_tree(tokens, here, &segments, found);
                    here += usize::from(tokens.get(here).is_some_and(|token| token.is(',')));
                }
                return here + 1;
            }
            Kind::Punct('*') => segments.push("*".to_owned()),
            Kind::Ident(word) if word == "as" => {
                alias = tokens.get(here + 1).and_then(Token::word).map(str::to_owned);
                here += 1;
            }
            // `a::{self}` names `a` itself.
            Kind::Ident(word) if word == "self" && !segments.is_empty() => {}
            Kind::Ident(word) => segments.push(word.clone()),
            Kind::Colons => {}
            _ => break,
        }
        here += 1;
    }
    found.push(Path { segments, alias, inside: Vec::new(), imported: true, line });
    here.max(1)
}
