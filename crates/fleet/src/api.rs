//! A small client of the HTTP API: keep-alive, a bounded number of connections, no retries of
//! its own but on connections that the server had closed meanwhile.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axle_domain::{Error, Kind};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, RETRY_AFTER};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

/// Requests under way at one time.
const CONCURRENCY: usize = 16;
/// Time for one request and its answer.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(60);
/// Largest answer.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;
/// How often and after what pause a busy server is asked again.
const BUSY_ATTEMPTS: u32 = 40;
const BUSY_PAUSE: Duration = Duration::from_millis(250);

/// The API of one server, for one token. Clones share their connections.
#[derive(Clone)]
pub struct Api(Arc<Shared>);

struct Shared {
    address: String,
    authorization: String,
    idle: Mutex<Vec<SendRequest<Full<Bytes>>>>,
    permits: Semaphore,
}

/// One request.
#[derive(Clone, Debug)]
pub struct Call<'a> {
    /// The method.
    pub method: Method,
    /// Path and query.
    pub path: &'a str,
    /// Headers beside the host, the token and the content type.
    pub headers: &'a [(&'static str, &'a str)],
    /// The content type of the body.
    pub content_type: &'a str,
    /// The body.
    pub body: Bytes,
}

impl<'a> Call<'a> {
    /// A GET.
    #[must_use]
    pub fn get(path: &'a str) -> Self {
        let method = Method::GET;
        Self { method, path, headers: &[], content_type: "application/json", body: Bytes::new() }
    }

    /// A request with a JSON body.
    #[must_use]
    pub fn json(method: Method, path: &'a str, body: &Value) -> Self {
        let body = Bytes::from(body.to_string());
        Self { method, path, headers: &[], content_type: "application/json", body }
    }
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// What `Retry-After` asked for, in seconds.
    pub retry_after_s: Option<u64>,
    /// The body.
    pub body: Bytes,
}

impl Answer {
    /// Whether the request was done.
    #[must_use]
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Whether the same request may have another answer later.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        self.status == 429 || self.status == 408 || self.status >= 500
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// `Internal`, when it is none; what the server said, when it refused.
    pub fn into_json(self) -> Result<Value, Error> {
        if self.is_success() {
            return serde_json::from_slice(&self.body).map_err(|error| {
                Error::internal("api.answer_invalid", format!("the API's answer: {error}"))
            });
        }
        Err(self.refusal())
    }

    /// What the server said, as an error.
    #[must_use]
    pub fn refusal(&self) -> Error {
        let problem: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        let text = |name: &str| problem.get(name).and_then(Value::as_str).unwrap_or("-");
        let message =
            format!("the API answered {}: {}: {}", self.status, text("code"), text("detail"));
        let kind = match self.status {
            401 => Kind::Unauthenticated,
            403 => Kind::Denied,
            404 => Kind::NotFound,
            409 | 412 => Kind::Conflict,
            413 => Kind::TooLarge,
            429 => Kind::Busy,
            500 => Kind::Internal,
            501.. => Kind::Unavailable,
            _ => Kind::Invalid,
        };
        Error::new(kind, "api.refused", message)
    }
}

impl Api {
    /// A client for `host:port` and a bearer token. Does not connect yet.
    #[must_use]
    pub fn new(address: &str, token: &str) -> Self {
        Self(Arc::new(Shared {
            address: address.to_owned(),
            authorization: format!("Bearer {token}"),
            idle: Mutex::default(),
            permits: Semaphore::new(CONCURRENCY),
        }))
    }

    /// Sends a request and reads the answer, whatever its status.
    ///
    /// # Errors
    /// `Unavailable`, when there is no complete answer. The request may have been done.
    pub async fn call(&self, call: &Call<'_>) -> Result<Answer, Error> {
        let _permit = self.0.permits.acquire().await.map_err(|error| unreachable(&error))?;
        let answer = tokio::time::timeout(REQUEST_TIME_MAX, self.attempt(call)).await;
        answer.map_err(|error| unreachable(&error))?
    }

    async fn attempt(&self, call: &Call<'_>) -> Result<Answer, Error> {
        loop {
            let (mut sender, is_reused) = match self.idle() {
                Some(sender) => (sender, true),
                None => (self.connect().await?, false),
            };
            match sender.send_request(self.request(call)?).await {
                Ok(response) => {
                    let answer = read(response).await?;
                    if !sender.is_closed() {
                        self.lock().push(sender);
                    }
                    return Ok(answer);
                }
                // The server had closed the idle connection: nothing was sent.
                Err(error) if is_reused && error.is_canceled() => {}
                Err(error) => return Err(unreachable(&error)),
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<SendRequest<Full<Bytes>>>> {
        self.0.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn idle(&self) -> Option<SendRequest<Full<Bytes>>> {
        let mut idle = self.lock();
        while let Some(sender) = idle.pop() {
            if sender.is_ready() {
                return Some(sender);
            }
        }
        None
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, Error> {
        let address = &self.0.address;
        let tcp = TcpStream::connect(address).await.map_err(|error| unreachable(&error))?;
        tcp.set_nodelay(true).map_err(|error| unreachable(&error))?;
        let (sender, connection) =
            http1::handshake(TokioIo::new(tcp)).await.map_err(|error| unreachable(&error))?;
        tokio::spawn(async move {
            // How it ended is seen by the request that it ended.
            let _ended = connection.await;
        });
        Ok(sender)
    }

    fn request(&self, call: &Call<'_>) -> Result<Request<Full<Bytes>>, Error> {
        let mut request = Request::builder()
            .method(&call.method)
            .uri(call.path)
            .header(HOST, &self.0.address)
            .header(AUTHORIZATION, &self.0.authorization)
            .header(CONTENT_TYPE, call.content_type);
        for (name, value) in call.headers {
            request = request.header(*name, *value);
        }
        request.body(Full::new(call.body.clone())).map_err(|error| {
            Error::invalid("api.request_invalid", format!("the request cannot be written: {error}"))
        })
    }

    /// Asks SQL; the rows.
    ///
    /// # Errors
    /// As [`Api::call`] and [`Answer::into_json`]; `TooLarge`, when the answer was cut.
    pub async fn query(&self, sql: &str) -> Result<Vec<Value>, Error> {
        let body = serde_json::json!({ "sql": sql });
        let call = Call::json(Method::POST, "/api/v1/query", &body);
        let mut answer = self.call(&call).await?.into_json()?;
        if answer.get("truncated").and_then(Value::as_bool).unwrap_or(false) {
            let message = "the answer of a query was cut at the server's limit";
            return Err(Error::new(Kind::TooLarge, "api.truncated", message));
        }
        match answer.get_mut("rows").map(Value::take) {
            Some(Value::Array(rows)) => Ok(rows),
            _ => Err(Error::internal("api.answer_invalid", "the answer of a query has no rows")),
        }
    }

    /// As [`Api::query`], but asks again for a while when the server is busy.
    ///
    /// # Errors
    /// As [`Api::query`].
    pub async fn query_patiently(&self, sql: &str) -> Result<Vec<Value>, Error> {
        for _attempt in 0..BUSY_ATTEMPTS {
            match self.query(sql).await {
                Err(error) if error.kind == Kind::Busy => tokio::time::sleep(BUSY_PAUSE).await,
                result => return result,
            }
        }
        self.query(sql).await
    }

    /// How many records the log holds, and how many of them the store and the state show.
    ///
    /// # Errors
    /// As [`Api::call`] and [`Answer::into_json`].
    pub async fn positions(&self) -> Result<Positions, Error> {
        let answer = self.call(&Call::get("/api/v1/positions")).await?.into_json()?;
        let number = |pointer: &str| answer.pointer(pointer).and_then(Value::as_u64);
        let positions = number("/appended").zip(number("/applied/store"));
        let (appended, store) = positions.ok_or_else(|| {
            Error::internal("api.answer_invalid", "the positions lack `appended` or `store`")
        })?;
        let state = number("/applied/state").unwrap_or(store);
        Ok(Positions { appended, store, state })
    }

    /// Waits until everything that is appended now is in the store and the state.
    ///
    /// # Errors
    /// As [`Api::positions`]; `Unavailable`, when it takes longer than `time`.
    pub async fn settle(
        &self,
        time: Duration,
        progress: &(dyn Fn(u64, u64) + Send + Sync),
    ) -> Result<Positions, Error> {
        let wanted = self.positions().await?.appended;
        let end = tokio::time::Instant::now() + time;
        loop {
            let seen = self.positions().await?;
            let reached = seen.store.min(seen.state);
            progress(reached, wanted);
            if reached >= wanted {
                return Ok(seen);
            }
            if tokio::time::Instant::now() >= end {
                let message = format!(
                    "after {} s the store has applied {reached} of {wanted} records",
                    time.as_secs()
                );
                return Err(Error::unavailable("api.not_settled", message));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// Positions of the log, in records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Positions {
    /// How many are in the log.
    pub appended: u64,
    /// How many of them the store shows.
    pub store: u64,
    /// How many of them the state shows.
    pub state: u64,
}

async fn read(response: hyper::Response<hyper::body::Incoming>) -> Result<Answer, Error> {
    let status = response.status().as_u16();
    let retry_after_s = response.headers().get(RETRY_AFTER);
    let retry_after_s = retry_after_s.and_then(|value| value.to_str().ok()?.parse().ok());
    let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
    let body = body.map_err(|error| unreachable(&error))?.to_bytes();
    Ok(Answer { status, retry_after_s, body })
}

fn unreachable(error: &dyn std::fmt::Display) -> Error {
    Error::unavailable("api.unreachable", format!("the API gave no answer: {error}"))
}
