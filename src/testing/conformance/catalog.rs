//! The list of repositories, which isn't in the specification but in what it is based on.

use serde::Deserialize;

use super::case::{Case, Checked, Group, may};
use super::site::Site;
use super::target::Feature;

pub(super) const GROUP: Group = Group { section: "Catalog, as Docker's registry has it", cases: CASES };

const CASES: &[Case] = &[
    may("The list has every repository once, in order, page by page.", |site| Box::pin(listed(site)))
        .needs(&[Feature::Catalog]),
    may("Where it isn't offered it is refused.", |site| Box::pin(refused(site))).unless(Feature::Catalog),
];

#[derive(Deserialize)]
struct Catalog {
    repositories: Vec<String>,
}

async fn listed(site: &Site) -> Checked {
    let names = ["a", "a/b", "c"];
    for name in names {
        site.named(name).put_tagged("v1").await?;
    }
    let expected: Vec<String> = names.iter().map(|name| site.named(name).name().to_owned()).collect();
    for query in ["", "?n=1", "?n=7"] {
        let mut answer = site.follow(site.root(&format!("/v2/_catalog{query}"))?).await?;
        let mut all: Vec<String> = Vec::new();
        loop {
            answer.has_status(&[200])?;
            let Catalog { repositories } = answer.json()?;
            all.extend(repositories);
            let Some(next) = answer.next()? else { break };
            answer = site.follow(next).await?;
        }
        let ours: Vec<String> = all.iter().filter(|name| name.starts_with(site.name())).cloned().collect();
        if ours != expected || !all.is_sorted() {
            return Err(answer.fails(format!("{all:?} should have {expected:?}, in order")));
        }
    }
    Ok(())
}

async fn refused(site: &Site) -> Checked {
    let answer = site.follow(site.root("/v2/_catalog")?).await?;
    answer.is_error(&[400, 401, 403, 404, 405], &["UNSUPPORTED", "DENIED", "UNAUTHORIZED"])
}
