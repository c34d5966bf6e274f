use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::policy::{Decision, Policy};
use crate::error::{Error, ErrorCode};
use crate::operation::{Access, Identity};
use crate::spec::name::{Repository, shortened};

/// Rules that allow by user and pattern; what none of them allows is refused.
///
/// [`Access::Push`] and [`Access::Delete`] allow to pull as well: who writes looks first. Neither allows the other.
/// Where a caller may not even pull, the repository is hidden: reading is answered as if it weren't there. A caller who
/// may pull is told openly that more is denied.
///
/// ```
/// use tower_oci::layer::authorize::{Decision, Policy, Rules, Who};
/// use tower_oci::operation::{Access, Identity};
///
/// let rules = Rules::new()
///     .allow(Who::Everybody, Access::Pull, "public/*".parse()?)
///     .allow(Who::Known, Access::Pull, "team/*".parse()?)
///     .allow("ann", Access::Push, "team/*".parse()?);
///
/// let (ann, app) = (Identity::named("ann"), "team/app".parse()?);
/// assert_eq!(rules.decide(&ann, Access::Push, Some(&app)), Decision::Allow);
/// assert_eq!(rules.decide(&ann, Access::Delete, Some(&app)), Decision::Deny);
/// assert_eq!(rules.decide(&Identity::anonymous(), Access::Pull, Some(&app)), Decision::Hide);
/// # Ok::<_, tower_oci::error::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Rules {
    rules: Vec<Rule>,
    catalog: Vec<Who>,
}

#[derive(Clone, Debug)]
struct Rule {
    who: Who,
    access: Access,
    pattern: Pattern,
}

impl Rules {
    /// Nobody may do anything.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// `who` may have `access` to the repositories of `pattern`.
    #[must_use]
    pub fn allow(mut self, who: impl Into<Who>, access: Access, pattern: Pattern) -> Self {
        self.rules.push(Rule { who: who.into(), access, pattern });
        self
    }

    /// `who` may read the list of repositories. It names those only that `who` may pull from.
    #[must_use]
    pub fn allow_catalog(mut self, who: impl Into<Who>) -> Self {
        self.catalog.push(who.into());
        self
    }

    fn allows(&self, caller: &Identity, access: Access, repository: &Repository) -> bool {
        self.rules.iter().any(|rule| {
            grants(rule.access, access) && rule.who.is(caller) && rule.pattern.matches(repository)
        })
    }
}

impl Policy for Rules {
    fn decide(&self, caller: &Identity, access: Access, repository: Option<&Repository>) -> Decision {
        match (access, repository) {
            (Access::Catalog, None) if self.catalog.iter().any(|who| who.is(caller)) => Decision::Allow,
            (Access::Pull | Access::Push | Access::Delete, Some(repository)) => {
                if self.allows(caller, access, repository) {
                    Decision::Allow
                } else if self.allows(caller, Access::Pull, repository) {
                    Decision::Deny
                } else {
                    Decision::Hide
                }
            }
            _ => Decision::Deny,
        }
    }
}

fn grants(allowed: Access, wanted: Access) -> bool {
    match wanted {
        Access::Pull => matches!(allowed, Access::Pull | Access::Push | Access::Delete),
        Access::Push | Access::Delete => allowed == wanted,
        Access::Ping | Access::Catalog => false,
    }
}

/// For whom a rule is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Who {
    /// Whoever asks, known or not.
    Everybody,
    /// Whoever has proved a name.
    Known,
    /// The user of this name.
    User(Arc<str>),
}

impl Who {
    fn is(&self, caller: &Identity) -> bool {
        match self {
            Self::Everybody => true,
            Self::Known => !caller.is_anonymous(),
            Self::User(name) => caller.name() == Some(name),
        }
    }
}

impl From<&str> for Who {
    fn from(name: &str) -> Self {
        Self::User(name.into())
    }
}

/// Which repositories a rule is about: `*` for all, `team/*` for all below `team/`, `team/app` for that one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(Kind);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    All,
    Below(Repository),
    One(Repository),
}

impl Pattern {
    /// Whether the rule is about `repository`.
    #[must_use]
    pub fn matches(&self, repository: &Repository) -> bool {
        match &self.0 {
            Kind::All => true,
            Kind::Below(prefix) => repository != prefix && repository.is_under(prefix.as_str()),
            Kind::One(one) => repository == one,
        }
    }
}

impl FromStr for Pattern {
    type Err = Error;

    /// A star stands alone or for all components after a slash, nowhere else.
    fn from_str(text: &str) -> Result<Self, Error> {
        let name = |name: &str| {
            let message = format!("`{}` is no pattern for repositories", shortened(text));
            let invalid = |error| Error::invalid(ErrorCode::NameInvalid, message).with_source(error);
            name.parse::<Repository>().map_err(invalid)
        };
        Ok(Self(match text.strip_suffix('*') {
            Some("") => Kind::All,
            Some(prefix) => Kind::Below(name(prefix.strip_suffix('/').unwrap_or("*"))?),
            None => Kind::One(name(text)?),
        }))
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::All => f.write_str("*"),
            Kind::Below(prefix) => write!(f, "{prefix}/*"),
            Kind::One(one) => one.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repository(name: &str) -> Repository {
        name.parse().unwrap()
    }

    #[test]
    fn patterns_end_at_slashes() {
        for (pattern, name, matches) in [
            ("*", "a", true),
            ("*", "a/b/c", true),
            ("team/*", "team/app", true),
            ("team/*", "team/app/x", true),
            ("team/*", "team", false),
            ("team/*", "teams/app", false),
            ("team/*", "team-b/app", false),
            ("team/*", "other/team/app", false),
            ("team/app", "team/app", true),
            ("team/app", "team/app/x", false),
            ("team/app", "team/apps", false),
        ] {
            let pattern: Pattern = pattern.parse().unwrap();
            assert_eq!(pattern.matches(&repository(name)), matches, "{pattern} {name}");
            assert_eq!(pattern.to_string().parse::<Pattern>().unwrap(), pattern);
        }
        for odd in
            ["", "**", "team*", "te*am", "*/team", "/*", "team//*", "Team/*", "team/", "team/*/x", "a/**"]
        {
            let error = odd.parse::<Pattern>().unwrap_err();
            assert_eq!(error.to_string(), format!("`{odd}` is no pattern for repositories"));
        }
    }

    #[test]
    fn writing_allows_reading_and_nothing_else() {
        let (app, ann) = (repository("team/app"), Identity::named("ann"));
        let (known, nobody) = (Identity::named("bob"), Identity::anonymous());
        let all = [Access::Pull, Access::Push, Access::Delete];
        let decisions =
            |rules: &Rules, caller: &Identity| all.map(|access| rules.decide(caller, access, Some(&app)));
        use Decision::{Allow, Deny, Hide};
        for (access, expected) in [
            (Access::Pull, [Allow, Deny, Deny]),
            (Access::Push, [Allow, Allow, Deny]),
            (Access::Delete, [Allow, Deny, Allow]),
            (Access::Catalog, [Hide, Hide, Hide]),
            (Access::Ping, [Hide, Hide, Hide]),
        ] {
            let rules = Rules::new().allow("ann", access, "team/*".parse().unwrap());
            assert_eq!(decisions(&rules, &ann), expected, "{access:?}");
            assert_eq!(decisions(&rules, &known), [Hide; 3], "{access:?}");
            assert_eq!(decisions(&rules, &nobody), [Hide; 3], "{access:?}");
            let rules = Rules::new().allow(Who::Known, access, "*".parse().unwrap());
            assert_eq!(decisions(&rules, &known), expected, "{access:?}");
            assert_eq!(decisions(&rules, &nobody), [Hide; 3], "{access:?}");
            let rules = Rules::new().allow(Who::Everybody, access, "*".parse().unwrap());
            assert_eq!(decisions(&rules, &nobody), expected, "{access:?}");
        }
    }

    #[test]
    fn the_catalog_is_a_right_of_its_own() {
        let (ann, all) = (Identity::named("ann"), "*".parse::<Pattern>().unwrap());
        let rules = Rules::new().allow("ann", Access::Delete, all);
        assert_eq!(rules.decide(&ann, Access::Catalog, None), Decision::Deny);
        let rules = rules.allow_catalog("ann");
        assert_eq!(rules.decide(&ann, Access::Catalog, None), Decision::Allow);
        assert_eq!(rules.decide(&Identity::named("bob"), Access::Catalog, None), Decision::Deny);
        assert_eq!(rules.decide(&Identity::anonymous(), Access::Catalog, None), Decision::Deny);
        // What makes no sense is refused.
        assert_eq!(rules.decide(&ann, Access::Pull, None), Decision::Deny);
        assert_eq!(rules.decide(&ann, Access::Catalog, Some(&repository("a"))), Decision::Deny);
    }
}
