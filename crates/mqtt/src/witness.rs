//! What a TLS handshake has shown, also where it failed: rustls forgets the connection then.
//!
//! Certificates are looked at within the poll of the handshake, on its thread, so the verifier
//! and the resolver leave what they saw in a place of that thread, and the poll that made them
//! takes it away before anything else runs there.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::CertificateDer;

thread_local! {
    static SEEN: RefCell<Seen> = RefCell::new(Seen::default());
}

/// What a client has shown of itself.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// The server's name that it asked for, if that is none of the server's.
    pub(crate) foreign_name: Option<String>,
    /// The certificate that did not pass.
    pub(crate) refused: Option<CertificateDer<'static>>,
}

/// Notes the certificate that did not pass.
pub(crate) fn note_refused(certificate: &CertificateDer<'_>) {
    SEEN.with_borrow_mut(|seen| seen.refused = Some(certificate.clone().into_owned()));
}

/// Runs a handshake and adds what is seen meanwhile.
pub(crate) async fn observe<F: Future>(handshake: F, seen: &mut Seen) -> F::Output {
    let mut handshake = pin!(handshake);
    poll_fn(|context| {
        let polled = handshake.as_mut().poll(context);
        let new = SEEN.take();
        seen.foreign_name = new.foreign_name.or(seen.foreign_name.take());
        seen.refused = new.refused.or(seen.refused.take());
        polled
    })
    .await
}

/// Presents the server's certificate and notes which other name was asked for.
#[derive(Debug)]
pub(crate) struct NotingResolver {
    inner: Arc<dyn ResolvesServerCert>,
    /// The names of the certificate.
    names: Vec<String>,
}

impl NotingResolver {
    pub(crate) fn new(inner: Arc<dyn ResolvesServerCert>, certificate: &[u8]) -> Self {
        Self { inner, names: dns_names(certificate) }
    }
}

impl ResolvesServerCert for NotingResolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        if let Some(asked) = hello.server_name()
            && !self.names.iter().any(|name| fits(name, asked))
        {
            let asked = crate::journal::cut(asked);
            SEEN.with_borrow_mut(|seen| seen.foreign_name = Some(asked));
        }
        self.inner.resolve(hello)
    }
}

fn dns_names(certificate: &[u8]) -> Vec<String> {
    use x509_parser::extensions::GeneralName;
    let Ok((_, parsed)) = x509_parser::parse_x509_certificate(certificate) else {
        return Vec::new();
    };
    let names = parsed.subject_alternative_name().ok().flatten();
    let names = names.iter().flat_map(|names| &names.value.general_names);
    names
        .filter_map(|name| if let GeneralName::DNSName(name) = name { Some(*name) } else { None })
        .map(str::to_owned)
        .collect()
}

/// Whether a name of the certificate, which may begin with `*.`, covers the one asked for.
fn fits(name: &str, asked: &str) -> bool {
    match name.strip_prefix("*.") {
        Some(parent) => {
            asked.split_once('.').is_some_and(|(_, rest)| rest.eq_ignore_ascii_case(parent))
        }
        None => asked.eq_ignore_ascii_case(name),
    }
}

#[cfg(test)]
mod tests {
    use super::fits;

    #[test]
    fn a_wildcard_covers_one_label() {
        for (name, asked, expected) in [
            ("localhost", "LOCALHOST", true),
            ("*.example.org", "mqtt.example.org", true),
            ("*.example.org", "example.org", false),
            ("*.example.org", "a.b.example.org", false),
            ("example.org", "mqtt.example.org", false),
        ] {
            assert_eq!(fits(name, asked), expected, "{name} {asked}");
        }
    }
}
