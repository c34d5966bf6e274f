//! The crate's own client at the crate's own door, over a socket.

use std::sync::{Arc, OnceLock};

use tower::{ServiceExt as _, service_fn};
use tower_oci::body::Body;
use tower_oci::client::{Upstream, Upstreams};
use tower_oci::layer::auth::{Auth, Tokens};
use tower_oci::operation::{Credential, ListTags, Registry as _, Request, UpstreamId};
use tower_oci::spec::name::Host;
use tower_oci::testing::serve;

use crate::support::{Edge, READER, STRANGER, passwords, stack};

#[tokio::test]
async fn our_client_logs_in_here_in_both_ways() {
    for with_tokens in [false, true] {
        // The realm has the port in it, so the port has to be there first.
        let stacked = Arc::new(OnceLock::new());
        let service = Arc::clone(&stacked);
        let served = serve(service_fn(move |request: http::Request<Body>| {
            let service: Edge = service.get().cloned().expect("set before anybody asks");
            service.oneshot(request)
        }))
        .unwrap();
        let mut auth = Auth::builder(passwords()).anonymous(true);
        if with_tokens {
            auth = auth.tokens(Tokens::new(format!("http://{}/token", served.addr())));
        }
        assert!(stacked.set(stack(&auth.build().unwrap())).is_ok());
        let host: Host = served.addr().to_string().parse().unwrap();
        let upstreams =
            Upstreams::builder().upstream(Upstream::builder(host.clone()).plain_http(true)).build().unwrap();
        for (who, repository, expected) in [
            (Some(READER), "team/app", Ok("v1")),
            (Some(STRANGER), "public/app", Ok("v1")),
            (None, "public/app", Ok("v1")),
            (Some(STRANGER), "team/app", Err(404)),
            (Some((READER.0, "wrong")), "team/app", Err(403)),
            (None, "team/app", Err(403)),
        ] {
            let mut list = Request::new(ListTags::new(repository.parse().unwrap()));
            list.extensions_mut().insert(UpstreamId::new(host.clone()));
            let credential =
                who.map_or(Credential::Anonymous, |(name, password)| Credential::basic(name, password));
            list.extensions_mut().insert(credential);
            let answer = upstreams.send(list).await;
            let seen = match &answer {
                Ok(tags) => Ok(tags.reply().tags[0].as_str()),
                Err(error) => Err(error.status().as_u16()),
            };
            assert_eq!(seen, expected, "{who:?} {repository} {answer:?}");
        }
    }
}
