//! Errors on the wire: RFC 9457 problem details. Every error answer of the two listeners is one.

use std::borrow::Cow;
use std::time::Duration;

use axle_domain::{Error, Kind};
use axum::body::Body;
use axum::http::header::{
    ACCEPT, CONNECTION, CONTENT_TYPE, HeaderName, RETRY_AFTER, WWW_AUTHENTICATE,
};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use crate::random::random_u64;

/// Most faults of one body that are named.
const FAULTS_MAX: usize = 20;

/// One fault of a request's body.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    /// Where, as a JSON pointer.
    pub(crate) pointer: String,
    /// What, in words.
    pub(crate) detail: String,
}

#[derive(Clone, Debug)]
struct Parts {
    status: StatusCode,
    code: Cow<'static, str>,
    detail: String,
    limit: Option<(u64, u64)>,
    retry_after: Option<Duration>,
    faults: Vec<Fault>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// An error answer.
#[derive(Clone, Debug)]
pub(crate) struct Problem(Box<Parts>);

impl Problem {
    /// A problem with a status of its own.
    pub(crate) fn new(
        status: StatusCode,
        code: impl Into<Cow<'static, str>>,
        detail: impl Into<String>,
    ) -> Self {
        Self(Box::new(Parts {
            status,
            code: code.into(),
            detail: detail.into(),
            limit: None,
            retry_after: None,
            faults: Vec::new(),
            headers: Vec::new(),
        }))
    }

    /// 400: the request cannot be read.
    pub(crate) fn bad_request(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, detail)
    }

    /// 401: who asks?
    pub(crate) fn unauthenticated(code: &'static str, detail: impl Into<String>) -> Self {
        Self::from(Error::new(Kind::Unauthenticated, code, detail))
    }

    /// 413: over a size limit.
    pub(crate) fn too_large(
        code: &'static str,
        detail: impl Into<String>,
        limit: usize,
        actual: u64,
    ) -> Self {
        let mut problem = Self::new(StatusCode::PAYLOAD_TOO_LARGE, code, detail);
        problem.0.limit = Some((limit as u64, actual));
        problem
    }

    /// 422: the body can be read, but says what cannot be.
    pub(crate) fn unprocessable(faults: Vec<Fault>) -> Self {
        let detail = match faults.first() {
            Some(fault) if faults.len() == 1 => fault.detail.clone(),
            Some(fault) => format!("{} and {} more", fault.detail, faults.len() - 1),
            None => "the body says what cannot be".to_owned(),
        };
        let mut problem =
            Self::new(StatusCode::UNPROCESSABLE_ENTITY, "request.body_invalid", detail);
        problem.0.faults = faults;
        problem.0.faults.truncate(FAULTS_MAX);
        problem
    }

    /// Points at the place in the body that the error is about; a 400 becomes a 422 with that.
    pub(crate) fn at(mut self, pointer: &str) -> Self {
        if self.0.status == StatusCode::BAD_REQUEST {
            self.0.status = StatusCode::UNPROCESSABLE_ENTITY;
            let detail = self.0.detail.clone();
            self.0.faults.push(Fault { pointer: pointer.to_owned(), detail });
        }
        self
    }

    /// The same problem under another status.
    pub(crate) fn with_status(mut self, status: StatusCode) -> Self {
        self.0.status = status;
        self
    }

    /// With one more header.
    pub(crate) fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.push((name, value));
        self
    }

    /// With a hint when to come back.
    pub(crate) fn with_retry_after(mut self, wait: Duration) -> Self {
        self.0.retry_after = Some(wait);
        self
    }

    /// The status.
    pub(crate) fn status(&self) -> StatusCode {
        self.0.status
    }

    /// The stable, dotted name.
    pub(crate) fn code(&self) -> &str {
        &self.0.code
    }

    /// What is wrong and what to do, in words.
    pub(crate) fn detail(&self) -> &str {
        &self.0.detail
    }

    /// Whether this problem is that one.
    pub(crate) fn is(&self, code: &str) -> bool {
        self.0.code == code
    }

    /// Whether the same request may succeed later without being changed.
    pub(crate) fn is_retryable(&self) -> bool {
        self.0.status == StatusCode::TOO_MANY_REQUESTS
            || self.0.status == StatusCode::SERVICE_UNAVAILABLE
    }

    /// Closes the connection after the answer: what follows on it cannot be told apart.
    pub(crate) fn closing(self) -> Self {
        self.with_header(CONNECTION, HeaderValue::from_static("close"))
    }

    /// The problem of an answer that has a status alone, as routers make them.
    pub(crate) fn of_status(status: StatusCode) -> Self {
        let (code, detail) = match status {
            StatusCode::NOT_FOUND => ("route.not_found", "there is no such route: see /docs"),
            StatusCode::METHOD_NOT_ALLOWED => {
                ("method.not_allowed", "this route does not know the method: see `Allow`")
            }
            _ => ("request.failed", "the request failed"),
        };
        Self::new(status, code, detail)
    }

    /// The body, with the id of the request in it.
    pub(crate) fn body(&self, request_id: &str) -> Body {
        let parts = &self.0;
        let mut body = Map::new();
        body.insert("type".to_owned(), json!(format!("urn:axle:problem:{}", parts.code)));
        body.insert("title".to_owned(), json!(parts.status.canonical_reason().unwrap_or("Error")));
        body.insert("status".to_owned(), json!(parts.status.as_u16()));
        body.insert("detail".to_owned(), json!(parts.detail));
        body.insert("code".to_owned(), json!(parts.code));
        body.insert("request_id".to_owned(), json!(request_id));
        if let Some((limit, actual)) = parts.limit {
            body.insert("limit".to_owned(), json!(limit));
            body.insert("actual".to_owned(), json!(actual));
        }
        if !parts.faults.is_empty() {
            let faults = parts
                .faults
                .iter()
                .map(|fault| json!({"pointer": fault.pointer, "detail": fault.detail}));
            body.insert("errors".to_owned(), faults.collect());
        }
        Body::from(Value::Object(body).to_string())
    }

    /// Seconds to wait; a crowd that was turned away together must not come back together.
    fn wait_seconds(&self) -> Option<u64> {
        let (base, spread) = match (self.0.status, self.0.retry_after) {
            (StatusCode::TOO_MANY_REQUESTS, wait) => {
                let base = wait.unwrap_or_default().as_millis().div_ceil(1000).max(1);
                let base = u64::try_from(base).unwrap_or(u64::MAX);
                (base, base / 2 + 2)
            }
            (StatusCode::SERVICE_UNAVAILABLE, wait) => {
                (wait.unwrap_or(Duration::from_secs(2)).as_secs().max(1), 1)
            }
            (_, Some(wait)) => (wait.as_secs().max(1), 1),
            (_, None) => return None,
        };
        Some(base.saturating_add(random_u64() % spread))
    }
}

impl IntoResponse for Problem {
    /// An answer without a body yet: the frame around all routes knows the id of the request and
    /// writes it.
    fn into_response(self) -> Response {
        let mut response = self.0.status.into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        for (name, value) in &self.0.headers {
            headers.append(name, value.clone());
        }
        if let Some(seconds) = self.wait_seconds() {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.0.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"axle\""));
        }
        response.extensions_mut().insert(self);
        response
    }
}

/// The status of each kind.
pub(crate) fn status_of(kind: Kind) -> StatusCode {
    match kind {
        Kind::Invalid => StatusCode::BAD_REQUEST,
        Kind::Unauthenticated => StatusCode::UNAUTHORIZED,
        Kind::Denied => StatusCode::FORBIDDEN,
        Kind::NotFound => StatusCode::NOT_FOUND,
        Kind::Conflict => StatusCode::CONFLICT,
        Kind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Kind::Busy => StatusCode::TOO_MANY_REQUESTS,
        Kind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Kind::Corrupt | Kind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        if matches!(error.kind, Kind::Corrupt | Kind::Internal) {
            tracing::error!(error = %error.chain(), "request failed");
        }
        let mut problem = Self::new(status_of(error.kind), error.code, error.message);
        problem.0.limit = error.limit;
        problem.0.retry_after = error.retry_after;
        problem
    }
}

/// 406: none of the forms that the client accepts.
pub(crate) fn not_acceptable(forms: &str) -> Problem {
    Problem::new(
        StatusCode::NOT_ACCEPTABLE,
        "request.not_acceptable",
        format!("`{ACCEPT}` names none of the forms there are: {forms}"),
    )
}
