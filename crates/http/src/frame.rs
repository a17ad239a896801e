//! What surrounds every route of both listeners: the id of the request, checks of its form,
//! security headers, error bodies, counts.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, EXPECT, HOST, HeaderMap,
    HeaderName, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio_util::task::TaskTracker;

use crate::body::Drained;
use crate::console::AsPage;
use crate::metrics::HttpMetrics;
use crate::problem::Problem;
use crate::random::random_u64;

/// Longest address.
const ADDRESS_BYTES_MAX: usize = 8 * 1024;
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    img-src 'self' data: blob:; connect-src 'self'; worker-src 'self'; font-src 'self'; \
    form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// What the frame knows.
pub(crate) struct Frame {
    /// Names that `Host` may carry; `None` where any may.
    pub(crate) hosts: Option<Vec<String>>,
    /// Counts.
    pub(crate) metrics: Arc<HttpMetrics>,
    /// Owns the tasks that outlive an answer.
    pub(crate) tasks: TaskTracker,
}

impl Frame {
    /// Names for a listener: loopback ones and the configured ones where it is bound to loopback.
    pub(crate) fn hosts(address: IpAddr, names: &[String]) -> Option<Vec<String>> {
        if !address.is_loopback() {
            return None;
        }
        let own = ["localhost", "127.0.0.1", "[::1]"].map(str::to_owned);
        let own = own.into_iter().chain([address.to_string()]);
        Some(own.chain(names.iter().map(|name| name.to_ascii_lowercase())).collect())
    }

    fn check(&self, request: &Request) -> Result<(), Problem> {
        let address_bytes = request.uri().path_and_query().map_or(0, |it| it.as_str().len());
        if address_bytes > ADDRESS_BYTES_MAX {
            let detail = format!("an address is at most {ADDRESS_BYTES_MAX} bytes");
            return Err(Problem::new(StatusCode::URI_TOO_LONG, "request.address_too_long", detail));
        }
        let mut hosts = request.headers().get_all(HOST).iter();
        let (Some(host), None) = (hosts.next(), hosts.next()) else {
            let detail = "a request needs one `Host`";
            return Err(Problem::bad_request("request.host_invalid", detail).closing());
        };
        let host = host.to_str().unwrap_or_default().to_ascii_lowercase();
        // A port may follow the name; brackets keep the colons of IPv6 apart from it.
        let name = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
            _ => &host,
        };
        match &self.hosts {
            Some(known) if !known.iter().any(|known| known == name) => Err(Problem::new(
                StatusCode::MISDIRECTED_REQUEST,
                "request.host_unknown",
                "this server does not go by the name in `Host`: add it to `http.names`",
            )),
            _ => Ok(()),
        }
    }
}

/// Wraps every request.
pub(crate) async fn frame(
    State(frame): State<Arc<Frame>>,
    request: Request,
    next: Next,
) -> Response {
    let started = Instant::now();
    let id = format!("{:016x}", random_u64());
    let route = request.extensions().get::<MatchedPath>().cloned();
    let method = request.method().clone();
    let mut response = match frame.check(&request) {
        Ok(()) => next.run(watched(request, &frame.tasks)).await,
        Err(problem) => {
            drop(watched(request, &frame.tasks));
            problem.into_response()
        }
    };
    complete(&mut response, &id);
    let route = route.as_ref().map_or("other", MatchedPath::as_str);
    frame.metrics.observe(route, &method, response.status(), started.elapsed());
    response
}

/// A client that waits for `100 Continue` has sent nothing: there is nothing to drain then.
fn watched(request: Request, tasks: &TaskTracker) -> Request {
    if request.headers().contains_key(EXPECT) {
        return request;
    }
    request.map(|body| Body::new(Drained::new(body, tasks.clone())))
}

fn complete(response: &mut Response, id: &str) {
    let problem = response.extensions_mut().remove::<Problem>();
    let problem = problem.or_else(|| {
        let is_bare = !response.headers().contains_key(CONTENT_TYPE);
        let is_error = response.status().is_client_error() || response.status().is_server_error();
        (is_bare && is_error).then(|| Problem::of_status(response.status()))
    });
    let as_page = response.extensions_mut().remove::<AsPage>();
    if let Some(problem) = problem {
        let (body, media) = match as_page {
            Some(page) => (page.body(&problem, id), "text/html; charset=utf-8"),
            None => (problem.body(id), "application/problem+json"),
        };
        *response.body_mut() = body;
        let headers = response.headers_mut();
        headers.remove(CONTENT_LENGTH);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(media));
    }
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::from_str(id) {
        headers.insert(REQUEST_ID, id);
    }
    secure(headers);
}

fn secure(headers: &mut HeaderMap) {
    for (name, value) in [
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_FRAME_OPTIONS, "DENY"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (CACHE_CONTROL, "no-store"),
    ] {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
}

/// The answer to a path that no route has.
pub(crate) async fn no_route() -> Response {
    std::future::ready(Problem::of_status(StatusCode::NOT_FOUND).into_response()).await
}
