//! Who looks at a page.

use std::sync::Arc;

use axle_app::Principal;
use axle_domain::{Scope, Timestamp, Token, TokenHash};
use axum::extract::FromRequestParts;
use axum::http::header::{ACCEPT, HeaderMap, LOCATION};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};

use crate::answer::encode;
use crate::api::Api;
use crate::problem::Problem;

/// What a viewer is here for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(dead_code, reason = "every session is an administrator's until users are there")]
pub(crate) enum Role {
    /// Everything.
    Admin,
    /// Everything but people and tokens.
    Operator,
    /// Reads every device and sends commands; no SQL, no change of the registry.
    Support,
    /// Its own devices alone.
    Household,
}

/// A person with an open session.
#[derive(Clone, Debug)]
pub(crate) struct Viewer {
    /// What the page calls them.
    pub(crate) name: String,
    /// What they are here for.
    pub(crate) role: Role,
    /// What they may do, for the use cases.
    #[expect(dead_code, reason = "the pages that ask for it come next")]
    pub(crate) principal: Principal,
}

impl Viewer {
    /// Whom the session cookie of a request speaks for.
    pub(crate) fn find(api: &Api, headers: &HeaderMap) -> Option<Self> {
        api.sessions.is_open(headers).then(|| Self {
            name: "Administrator".to_owned(),
            role: Role::Admin,
            principal: Principal {
                token: Token {
                    id: "console".to_owned(),
                    hash: TokenHash([0; 32]),
                    scopes: vec![Scope::Admin],
                    created_at: Timestamp(0),
                },
            },
        })
    }
}

impl FromRequestParts<Arc<Api>> for Viewer {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Response> {
        let found = Self::find(api, &parts.headers).ok_or_else(|| sign_in(parts));
        std::future::ready(found).await
    }
}

/// Sends someone without a session to the way in: a page by a redirect, a part of a page by the
/// header that htmx follows, a script by an error.
fn sign_in(parts: &Parts) -> Response {
    let problem =
        || Problem::unauthenticated("session.missing", "your session has ended: sign in again");
    if parts.headers.contains_key("hx-request") {
        let mut response = StatusCode::UNAUTHORIZED.into_response();
        response.headers_mut().insert("hx-redirect", HeaderValue::from_static("/login"));
        return response;
    }
    let accept = parts.headers.get(ACCEPT).and_then(|value| value.to_str().ok());
    let is_script = accept.is_some_and(|it| it.contains("json") || it.contains("event-stream"));
    if parts.method != Method::GET && parts.method != Method::HEAD || is_script {
        return problem().into_response();
    }
    let target = match parts.uri.path_and_query().map_or("/", |it| it.as_str()) {
        "/" => "/login".to_owned(),
        wanted => format!("/login?next={}", encode(wanted)),
    };
    match HeaderValue::from_str(&target) {
        Ok(target) => (StatusCode::SEE_OTHER, [(LOCATION, target)]).into_response(),
        Err(_) => problem().into_response(),
    }
}
