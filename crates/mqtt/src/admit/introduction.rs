//! Clients for whom somebody else's authority speaks: as far as its mandate goes.

use std::sync::Arc;

use axle_domain::Certificate;
use rustls_pki_types::{CertificateDer, UnixTime};

use super::Visitor;
use crate::advice;
use crate::identity::Identity;
use crate::journal::{Why, cut};
use crate::packet::refusal::Refusal;
use crate::tls::Loaded;

impl Visitor {
    /// Whether others are believed by now than when the certificate was verified.
    pub(super) fn is_belief_old(&self) -> bool {
        match (&self.believed, &self.shared.tls) {
            (Some(then), Some(tls)) => !Arc::ptr_eq(&then.trust, &tls.current().trust),
            _ => false,
        }
    }

    /// Lets an authority of somebody else say who its client is, as far as it may: a device that
    /// is new is registered, a certificate that is new is bound.
    pub(super) async fn introduce(
        &self,
        identity: &Identity,
        chain: &[CertificateDer<'static>],
        tls: &Loaded,
    ) -> Result<(), Why> {
        let registry = &self.shared.app.registry;
        let fingerprint = identity.presented.fingerprint;
        if !tls.trust.has_others() || registry.bound(&fingerprint).is_some() {
            return Ok(());
        }
        let Some((own, more)) = chain.split_first() else { return Ok(()) };
        // Asked again, since a resumed handshake has not asked at all.
        let vouched = tls.trust.vouch(own, more, UnixTime::now());
        let mandate = vouched.map_err(|_error| Refusal::CERTIFICATE_WITHDRAWN)?;
        let Some(mandate) = mandate else { return Ok(()) };
        let device = mandate.device(identity)?;
        let kind = mandate.policy.register.then_some(mandate.policy.kind.as_str());
        let certificate = Certificate {
            fingerprint,
            device,
            not_before: identity.not_before,
            not_after: identity.not_after,
            revoked_at: None,
        };
        let introduced = self.shared.app.devices.introduce(certificate, kind).await;
        introduced.map_err(|error| {
            Why::new(error.code, cut(&error.message), advice::registry_step(error.code))
        })
    }
}
