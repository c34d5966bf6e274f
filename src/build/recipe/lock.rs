use std::collections::BTreeMap;

/// The lock that a build printed: the exact versions that were chosen, one to a line, as the package manager writes them.
///
/// `log` is all that the engine printed. What BuildKit puts in front of each line is taken away, and lines of other
/// steps that came between are left out. Nothing, where there is no whole lock; the first that ends, where there are
/// several.
///
/// ```
/// use tower_oci::build::recipe::lock;
///
/// let log = "#8 0.10 >> CONDA_LOCK_START\n#8 0.11 @EXPLICIT\n#9 0.2 other\n#8 0.11 << CONDA_LOCK_END\n";
/// assert_eq!(lock(log).as_deref(), Some("@EXPLICIT\n"));
/// ```
#[must_use]
pub fn lock(log: &str) -> Option<String> {
    // By step: what ends the lock that is open there, and what it has so far.
    let mut open: BTreeMap<Option<&str>, (&str, String)> = BTreeMap::new();
    for line in log.lines().map(Line::new) {
        if let Some((_, end)) = MARKERS.iter().find(|(start, _)| line.text == *start) {
            open.insert(line.step, (end, String::new()));
        } else if let Some((end, lock)) = open.get_mut(&line.step) {
            if line.text == *end {
                let content = lock.trim_matches('\n');
                return Some(format!("{content}\n"));
            }
            lock.push_str(line.text);
            lock.push('\n');
        }
    }
    None
}

const MARKERS: [(&str, &str); 2] =
    [(">> CONDA_LOCK_START", "<< CONDA_LOCK_END"), (">> SPACK_LOCK_START", "<< SPACK_LOCK_END")];

/// What a step printed, and which step it was where the engine says so.
struct Line<'a> {
    step: Option<&'a str>,
    text: &'a str,
}

impl<'a> Line<'a> {
    /// BuildKit writes `#8 1.234 text`; the others write just the text.
    fn new(line: &'a str) -> Self {
        let line = line.trim_end_matches('\r');
        Self::of_step(line).unwrap_or(Self { step: None, text: line })
    }

    fn of_step(line: &'a str) -> Option<Self> {
        let (step, rest) = line.strip_prefix('#')?.split_once(' ')?;
        let (time, text) = rest.split_once(' ').unwrap_or((rest, ""));
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let is_time = time.split_once('.').is_some_and(|(whole, part)| is_number(whole) && is_number(part));
        (is_number(step) && is_time).then_some(Self { step: Some(step), text })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_cut_out_of_any_engines_log() {
        let plain = "STEP 3/3: RUN echo \">> CONDA_LOCK_START\"\n>> CONDA_LOCK_START\n# a comment\n@EXPLICIT\nhttps://x/y#1\n<< CONDA_LOCK_END\nmore\n";
        assert_eq!(lock(plain).as_deref(), Some("# a comment\n@EXPLICIT\nhttps://x/y#1\n"));
        let buildkit = "#7 [2/2] RUN echo\n#7 0.312 >> SPACK_LOCK_START\n#7 0.313 {\n#9 0.3 >> SPACK_LOCK_START\n#7 0.313   \"a\": 1\n#7 0.314 }\n#7 0.314\n#7 0.315 << SPACK_LOCK_END\r\n";
        assert_eq!(lock(buildkit).as_deref(), Some("{\n  \"a\": 1\n}\n"));
    }

    #[test]
    fn half_a_lock_is_none() {
        assert_eq!(lock(""), None);
        assert_eq!(lock(">> CONDA_LOCK_START\nx\n"), None);
        assert_eq!(lock(">> CONDA_LOCK_START\nx\n<< SPACK_LOCK_END\n"), None);
        assert_eq!(lock("#1 0.1 >> CONDA_LOCK_START\n#2 0.1 << CONDA_LOCK_END\n"), None);
        assert_eq!(
            lock(">> CONDA_LOCK_START\nx\n>> CONDA_LOCK_START\ny\n<< CONDA_LOCK_END\n").as_deref(),
            Some("y\n")
        );
    }
}
