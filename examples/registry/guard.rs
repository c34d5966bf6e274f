//! Who may do what.

use tower_oci::error::Error;
use tower_oci::layer::auth::{Auth, Htpasswd, Tokens};
use tower_oci::layer::authorize::{AuthorizeLayer, Rules, Who};
use tower_oci::operation::middleware::Next;
use tower_oci::operation::{Access, Request, Response};
use tower_oci::rt::Tasks;

use super::Failure;
use super::settings::Settings;

/// Logins, where there are users.
pub(crate) async fn auth(settings: &Settings, url: &str, tasks: &Tasks) -> Result<Option<Auth>, Failure> {
    let Some(file) = &settings.htpasswd else { return Ok(None) };
    let auth = Auth::builder(Htpasswd::open(file).await?).tasks(tasks.clone());
    // Without a challenge clients never log in, and with `Basic` alone docker takes it for a no: with tokens it can ask
    // for one that is nobody's.
    let auth = match settings.anonymous_pull {
        true => auth.anonymous(true).tokens(Tokens::new(format!("{url}/token"))),
        false => auth,
    };
    Ok(Some(auth.build()?))
}

/// Users may do everything, and others pull if they may do anything.
pub(crate) fn rules(settings: &Settings) -> Result<AuthorizeLayer, Failure> {
    let readers = if settings.anonymous_pull { Who::Everybody } else { Who::Known };
    let rules = Rules::new()
        .allow(readers.clone(), Access::Pull, "*".parse()?)
        .allow(Who::Known, Access::Push, "*".parse()?)
        .allow(Who::Known, Access::Delete, "*".parse()?)
        .allow_catalog(readers);
    Ok(AuthorizeLayer::new(rules))
}

/// Lets pass what changes nothing.
pub(crate) async fn refuse_writes(request: Request, next: Next) -> Result<Response, Error> {
    match request.operation().access() {
        Access::Ping | Access::Pull | Access::Catalog => next.run(request).await,
        // Pushes, deletes, and whatever a later version adds.
        _ => Err(Error::unsupported("this registry is read-only")),
    }
}
