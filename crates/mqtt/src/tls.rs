//! The TLS side of a device listener: client certificates are asked for, and never more is read
//! of them than a device needs. Follows its files: new handshakes see what they say now, and open
//! connections stay as long as that still lets them in.

use std::ffi::OsStr;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use axle_app::Registry;
use axle_domain::Error;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::ring::{Ticketer, default_provider};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, ProducesTickets};
use rustls::ticketer::TicketRotator;
use rustls::{DigitallySignedStruct, DistinguishedName, ServerConfig, SignatureScheme};
use rustls_pki_types::{CertificateDer, UnixTime};

use crate::authority::{DeviceAuthority, Material, Stamp};
use crate::trust::{Trust, Voucher};
use crate::witness::{NotingResolver, note_refused};

/// How long one key makes session tickets; a ticket lives at most twice as long, so an hour.
const TICKET_KEY_SECONDS: u32 = 30 * 60;

/// What a listener for devices presents and trusts: TLS 1.2 and 1.3, a client certificate of an
/// authority that is believed required unless an application has a token to bring instead,
/// tickets of at most an hour that no other listener accepts, no early data. A resumed session
/// proves nothing about today: the caller asks the registry after every handshake.
pub struct DeviceTls {
    authority: Arc<DeviceAuthority>,
    registry: Arc<Registry>,
    alpn: Vec<Vec<u8>>,
    current: RwLock<Arc<Loaded>>,
    /// The files as they were looked at last, and what was wrong with them then.
    seen: Mutex<(Stamp, Option<String>)>,
}

/// What was read from the files at one time.
pub(crate) struct Loaded {
    /// Of the listener for MQTT.
    config: Arc<ServerConfig>,
    /// Of the listener for MQTT over WebSocket.
    web: Arc<ServerConfig>,
    pub(crate) trust: Arc<Trust>,
}

impl Loaded {
    pub(crate) fn config(&self, is_web: bool) -> Arc<ServerConfig> {
        Arc::clone(if is_web { &self.web } else { &self.config })
    }
}

/// What a look at the files has brought.
#[derive(Debug)]
pub(crate) enum Looked {
    /// They say what they said before.
    Same,
    /// They were read, and hold from now on.
    New {
        /// Whether others are believed than before.
        is_trust_new: bool,
    },
    /// They cannot be used; what was read before holds. Told once of each fault.
    Broken(Error),
}

impl DeviceTls {
    /// Reads the files. Of the protocols (ALPN) those of HTTP are for the listener that speaks
    /// WebSocket alone, and the others for the one that does not.
    ///
    /// # Errors
    /// `Corrupt`, naming the file and what is wrong with it; `Internal`, when there is no
    /// randomness.
    pub fn open(
        authority: &Arc<DeviceAuthority>,
        registry: &Arc<Registry>,
        alpn: &[&[u8]],
    ) -> Result<Arc<Self>, Error> {
        let alpn: Vec<_> = alpn.iter().map(|name| name.to_vec()).collect();
        let stamp = authority.stamp();
        let loaded = load(authority.reload()?, registry, &alpn, None)?;
        Ok(Arc::new(Self {
            authority: Arc::clone(authority),
            registry: Arc::clone(registry),
            alpn,
            current: RwLock::new(Arc::new(loaded)),
            seen: Mutex::new((stamp, None)),
        }))
    }

    /// What holds for a handshake that begins now.
    pub(crate) fn current(&self) -> Arc<Loaded> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Looks whether the files have changed, and reads them then. Asks the disk.
    pub(crate) fn look(&self) -> Looked {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = self.authority.stamp();
        // What could not be used is tried again: a file may have been half written.
        if stamp == seen.0 && seen.1.is_none() {
            return Looked::Same;
        }
        let before = self.current();
        // Against what was seen when it was read last, faults in between or not.
        let is_trust_new = is_trust_new(&seen.0, &stamp) || seen.1.is_some();
        let kept = (!is_trust_new).then_some(&*before);
        let read = self.authority.reload();
        match read.and_then(|material| load(material, &self.registry, &self.alpn, kept)) {
            Ok(loaded) => {
                let loaded = Arc::new(loaded);
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = loaded;
                *seen = (stamp, None);
                Looked::New { is_trust_new }
            }
            Err(error) => {
                self.authority.note_fault(&error.message);
                let is_known = seen.1.as_ref() == Some(&error.message);
                *seen = (stamp, Some(error.message.clone()));
                if is_known { Looked::Same } else { Looked::Broken(error) }
            }
        }
    }

    /// Signs a new server certificate where ours ends soon. Asks the disk.
    pub(crate) fn renew(&self) -> Result<(), Error> {
        self.authority.renew_server_certificate()
    }

    /// Whether a chain that was good is so still.
    pub(crate) fn vouch(&self, chain: &[CertificateDer<'_>]) -> Result<Voucher, rustls::Error> {
        match chain.split_first() {
            Some((own, more)) => self.current().trust.vouch(own, more, UnixTime::now()),
            None => Ok(None),
        }
    }
}

/// Whether anything but the listeners' own certificate has changed.
fn is_trust_new(before: &Stamp, now: &Stamp) -> bool {
    let is_of_trust = |path: &Path| {
        let folder = path.parent().and_then(Path::file_name);
        folder == Some(OsStr::new("trust")) || path.file_stem() != Some(OsStr::new("server"))
    };
    let of_trust = |stamp: &Stamp| -> Stamp {
        let kept = stamp.iter().filter(|(path, _)| is_of_trust(path));
        kept.map(|(path, seen)| (path.clone(), *seen)).collect()
    };
    of_trust(before) != of_trust(now)
}

/// Puts together what was read; `kept` where whom we believe is as before.
fn load(
    material: Material,
    registry: &Arc<Registry>,
    alpn: &[Vec<u8>],
    kept: Option<&Loaded>,
) -> Result<Loaded, Error> {
    let failed = |error: &dyn fmt::Display| {
        Error::internal("tls.failed", format!("TLS of the device listener: {error}"))
    };
    let provider = Arc::new(default_provider());
    let Material { chain, key, anchors, revoked, .. } = material;
    let new_tickets = || TicketRotator::new(TICKET_KEY_SECONDS, new_ticket_key);
    let new_tickets = || new_tickets().map_err(|error| failed(&error)).map(Arc::new);
    let (trust, tickets, web_tickets): (_, Arc<dyn ProducesTickets>, Arc<dyn ProducesTickets>) =
        match kept {
            Some(kept) => (
                Arc::clone(&kept.trust),
                Arc::clone(&kept.config.ticketer),
                Arc::clone(&kept.web.ticketer),
            ),
            None => {
                let trust = Trust::new(&anchors, revoked, &provider);
                let trust = Arc::new(trust.map_err(|error| failed(&error))?);
                // New ones: a ticket from before holds a chain that was checked before.
                (trust, new_tickets()?, new_tickets()?)
            }
        };
    let verifier = Believing { trust: Arc::clone(&trust), registry: Arc::clone(registry) };
    let first = chain.first().cloned();
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| failed(&error))?
        .with_client_cert_verifier(Arc::new(verifier))
        .with_single_cert(chain, key)
        .map_err(|error| failed(&error))?;
    let certificate = first.as_ref().map_or(&[][..], |certificate| certificate);
    let resolver = NotingResolver::new(Arc::clone(&config.cert_resolver), certificate);
    config.cert_resolver = Arc::new(resolver);
    config.ticketer = tickets;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 1;
    config.max_early_data_size = 0;
    let mut web = config.clone();
    web.ticketer = web_tickets;
    (web.alpn_protocols, config.alpn_protocols) =
        alpn.iter().cloned().partition(|name| name.starts_with(b"http"));
    Ok(Loaded { config: Arc::new(config), web: Arc::new(web), trust })
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

/// The listener's side of [`Trust`].
struct Believing {
    trust: Arc<Trust>,
    registry: Arc<Registry>,
}

impl fmt::Debug for Believing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Believing").finish_non_exhaustive()
    }
}

impl Believing {
    fn verifier(&self) -> Result<&Arc<dyn ClientCertVerifier>, rustls::Error> {
        self.trust.verifier().ok_or_else(|| rustls::Error::General("no authority".to_owned()))
    }
}

impl ClientCertVerifier for Believing {
    /// As long as no application has a token, nobody without a certificate has a reason to be
    /// here, and the handshake says so (alert 116). Else CONNECT decides.
    fn client_auth_mandatory(&self) -> bool {
        !self.registry.has_tokens()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.trust.hints()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let vouched = self.trust.vouch(end_entity, intermediates, now);
        vouched.inspect_err(|_error| note_refused(end_entity))?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier()?.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier()?.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier().map_or_else(|_none| Vec::new(), |it| it.supported_verify_schemes())
    }
}
