use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::client::transport::{TlsProvider, TransportBuilder};
use crate::error::ErrorKind;
use crate::spec::name::Host;

/// A root that signs certificates for tests.
struct Authority {
    pem: String,
    der: Vec<u8>,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let (pem, der) = (certificate.pem(), certificate.der().to_vec());
        Self { pem, der, issuer: Issuer::new(params, key) }
    }

    /// A server with a certificate for `names`, which offers `protocols`.
    fn acceptor(&self, names: &[&str], until_year: i32, protocols: &[&str]) -> TlsAcceptor {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.not_after = rcgen::date_time_ymd(until_year, 1, 1);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let mut config = rustls::ServerConfig::builder_with_provider(Arc::new(provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::Pkcs8(key.serialize_der().into()),
            )
            .unwrap();
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        TlsAcceptor::from(Arc::new(config))
    }
}

#[cfg(feature = "tls-aws-lc-rs")]
fn provider() -> rustls::crypto::CryptoProvider {
    rustls::crypto::aws_lc_rs::default_provider()
}

#[cfg(not(feature = "tls-aws-lc-rs"))]
fn provider() -> rustls::crypto::CryptoProvider {
    rustls::crypto::ring::default_provider()
}

async fn secure_server(acceptor: TlsAcceptor) -> Server {
    Server::with("127.0.0.3", move |stream, heads| {
        let acceptor = acceptor.clone();
        async move {
            if let Ok(stream) = acceptor.accept(stream).await {
                serve(stream, &heads, hello).await;
            }
        }
    })
    .await
}

fn settings() -> TransportBuilder {
    let host: Host = "registry.example".parse().unwrap();
    Transport::builder().native_roots(false).resolve(&host, [[127, 0, 0, 3].into()])
}

fn service(settings: TransportBuilder) -> HttpService {
    settings.build().unwrap().connect(Guard::public_only().allow_network("127.0.0.3").unwrap())
}

fn uri(server: &Server) -> String {
    format!("https://registry.example:{}/?sig=hunter2", server.address.port())
}

const GOOD: i32 = 4000;

#[tokio::test]
async fn extra_roots_are_trusted_with_each_provider() {
    let authority = Authority::new("one");
    let server = secure_server(authority.acceptor(&["registry.example"], GOOD, &[])).await;
    let mut providers = Vec::<TlsProvider>::new();
    #[cfg(feature = "tls-aws-lc-rs")]
    providers.push(TlsProvider::AwsLcRs);
    #[cfg(feature = "tls-ring")]
    providers.push(TlsProvider::Ring);
    for provider in providers {
        for settings in [
            settings().root_certificates_pem(authority.pem.as_str()),
            settings().root_certificate_der(authority.der.as_slice()),
        ] {
            let service = service(settings.tls_provider(provider));
            assert_eq!(get(&service, &uri(&server)).await.unwrap(), "hello", "{provider:?}");
        }
    }
}

#[tokio::test]
async fn a_certificate_for_an_address_is_trusted() {
    let authority = Authority::new("one");
    let server = secure_server(authority.acceptor(&["127.0.0.3"], GOOD, &[])).await;
    let service = service(settings().root_certificates_pem(authority.pem.as_str()));
    assert_eq!(get(&service, &format!("https://{}/", server.address)).await.unwrap(), "hello");
}

#[tokio::test]
async fn certificates_that_are_not_trusted_say_why() {
    let (authority, other) = (Authority::new("one"), Authority::new("other"));
    for (acceptor, reason) in [
        (other.acceptor(&["registry.example"], GOOD, &[]), "no trusted root has signed it"),
        (authority.acceptor(&["registry.example"], 2001, &[]), "it has expired"),
        (authority.acceptor(&["xregistry.example"], GOOD, &[]), "it is for another name"),
    ] {
        let server = secure_server(acceptor).await;
        let service = service(settings().root_certificates_pem(authority.pem.as_str()));
        let error = get(&service, &uri(&server)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BadGateway);
        let host = format!("registry.example:{}", server.address.port());
        assert_eq!(error.message(), format!("the certificate of `{host}` isn't trusted: {reason}"));
        assert!(!format!("{error:?}").contains("hunter2"));
        assert_eq!(server.heads(), Vec::<String>::new());
    }
}

#[tokio::test]
async fn a_server_without_tls_is_told() {
    let authority = Authority::new("one");
    let service = service(settings().root_certificates_pem(authority.pem.as_str()));
    let server = Server::with("127.0.0.3", |mut stream, _| async move {
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
    })
    .await;
    let error = get(&service, &uri(&server)).await.unwrap_err();
    let host = format!("registry.example:{}", server.address.port());
    assert_eq!(error.kind(), ErrorKind::BadGateway);
    assert_eq!(
        error.message(),
        format!("TLS with `{host}` failed: received corrupt message of type InvalidContentType")
    );
}

#[tokio::test(start_paused = true)]
async fn a_handshake_or_a_tunnel_that_stalls_times_out() {
    let silent = Server::with("127.0.0.3", |stream, _| async move {
        let _stream = stream;
        std::future::pending().await
    })
    .await;
    let root = Authority::new("one").pem;
    for (settings, uri) in [
        (settings().root_certificates_pem(root.as_str()), uri(&silent)),
        (settings().proxy(silent.address.to_string()), "https://registry.example/".to_owned()),
    ] {
        let start = tokio::time::Instant::now();
        let error = get(&service(settings), &uri).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert_eq!(start.elapsed(), Duration::from_secs(10));
    }
}

#[tokio::test]
async fn no_roots_at_all_matter_only_to_https() {
    let server = Server::start("127.0.0.3", hello).await;
    let service = service(settings());
    assert_eq!(get(&service, &format!("http://{}/", server.address)).await.unwrap(), "hello");
    let error = get(&service, &format!("https://{}/", server.address)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal);
    assert_eq!(
        error.message(),
        "https needs trusted root certificates: the platform's are turned off, and no others were given"
    );
}

#[test]
fn malformed_roots_are_refused_when_the_transport_is_built() {
    for (settings, reason) in [
        (settings().root_certificates_pem("nothing"), "its PEM holds no certificate"),
        (
            settings().root_certificates_pem("-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n"),
            "its PEM is malformed: base64 decode error: InvalidCharacter(33)",
        ),
        (settings().root_certificate_der("x"), "invalid peer certificate: BadEncoding"),
    ] {
        let error = settings.build().unwrap_err();
        assert_eq!(error.message(), format!("a root certificate is invalid: {reason}"));
    }
}

#[cfg(feature = "http2")]
#[tokio::test]
async fn http2_is_spoken_where_both_want_it() {
    use http_body_util::Full;
    use hyper_util::rt::{TokioExecutor, TokioIo};

    let authority = Authority::new("one");
    for (offered, expected) in [(true, http::Version::HTTP_2), (false, http::Version::HTTP_11)] {
        let acceptor = authority.acceptor(&["registry.example"], GOOD, &["h2", "http/1.1"]);
        let server = Server::with("127.0.0.3", move |stream, _| {
            let acceptor = acceptor.clone();
            async move {
                let stream = TokioIo::new(acceptor.accept(stream).await.unwrap());
                let service =
                    hyper::service::service_fn(|request: http::Request<hyper::body::Incoming>| async move {
                        let content = format!("{:?} {}", request.version(), request.uri().path());
                        Ok::<_, std::convert::Infallible>(http::Response::new(Full::new(bytes::Bytes::from(
                            content,
                        ))))
                    });
                let _ = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new())
                    .serve_connection(stream, service)
                    .await;
            }
        })
        .await;
        let service = service(settings().root_certificates_pem(authority.pem.as_str()).http2(offered));
        assert_eq!(get(&service, &uri(&server)).await.unwrap(), format!("{expected:?} /"));
    }
}

#[tokio::test]
async fn https_goes_through_a_tunnel() {
    let authority = Authority::new("one");
    let acceptor = authority.acceptor(&["registry.example"], GOOD, &[]);
    // The proxy and the upstream behind it in one: what comes after the tunnel's head is TLS.
    let proxy = Server::with("127.0.0.1", move |stream: TcpStream, heads| {
        let acceptor = acceptor.clone();
        async move {
            let mut stream = stream;
            let head = read_head(&mut stream).await.unwrap();
            heads.lock().unwrap().push(head);
            stream.write_all(b"HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n").await.unwrap();
            serve(acceptor.accept(stream).await.unwrap(), &heads, hello).await;
        }
    })
    .await;
    let uri = format!("http://user:hunter2@{}", proxy.address);
    let settings = settings().root_certificates_pem(authority.pem.as_str()).proxy(uri);
    let service = settings.build().unwrap().connect(Guard::public_only());
    assert_eq!(get(&service, "https://registry.example/v2/").await.unwrap(), "hello");
    assert_eq!(
        proxy.heads(),
        [
            "CONNECT registry.example:443 HTTP/1.1\r\n\
             Host: registry.example:443\r\n\
             Proxy-Authorization: Basic dXNlcjpodW50ZXIy\r\n\r\n",
            "GET /v2/ HTTP/1.1\r\nhost: registry.example\r\n\r\n",
        ]
    );
}
