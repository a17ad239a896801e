//! `/search`: where the field in every page's header leads.

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::Redirect;
use serde::Deserialize;

use crate::answer::encode;
use crate::api::Api;
use crate::console::viewer::Viewer;

#[derive(Default, Deserialize)]
pub(super) struct Search {
    #[serde(default)]
    q: String,
}

/// Leads to the device of that very id, else to the list of those that match.
pub(super) async fn get(
    State(api): State<Arc<Api>>,
    _viewer: Viewer,
    query: Result<Query<Search>, QueryRejection>,
) -> Redirect {
    let text = query.map(|query| query.0.q).unwrap_or_default();
    let text = text.trim();
    let target = match api.app.registry.knows(text) {
        true => format!("/devices/{}", encode(text)),
        false => format!("/devices?search={}", encode(text)),
    };
    std::future::ready(Redirect::to(&target)).await
}
