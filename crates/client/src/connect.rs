//! Reaching a listener, with or without TLS.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axle_domain::{Error, Kind};
use rustls::client::Resumption;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Time for TCP and TLS.
const DIAL_TIME_MAX: Duration = Duration::from_secs(15);

/// A connection.
pub enum Stream {
    /// Without TLS.
    Plain(TcpStream),
    /// With TLS.
    Tls(Box<TlsStream<TcpStream>>),
}

/// Knows how to reach one listener as one device.
#[derive(Clone)]
pub struct Dialer {
    address: Arc<str>,
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
}

impl Dialer {
    /// Without TLS.
    #[must_use]
    pub fn plain(address: &str) -> Self {
        Self { address: Arc::from(address), tls: None }
    }

    /// With TLS as a device: its certificate chain and its private key, PKCS#8 DER.
    ///
    /// # Errors
    /// `Invalid`, when the address names no host or key and certificate do not fit.
    pub fn tls(
        address: &str,
        roots: &Arc<RootCertStore>,
        chain: &[CertificateDer<'static>],
        key: &[u8],
    ) -> Result<Self, Error> {
        let host = address.rsplit_once(':').map_or(address, |(host, _port)| host);
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(host.to_owned()).map_err(|error| failed(&error))?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.to_vec()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| failed(&error))?
            .with_root_certificates(Arc::clone(roots))
            .with_client_auth_cert(chain.to_vec(), key)
            .map_err(|error| failed(&error))?;
        // One device talks to one server; the default of 256 sessions would cost memory for each.
        config.resumption = Resumption::in_memory_sessions(1);
        Ok(Self { address: Arc::from(address), tls: Some((Arc::new(config), name)) })
    }

    /// The same, at another address: a server that was started again listens elsewhere.
    #[must_use]
    pub fn moved(&self, address: &str) -> Self {
        Self { address: Arc::from(address), tls: self.tls.clone() }
    }

    /// Connects.
    ///
    /// # Errors
    /// When the listener cannot be reached, or the handshake fails or takes too long.
    pub async fn dial(&self) -> io::Result<Stream> {
        let dial = async {
            let tcp = TcpStream::connect(&*self.address).await?;
            tcp.set_nodelay(true)?;
            let Some((config, name)) = &self.tls else { return Ok(Stream::Plain(tcp)) };
            let connector = TlsConnector::from(Arc::clone(config));
            let tls = Box::pin(connector.connect(name.clone(), tcp)).await?;
            Ok(Stream::Tls(Box::new(tls)))
        };
        tokio::time::timeout(DIAL_TIME_MAX, dial).await?
    }
}

/// The authority's certificate as the only root.
///
/// # Errors
/// `Invalid`, when a certificate cannot be read.
pub fn roots(authority_pem: &str) -> Result<Arc<RootCertStore>, Error> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(authority_pem.as_bytes()) {
        let certificate = certificate.map_err(|error| failed(&error))?;
        roots.add(certificate).map_err(|error| failed(&error))?;
    }
    Ok(Arc::new(roots))
}

fn failed(error: &dyn std::fmt::Display) -> Error {
    Error::new(Kind::Invalid, "doors.tls", format!("TLS towards the server: {error}"))
}

impl AsyncRead for Stream {
    #[inline]
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Self::Tls(tls) => Pin::new(tls).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    #[inline]
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_write(cx, buf),
            Self::Tls(tls) => Pin::new(tls).poll_write(cx, buf),
        }
    }

    #[inline]
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
            Self::Tls(tls) => Pin::new(tls).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Self::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }
}
