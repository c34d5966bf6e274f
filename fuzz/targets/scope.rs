//! Scopes: what is read is written as the same again, and covers exactly what it has.

use tower_oci::http::scope::Scopes;

/// The scopes before the first line feed are had, those after it are needed.
pub(crate) fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (had, needed) = text.split_once('\n').unwrap_or((text, text));
    let (had, needed) = (Scopes::parse(had), Scopes::parse(needed));
    for scopes in [&had, &needed] {
        let written = scopes.to_string();
        assert!(written.len() <= text.len());
        assert_eq!(Scopes::parse(&written), *scopes, "{written}");
        assert!(scopes.iter().count() <= Scopes::MAX);
        assert!(scopes.cover(scopes) && scopes.cover(&Scopes::default()), "{written}");
        assert_eq!(Scopes::default().cover(scopes), scopes.is_empty(), "{written}");
        let known = scopes.clone().known();
        assert!(scopes.cover(&known), "{known} of {written}");
        assert_eq!(known.clone().known(), known);
        for scope in known.iter() {
            assert!(scope == "registry:catalog:*" || scope.starts_with("repository:"), "{scope}");
            assert!(!scope.contains(['"', '\\', ' ']), "{scope} stands in quotes");
        }
    }
    let both = had.clone().and(needed.clone());
    assert!(both.cover(&had) && both.cover(&needed));
    // One by one, by the text alone.
    let pairs = |scopes: &Scopes| -> Vec<(String, String)> {
        let one = |scope: String| {
            let (resource, actions) = scope.rsplit_once(':').map(|(r, a)| (r.to_owned(), a.to_owned()))?;
            Some((resource, actions))
        };
        scopes
            .iter()
            .filter_map(one)
            .flat_map(|(resource, actions)| {
                let actions: Vec<_> =
                    actions.split(',').filter(|a| !a.is_empty()).map(str::to_owned).collect();
                actions.into_iter().map(move |action| (resource.clone(), action))
            })
            .collect()
    };
    let own = pairs(&had);
    let covered = pairs(&needed).into_iter().all(|(resource, action)| {
        own.contains(&(resource.clone(), action)) || own.contains(&(resource, "*".to_owned()))
    });
    assert_eq!(had.cover(&needed), covered, "{had} for {needed}");
}
