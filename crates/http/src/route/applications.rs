//! `/applications`: backend programs that speak MQTT, and what they may.

use std::sync::Arc;

use axle_app::NewApplication;
use axle_domain::{
    Application, ApplicationKind, ApplicationName, ClaimTerms, Grants, IdPattern, TopicFilter,
    limit,
};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde_json::{Value, json};

use crate::answer::{json_answer, page, time};
use crate::api::Api;
use crate::call::{Answer, Call};
use crate::field::Fields;
use crate::operation::{ADMINISTRATORS, JSON, OPERATION, Operation, Reply, json_body, reply};
use crate::problem::Problem;

const TAG: &str = "Applications";
const PATH: &str = "/api/v1/applications";

pub(super) static CREATE: Operation = Operation {
    id: "createApplication",
    method: "POST",
    path: PATH,
    tag: TAG,
    summary: "Make a backend application",
    description: "It connects over MQTT with TLS and brings its token as password; the user name \
        is ignored, the client id is its name, or its name, `/` and a suffix. What is not granted \
        is denied. The token is shown this once; axle keeps its hash alone. With `token` false it \
        gets none and comes with a certificate. With `claim` it is no program but an identity \
        that devices share until each has its own: it may ask for that over MQTT, for devices of \
        the pattern and as many as `count` says, and nothing else.",
    rights: "`admin`",
    body: json_body("ApplicationInput"),
    replies: &[reply(201, "NewApplication", "The application.")],
    problems: &[403, 409, 415, 422],
    roles: ADMINISTRATORS,
    ..OPERATION
};

pub(super) async fn create(State(api): State<Arc<Api>>, mut call: Call) -> Answer {
    call.require_administrator()?;
    let body = call.json(JSON, limit::REQUEST_BYTES_MAX).await?;
    let mut fields = Fields::read(&body)?;
    let name = fields.text("name");
    let parsed = ApplicationName::parse(&name);
    if let (Err(error), false) = (&parsed, name.is_empty()) {
        fields.fault("name", &error.message);
    }
    let grants = Grants {
        publish: filters(&mut fields, "publish"),
        subscribe: filters(&mut fields, "subscribe"),
    };
    let kind = match claim(&mut fields) {
        Some(terms) => ApplicationKind::Claim(terms),
        None => ApplicationKind::Backend,
    };
    let is_claim = matches!(kind, ApplicationKind::Claim(_));
    if is_claim && grants != Grants::default() {
        fields.fault("claim", "takes no filters: a claim asks for identities and nothing else");
    }
    let has_token = fields.optional_switch("token").unwrap_or(!is_claim);
    fields.finish()?;
    let new = NewApplication { name: parsed?, kind, grants, has_token };
    let created = api.app.applications.create(new).await;
    let (application, secret) = created.map_err(|error| Problem::from(error).at(""))?;
    let mut body = wire(&application);
    if let (Some(body), Some(secret)) = (body.as_object_mut(), secret) {
        body.insert("token".to_owned(), Value::String(secret));
    }
    Ok(json_answer(StatusCode::CREATED, &body))
}

/// `{"devices":PATTERN,"kind":TEXT,"count":NUMBER}`.
fn claim(fields: &mut Fields) -> Option<ClaimTerms> {
    let mut claim = fields.object("claim")?;
    let pattern = claim.text("devices");
    let device_kind = claim.optional_text("kind").unwrap_or_default();
    let left = u32::try_from(claim.count("count", 0)).unwrap_or(u32::MAX);
    let devices = IdPattern::parse(&pattern);
    if let (Err(error), false) = (&devices, pattern.is_empty()) {
        claim.fault("devices", &error.message);
    }
    fields.absorb("claim", claim);
    Some(ClaimTerms { devices: devices.ok()?, device_kind, left })
}

fn filters(fields: &mut Fields, name: &'static str) -> Vec<TopicFilter> {
    let mut filters = Vec::new();
    if !fields.has(name) {
        return filters;
    }
    for (index, text) in fields.texts(name).iter().enumerate() {
        match TopicFilter::parse(text) {
            Ok(filter) => filters.push(filter),
            Err(error) => fields.fault(&format!("{name}/{index}"), &error.message),
        }
    }
    filters
}

pub(super) static LIST: Operation = Operation {
    id: "listApplications",
    path: PATH,
    tag: TAG,
    summary: "List backend applications",
    rights: "`admin`",
    replies: &[reply(200, "ApplicationPage", "All applications, without their secrets.")],
    problems: &[403],
    roles: ADMINISTRATORS,
    ..OPERATION
};

pub(super) async fn list(State(api): State<Arc<Api>>, call: Call) -> Answer {
    call.require_administrator()?;
    Ok(page(api.app.applications.list().iter().map(|it| wire(it)).collect(), None))
}

pub(super) static DELETE: Operation = Operation {
    id: "revokeApplication",
    method: "DELETE",
    path: "/api/v1/applications/{name}",
    tag: TAG,
    summary: "Withdraw a backend application",
    description: "Its token and its certificates are refused from now on, and its connections \
        end. A new one of the same name has nothing of it.",
    rights: "`admin`",
    replies: &[Reply { status: 204, description: "Withdrawn.", schema: None, media: &[] }],
    problems: &[403, 404],
    roles: ADMINISTRATORS,
    ..OPERATION
};

pub(super) async fn delete(State(api): State<Arc<Api>>, call: Call) -> Answer {
    call.require_administrator()?;
    api.app.applications.revoke(&named(&call)?).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

pub(super) static CERTIFY: Operation = Operation {
    id: "createApplicationCertificate",
    method: "POST",
    path: "/api/v1/applications/{name}/certificates",
    tag: TAG,
    summary: "Sign a certificate for a backend application",
    description: "As for a device: the key stays with whoever made the signing request, and the \
        certificate names this application, whatever the request asks for.",
    rights: "`admin`",
    body: json_body("CertificateInput"),
    replies: &[reply(201, "IssuedCertificate", "The certificate; it speaks for the application.")],
    problems: &[403, 404, 415, 422],
    roles: ADMINISTRATORS,
    ..OPERATION
};

pub(super) async fn certify(State(api): State<Arc<Api>>, mut call: Call) -> Answer {
    call.require_administrator()?;
    let name = named(&call)?;
    let body = call.json(JSON, limit::REQUEST_BYTES_MAX).await?;
    let mut fields = Fields::read(&body)?;
    let request = fields.text("csr");
    fields.finish()?;
    let issued = api.app.applications.issue_certificate(&name, &request).await;
    let (signed, authority) = issued.map_err(|error| Problem::from(error).at("/csr"))?;
    let body = json!({
        "certificate": signed.pem,
        "ca": authority,
        "fingerprint": signed.fingerprint.to_string(),
        "not_after": time(signed.not_after),
    });
    Ok(json_answer(StatusCode::CREATED, &body))
}

fn named(call: &Call) -> Result<ApplicationName, Problem> {
    Ok(ApplicationName::parse(call.segment("name"))?)
}

fn wire(application: &Application) -> Value {
    let texts =
        |filters: &[TopicFilter]| filters.iter().map(TopicFilter::to_string).collect::<Vec<_>>();
    let certificates = application.certificates.iter().map(ToString::to_string);
    json!({
        "name": application.name.as_str(),
        "kind": application.kind.as_str(),
        "publish": texts(&application.grants.publish),
        "subscribe": texts(&application.grants.subscribe),
        "has_token": application.token.is_some(),
        "certificates": certificates.collect::<Vec<_>>(),
        "claim": match &application.kind {
            ApplicationKind::Backend => Value::Null,
            ApplicationKind::Claim(terms) => json!({
                "devices": terms.devices.as_str(),
                "kind": terms.device_kind,
                "left": terms.left,
            }),
        },
        "created_at": time(application.created_at),
    })
}
