//! What a page sends: the fields of a form, or a small JSON object.

use std::sync::Arc;

use axle_domain::limit;
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use axum::http::header::HeaderMap;
use serde::de::DeserializeOwned;

use crate::api::Api;
use crate::body::read_body;
use crate::call::is_media;
use crate::problem::Problem;

const FORM: &str = "application/x-www-form-urlencoded";

/// The fields of a form, in their order.
pub(crate) struct Form(Vec<(String, String)>);

impl Form {
    /// The first field of that name; empty where there is none.
    pub(crate) fn text(&self, name: &str) -> &str {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map_or("", |(_, value)| value.as_str())
    }

    /// Whether a box is ticked.
    pub(crate) fn switch(&self, name: &str) -> bool {
        self.0.iter().any(|(known, _)| known == name)
    }
}

impl FromRequest<Arc<Api>> for Form {
    type Rejection = Problem;

    async fn from_request(request: Request, _api: &Arc<Api>) -> Result<Self, Problem> {
        let bytes = whole(request, FORM).await?;
        Ok(Self(form_urlencoded::parse(&bytes).into_owned().collect()))
    }
}

/// A JSON object of known fields.
pub(crate) struct Json<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<Arc<Api>> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _api: &Arc<Api>) -> Result<Self, Problem> {
        let bytes = whole(request, "application/json").await?;
        let read = serde_json::from_slice(&bytes);
        read.map(Self).map_err(|error| {
            Problem::bad_request("request.json_invalid", format!("the body is unreadable: {error}"))
        })
    }
}

async fn whole(request: Request, media: &str) -> Result<bytes::Bytes, Problem> {
    let (parts, body) = request.into_parts();
    let headers: HeaderMap = parts.headers;
    if !is_media(&headers, &[media]) {
        return Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "request.media_type_unsupported",
            format!("`Content-Type` must be {media}, in UTF-8"),
        ));
    }
    read_body(body, &headers, limit::REQUEST_BYTES_MAX, "request.too_large").await
}
