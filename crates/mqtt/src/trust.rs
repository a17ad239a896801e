//! Whom a client's certificate leads to, and what that authority may say.

use std::sync::Arc;

use axle_domain::DeviceId;
use rustls::crypto::CryptoProvider;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{CertificateError, DistinguishedName, RootCertStore};
use rustls_pki_types::{CertificateDer, UnixTime};

use crate::authority::{Anchor, Mandate, Revoked};
use crate::identity::Identity;
use crate::journal::{Why, cut};

/// Most certificates of a client's chain.
const CHAIN_CERTIFICATES_MAX: usize = 4;
/// Most bytes of a client's chain.
const CHAIN_BYTES_MAX: usize = 16 * 1024;

/// The authorities that are believed, and what they have taken back.
pub(crate) struct Trust {
    believed: Vec<Believed>,
    revoked: Revoked,
    /// What tells clients which certificate to send.
    hints: Vec<DistinguishedName>,
}

struct Believed {
    verifier: Arc<dyn ClientCertVerifier>,
    mandate: Option<Arc<Mandate>>,
}

/// Who has vouched for a client; `None` for our own authority.
pub(crate) type Voucher = Option<Arc<Mandate>>;

impl Trust {
    pub(crate) fn new(
        anchors: &[Anchor],
        revoked: Revoked,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, Box<dyn std::error::Error>> {
        let (mut believed, mut hints) = (Vec::new(), Vec::new());
        for anchor in anchors {
            let mut roots = RootCertStore::empty();
            roots.add(anchor.certificate.clone())?;
            hints.extend(roots.subjects());
            let roots = Arc::new(roots);
            let provider = Arc::clone(provider);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider).build()?;
            believed.push(Believed { verifier, mandate: anchor.mandate.clone() });
        }
        Ok(Self { believed, revoked, hints })
    }

    pub(crate) fn hints(&self) -> &[DistinguishedName] {
        &self.hints
    }

    /// Verifies a chain as webpki does, after looking at its size: a path is only built from
    /// little. Each authority is asked by itself, so that none speaks under another's name,
    /// whatever else the client puts into its chain.
    pub(crate) fn vouch(
        &self,
        own: &CertificateDer<'_>,
        more: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<Voucher, rustls::Error> {
        let bytes = own.len() + more.iter().map(|der| der.len()).sum::<usize>();
        if more.len() + 1 > CHAIN_CERTIFICATES_MAX || bytes > CHAIN_BYTES_MAX {
            return Err(CertificateError::ApplicationVerificationFailure.into());
        }
        // Whatever leads to an authority stands in the chain; that it holds one more that was
        // taken back is no reason to look for a way around it.
        if self.revoked.holds(own) || more.iter().any(|der| self.revoked.holds(der)) {
            return Err(CertificateError::Revoked.into());
        }
        let mut why = CertificateError::UnknownIssuer.into();
        for it in &self.believed {
            match it.verifier.verify_client_cert(own, more, now) {
                Ok(_verified) => return Ok(it.mandate.clone()),
                // The one that has signed it says best what is wrong with it.
                Err(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer)) => {}
                Err(error) => why = error,
            }
        }
        Err(why)
    }

    /// Whether anybody beside us is believed.
    pub(crate) fn has_others(&self) -> bool {
        self.believed.iter().any(|it| it.mandate.is_some())
    }

    /// Any verifier: all check signatures of handshakes alike.
    pub(crate) fn verifier(&self) -> Option<&Arc<dyn ClientCertVerifier>> {
        self.believed.first().map(|it| &it.verifier)
    }
}

impl Mandate {
    /// The device that a certificate names, if this authority may name it.
    pub(crate) fn device(&self, identity: &Identity) -> Result<DeviceId, Why> {
        let denied = |code, reason: String, next: &str| Err(Why::new(code, reason, next));
        let Some(named) = identity.presented.names.as_deref() else {
            return denied(
                "certificate.names_nobody",
                "the certificate names no device: it needs a SAN URI axle:device:<id> or a CN"
                    .to_owned(),
                "Have its authority sign one that names the device.",
            );
        };
        let id = match DeviceId::parse(named) {
            Ok(id) => id,
            Err(error) => return denied(error.code, cut(&error.message), ""),
        };
        let name = &self.name;
        match &self.policy.devices {
            Some(pattern) if pattern.matches(&id) => Ok(id),
            Some(pattern) => denied(
                "certificate.not_mandated",
                format!("authority {name} may speak for devices `{pattern}`, not for `{id}`"),
                "Have the device's own authority sign its certificate, or widen `devices` in \
                 the authority's .toml in the trust folder.",
            ),
            None => denied(
                "certificate.not_bound",
                format!(
                    "authority {name} speaks for bound certificates only, and `{id}` has \
                     another"
                ),
                "Bind this certificate to the device (POST /api/v1/devices/{id}/certificates), \
                 or say in trust/NAME.toml for which `devices` the authority speaks.",
            ),
        }
    }
}

/// The certificates that the other side of a connection has shown; none without TLS.
pub(crate) trait Shown {
    /// Its own first.
    fn shown(&self) -> &[CertificateDer<'static>];
}

impl Shown for tokio::net::TcpStream {
    fn shown(&self) -> &[CertificateDer<'static>] {
        &[]
    }
}

impl Shown for tokio::io::DuplexStream {
    fn shown(&self) -> &[CertificateDer<'static>] {
        &[]
    }
}
