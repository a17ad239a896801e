//! `/devices/{id}/certificates`: what lets a device in.

use std::sync::Arc;

use axle_domain::{Access, Certificate, Fingerprint, limit};
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::answer::{json_answer, optional_time, page, time};
use crate::api::Api;
use crate::call::{Answer, Call};
use crate::field::Fields;
use crate::operation::{JSON, OPERATION, Operation, RequestBody, STAFF, json_body, reply};
use crate::problem::Problem;

const PATH: &str = "/api/v1/devices/{id}/certificates";

pub(super) static LIST: Operation = Operation {
    id: "listCertificates",
    path: PATH,
    tag: "Devices",
    summary: "List the certificates of a device",
    rights: "`read:DEVICE`, `command:DEVICE` or `admin`",
    replies: &[reply(200, "CertificatePage", "All certificates that were bound to the device.")],
    problems: &[404],
    roles: STAFF,
    ..OPERATION
};

pub(super) async fn list(State(api): State<Arc<Api>>, call: Call) -> Answer {
    let id = call.device_for(&api, |id| Access::Read(id))?;
    let certificates = api.app.devices.certificates(&id).await?;
    Ok(page(certificates.iter().map(wire).collect(), None))
}

fn wire(certificate: &Certificate) -> Value {
    json!({
        "fingerprint": certificate.fingerprint.to_string(),
        "not_before": time(certificate.not_before),
        "not_after": time(certificate.not_after),
        "revoked_at": optional_time(certificate.revoked_at),
    })
}

pub(super) static REVOKE: Operation = Operation {
    id: "revokeCertificate",
    method: "POST",
    path: "/api/v1/devices/{id}/certificates/{fingerprint}/revoke",
    tag: "Devices",
    summary: "Revoke one certificate of a device",
    description: "At once, or from `at` on: until then an old certificate and a new one overlap. \
        Connections that came with it end then. One that ends earlier already stays so.",
    rights: "`admin`",
    body: Some(RequestBody { schema: "RevocationInput", media: JSON, is_required: false }),
    replies: &[reply(200, "Certificate", "The certificate, with its end.")],
    problems: &[403, 404, 415, 422],
    ..OPERATION
};

pub(super) async fn revoke(State(api): State<Arc<Api>>, mut call: Call) -> Answer {
    call.require(Access::Operate)?;
    let id = call.device()?;
    let fingerprint = Fingerprint::parse(call.segment("fingerprint"))?;
    let body = call.json(JSON, limit::REQUEST_BYTES_MAX).await?;
    let mut fields = Fields::read(&body)?;
    let at = fields.optional_time("at");
    fields.finish()?;
    let certificate = api.app.devices.revoke_certificate(&id, fingerprint, at).await?;
    Ok(json_answer(StatusCode::OK, &wire(&certificate)))
}

pub(super) static CREATE: Operation = Operation {
    id: "createCertificate",
    method: "POST",
    path: PATH,
    tag: "Devices",
    summary: "Sign a certificate for a device, or bind one",
    description: "With `csr`: the key stays with whoever made the signing request; its own \
        signature proves that they have it. Whatever subject and extensions it asks for, the \
        certificate names this device, for clients. With `certificate`: one that an authority in \
        the trust folder has signed speaks for this device from now on, whatever it names.",
    rights: "`admin`",
    body: json_body("DeviceCertificateInput"),
    replies: &[reply(201, "IssuedCertificate", "The certificate, bound to the device.")],
    problems: &[403, 404, 409, 415, 422],
    ..OPERATION
};

pub(super) async fn create(State(api): State<Arc<Api>>, mut call: Call) -> Answer {
    call.require(Access::Operate)?;
    let id = call.device()?;
    let body = call.json(JSON, limit::REQUEST_BYTES_MAX).await?;
    let mut fields = Fields::read(&body)?;
    let mut given = |name| fields.optional_text(name).filter(|text| !text.is_empty());
    let (request, bound) = (given("csr"), given("certificate"));
    if request.is_some() == bound.is_some() {
        fields.fault("csr", "either `csr` or `certificate` is needed");
    }
    fields.finish()?;
    let devices = &api.app.devices;
    let (issued, field) = match bound {
        Some(pem) => (devices.bind_certificate(&id, &pem).await, "/certificate"),
        None => (devices.issue_certificate(&id, &request.unwrap_or_default()).await, "/csr"),
    };
    let issued = issued.map_err(|error| Problem::from(error).at(field))?;
    let body = json!({
        "certificate": issued.pem,
        "ca": issued.authority_pem,
        "fingerprint": issued.certificate.fingerprint.to_string(),
        "not_after": time(issued.certificate.not_after),
    });
    Ok(json_answer(StatusCode::CREATED, &body))
}
