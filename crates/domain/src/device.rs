//! A device and the certificates that speak for it.

use std::fmt;

use crate::{DeviceId, Error, Timestamp};

/// Whether a device may connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceStatus {
    /// It may.
    Active,
    /// It may not, and nothing is delivered to it.
    Revoked,
    /// It is out of service for good; its data and its id stay.
    Retired,
}

impl DeviceStatus {
    /// The word in JSON and in the state.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Revoked => "revoked",
            Self::Retired => "retired",
        }
    }

    /// Reads the word.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Active, Self::Revoked, Self::Retired]
            .into_iter()
            .find(|status| status.as_str() == text)
    }
}

/// The registry's entry of a device.
#[derive(Clone, Debug, PartialEq)]
pub struct Device {
    /// Its id.
    pub id: DeviceId,
    /// Whether it may connect.
    pub status: DeviceStatus,
    /// What people call it; empty if nothing.
    pub name: String,
    /// What it is (`bike`, `car`, `meter`, …); empty if unknown.
    pub kind: String,
    /// Which model of its kind; empty if unknown.
    pub model: String,
    /// When it was registered.
    pub created_at: Timestamp,
    /// When the entry changed last.
    pub updated_at: Timestamp,
    /// Counts the changes of the entry, from 1.
    pub version: u64,
}

/// The SHA-256 of a certificate's DER bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(pub [u8; 32]);

impl Fingerprint {
    /// Reads 64 hexadecimal digits.
    ///
    /// # Errors
    /// `Invalid`, when the text is anything else.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let error = || {
            Error::invalid(
                "certificate.fingerprint_invalid",
                "a fingerprint is 64 hexadecimal digits",
            )
        };
        if text.len() != 64 || !text.is_ascii() {
            return Err(error());
        }
        let mut bytes = [0_u8; 32];
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_error| error())?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_error| error())?;
        }
        Ok(Self(bytes))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A certificate that the registry binds to a device.
#[derive(Clone, Debug, PartialEq)]
pub struct Certificate {
    /// Which certificate.
    pub fingerprint: Fingerprint,
    /// Whom it speaks for.
    pub device: DeviceId,
    /// Start of its validity.
    pub not_before: Timestamp,
    /// End of its validity.
    pub not_after: Timestamp,
    /// From when on it is revoked, if it is; this may be ahead, so that an old certificate and a
    /// new one overlap.
    pub revoked_at: Option<Timestamp>,
}
