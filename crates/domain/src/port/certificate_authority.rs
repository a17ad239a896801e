//! Who signs certificates of devices and applications.

use std::time::Duration;

use crate::{ApplicationName, Certificate, DeviceId, Error, Fingerprint, Timestamp};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Whom a certificate is to name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CertificateSubject {
    /// A device.
    Device(DeviceId),
    /// A backend application or a claim.
    Application(ApplicationName),
    /// Nobody yet: the registry binds it to a device later.
    Unbound,
}

/// A certificate that was just signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedCertificate {
    /// Which certificate.
    pub fingerprint: Fingerprint,
    /// Start of its validity.
    pub not_before: Timestamp,
    /// End of its validity.
    pub not_after: Timestamp,
    /// The certificate, PEM.
    pub pem: String,
}

/// A device's certificate that was just issued.
#[derive(Clone, Debug)]
pub struct IssuedCertificate {
    /// What the registry keeps.
    pub certificate: Certificate,
    /// The certificate, PEM.
    pub pem: String,
    /// The certificate of the authority, PEM.
    pub authority_pem: String,
}

/// A part of the instance's identity that ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum IdentityPart {
    /// What a listener shows.
    Listener,
    /// Who signs what clients show.
    Authority,
    /// What an authority has taken back; its end is when the next one is due.
    List,
}

impl IdentityPart {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Listener, Self::Authority, Self::List];

    /// So long before its end people are warned: time enough to do what it takes.
    fn warned_before(self) -> Duration {
        match self {
            // Ours is renewed before that; somebody else's has to be fetched.
            Self::Listener => 21 * DAY,
            // Every device needs to hear of the next one.
            Self::Authority => 180 * DAY,
            Self::List => DAY,
        }
    }

    /// The word in labels of metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Listener => "listener",
            Self::Authority => "authority",
            Self::List => "revocation_list",
        }
    }
}

/// When a part of the instance's identity ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityEnd {
    /// Which kind of part.
    pub part: IdentityPart,
    /// Which one, for people.
    pub name: String,
    /// When it ends, or is out of date.
    pub ends: Timestamp,
}

/// How what the instance proves itself by, and believes others by, stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdentityStanding {
    /// What ends when: the listeners' certificate, authorities, revocation lists.
    pub ends: Vec<IdentityEnd>,
    /// Why the files as they are now were not taken over; what was read before holds.
    pub fault: Option<String>,
}

impl IdentityStanding {
    /// What a person should do something about, in sentences.
    #[must_use]
    pub fn warnings(&self, now: Timestamp) -> Vec<String> {
        let fault = self.fault.iter().map(|fault| {
            format!("certificate files cannot be used, those from before hold: {fault}")
        });
        let ends = self.ends.iter().filter(|it| it.ends < now.after(it.part.warned_before()));
        let ends = ends.map(|it| {
            let days = it.ends.micros_since(now).div_euclid(24 * 3600 * 1_000_000);
            match (it.part, days) {
                (IdentityPart::List, ..0) => {
                    format!("{}: a newer one is overdue; this one holds still", it.name)
                }
                (_, ..0) => format!("{}: the certificate has ended", it.name),
                (_, 0) => format!("{}: ends within a day", it.name),
                (_, days) => format!("{}: ends in {days} days", it.name),
            }
        });
        fault.chain(ends).collect()
    }

    /// When the first part of a kind ends.
    #[must_use]
    pub fn first_end(&self, part: IdentityPart) -> Option<Timestamp> {
        self.ends.iter().filter(|it| it.part == part).map(|it| it.ends).min()
    }
}

/// The device certificate authority.
///
/// 1. The certificate names a device as SAN URI `axle:device:<id>` and as CN, an application as
///    SAN URI `axle:application:<name>`, whatever subject the request asks for; one without a
///    subject names nobody.
/// 2. The request's own signature is checked: it proves possession of the key.
/// 3. Issuing changes no state; the caller registers the certificate.
pub trait CertificateAuthority: Send + Sync {
    /// Signs a certificate signing request (PEM).
    ///
    /// # Errors
    /// `Invalid`, when the request cannot be read, its signature is wrong or its key is not
    /// accepted (accepted are ECDSA P-256 and P-384, Ed25519, RSA of 2048 to 4096 bits).
    fn sign(
        &self,
        subject: &CertificateSubject,
        request_pem: &str,
    ) -> Result<SignedCertificate, Error>;

    /// Reads a client's certificate (PEM) that another authority has signed.
    ///
    /// # Errors
    /// `Invalid`, when it cannot be read, or is not one certificate of a client.
    fn read_certificate(&self, pem: &str) -> Result<SignedCertificate, Error>;

    /// The authority's certificate, PEM.
    fn authority_pem(&self) -> String;

    /// How its files stand, as they were read last. Asks no disk.
    fn standing(&self) -> IdentityStanding {
        IdentityStanding::default()
    }

    /// Signs a request for a device.
    ///
    /// # Errors
    /// As [`CertificateAuthority::sign`].
    fn issue(&self, device: &DeviceId, request_pem: &str) -> Result<IssuedCertificate, Error> {
        let signed = self.sign(&CertificateSubject::Device(device.clone()), request_pem)?;
        let certificate = Certificate {
            fingerprint: signed.fingerprint,
            device: device.clone(),
            not_before: signed.not_before,
            not_after: signed.not_after,
            revoked_at: None,
        };
        let authority_pem = self.authority_pem();
        Ok(IssuedCertificate { certificate, pem: signed.pem, authority_pem })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_come_in_time_to_do_something() {
        let now = Timestamp(1_800_000_000_000_000);
        let end = |part, days: i64| IdentityEnd {
            part,
            name: "it".to_owned(),
            ends: now.shifted(days * 86_400_000_000 + 1),
        };
        for (part, days, expected) in [
            (IdentityPart::Listener, 22, None),
            (IdentityPart::Listener, 20, Some("it: ends in 20 days")),
            (IdentityPart::Listener, -1, Some("it: the certificate has ended")),
            (IdentityPart::Authority, 100, Some("it: ends in 100 days")),
            (IdentityPart::List, 2, None),
            (IdentityPart::List, 0, Some("it: ends within a day")),
            (IdentityPart::List, -3, Some("it: a newer one is overdue; this one holds still")),
        ] {
            let standing = IdentityStanding { ends: vec![end(part, days)], fault: None };
            let expected: Vec<_> = expected.into_iter().map(str::to_owned).collect();
            assert_eq!(standing.warnings(now), expected, "{part:?} {days}");
        }
        let fault = IdentityStanding { ends: vec![], fault: Some("x.crt: broken".to_owned()) };
        assert!(fault.warnings(now)[0].ends_with("x.crt: broken"));
    }
}
