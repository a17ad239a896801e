//! The TLS side of a device listener: client certificates are asked for, and never more is read
//! of them than a device needs.

use std::sync::Arc;

use axle_app::Registry;
use axle_domain::Error;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::{Ticketer, default_provider};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, ProducesTickets, WebPkiClientVerifier};
use rustls::ticketer::TicketRotator;
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, RootCertStore, ServerConfig,
    SignatureScheme,
};
use rustls_pki_types::{CertificateDer, UnixTime};

use crate::authority::DeviceAuthority;
use crate::witness::{NotingResolver, note_refused};

/// Most certificates of a client's chain.
const CHAIN_CERTIFICATES_MAX: usize = 4;
/// Most bytes of a client's chain.
const CHAIN_BYTES_MAX: usize = 16 * 1024;
/// How long one key makes session tickets; a ticket lives at most twice as long, so an hour.
const TICKET_KEY_SECONDS: u32 = 30 * 60;

/// The TLS settings of a listener for devices: TLS 1.2 and 1.3, a client certificate of the
/// device authority required unless an application has a token to bring instead, tickets of at most an hour that no other listener accepts, no early
/// data. A resumed session proves nothing about today: the caller asks the registry after every
/// handshake.
///
/// # Errors
/// `Internal`, when key and certificate of the listener do not fit, or there is no randomness.
pub fn device_listener_config(
    authority: &DeviceAuthority,
    registry: &Arc<Registry>,
    alpn: &[&[u8]],
) -> Result<Arc<ServerConfig>, Error> {
    let failed = |error: &dyn std::fmt::Display| {
        Error::internal("tls.failed", format!("TLS of the device listener: {error}"))
    };
    let provider = Arc::new(default_provider());
    let verifier =
        ShortChain::new(authority, registry, &provider).map_err(|error| failed(&error))?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| failed(&error))?
        .with_client_cert_verifier(Arc::new(verifier))
        .with_single_cert(authority.server_chain(), authority.server_key())
        .map_err(|error| failed(&error))?;
    let chain = authority.server_chain();
    let certificate = chain.first().map_or(&[][..], |certificate| certificate);
    let resolver = NotingResolver::new(Arc::clone(&config.cert_resolver), certificate);
    config.cert_resolver = Arc::new(resolver);
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    config.ticketer = Arc::new(
        TicketRotator::new(TICKET_KEY_SECONDS, new_ticket_key).map_err(|error| failed(&error))?,
    );
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 1;
    config.max_early_data_size = 0;
    Ok(Arc::new(config))
}

/// One key of the rotation.
#[derive(Debug)]
struct TicketKey(Arc<dyn ProducesTickets>);

impl ProducesTickets for TicketKey {
    fn enabled(&self) -> bool {
        self.0.enabled()
    }

    fn lifetime(&self) -> u32 {
        TICKET_KEY_SECONDS
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.0.encrypt(plain)
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        self.0.decrypt(cipher)
    }
}

fn new_ticket_key() -> Result<Box<dyn ProducesTickets>, rustls::crypto::GetRandomFailed> {
    let key = Ticketer::new().map_err(|_error| rustls::crypto::GetRandomFailed)?;
    Ok(Box::new(TicketKey(key)))
}

/// Verifies as webpki does, after looking at the size: a path is only built from little.
struct ShortChain {
    verifier: Arc<dyn ClientCertVerifier>,
    registry: Arc<Registry>,
}

impl std::fmt::Debug for ShortChain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("ShortChain").field(&self.verifier).finish()
    }
}

impl ShortChain {
    fn new(
        authority: &DeviceAuthority,
        registry: &Arc<Registry>,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, Box<dyn std::error::Error>> {
        let mut roots = RootCertStore::empty();
        roots.add(authority.root())?;
        let provider = Arc::clone(provider);
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        Ok(Self { verifier: verifier.build()?, registry: Arc::clone(registry) })
    }
}

impl ClientCertVerifier for ShortChain {
    /// As long as no application has a token, nobody without a certificate has a reason to be
    /// here, and the handshake says so (alert 116). Else CONNECT decides.
    fn client_auth_mandatory(&self) -> bool {
        !self.registry.has_tokens()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.verifier.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let bytes = end_entity.len() + intermediates.iter().map(|der| der.len()).sum::<usize>();
        if intermediates.len() + 1 > CHAIN_CERTIFICATES_MAX || bytes > CHAIN_BYTES_MAX {
            note_refused(end_entity);
            let error = CertificateError::ApplicationVerificationFailure;
            return Err(rustls::Error::InvalidCertificate(error));
        }
        self.verifier
            .verify_client_cert(end_entity, intermediates, now)
            .inspect_err(|_error| note_refused(end_entity))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}
