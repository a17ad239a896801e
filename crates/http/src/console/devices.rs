//! `/devices`: the registry as a list, found by typing.

use std::sync::Arc;

use axle_app::DeviceState;
use axle_domain::port::DeviceFilter;
use axle_domain::{Access, Device, DeviceId, DeviceStatus, Error, OwnedValue};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use futures_util::future::try_join_all;
use maud::{Markup, html};
use serde::Deserialize;

use crate::answer::encode;
use crate::api::Api;
use crate::console::layout::{Nav, empty, heading, html_answer, page, pill};
use crate::console::viewer::Viewer;
use crate::console::written::{grouped, moment};
use crate::problem::Problem;

/// Devices of a page.
const PAGE: usize = 50;
/// Longest text that is searched for.
const SEARCH_BYTES_MAX: usize = 128;

/// What the address asks for.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Ask {
    search: String,
    after: String,
}

/// The page, or its list alone where htmx asks while someone types.
pub(super) async fn get(
    State(api): State<Arc<Api>>,
    viewer: Viewer,
    headers: HeaderMap,
    query: Result<Query<Ask>, QueryRejection>,
) -> Result<Response, Problem> {
    let ask = query.map(|query| query.0).unwrap_or_default();
    let list = list(&api, &viewer, &ask).await?;
    if headers.contains_key("hx-request") {
        return Ok(html_answer(StatusCode::OK, list));
    }
    let body = html! {
        (heading("Devices", html! {
            @if viewer.principal.allows(Access::ReadAll) {
                (grouped(api.app.registry.device_count() as u64)) " registered"
            }
        }))
        form .bar.filter role="search" aria-label="Devices" action="/devices" method="get" {
            label .hidden for="filter" { "Find devices" }
            input #filter type="search" name="search" value=(ask.search) maxlength="128"
                placeholder="Part of an id or a name" autocomplete="off"
                hx-get="/devices" hx-target="#list" hx-push-url="true" hx-sync="this:replace"
                hx-trigger="input changed delay:150ms, search";
            button type="submit" { "Find" }
        }
        div #list aria-live="polite" { (list) }
    };
    Ok(page(&viewer, Nav::Devices, "Devices", body))
}

async fn list(api: &Api, viewer: &Viewer, ask: &Ask) -> Result<Markup, Error> {
    let search: String = ask.search.trim().chars().take(SEARCH_BYTES_MAX).collect();
    let after = match ask.after.as_str() {
        "" => None,
        after => Some(DeviceId::parse(after)?),
    };
    let filter = DeviceFilter { search: search.clone(), after: after.clone(), limit: PAGE + 1 };
    let mut devices = api.app.devices.list_visible(&viewer.principal.reads(), filter).await?;
    let has_more = devices.len() > PAGE;
    devices.truncate(PAGE);
    if devices.is_empty() {
        return Ok(nothing(&search));
    }
    let states = devices.iter().map(|it| api.app.queries.state(&viewer.principal, &it.id));
    let states = try_join_all(states).await?;
    let address = |after: &str| format!("/devices?search={}&after={after}", encode(&search));
    Ok(html! {
        section .panel.flush aria-label="List of devices" {
            div .scroll tabindex="0" role="group" aria-label="Table of devices" {
                table {
                    thead { tr { th { "Device" } th { "Name" } th { "Kind" } th { "Connection" }
                        th { "Last message" } th .right { "Battery" } } }
                    tbody {
                        @for (device, state) in devices.iter().zip(&states) { (row(device, state)) }
                    }
                }
            }
        }
        nav .pages aria-label="Pages" {
            @if after.is_some() {
                a .button href=(address("")) { "First page" }
            } @else { span {} }
            @if let Some(last) = devices.last().filter(|_| has_more) {
                a .button rel="next" href=(address(&encode(last.id.as_str()))) { "Next page" }
            }
        }
    })
}

fn row(device: &Device, state: &DeviceState) -> Markup {
    let battery = state.fields.iter().filter(|it| it.field.0.ends_with(".battery_pct"));
    let battery = battery.max_by_key(|it| it.time).and_then(|it| match it.value {
        OwnedValue::Float(number) => Some(number),
        OwnedValue::Bool(_) | OwnedValue::Text(_) => None,
    });
    html! {
        tr {
            td { a href={ "/devices/" (encode(device.id.as_str())) } { (device.id) } }
            td { (device.name) }
            td { (device.kind) }
            td { (presence(device, state.is_online)) }
            td { @match state.last_seen { Some(time) => (moment(time, state.now)),
                None => span .quiet { "never" } } }
            td .right { @if let Some(percent) = battery { (format!("{percent:.0} %")) } }
        }
    }
}

/// Whether a device is connected, or may not be.
pub(super) fn presence(device: &Device, is_online: bool) -> Markup {
    html! {
        @if device.status != DeviceStatus::Active { (pill("bad", device.status.as_str())) }
        @else if is_online { span .pill.is-good { span .dot.is-on {} "online" } }
        @else { span .pill { span .dot {} "offline" } }
    }
}

fn nothing(search: &str) -> Markup {
    match search {
        "" => empty(
            "No device yet",
            html! {
                p { "Register one on the server's machine; it writes a key, a certificate and a \
                    line that publishes a first message:" }
                pre tabindex="0" { code { "axle device add bike-1 --out ./bike-1" } }
                p { "Many at once come from a file: " code { "axle device import FILE" } "." }
            },
        ),
        _ => empty(
            "No device matches",
            html! { p { "No id and no name has " code { (search) } " in it. "
            a href="/devices" { "Show all devices" } } },
        ),
    }
}
