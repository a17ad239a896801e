//! Who looks at a page.

use std::sync::Arc;

use axle_app::{Principal, SignedIn};
use axle_domain::{Error, Kind, Session};
use axum::extract::FromRequestParts;
use axum::http::header::{ACCEPT, HeaderMap, LOCATION};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};

use crate::answer::encode;
use crate::api::Api;
use crate::call::check_role;
use crate::console::session;
use crate::problem::Problem;

pub(crate) use axle_domain::Role;

/// A person with an open session.
#[derive(Clone, Debug)]
pub(crate) struct Viewer {
    /// What the page calls them.
    pub(crate) name: String,
    /// What they are here for.
    pub(crate) role: Role,
    /// What they may do, for the use cases.
    pub(crate) principal: Principal,
    /// Which session it is.
    pub(crate) session: Session,
}

impl Viewer {
    /// Whom the session cookie of a request speaks for.
    ///
    /// # Errors
    /// As the state.
    pub(crate) async fn find(api: &Api, headers: &HeaderMap) -> Result<Option<Self>, Error> {
        let Some(secret) = session::secret(headers) else { return Ok(None) };
        match api.app.sessions.authenticate(secret).await {
            Ok(signed_in) => Ok(Some(Self::of(signed_in))),
            Err(error) if error.kind == Kind::Unauthenticated => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn of(SignedIn { principal, session }: SignedIn) -> Self {
        let name = match &principal {
            Principal::User(user) if !user.display_name.is_empty() => user.display_name.clone(),
            Principal::User(user) => user.name.to_string(),
            Principal::Token(_) | Principal::Link => "Administrator".to_owned(),
        };
        let role = principal.role().unwrap_or(Role::Household);
        Self { name, role, principal, session }
    }

    /// The name in the server's log.
    pub(crate) fn log_name(&self) -> String {
        self.principal.id()
    }

    /// Lets those roles pass to a page.
    ///
    /// # Errors
    /// 403 `role.denied`.
    pub(crate) fn require_role(&self, roles: &[Role]) -> Result<(), Problem> {
        check_role(&self.principal, roles, "This page")
    }
}

impl FromRequestParts<Arc<Api>> for Viewer {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Response> {
        match Self::find(api, &parts.headers).await {
            Ok(found) => found.ok_or_else(|| sign_in(parts)),
            Err(error) => Err(Problem::from(error).into_response()),
        }
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
