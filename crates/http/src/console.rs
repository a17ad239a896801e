//! The console: pages for people, rendered here, kept up to date by small scripts. Every page
//! shows its data without a script, too.
//!
//! A page is a file: a function that takes a [`viewer::Viewer`] and returns
//! [`layout::page`]. Its route stands in [`router`], its entry in [`layout::Nav`], the files it
//! loads in [`asset`].

mod account;
mod asset;
mod basemap;
mod components;
mod connections;
mod device;
mod devices;
mod energy;
mod error_page;
mod feed;
mod feeds;
mod form;
mod layout;
mod live;
mod login;
mod map;
mod overview;
mod passkey;
mod people;
mod quality;
mod quarantine;
mod query;
mod search;
mod session;
mod spark;
mod system;
mod viewer;
mod welcome;
mod written;

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Router, middleware};

use crate::answer::body_answer;
use crate::api::Api;
use crate::ops::healthz;

pub(crate) use basemap::Basemap;
pub(crate) use error_page::AsPage;
pub(crate) use layout::head;
pub(crate) use live::{Figures, run as run_live};
pub(crate) use session::{LINK_TIME_MAX, Links, secret as session_secret};

/// The routes that are not of the API.
pub(crate) fn router(api: &Arc<Api>) -> Router<Arc<Api>> {
    let pages = Router::new()
        .route("/", get(overview::get))
        .route("/live/overview", get(overview::live))
        .route("/devices", get(devices::get))
        .route("/devices/{id}", get(device::get))
        .route("/energy", get(energy::list))
        .route("/energy/{device}", get(energy::get))
        .route("/energy/{device}/now", get(energy::now))
        .route("/connections", get(connections::get))
        .route("/quality", get(quality::get))
        .route("/quarantine", get(quarantine::get))
        .route("/quarantine/replay", post(quarantine::replay_all))
        .route("/quarantine/{id}", get(quarantine::get_item))
        .route("/quarantine/{id}/replay", post(quarantine::replay_item))
        .route("/system", get(system::get))
        .route("/live/system", get(system::live))
        .route("/devices/{id}/charts", get(device::charts::get))
        .route("/devices/{id}/commands", post(device::commands::create))
        .route("/devices/{id}/commands/{command}/cancel", post(device::commands::cancel))
        .route("/devices/{id}/quarantine/{item}/replay", post(device::quarantine::replay))
        .route("/live/devices/{id}", get(device::live::get))
        .route("/live/devices/{id}/tail", get(device::tail::live))
        .route("/components/{serial}", get(components::get))
        .route("/feeds", get(feeds::get))
        .route("/feeds/review/{id}", post(feeds::decide))
        .route("/query", get(query::get).post(query::post))
        .route("/query/csv", post(query::download))
        .route("/search", get(search::get))
        .route("/search/quick", get(search::quick))
        .route("/login", get(login::get).post(login::post))
        .route("/login/passkey/options", post(passkey::sign_in_options))
        .route("/login/passkey", post(passkey::sign_in))
        .route("/welcome", get(welcome::get).post(welcome::post))
        .route("/welcome/passkey/options", post(passkey::welcome_options))
        .route("/welcome/passkey", post(passkey::welcome))
        .route("/account", get(account::get))
        .route("/account/password", post(account::change_password))
        .route("/account/passkeys/options", post(passkey::add_options))
        .route("/account/passkeys", post(passkey::add))
        .route("/account/passkeys/delete", post(account::delete_passkey))
        .route("/account/sign-out-everywhere", post(account::sign_out_everywhere))
        .route("/account/administrator", post(account::create_administrator))
        .route("/users", get(people::get).post(people::add))
        .route("/users/{name}/{action}", post(people::act))
        .route("/map", get(map::get))
        .route("/logout", post(login::sign_out))
        .fallback(error_page::no_page)
        .layer(middleware::from_fn_with_state(Arc::clone(api), error_page::surround));
    Router::new()
        .route("/assets/{version}/{*name}", get(asset::serve))
        .route("/basemap/{version}", get(basemap::get))
        .route("/healthz", get(healthz))
        .route("/openapi.json", get(openapi))
        .route("/api/v1/openapi.json", get(openapi))
        .route("/docs", get(docs))
        .merge(pages)
}

async fn openapi(State(api): State<Arc<Api>>) -> Response {
    let json = api.openapi.json.clone();
    std::future::ready(body_answer(StatusCode::OK, "application/json", json)).await
}

async fn docs(State(api): State<Arc<Api>>) -> Response {
    let html = api.openapi.html.clone();
    std::future::ready(body_answer(StatusCode::OK, "text/html; charset=utf-8", html)).await
}
