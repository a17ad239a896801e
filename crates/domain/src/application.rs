//! Backend applications and claims: principals beside devices that speak MQTT.

use std::sync::Arc;

use crate::{ApplicationName, Error, Fingerprint, Grants, IdPattern, Timestamp, TokenHash, limit};

/// What an application is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApplicationKind {
    /// A backend program with granted topic filters.
    Backend,
    /// An identity that devices share until each has its own: it may ask for that, nothing else.
    Claim(ClaimTerms),
}

/// For which devices a claim may ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimTerms {
    /// Their ids.
    pub devices: IdPattern,
    /// What they are (`bike`, `car`, …); empty if unknown.
    pub device_kind: String,
    /// How many more it may bring.
    pub left: u32,
}

impl ApplicationKind {
    /// The word in JSON and in the state.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Backend => "backend",
            Self::Claim(_) => "claim",
        }
    }
}

/// A principal that is no device. What is not granted is denied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Application {
    /// Its name; no device has it as its id.
    pub name: ApplicationName,
    /// What it is for.
    pub kind: ApplicationKind,
    /// What it may publish and subscribe to.
    pub grants: Arc<Grants>,
    /// Recognizes its token; `None` where it proves itself by certificate alone.
    pub token: Option<TokenHash>,
    /// The certificates that speak for it.
    pub certificates: Vec<Fingerprint>,
    /// When it was made.
    pub created_at: Timestamp,
}

impl Application {
    /// Refuses more grants or certificates than the limits allow.
    ///
    /// # Errors
    /// `Invalid`, with the limit.
    pub fn check(&self) -> Result<(), Error> {
        let most = limit::GRANTS_PER_APPLICATION_MAX;
        let count = self.grants.publish.len().max(self.grants.subscribe.len());
        if count > most {
            let message = format!("an application has at most {most} filters of each kind");
            return Err(Error::invalid("application.grants_many", message)
                .with_limit(most as u64, count as u64));
        }
        let (most, count) = (limit::CERTIFICATES_PER_APPLICATION_MAX, self.certificates.len());
        if count > most {
            let message = format!(
                "application `{}` has {most} certificates: revoke it and create it anew",
                self.name
            );
            return Err(Error::invalid("application.certificates_many", message)
                .with_limit(most as u64, count as u64));
        }
        Ok(())
    }
}
