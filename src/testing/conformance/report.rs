use std::fmt;

use super::case::Level;

/// How a registry did.
///
/// As text it has a line of counts for each section, and then all that failed: section, sentence, request and answer.
#[derive(Clone, Debug, Default)]
pub struct Report {
    outcomes: Vec<Outcome>,
}

/// How one case went.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Outcome {
    /// The heading of the specification's section.
    pub section: &'static str,
    /// How strongly it is worded.
    pub level: Level,
    /// What it is about, in short.
    pub sentence: &'static str,
    /// Whether it holds.
    pub verdict: Verdict,
}

/// Whether a sentence holds.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// It does.
    Passed,
    /// It doesn't: the reason, with request and answer.
    Failed(String),
    /// The registry isn't meant: why.
    NotApplicable(String),
}

/// How many cases went how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Those that hold.
    pub passed: usize,
    /// Those that don't.
    pub failed: usize,
    /// Those that mean other registries.
    pub not_applicable: usize,
}

impl Report {
    pub(super) fn push(&mut self, outcome: Outcome) {
        self.outcomes.push(outcome);
    }

    /// All cases, in the order of the specification.
    #[must_use]
    pub fn outcomes(&self) -> &[Outcome] {
        &self.outcomes
    }

    /// What doesn't hold.
    pub fn failures(&self) -> impl Iterator<Item = &Outcome> {
        self.outcomes.iter().filter(|outcome| matches!(outcome.verdict, Verdict::Failed(_)))
    }

    /// How many cases went how.
    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts::of(&self.outcomes)
    }

    /// Checks that nothing failed.
    ///
    /// # Panics
    ///
    /// With the report as text, when anything did, a SHOULD and a MAY that is offered included.
    pub fn check(&self) {
        assert!(self.failures().next().is_none(), "{self}");
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.outcomes.as_slice();
        while let Some(first) = rest.first() {
            let end = rest.partition_point(|outcome| outcome.section == first.section);
            let (section, later) = rest.split_at_checked(end).unwrap_or((rest, &[]));
            writeln!(f, "{}: {}", first.section, Counts::of(section))?;
            rest = later;
        }
        write!(f, "in all: {}", self.counts())?;
        for outcome in self.failures() {
            let Verdict::Failed(why) = &outcome.verdict else { continue };
            write!(f, "\n\n{}, {}: {}\n{why}", outcome.section, outcome.level, outcome.sentence)?;
        }
        Ok(())
    }
}

impl Counts {
    fn of(outcomes: &[Outcome]) -> Self {
        let mut counts = Self::default();
        for outcome in outcomes {
            match outcome.verdict {
                Verdict::Passed => counts.passed += 1,
                Verdict::Failed(_) => counts.failed += 1,
                Verdict::NotApplicable(_) => counts.not_applicable += 1,
            }
        }
        counts
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { passed, failed, not_applicable } = self;
        write!(f, "{passed} passed, {failed} failed, {not_applicable} not applicable")
    }
}
