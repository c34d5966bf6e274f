use std::fmt;

use super::site::Site;
use super::target::{Feature, Target};
use crate::operation::BoxFuture;

/// How strongly the specification words something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Level {
    /// What every registry does.
    Must,
    /// What there have to be good reasons against.
    Should,
    /// What a registry may do, and then does in this way.
    May,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Must => "MUST",
            Self::Should => "SHOULD",
            Self::May => "MAY",
        })
    }
}

/// The cases of one section of the specification.
#[derive(Clone, Copy, Debug)]
pub(super) struct Group {
    pub(super) section: &'static str,
    pub(super) cases: &'static [Case],
}

/// One sentence of the specification, and how to see whether it holds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Case {
    pub(super) level: Level,
    pub(super) sentence: &'static str,
    pub(super) run: Run,
    /// What the registry has to offer.
    needs: &'static [Feature],
    /// What the registry may not offer.
    unless: Option<Feature>,
}

pub(super) type Run = for<'a> fn(&'a Site) -> BoxFuture<'a, Checked>;

/// What a check says: nothing, or why it stops.
pub(super) type Checked<T = ()> = Result<T, Stop>;

/// Why a case ended before its end.
#[derive(Debug)]
pub(super) enum Stop {
    Failed(String),
    NotApplicable(String),
}

/// A case for a MUST.
pub(super) const fn must(sentence: &'static str, run: Run) -> Case {
    Case { level: Level::Must, sentence, run, needs: &[], unless: None }
}

/// A case for a SHOULD.
pub(super) const fn should(sentence: &'static str, run: Run) -> Case {
    Case { level: Level::Should, sentence, run, needs: &[], unless: None }
}

/// A case for a MAY.
pub(super) const fn may(sentence: &'static str, run: Run) -> Case {
    Case { level: Level::May, sentence, run, needs: &[], unless: None }
}

impl Case {
    /// For registries that offer all of these.
    pub(super) const fn needs(mut self, needs: &'static [Feature]) -> Self {
        self.needs = needs;
        self
    }

    /// For registries that don't offer this.
    pub(super) const fn unless(mut self, feature: Feature) -> Self {
        self.unless = Some(feature);
        self
    }

    /// All features that it asks for, or to be without.
    #[cfg(test)]
    pub(super) fn features(&self) -> impl Iterator<Item = Feature> + use<> {
        self.needs.iter().copied().chain(self.unless)
    }

    /// Whether it is for this registry.
    pub(super) fn applies(&self, target: &Target) -> Checked {
        if let Some(feature) = self.needs.iter().find(|feature| !target.offers(**feature)) {
            return Err(Stop::NotApplicable(format!("no {feature:?}")));
        }
        match self.unless {
            Some(feature) if target.offers(feature) => {
                Err(Stop::NotApplicable(format!("{feature:?} is offered")))
            }
            _ => Ok(()),
        }
    }
}
