use super::*;
use crate::error::ErrorKind;

fn named(host: &str) -> crate::spec::name::Host {
    host.parse().unwrap()
}

#[tokio::test]
async fn only_named_loopback_addresses_are_connected_to() {
    let (refused, allowed) =
        (Server::start("127.0.0.2", hello).await, Server::start("127.0.0.3", hello).await);
    let guard = Guard::public_only().allow_host(&named(&allowed.address.to_string()));
    let service = Transport::builder().build().unwrap().connect(guard);

    let error = get(&service, &format!("http://{}/?sig=hunter2", refused.address)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied);
    assert_eq!(
        error.message(),
        "`127.0.0.2` is a loopback address (127.0.0.0/8), which may not be connected to"
    );
    assert_eq!(refused.heads(), Vec::<String>::new());
    assert!(!format!("{error:?}").contains("hunter2"));

    assert_eq!(get(&service, &format!("http://{}/v2/", allowed.address)).await.unwrap(), "hello");
    let expected = format!("GET /v2/ HTTP/1.1\r\nhost: {}\r\n\r\n", allowed.address);
    assert_eq!(allowed.heads(), [expected]);
}

#[tokio::test]
async fn each_address_of_a_name_is_judged() {
    let allowed = Server::start("127.0.0.3", hello).await;
    let port = allowed.address.port();
    // The same port on the other address, so that a connection there would be seen.
    let refused = std::net::TcpListener::bind(("127.0.0.2", port)).unwrap();
    refused.set_nonblocking(true).unwrap();
    let addresses = ["127.0.0.2".parse().unwrap(), "127.0.0.3".parse().unwrap()];
    let transport = Transport::builder()
        .resolve(&named("mixed.example"), addresses)
        .resolve(&named("inside.example"), ["127.0.0.2".parse().unwrap()])
        .build()
        .unwrap();
    let service = transport.connect(Guard::public_only().allow_network("127.0.0.3/32").unwrap());

    assert_eq!(get(&service, &format!("http://mixed.example:{port}/")).await.unwrap(), "hello");
    let error = get(&service, &format!("http://inside.example:{port}/")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied);
    assert_eq!(
        error.message(),
        "`inside.example` resolves to a loopback address (127.0.0.0/8), which may not be connected to"
    );
    assert_eq!(refused.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock, "nobody connected");
}

/// Resolvers read such names as addresses, without asking anybody.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn addresses_in_unusual_forms_are_judged() {
    let service = Transport::builder().build().unwrap().connect(Guard::public_only());
    for host in ["127.1", "0x7f.0.0.1", "2130706433", "0177.0.0.1"] {
        let error = get(&service, &format!("http://{host}:9/")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Denied);
        assert_eq!(
            error.message(),
            format!("`{host}` resolves to a loopback address (127.0.0.0/8), which may not be connected to")
        );
    }
}

#[tokio::test]
async fn pools_of_one_transport_have_their_own_guards() {
    let server = Server::start("127.0.0.3", hello).await;
    let transport = Transport::builder().build().unwrap();
    let open = transport.connect(Guard::public_only().allow_host(&named(&server.address.to_string())));
    let closed = transport.connect(Guard::public_only());
    let uri = format!("http://{}/", server.address);
    assert_eq!(get(&open, &uri).await.unwrap(), "hello");
    assert_eq!(get(&closed, &uri).await.unwrap_err().kind(), ErrorKind::Denied);
}

#[tokio::test]
async fn the_next_address_is_tried_and_refusals_are_told() {
    let live = Server::start("127.0.0.3", hello).await;
    let port = live.address.port();
    let transport = Transport::builder()
        .resolve(&named("two.example"), ["127.0.0.4".parse().unwrap(), "127.0.0.3".parse().unwrap()])
        .resolve(&named("dead.example"), ["127.0.0.4".parse().unwrap()])
        .resolve(&named("none.example"), [])
        .build()
        .unwrap();
    let service = transport.connect(Guard::public_only().allow_network("127.0.0.0/8").unwrap());
    assert_eq!(get(&service, &format!("http://two.example:{port}/")).await.unwrap(), "hello");
    for (uri, message) in [
        (
            format!("http://dead.example:{port}/"),
            format!("`dead.example` refused a connection on port {port}"),
        ),
        ("http://none.example/".to_owned(), "the name `none.example` has no address".to_owned()),
    ] {
        let error = get(&service, &uri).await.unwrap_err();
        assert_eq!((error.kind(), error.message()), (ErrorKind::Unavailable, message.as_str()));
    }
}

#[tokio::test]
async fn settings_that_make_no_sense_are_refused() {
    let error = Transport::builder().max_per_host(0).build().unwrap_err();
    assert_eq!(error.message(), "the cap on exchanges per host is 0, which makes no sense");
    let error = Transport::builder().proxy("http://user:hunter2@").build().unwrap_err();
    assert!(!format!("{error:?}").contains("hunter2"));
}
