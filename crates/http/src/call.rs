//! One request to the API after the checks that all routes share: who asks, for what, and with
//! which parameters.

use std::net::IpAddr;
use std::sync::Arc;

use axle_app::Principal;
use axle_domain::{Access, CommandId, DeviceId, Error, Kind, Role};
use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, RawPathParams, Request};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, IF_MATCH};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, Uri};
use axum::response::Response;
use bytes::Bytes;

use crate::api::Api;
use crate::body::read_body;
use crate::console::session_secret;
use crate::operation::Operation;
use crate::origin::{refuse_cross_origin, require_same_origin};
use crate::parameter::{Parameters, carries_token};
use crate::problem::Problem;
use crate::visitor::Visitor;

/// What a handler returns.
pub(crate) type Answer = Result<Response, Problem>;

/// The address that a connection came from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub(crate) IpAddr);

/// Longest bearer token that is looked at.
const SECRET_BYTES_MAX: usize = 256;

/// What a request proves itself with.
#[derive(Clone)]
pub(crate) enum Credential {
    /// A token.
    Bearer(String),
    /// The cookie of a person's session, from one of our own pages.
    Session(String),
}

/// A request with a recognised credential.
pub(crate) struct Call {
    /// Who asks.
    pub(crate) principal: Principal,
    /// What proved it, to be recognised again where an answer lasts long.
    pub(crate) credential: Credential,
    /// The query.
    pub(crate) parameters: Parameters,
    /// The headers.
    pub(crate) headers: HeaderMap,
    /// From where it came, behind trusted load balancers.
    pub(crate) visitor: Visitor,
    /// The body, not read yet.
    pub(crate) body: Body,
    segments: Vec<(String, String)>,
}

impl FromRequest<Arc<Api>> for Call {
    type Rejection = Problem;

    async fn from_request(request: Request, api: &Arc<Api>) -> Result<Self, Problem> {
        let (mut parts, body) = request.into_parts();
        let credential = credential(&parts)?;
        let principal = api.recognize(&credential).await?;
        let operation = parts.extensions.get::<&'static Operation>();
        if let Some(operation) = operation {
            check_role(&principal, operation.roles, operation.summary)?;
        }
        let known = operation.map_or(&[][..], |operation| operation.query);
        let parameters = Parameters::read(&parts.uri, known)?;
        let segments =
            RawPathParams::from_request_parts(&mut parts, api).await.map_err(|_error| {
                Problem::bad_request("request.path_invalid", "the path is no UTF-8")
            })?;
        let segments = segments.iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
        let peer = parts.extensions.get::<Peer>().map_or(IpAddr::from([0; 4]), |peer| peer.0);
        let visitor = Visitor::of(api, peer, &parts.headers);
        let headers = parts.headers;
        Ok(Self { principal, credential, parameters, headers, visitor, body, segments })
    }
}

impl Call {
    /// A variable of the path.
    pub(crate) fn segment(&self, name: &str) -> &str {
        let found = self.segments.iter().find(|(known, _)| known == name);
        found.map_or("", |(_, value)| value.as_str())
    }

    /// The device in the path, right or not.
    pub(crate) fn device(&self) -> Result<DeviceId, Problem> {
        Ok(DeviceId::parse(self.segment("id"))?)
    }

    /// The device in the path, registered and open to the caller in that way.
    pub(crate) fn device_for(
        &self,
        api: &Api,
        access: impl Fn(&DeviceId) -> Access<'_>,
    ) -> Result<DeviceId, Problem> {
        let device = self.device()?;
        self.require(access(&device))?;
        api.require_registered(&device)?;
        Ok(device)
    }

    /// The command in the path.
    pub(crate) fn command(&self) -> Result<CommandId, Problem> {
        Ok(CommandId::parse(self.segment("id"))?)
    }

    /// Lets an access pass or not.
    pub(crate) fn require(&self, access: Access<'_>) -> Result<(), Problem> {
        Ok(self.principal.require(access)?)
    }

    /// Only administrators pass.
    pub(crate) fn require_administrator(&self) -> Result<(), Problem> {
        self.require(Access::Administer)
    }

    /// Reads the body whole, as JSON of one of the media types.
    pub(crate) async fn json(&mut self, media: &[&str], limit: usize) -> Result<Bytes, Problem> {
        let body = std::mem::take(&mut self.body);
        if !is_media(&self.headers, media) {
            use http_body::Body as _;
            // No body needs no type.
            if body.is_end_stream() && !self.headers.contains_key(CONTENT_TYPE) {
                return Ok(Bytes::new());
            }
            return Err(Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "request.media_type_unsupported",
                format!("`Content-Type` must be {}, in UTF-8", media.join(" or ")),
            ));
        }
        if self.headers.contains_key("content-encoding") {
            return Err(Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "request.encoding_unsupported",
                "this route takes bodies without `Content-Encoding` alone",
            ));
        }
        read_body(body, &self.headers, limit, "request.too_large").await
    }

    /// The version that `If-Match` names.
    pub(crate) fn if_match(&self) -> Result<Option<u64>, Problem> {
        let Some(value) = self.headers.get(IF_MATCH) else { return Ok(None) };
        let text = value.to_str().unwrap_or_default().trim();
        if text == "*" {
            return Ok(None);
        }
        let version = text.strip_prefix("\"v").and_then(|rest| rest.strip_suffix('"'));
        match version.and_then(|version| version.parse().ok()) {
            Some(version) => Ok(Some(version)),
            // An ETag that is none of ours matches nothing.
            None => Err(precondition_failed("`If-Match` is no `ETag` of this entry")),
        }
    }
}

/// 412: the entry has changed.
pub(crate) fn precondition_failed(detail: &str) -> Problem {
    Problem::new(StatusCode::PRECONDITION_FAILED, "request.precondition_failed", detail)
}

/// Whether the content type is one of these, in UTF-8.
pub(crate) fn is_media(headers: &HeaderMap, media: &[&str]) -> bool {
    media_type(headers).is_some_and(|found| media.contains(&found.as_str()))
}

/// The content type without parameters, in lower case; `None` where there is none, or where its
/// text is not UTF-8.
pub(crate) fn media_type(headers: &HeaderMap) -> Option<String> {
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let mut parts = value.to_str().ok()?.split(';');
    let media = parts.next()?.trim().to_ascii_lowercase();
    let is_utf8 = parts.all(|parameter| {
        let Some((name, value)) = parameter.split_once('=') else { return true };
        let value = value.trim().trim_matches('"');
        !name.trim().eq_ignore_ascii_case("charset") || value.eq_ignore_ascii_case("utf-8")
    });
    is_utf8.then_some(media)
}

/// A token goes before a cookie. The cookie counts where the request comes from one of our own
/// pages alone; what changes something must prove that.
fn credential(parts: &Parts) -> Result<Credential, Problem> {
    let headers = &parts.headers;
    let cookie = session_secret(headers).filter(|_| !headers.contains_key(AUTHORIZATION));
    let Some(secret) = cookie.filter(|_| !carries_token(&parts.uri)) else {
        return Ok(Credential::Bearer(bearer(headers, &parts.uri)?.to_owned()));
    };
    match parts.method.is_safe() {
        true => refuse_cross_origin(headers)?,
        false => require_same_origin(headers)?,
    }
    Ok(Credential::Session(secret.chars().take(SECRET_BYTES_MAX).collect()))
}

/// People pass by their role before anything is looked at, so that the answer cannot depend on
/// what there is.
pub(crate) fn check_role(principal: &Principal, roles: &[Role], what: &str) -> Result<(), Problem> {
    let Some(role) = principal.role().filter(|role| !roles.contains(role)) else { return Ok(()) };
    let roles: Vec<_> = roles.iter().map(|role| role.as_str()).collect();
    let roles = roles.join(", ");
    let message = format!("“{what}” is not for the role {role}, but for {roles}: ask one of them");
    Err(Error::new(Kind::Denied, "role.denied", message).into())
}

fn bearer<'a>(headers: &'a HeaderMap, uri: &Uri) -> Result<&'a str, Problem> {
    if carries_token(uri) {
        return Err(Problem::unauthenticated(
            "token.in_address",
            "a token in the address ends up in logs and is refused: send `Authorization: Bearer`, \
             and replace this token",
        ));
    }
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = match (values.next(), values.next()) {
        (Some(value), None) => HeaderValue::to_str(value).unwrap_or_default(),
        (None, _) => {
            return Err(Problem::unauthenticated(
                "token.missing",
                "send `Authorization: Bearer TOKEN`; make a token with `axle token create`, or sign in \
                 with a browser",
            ));
        }
        (Some(_), Some(_)) => "",
    };
    match value.split_once(' ') {
        Some((scheme, secret))
            if scheme.eq_ignore_ascii_case("bearer") && secret.len() <= SECRET_BYTES_MAX =>
        {
            Ok(secret.trim())
        }
        _ => Err(Problem::unauthenticated(
            "token.malformed",
            "`Authorization` must be `Bearer TOKEN`, once",
        )),
    }
}

/// The answer for a device that is not there or not the caller's.
pub(crate) fn device_not_found(device: &DeviceId) -> Error {
    Error::not_found("device.not_found", format!("device `{device}` not found"))
}
