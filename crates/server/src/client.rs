//! A small client of the HTTP API: one connection a request, problems turned into failures with
//! the exit code that their kind asks for.

mod locate;
mod text;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, IF_NONE_MATCH};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

use crate::failure::{Exit, Failure};

pub use locate::reachable;
pub use text::{encode_segment, encode_value};

/// Largest answer that is read.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// One request.
#[derive(Clone, Debug)]
pub struct Call<'a> {
    /// The method.
    pub method: Method,
    /// Path and query, encoded.
    pub path: &'a str,
    /// A JSON body.
    pub body: Option<&'a Value>,
    /// The wanted form of the answer.
    pub accept: &'a str,
    /// Whether the thing must not be there yet.
    pub is_new: bool,
    /// Names what is sent, so that sending it again changes nothing.
    pub idempotency_key: Option<&'a str>,
}

impl Default for Call<'_> {
    fn default() -> Self {
        Self {
            method: Method::GET,
            path: "/",
            body: None,
            accept: "application/json",
            is_new: false,
            idempotency_key: None,
        }
    }
}

/// Talks to one server.
#[derive(Clone, Debug)]
pub struct Client {
    /// `host:port`.
    authority: String,
    token: String,
    /// Where address and token came from, for messages.
    source: String,
}

impl Client {
    /// The answer's JSON to a request; null where the answer has no body.
    ///
    /// # Errors
    /// `Unreachable`, or what the server's problem says.
    pub async fn json(&self, call: Call<'_>) -> Result<Value, Failure> {
        let bytes = self.bytes(call).await?;
        if bytes.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&bytes).map_err(|error| self.not_axle(&error.to_string()))
    }

    /// The answer's JSON to a GET.
    ///
    /// # Errors
    /// As [`Client::json`].
    pub async fn get(&self, path: &str) -> Result<Value, Failure> {
        self.json(Call { path, ..Call::default() }).await
    }

    /// The answer's JSON to a POST.
    ///
    /// # Errors
    /// As [`Client::json`].
    pub async fn post(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        self.json(Call { method: Method::POST, path, body: Some(body), ..Call::default() }).await
    }

    /// The answer's bytes to a request.
    ///
    /// # Errors
    /// As [`Client::json`].
    pub async fn bytes(&self, call: Call<'_>) -> Result<Bytes, Failure> {
        read(self.open(call).await?).await
    }

    /// Sends a request; returns the answer when its head is there and it is no problem.
    ///
    /// # Errors
    /// As [`Client::json`].
    pub async fn open(&self, call: Call<'_>) -> Result<Response<Incoming>, Failure> {
        let response = self.exchange(call).await?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let body = read(response).await.unwrap_or_default();
        Err(self.problem(status, &body))
    }

    /// Sends a request; returns the answer when its head is there, a problem too.
    ///
    /// # Errors
    /// `Unreachable`.
    pub async fn exchange(&self, call: Call<'_>) -> Result<Response<Incoming>, Failure> {
        let unreachable = |error: &dyn std::error::Error| self.unreachable(error);
        let socket = TcpStream::connect(&self.authority).await.map_err(|e| unreachable(&e))?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake::<_, Full<Bytes>>(TokioIo::new(socket))
                .await
                .map_err(|e| unreachable(&e))?;
        // Ends with the connection, which ends with the answer.
        let _driver = tokio::spawn(connection);
        let mut request = Request::builder()
            .method(call.method)
            .uri(call.path)
            .header(HOST, &self.authority)
            .header(ACCEPT, call.accept)
            .header(AUTHORIZATION, format!("Bearer {}", self.token));
        if call.body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        if call.is_new {
            request = request.header(IF_NONE_MATCH, "*");
        }
        if let Some(key) = call.idempotency_key {
            request = request.header("idempotency-key", key);
        }
        let body = call.body.map(Value::to_string).unwrap_or_default();
        let request = request
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| Failure::usage(format!("this makes no request: {error}")))?;
        sender.send_request(request).await.map_err(|e| unreachable(&e))
    }

    /// `http://host:port`, for links.
    #[must_use]
    pub fn base(&self) -> String {
        format!("http://{}", self.authority)
    }

    fn unreachable(&self, error: &dyn std::error::Error) -> Failure {
        let message = format!("no server answers at {} ({}): {error}", self.base(), self.source);
        Failure::new(Exit::Unreachable, message).with_hint("`axle serve` starts one")
    }

    fn not_axle(&self, error: &str) -> Failure {
        let message = format!("the answer of {} is not what axle says: {error}", self.base());
        Failure::new(Exit::Unreachable, message).with_hint("check the address")
    }

    /// The failure that a problem's status and body tell of.
    pub(crate) fn problem(&self, status: StatusCode, body: &Bytes) -> Failure {
        let problem: Value = serde_json::from_slice(body).unwrap_or_default();
        let text = |field: &str| problem.get(field).and_then(Value::as_str);
        let reason = status.canonical_reason().unwrap_or("an error");
        let mut message = text("detail").map_or_else(
            || format!("{} answered {} {reason}", self.base(), status.as_u16()),
            str::to_owned,
        );
        if let (Some(limit), Some(actual)) = (problem.get("limit"), problem.get("actual")) {
            message.push_str(&format!(" (limit {limit}, actual {actual})"));
        }
        if let Some(code) = text("code") {
            message.push_str(&format!(" [{code}]"));
        }
        let failure = Failure::new(exit_of(status), message);
        if status == StatusCode::UNAUTHORIZED {
            return failure.with_hint(format!(
                "a token that this server knows; this one came from {}",
                self.source
            ));
        }
        failure
    }
}

/// The exit code that a status asks for.
fn exit_of(status: StatusCode) -> Exit {
    match status.as_u16() {
        404 | 410 => Exit::NotFound,
        409 | 412 | 428 => Exit::Conflict,
        401 | 403 | 413 | 429 => Exit::Refused,
        502..=504 => Exit::Unreachable,
        400..=499 => Exit::Usage,
        _ => Exit::Internal,
    }
}

/// The bytes of an answer.
///
/// # Errors
/// `Unreachable` when it breaks off.
pub(crate) async fn read(response: Response<Incoming>) -> Result<Bytes, Failure> {
    let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
    body.map(http_body_util::Collected::to_bytes)
        .map_err(|error| Failure::new(Exit::Unreachable, format!("the answer broke off: {error}")))
}
