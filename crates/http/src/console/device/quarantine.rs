//! What of a device was set aside: why, what it said, and sending it in again, mended or not.

use std::sync::Arc;

use axle_app::Mend;
use axle_domain::{Access, DeviceId, Error, QuarantineId, QuarantineItem, QuarantineState};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};

use crate::answer::encode;
use crate::api::Api;
use crate::console::device::payload;
use crate::console::form::Form;
use crate::console::layout::{html_answer, pill};
use crate::console::viewer::Viewer;
use crate::console::written::clock_time;
use crate::problem::Problem;

/// Items that the page shows.
const SHOWN: usize = 10;
/// Longest payload that can be mended in the page; the API takes longer ones.
const EDITED_BYTES_MAX: usize = 16 * 1024;

/// The newest items, as `list` shows them.
pub(super) async fn read(api: &Api, device: &DeviceId) -> Result<Vec<QuarantineItem>, Error> {
    api.app.quarantine.list(Some(device), None, SHOWN).await
}

/// The section.
pub(super) fn section(viewer: &Viewer, items: &[QuarantineItem]) -> Markup {
    html! {
        section .panel #quarantine aria-labelledby="quarantine-title" {
            h2 #quarantine-title { "Quarantine of this device" }
            div #replay-answer {}
            div data-part="quarantine" { (list(viewer, items)) }
        }
    }
}

/// The items, newest first.
pub(super) fn list(viewer: &Viewer, items: &[QuarantineItem]) -> Markup {
    html! {
        @if items.is_empty() {
            p .quiet { "Nothing of this device was set aside." }
        }
        @for item in items {
            details .command data-key=(item.id) {
                summary {
                    code { (item.code) } " "
                    @match item.state {
                        QuarantineState::Waiting => (pill("warn", "waiting")),
                        QuarantineState::Replayed => (pill("good", "replayed")),
                    }
                    " " (clock_time(item.received_at)) " " span .quiet { (item.detail) }
                }
                dl .facts {
                    dt { "Reason" } dd { (item.detail) }
                    dt { "Stream" } dd { (item.stream) }
                    dt { "Topic" } dd { code { (item.topic) } }
                    @if let Some(sent_at) = item.sent_at { dt { "Sent" } dd { (clock_time(sent_at)) } }
                    dt { "Id" } dd { code { (item.id) } }
                }
                @let may = viewer.principal.allows(Access::Operate);
                @if may && item.state == QuarantineState::Waiting { (replay_form(item)) }
                @else { (payload::shown(&item.payload)) }
            }
        }
    }
}

fn replay_form(item: &QuarantineItem) -> Markup {
    let action = format!("/devices/{}/quarantine/{}/replay", encode(&item.device), item.id);
    let field = format!("payload-{}", item.id);
    let text = std::str::from_utf8(&item.payload).ok();
    html! {
        form action=(action) method="post" hx-post=(action) hx-target="#replay-answer"
            hx-disabled-elt="find button" {
            @if let Some(text) = text.filter(|text| text.len() <= EDITED_BYTES_MAX) {
                div .field {
                    label for=(field) { "Payload; mend what is wrong before the replay" }
                    textarea .code id=(field) name="payload" rows="4" spellcheck="false" { (text) }
                }
            } @else {
                (payload::shown(&item.payload))
            }
            div .buttons {
                button .primary type="submit" { "Replay" }
                span .meta { "Refused, and nothing changes, where it would be set aside again." }
            }
        }
    }
}

/// `POST /devices/{id}/quarantine/{item}/replay`.
pub(in crate::console) async fn replay(
    State(api): State<Arc<Api>>,
    viewer: Viewer,
    Path((id, item)): Path<(String, String)>,
    headers: HeaderMap,
    form: Form,
) -> Result<Response, Problem> {
    let device = super::find(&api, &viewer, &id).await?.id;
    viewer.principal.require(Access::Operate)?;
    let not_found = || {
        let message = "there is no such item in the quarantine of this device";
        Error::not_found("quarantine.not_found", message)
    };
    let item = QuarantineId::parse(&item).ok_or_else(not_found)?;
    let item = api.app.quarantine.get(item).await?;
    if item.device != device.as_str() {
        return Err(not_found().into());
    }
    // Browsers send line breaks as two characters, whatever stood there.
    let mended = form.text("payload").replace("\r\n", "\n");
    let before = String::from_utf8_lossy(&item.payload).replace("\r\n", "\n");
    let is_mended = !mended.trim().is_empty() && mended != before;
    let mend = Mend { payload: is_mended.then_some(mended), sent_at: None };
    let offset = api.app.quarantine.replay(item.id, mend).await?;
    if !headers.contains_key("hx-request") {
        let target = format!("/devices/{}#quarantine", encode(device.as_str()));
        return Ok(Redirect::to(&target).into_response());
    }
    let notice = html! {
        p .notice.is-good role="status" {
            "Item " code { (item.id) } " is in the log again, at offset " (offset)
            "; it is settled in a moment."
        }
    };
    Ok(html_answer(StatusCode::OK, notice))
}
