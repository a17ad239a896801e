//! Backend applications: making them, giving them a token or certificates, withdrawing them.

use std::sync::Arc;

use axle_domain::port::{
    ApplicationStore, CertificateAuthority, CertificateSubject, Clock, DeviceLink,
    SignedCertificate,
};
use axle_domain::provisioning::claim_grants;
use axle_domain::{
    Application, ApplicationKind, ApplicationName, ClaimTerms, Error, Grants, Kind, limit,
};
use tokio::sync::Mutex;

use crate::app::Ports;
use crate::device::check_text;
use crate::random::random_text;
use crate::registry::Registry;
use crate::token::hash;

/// What one says to make an application.
#[derive(Clone, Debug)]
pub struct NewApplication {
    /// Its name.
    pub name: ApplicationName,
    /// What it is for.
    pub kind: ApplicationKind,
    /// What it may publish and subscribe to; a claim has what it needs, whatever stands here.
    pub grants: Grants,
    /// Whether it gets a token.
    pub has_token: bool,
}

/// The desk of applications.
pub struct Applications {
    store: Arc<dyn ApplicationStore>,
    registry: Arc<Registry>,
    authority: Arc<dyn CertificateAuthority>,
    link: Arc<dyn DeviceLink>,
    clock: Arc<dyn Clock>,
    /// One change at a time, so that what is in memory is what is stored.
    changing: Mutex<()>,
}

impl Applications {
    pub(crate) fn new(ports: &Ports, registry: Arc<Registry>) -> Self {
        Self {
            store: Arc::clone(&ports.applications),
            authority: Arc::clone(&ports.authority),
            link: Arc::clone(&ports.link),
            clock: Arc::clone(&ports.clock),
            changing: Mutex::default(),
            registry,
        }
    }

    /// Makes an application; returns its token, if it gets one, which is shown this once.
    ///
    /// # Errors
    /// `Conflict` when an application or a device has the name; `Invalid` for too many grants;
    /// `Busy` when there are too many applications.
    pub async fn create(
        &self,
        new: NewApplication,
    ) -> Result<(Arc<Application>, Option<String>), Error> {
        let _change = self.changing.lock().await;
        let name = new.name;
        if self.registry.knows(name.as_str()) {
            let message = format!("`{name}` is the id of a device: choose another name");
            return Err(Error::new(Kind::Conflict, "application.name_of_device", message));
        }
        if self.registry.applications().len() >= limit::APPLICATIONS_MAX {
            let most = limit::APPLICATIONS_MAX;
            let message = format!("there are {most} applications: revoke one first");
            return Err(Error::new(Kind::Conflict, "application.too_many", message));
        }
        let secret = if new.has_token { Some(random_text("axle_", 40)?) } else { None };
        let grants = match new.kind {
            ApplicationKind::Backend => new.grants,
            ApplicationKind::Claim(_) => claim_grants(&name)?,
        };
        let application = Application {
            name,
            kind: new.kind,
            grants: Arc::new(grants),
            token: secret.as_deref().map(hash),
            certificates: Vec::new(),
            created_at: self.clock.now(),
        };
        application.check()?;
        if let ApplicationKind::Claim(terms) = &application.kind {
            check_terms(terms)?;
        }
        self.store.create_application(application.clone()).await?;
        let application = Arc::new(application);
        self.registry.put_application(&application);
        Ok((application, secret))
    }

    /// The application of that name.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn get(&self, name: &ApplicationName) -> Result<Arc<Application>, Error> {
        self.registry.find_application(name.as_str()).ok_or_else(|| not_found(name))
    }

    /// All applications, by name.
    #[must_use]
    pub fn list(&self) -> Vec<Arc<Application>> {
        self.registry.applications()
    }

    /// Signs a certificate for an application; it speaks for it from now on.
    ///
    /// # Errors
    /// `NotFound`; `Invalid` when the request is not acceptable or it has too many certificates.
    pub async fn issue_certificate(
        &self,
        name: &ApplicationName,
        request_pem: &str,
    ) -> Result<(SignedCertificate, String), Error> {
        let _change = self.changing.lock().await;
        let mut application = (*self.get(name)?).clone();
        let subject = CertificateSubject::Application(name.clone());
        let signed = self.authority.sign(&subject, request_pem)?;
        if !application.certificates.contains(&signed.fingerprint) {
            application.certificates.push(signed.fingerprint);
        }
        application.check()?;
        self.store.update_application(application.clone()).await?;
        self.registry.put_application(&Arc::new(application));
        Ok((signed, self.authority.authority_pem()))
    }

    /// Takes one off the devices that a claim may bring, before it brings it.
    ///
    /// # Errors
    /// `Denied` when the claim is gone, or has brought all that it may.
    pub(crate) async fn spend(&self, claim: &ApplicationName) -> Result<ClaimTerms, Error> {
        let _change = self.changing.lock().await;
        let (mut application, mut terms) = self.claim(claim)?;
        terms.left = terms.left.checked_sub(1).ok_or_else(|| {
            let message = format!("claim `{claim}` has brought all the devices that it may");
            Error::new(Kind::Denied, "claim.spent", message)
        })?;
        application.kind = ApplicationKind::Claim(terms.clone());
        self.store.update_application(application.clone()).await?;
        self.registry.put_application(&Arc::new(application));
        Ok(terms)
    }

    /// A claim and for which devices it may ask.
    ///
    /// # Errors
    /// `Denied` when there is none of that name any more.
    pub(crate) fn claim(
        &self,
        claim: &ApplicationName,
    ) -> Result<(Application, ClaimTerms), Error> {
        let application = self.registry.find_application(claim.as_str());
        match application.map(|it| (*it).clone()) {
            Some(it) => match it.kind.clone() {
                ApplicationKind::Claim(terms) => Ok((it, terms)),
                ApplicationKind::Backend => Err(no_claim(claim)),
            },
            None => Err(no_claim(claim)),
        }
    }

    /// Withdraws an application: token and certificates are worth nothing from now on, and its
    /// connections end.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn revoke(&self, name: &ApplicationName) -> Result<(), Error> {
        let _change = self.changing.lock().await;
        if !self.store.delete_application(name).await? {
            return Err(not_found(name));
        }
        self.registry.remove_application(name);
        self.link.disconnect_application(name);
        Ok(())
    }
}

fn check_terms(terms: &ClaimTerms) -> Result<(), Error> {
    check_text("kind", &terms.device_kind)?;
    let most = limit::CLAIM_DEVICES_MAX;
    if (1..=most).contains(&terms.left) {
        return Ok(());
    }
    let message = format!("a claim brings from 1 to {most} devices");
    Err(Error::invalid("claim.count_invalid", message)
        .with_limit(u64::from(most), u64::from(terms.left)))
}

fn no_claim(name: &ApplicationName) -> Error {
    Error::new(Kind::Denied, "claim.unknown", format!("`{name}` is no claim"))
}

fn not_found(name: &ApplicationName) -> Error {
    let message = format!("application `{name}` not found: see `axle application list`");
    Error::not_found("application.not_found", message)
}
