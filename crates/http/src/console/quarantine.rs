//! `/quarantine`: what was set aside, mended here and sent in again.

mod item;
mod replay;

use std::sync::Arc;

use axle_app::quarantine_advice;
use axle_domain::{
    DeviceId, Error, QuarantineCount, QuarantineFilter, QuarantineId, QuarantineItem,
    QuarantineState, StreamName, Timestamp,
};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;

use crate::answer::encode;
use crate::api::Api;
use crate::console::layout::{Nav, empty, heading, page, pill};
use crate::console::viewer::Viewer;
use crate::console::written::{grouped, moment};
use crate::operation::{OPERATORS, STAFF};
use crate::problem::Problem;

pub(super) use item::{get as get_item, replay as replay_item};
pub(super) use replay::all as replay_all;

/// Items of a page.
const PAGE: usize = 50;

/// What the address asks for.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Ask {
    code: String,
    device: String,
    stream: String,
    /// `all` for replayed items, too.
    state: String,
    before: String,
}

impl Ask {
    fn filter(&self) -> Result<QuarantineFilter, Error> {
        let given = |text: &str| (!text.trim().is_empty()).then(|| text.trim().to_owned());
        let before = given(&self.before).map(|it| {
            QuarantineId::parse(&it).ok_or_else(|| {
                Error::invalid("quarantine.id_invalid", "`before` must be the id of an item")
            })
        });
        Ok(QuarantineFilter {
            device: given(&self.device).map(|it| DeviceId::parse(&it)).transpose()?,
            code: given(&self.code),
            stream: given(&self.stream).map(|it| StreamName::parse(&it)).transpose()?,
            state: (self.state != "all").then_some(QuarantineState::Waiting),
            before: before.transpose()?,
            limit: PAGE + 1,
        })
    }

    fn address(&self, before: &str) -> String {
        let (code, device, stream) =
            (encode(&self.code), encode(&self.device), encode(&self.stream));
        let state = encode(&self.state);
        format!(
            "/quarantine?code={code}&device={device}&stream={stream}&state={state}&before={before}"
        )
    }
}

/// The list.
pub(super) async fn get(
    State(api): State<Arc<Api>>,
    viewer: Viewer,
    query: Result<Query<Ask>, QueryRejection>,
) -> Result<Response, Problem> {
    viewer.require_role(STAFF)?;
    let ask = query.map(|query| query.0).unwrap_or_default();
    let counts = api.app.quarantine.counts().await?;
    let (mut items, fault) = match ask.filter() {
        Ok(filter) => (api.app.quarantine.search(filter).await?, None),
        Err(error) => (Vec::new(), Some(error.message)),
    };
    let has_more = items.len() > PAGE;
    items.truncate(PAGE);
    let now = api.app.ports.clock.now();
    let body = html! {
        (heading("Quarantine", html! { "What could not be understood, or cannot be true" }))
        (form(&ask, &counts))
        @if let Some(fault) = &fault {
            div .notice.is-bad role="alert" { p { strong { (fault) } } }
        }
        @let waiting = counts.iter().find(|it| it.code == ask.code && it.waiting > 0);
        @if let Some(count) = waiting {
            div .notice {
                p { (quarantine_advice(&count.code)) }
                @if viewer.require_role(OPERATORS).is_ok() { (replay::form(&count.code, count.waiting)) }
            }
        }
        @if items.is_empty() && fault.is_none() {
            (empty("Nothing here", html! {
                p { "No item fits. Items that were replayed are shown on request; see "
                    a href="/quality" { "data quality" } " for the whole." }
            }))
        } @else if !items.is_empty() {
            section .panel aria-labelledby="items-title" {
                h2 #items-title { "Items, newest first" }
                (table(&items, now))
            }
            nav .pages aria-label="Pages" {
                @if ask.before.is_empty() { span {} } @else { a .button href=(ask.address("")) { "First page" } }
                @if let Some(last) = items.last().filter(|_| has_more) {
                    a .button rel="next" href=(ask.address(&last.id.to_string())) { "Next page" }
                }
            }
        }
    };
    Ok(page(&viewer, Nav::Quality, "Quarantine", body))
}

fn form(ask: &Ask, counts: &[QuarantineCount]) -> Markup {
    html! {
        form .fields action="/quarantine" method="get" {
            div .field { label for="code" { "Code" }
                select #code name="code" {
                    option value="" { "all codes" }
                    @for it in counts {
                        option value=(it.code) selected[it.code == ask.code] {
                            (it.code) " (" (grouped(it.waiting)) " waiting)"
                        }
                    }
                }
            }
            div .field { label for="device" { "Device" }
                input #device name="device" value=(ask.device) maxlength="128"; }
            div .field { label for="stream" { "Stream" }
                input #stream name="stream" value=(ask.stream) maxlength="64"; }
            div .field { label for="state" { "State" }
                select #state name="state" {
                    option value="waiting" { "waiting" }
                    option value="all" selected[ask.state == "all"] { "waiting and replayed" }
                }
            }
            div .field { button type="submit" { "Show" } }
        }
    }
}

fn table(items: &[QuarantineItem], now: Timestamp) -> Markup {
    html! {
        div .scroll tabindex="0" role="group" aria-labelledby="items-title" {
            table {
                thead { tr { th scope="col" { "Item" } th scope="col" { "Received" } th scope="col" { "Device" }
                    th scope="col" { "Stream" } th scope="col" { "Code" } th scope="col" { "Why" }
                    th scope="col" { "State" } } }
                tbody {
                    @for item in items {
                        tr {
                            td { a href={ "/quarantine/" (item.id) } { (item.id) } }
                            td { (moment(item.received_at, now)) }
                            td { @if item.device.is_empty() { span .quiet { "none" } } @else {
                                a href={ "/devices/" (encode(&item.device)) } { (item.device) } } }
                            td { (item.stream) }
                            td { code { (item.code) } }
                            td .wrap { (item.detail) }
                            td { (state(item.state)) }
                        }
                    }
                }
            }
        }
    }
}

fn state(state: QuarantineState) -> Markup {
    match state {
        QuarantineState::Waiting => pill("warn", "waiting"),
        QuarantineState::Replayed => pill("good", "replayed"),
    }
}
