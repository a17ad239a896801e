//! Provisioning by claim: a device that shares an identity with others asks for its own. First a
//! certificate for its key, which names nobody; then to be a device, and the certificate is bound.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use axle_domain::port::{CertificateSubject, SignedCertificate};
use axle_domain::provisioning::ProvisioningRequest;
use axle_domain::{
    ApplicationName, Certificate, DeviceId, Error, Kind, Timestamp, TokenHash, limit,
};
use serde_json::{Value, json};
use tracing::info;

use crate::app::App;
use crate::device::NewDevice;
use crate::random::random_text;
use crate::token::hash;

/// The parameters of a request that may name the device, the first that is there.
const NAMES: [&str; 2] = ["ThingName", "SerialNumber"];
/// In microseconds.
const MINUTE: i64 = 60 * 1_000_000;

/// What waits between the two requests. In memory: whoever asks too late asks again.
#[derive(Default)]
pub(crate) struct Provisioning {
    state: Mutex<State>,
    /// One thing at a time, so that no two certificates become one device's first.
    making: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    /// In the order in which they came.
    waiting: VecDeque<Waiting>,
    /// Requests of a claim within a minute that began then.
    asked: HashMap<ApplicationName, (Timestamp, u32)>,
}

/// A certificate that names nobody yet.
struct Waiting {
    claim: ApplicationName,
    token: TokenHash,
    signed: SignedCertificate,
    since: Timestamp,
}

impl Provisioning {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl App {
    /// Whether a claim may ask for something now. Asked before anything else is done for it.
    ///
    /// # Errors
    /// `Busy` when it has asked too often; `Denied` when it is no claim any more.
    pub fn admit_provisioning(&self, claim: &ApplicationName) -> Result<(), Error> {
        self.applications.claim(claim)?;
        let now = self.ports.clock.now();
        let mut state = self.provisioning.state();
        // As many as there are claims; those that rest are forgotten.
        state.asked.retain(|_, (since, _)| now.micros_since(*since) < MINUTE);
        let (_, count) = state.asked.entry(claim.clone()).or_insert((now, 0));
        *count = count.saturating_add(1);
        let most = limit::CLAIM_REQUESTS_PER_MINUTE;
        if *count <= most {
            return Ok(());
        }
        let message = format!("claim `{claim}` asks more than {most} times a minute: wait");
        Err(Error::new(Kind::Busy, "claim.too_many_requests", message)
            .with_limit(u64::from(most), u64::from(*count)))
    }

    /// Answers a request of a claim: whether it was accepted, and the body of the answer.
    pub async fn provision(
        &self,
        claim: &ApplicationName,
        request: ProvisioningRequest,
        payload: &[u8],
    ) -> (bool, Vec<u8>) {
        let answer = match request {
            ProvisioningRequest::Certificate => self.sign_for_claim(claim, payload),
            ProvisioningRequest::Thing => self.make_thing(claim, payload).await,
        };
        match answer {
            Ok(body) => (true, body.to_string().into_bytes()),
            Err(error) => (false, provisioning_refusal(&error)),
        }
    }

    fn sign_for_claim(&self, claim: &ApplicationName, payload: &[u8]) -> Result<Value, Error> {
        let body = object(payload)?;
        let request = text(&body, "certificateSigningRequest")?;
        let signed = self.ports.authority.sign(&CertificateSubject::Unbound, request)?;
        let token = random_text("", 40)?;
        let answer = json!({
            "certificateOwnershipToken": token,
            "certificateId": signed.fingerprint.to_string(),
            "certificatePem": signed.pem,
        });
        let since = self.ports.clock.now();
        let (claim, token) = (claim.clone(), hash(&token));
        let mut state = self.provisioning.state();
        while state.waiting.len() >= limit::CLAIM_CERTIFICATES_WAITING_MAX {
            state.waiting.pop_front();
        }
        state.waiting.push_back(Waiting { claim, token, signed, since });
        Ok(answer)
    }

    async fn make_thing(&self, claim: &ApplicationName, payload: &[u8]) -> Result<Value, Error> {
        let body = object(payload)?;
        let token = hash(text(&body, "certificateOwnershipToken")?);
        let id = named(&body)?;
        let _making = self.provisioning.making.lock().await;
        let signed = self.waiting_for(claim, &token)?;
        let (_, terms) = self.applications.claim(claim)?;
        if !terms.devices.matches(&id) {
            let pattern = &terms.devices;
            let message = format!("claim `{claim}` brings devices `{pattern}`, not `{id}`");
            return Err(Error::new(Kind::Denied, "claim.device_not_covered", message));
        }
        self.check_newcomer(&id).await?;
        let terms = self.applications.spend(claim).await?;
        if !self.registry.knows(id.as_str()) {
            let new = NewDevice { id: id.clone(), name: String::new(), kind: terms.device_kind };
            self.devices.register(new).await?;
        }
        let certificate = Certificate {
            fingerprint: signed.fingerprint,
            device: id.clone(),
            not_before: signed.not_before,
            not_after: signed.not_after,
            revoked_at: None,
        };
        self.devices.introduce(certificate, None).await?;
        self.provisioning.state().waiting.retain(|it| it.token != token);
        info!(device.id = %id, claim = %claim, "a claim has brought a device");
        Ok(json!({"thingName": id.as_str(), "deviceConfiguration": {}}))
    }

    /// The certificate that a token stands for; it stays until it is some device's.
    fn waiting_for(
        &self,
        claim: &ApplicationName,
        token: &TokenHash,
    ) -> Result<SignedCertificate, Error> {
        let now = self.ports.clock.now();
        let mut state = self.provisioning.state();
        let is_late = |it: &Waiting| now >= it.since.after(limit::CLAIM_CERTIFICATE_TIME_MAX);
        while state.waiting.front().is_some_and(is_late) {
            state.waiting.pop_front();
        }
        let found = state.waiting.iter().find(|it| it.token == *token && it.claim == *claim);
        found.map(|it| it.signed.clone()).ok_or_else(|| {
            let minutes = limit::CLAIM_CERTIFICATE_TIME_MAX.as_secs() / 60;
            let message = format!(
                "no certificate waits for this token: one waits {minutes} minutes; ask for one"
            );
            Error::invalid("claim.token_unknown", message)
        })
    }

    /// A claim brings devices that have never had an identity: a stolen one takes nobody's.
    async fn check_newcomer(&self, id: &DeviceId) -> Result<(), Error> {
        if !self.registry.knows(id.as_str()) {
            return Ok(());
        }
        self.registry.check(id)?;
        if self.devices.certificates(id).await?.is_empty() {
            return Ok(());
        }
        let message = format!(
            "device `{id}` has a certificate already: an operator gives it another \
             (axle device rotate {id})"
        );
        Err(Error::new(Kind::Conflict, "claim.device_exists", message))
    }
}

/// The body of a refusal, as AWS IoT words it.
#[must_use]
pub fn provisioning_refusal(error: &Error) -> Vec<u8> {
    let (status, word) = match error.kind {
        Kind::Invalid | Kind::TooLarge => (400, "InvalidRequest"),
        Kind::Unauthenticated => (401, "Unauthorized"),
        Kind::Denied => (403, "Forbidden"),
        Kind::NotFound => (404, "ResourceNotFound"),
        Kind::Conflict => (409, "ResourceAlreadyExists"),
        Kind::Busy => (429, "Throttled"),
        Kind::Unavailable => (503, "ServiceUnavailable"),
        Kind::Corrupt | Kind::Internal => (500, "InternalFailure"),
    };
    let message = format!("{} [{}]", error.message, error.code);
    json!({"statusCode": status, "errorCode": word, "errorMessage": message})
        .to_string()
        .into_bytes()
}

fn object(payload: &[u8]) -> Result<Value, Error> {
    match serde_json::from_slice(payload) {
        Ok(body @ Value::Object(_)) => Ok(body),
        _ => Err(Error::invalid("claim.request_invalid", "the request is no JSON object")),
    }
}

fn text<'a>(body: &'a Value, name: &str) -> Result<&'a str, Error> {
    body.get(name).and_then(Value::as_str).ok_or_else(|| {
        Error::invalid("claim.request_invalid", format!("the text `{name}` is missing"))
    })
}

fn named(body: &Value) -> Result<DeviceId, Error> {
    let parameters = body.get("parameters").unwrap_or(&Value::Null);
    let found = NAMES.iter().find_map(|name| parameters.get(*name).and_then(Value::as_str));
    let id = found.ok_or_else(|| {
        let message = "`parameters` must hold the device id as ThingName or SerialNumber";
        Error::invalid("claim.request_invalid", message)
    })?;
    DeviceId::parse(id)
}
