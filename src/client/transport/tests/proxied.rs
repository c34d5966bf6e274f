use super::*;
use crate::error::ErrorKind;

fn answering(status: &'static str) -> impl Fn(&str) -> String + Clone + Send + Sync + 'static {
    move |_| format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n")
}

#[tokio::test]
async fn plain_http_goes_to_the_proxy_with_its_whole_uri() {
    let proxy = Server::start("127.0.0.1", hello).await;
    let uri = format!("http://user:hunter2@{}", proxy.address);
    let service = Transport::builder().proxy(uri).build().unwrap().connect(Guard::public_only());
    assert_eq!(get(&service, "http://registry.example/v2/?n=1").await.unwrap(), "hello");
    let expected = "GET http://registry.example/v2/?n=1 HTTP/1.1\r\n\
                    proxy-authorization: Basic dXNlcjpodW50ZXIy\r\n\
                    host: registry.example\r\n\r\n";
    assert_eq!(proxy.heads(), [expected]);
}

#[tokio::test]
async fn targets_are_judged_by_name_before_the_proxy_hears_of_them() {
    let proxy = Server::start("127.0.0.1", hello).await;
    let transport = Transport::builder().proxy(proxy.address.to_string()).build().unwrap();
    let service = transport.connect(Guard::public_only());
    for (uri, message) in [
        ("http://10.0.0.1/", "`10.0.0.1` is a private address (10.0.0.0/8), which may not be connected to"),
        (
            "https://169.254.169.254/latest/",
            "`169.254.169.254` is a cloud's metadata address, which may not be connected to",
        ),
        (
            "http://metadata.google.internal/",
            "`metadata.google.internal` is a name of a local network, which may not be connected to",
        ),
        // Never through a proxy, and not without one either.
        (
            "http://127.0.0.9/",
            "`127.0.0.9` is a loopback address (127.0.0.0/8), which may not be connected to",
        ),
    ] {
        let error = get(&service, uri).await.unwrap_err();
        assert_eq!((error.kind(), error.message()), (ErrorKind::Denied, message));
    }
    assert_eq!(proxy.heads(), Vec::<String>::new());

    let service = transport.connect(Guard::public_only().allow_network("10.0.0.0/8").unwrap());
    assert_eq!(get(&service, "http://10.0.0.1/").await.unwrap(), "hello");
}

#[tokio::test]
async fn a_proxy_that_is_not_there_is_told() {
    let held = std::net::TcpListener::bind("127.0.0.4:0").unwrap();
    let free = held.local_addr().unwrap();
    drop(held);
    let transport = Transport::builder().proxy(format!("http://user:hunter2@{free}")).build().unwrap();
    let error = get(&transport.connect(Guard::public_only()), "http://registry.example/").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let message =
        format!("the HTTP proxy can't be reached: `127.0.0.4` refused a connection on port {}", free.port());
    assert_eq!(error.message(), message);
}

#[tokio::test]
async fn refusals_of_a_proxy_are_told() {
    for (status, kind, words) in [
        (
            "407 Proxy Authentication Required",
            ErrorKind::BadGateway,
            "wants other credentials to connect to `registry.example:443` (status 407)",
        ),
        ("403 Forbidden", ErrorKind::Unavailable, "doesn't connect to `registry.example:443` (status 403)"),
    ] {
        let proxy = Server::start("127.0.0.1", answering(status)).await;
        let uri = format!("http://user:hunter2@{}", proxy.address);
        let service = Transport::builder().https_proxy(uri).build().unwrap().connect(Guard::public_only());
        let error = get(&service, "https://registry.example/?sig=hunter2").await.unwrap_err();
        assert_eq!(error.kind(), kind);
        assert_eq!(error.message(), format!("the HTTP proxy `{}` {words}", proxy.address));
        assert!(!format!("{error:?}").contains("hunter2"));
        let expected = "CONNECT registry.example:443 HTTP/1.1\r\n\
                        Host: registry.example:443\r\n\
                        Proxy-Authorization: Basic dXNlcjpodW50ZXIy\r\n\r\n";
        assert_eq!(proxy.heads(), [expected]);
    }
}
