//! TLS by rustls, its provider always passed explicitly: the process default panics in other people's programs.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{CertificateError, ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::target::Target;
use crate::error::{Error, ErrorCode};
use crate::rt;

/// Which implementation of cryptography TLS uses.
///
/// By default it is aws-lc-rs where the feature `tls-aws-lc-rs` is on, else ring. The process-wide default of rustls
/// is neither read nor set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TlsProvider {
    /// aws-lc-rs.
    #[cfg(feature = "tls-aws-lc-rs")]
    AwsLcRs,
    /// ring.
    #[cfg(feature = "tls-ring")]
    Ring,
}

impl TlsProvider {
    fn preferred() -> Option<Self> {
        #[cfg(feature = "tls-aws-lc-rs")]
        return Some(Self::AwsLcRs);
        #[cfg(all(feature = "tls-ring", not(feature = "tls-aws-lc-rs")))]
        return Some(Self::Ring);
        #[cfg(not(any(feature = "tls-aws-lc-rs", feature = "tls-ring")))]
        return None;
    }

    fn provider(self) -> Arc<CryptoProvider> {
        match self {
            #[cfg(feature = "tls-aws-lc-rs")]
            Self::AwsLcRs => Arc::new(rustls::crypto::aws_lc_rs::default_provider()),
            #[cfg(feature = "tls-ring")]
            Self::Ring => Arc::new(rustls::crypto::ring::default_provider()),
        }
    }
}

/// What the embedder said of TLS, not yet parsed: mistakes are told by `build`.
#[derive(Clone, Debug)]
pub(super) struct TlsSettings {
    pub(super) pem: Vec<Vec<u8>>,
    pub(super) der: Vec<Vec<u8>>,
    pub(super) native_roots: bool,
    pub(super) provider: Option<TlsProvider>,
}

impl Default for TlsSettings {
    fn default() -> Self {
        Self { pem: Vec::new(), der: Vec::new(), native_roots: true, provider: None }
    }
}

impl TlsSettings {
    pub(super) fn parse(&self, http2: bool) -> Result<Tls, Error> {
        let invalid = |reason: String| {
            Error::invalid(ErrorCode::Unsupported, format!("a root certificate is invalid: {reason}"))
        };
        let mut roots = RootCertStore::empty();
        let mut add = |der: CertificateDer<'_>| roots.add(der).map_err(|error| invalid(error.to_string()));
        for pem in &self.pem {
            let mut count = 0;
            for der in CertificateDer::pem_slice_iter(pem) {
                add(der.map_err(|error| invalid(format!("its PEM is malformed: {error}")))?)?;
                count += 1;
            }
            if count == 0 {
                return Err(invalid("its PEM holds no certificate".to_owned()));
            }
        }
        for der in &self.der {
            add(CertificateDer::from_slice(der))?;
        }
        Ok(Tls {
            roots,
            native_roots: self.native_roots,
            provider: self.provider.or_else(TlsProvider::preferred),
            http2,
            config: OnceCell::new(),
        })
    }
}

/// TLS as a client. The platform's roots are read when they are needed first.
#[derive(Debug)]
pub(super) struct Tls {
    roots: RootCertStore,
    native_roots: bool,
    provider: Option<TlsProvider>,
    http2: bool,
    config: OnceCell<Arc<ClientConfig>>,
}

impl Tls {
    pub(super) async fn connect(
        &self,
        stream: TcpStream,
        target: &Target,
    ) -> Result<TlsStream<TcpStream>, Error> {
        let config = self.config.get_or_try_init(|| self.configure()).await?;
        let name = ServerName::try_from(target.host.clone()).map_err(|error| {
            Error::bad_gateway(format!("`{}` can't be the name in a certificate", target.host))
                .with_source(error)
        })?;
        let connector = TlsConnector::from(Arc::clone(config));
        connector.connect(name, stream).await.map_err(|error| failure(target, error))
    }

    async fn configure(&self) -> Result<Arc<ClientConfig>, Error> {
        let mut roots = self.roots.clone();
        if self.native_roots {
            add_native_roots(&mut roots).await?;
        }
        if roots.is_empty() {
            return Err(Error::internal(
                "https needs trusted root certificates: the platform's are turned off, and no others were given",
            ));
        }
        let Some(provider) = self.provider else {
            return Err(Error::internal("https needs the feature `tls-aws-lc-rs` or `tls-ring`"));
        };
        let mut config = ClientConfig::builder_with_provider(provider.provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| Error::internal("TLS can't be set up").with_source(error))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let h2 = self.http2.then(|| b"h2".to_vec());
        config.alpn_protocols = h2.into_iter().chain([b"http/1.1".to_vec()]).collect();
        Ok(Arc::new(config))
    }
}

async fn add_native_roots(roots: &mut RootCertStore) -> Result<(), Error> {
    let found = rt::blocking(rustls_native_certs::load_native_certs).await?;
    let (good, bad) = roots.add_parsable_certificates(found.certs);
    tracing::debug!(good, bad, errors = found.errors.len(), "read the platform's root certificates");
    if roots.is_empty() {
        let error = Error::internal(
            "https needs trusted root certificates: the platform has none, and no others were given",
        );
        return Err(match found.errors.into_iter().next() {
            Some(cause) => error.with_source(cause),
            None => error,
        });
    }
    Ok(())
}

/// What went wrong in a handshake. A certificate that isn't trusted won't be a moment later, so that is no
/// `Unavailable`, which is tried again.
fn failure(target: &Target, error: std::io::Error) -> Error {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::InvalidCertificate(reason)) => {
            let reason = distrust(reason);
            Error::bad_gateway(format!("the certificate of `{target}` isn't trusted: {reason}"))
                .with_source(error)
        }
        Some(tls) => Error::bad_gateway(format!("TLS with `{target}` failed: {tls}")).with_source(error),
        None => Error::unavailable(format!("`{target}` broke off the TLS handshake: {}", error.kind()))
            .with_source(error),
    }
}

fn distrust(reason: &CertificateError) -> String {
    match reason {
        CertificateError::UnknownIssuer => "no trusted root has signed it".to_owned(),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "it has expired".to_owned(),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "it isn't valid yet".to_owned()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "it is for another name".to_owned()
        }
        CertificateError::Revoked => "it was revoked".to_owned(),
        CertificateError::BadSignature => "its signature is wrong".to_owned(),
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "it isn't for servers".to_owned()
        }
        other => other.to_string(),
    }
}
