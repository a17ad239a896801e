//! One item: its payload, shown safely, and a place to mend it.

use std::fmt::Write as _;
use std::sync::Arc;

use axle_app::{Mend, format_time, parse_time, quarantine_advice};
use axle_domain::{Error, QuarantineId, QuarantineItem, QuarantineState};
use axum::extract::{Path, State};
use axum::http::header::LOCATION;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};

use crate::answer::encode;
use crate::api::Api;
use crate::console::form::Form;
use crate::console::layout::{Nav, document, heading, html_answer};
use crate::console::viewer::Viewer;
use crate::console::written::{bytes, moment};
use crate::operation::{OPERATORS, STAFF};
use crate::problem::Problem;

/// Bytes of a payload that are shown in hexadecimal.
const HEX_BYTES_MAX: usize = 4096;

/// What a person mends.
struct Mended {
    payload: String,
    sent_at: String,
}

/// The page of an item.
pub(in crate::console) async fn get(
    State(api): State<Arc<Api>>,
    viewer: Viewer,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    viewer.require_role(STAFF)?;
    let item = api.app.quarantine.get(parse(&id)?).await?;
    Ok(show(&api, &viewer, &item, None))
}

/// Sends an item in again, mended or as it is.
pub(in crate::console) async fn replay(
    State(api): State<Arc<Api>>,
    viewer: Viewer,
    Path(id): Path<String>,
    form: Form,
) -> Result<Response, Problem> {
    viewer.require_role(OPERATORS)?;
    let id = parse(&id)?;
    let item = api.app.quarantine.get(id).await?;
    let text = |name| form.text(name).to_owned();
    let mended = Mended { payload: text("payload"), sent_at: text("sent_at") };
    let outcome = match mend(&item, &mended) {
        Ok(mend) => api.app.quarantine.replay(id, mend).await,
        Err(error) => Err(error),
    };
    match outcome {
        Ok(_offset) => {
            let target = HeaderValue::from_str(&format!("/quarantine/{id}"));
            let target = target.unwrap_or_else(|_error| HeaderValue::from_static("/quarantine"));
            Ok((StatusCode::SEE_OTHER, [(LOCATION, target)]).into_response())
        }
        Err(fault) => Ok(show(&api, &viewer, &item, Some((&mended, &fault)))),
    }
}

fn parse(id: &str) -> Result<QuarantineId, Error> {
    QuarantineId::parse(id).ok_or_else(|| {
        let shown: String = id.chars().take(64).collect();
        let message = format!("quarantine item `{}` not found", shown.escape_debug());
        Error::not_found("quarantine.not_found", message)
    })
}

/// What differs from the item. A browser ends the lines of a form with CR LF.
fn mend(item: &QuarantineItem, mended: &Mended) -> Result<Mend, Error> {
    let payload = mended.payload.replace("\r\n", "\n");
    let is_same = payload.is_empty()
        || std::str::from_utf8(&item.payload).is_ok_and(|it| it.replace("\r\n", "\n") == payload);
    let sent_at = match mended.sent_at.trim() {
        "" => None,
        text => Some(parse_time(text).ok_or_else(|| {
            Error::invalid(
                "quarantine.sent_at_invalid",
                "the time of sending must be RFC 3339 with a zone, such as 2026-11-20T10:00:00Z",
            )
        })?),
    };
    Ok(Mend { payload: (!is_same).then_some(payload), sent_at })
}

fn show(
    api: &Api,
    viewer: &Viewer,
    item: &QuarantineItem,
    fault: Option<(&Mended, &Error)>,
) -> Response {
    let now = api.app.ports.clock.now();
    let body = html! {
        (heading(&item.id.to_string(), html! {
            (super::state(item.state)) code { (item.code) }
        }))
        div .notice { p { strong { (item.detail) } } p { (quarantine_advice(&item.code)) } }
        div .columns.is-two {
            section .panel aria-labelledby="facts-title" {
                h2 #facts-title { "Message" }
                dl .facts {
                    dt { "Device" }
                    dd { @if item.device.is_empty() { "none" } @else {
                        a href={ "/devices/" (encode(&item.device)) } { (item.device) } } }
                    dt { "Stream" } dd { (item.stream) }
                    dt { "Topic" } dd { code { (item.topic) } }
                    dt { "Content type" } dd { @if item.content_type.is_empty() { "not declared" } @else { (item.content_type) } }
                    dt { "Received" } dd { (moment(item.received_at, now)) " · " (format_time(item.received_at)) }
                    dt { "Sent" } dd { @match item.sent_at { Some(time) => (format_time(time)), None => "not said" } }
                    dt { "Size" } dd { (bytes(item.payload.len() as u64)) }
                }
            }
            (mending(viewer, item, fault))
        }
        section .panel aria-labelledby="payload-title" {
            h2 #payload-title { "Payload" }
            (payload(&item.payload))
        }
        p { a href={ "/quarantine?code=" (encode(&item.code)) } { "All items with this code" } }
    };
    let status = if fault.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    html_answer(status, document(Some(viewer), Nav::Quality, "Quarantine", body))
}

fn mending(viewer: &Viewer, item: &QuarantineItem, fault: Option<(&Mended, &Error)>) -> Markup {
    let (mended, fault) = (fault.map(|it| it.0), fault.map(|it| it.1));
    let text = mended.map(|it| it.payload.as_str()).filter(|it| !it.is_empty());
    let text = text.or_else(|| std::str::from_utf8(&item.payload).ok()).unwrap_or_default();
    html! {
        section .panel aria-labelledby="mend-title" {
            h2 #mend-title { "Mend and replay" }
            @if item.state == QuarantineState::Replayed {
                p { "It was sent in again and understood." }
            } @else if viewer.require_role(OPERATORS).is_err() {
                p .quiet { "Replaying is for operators." }
            } @else {
                @if let Some(fault) = fault {
                    div .notice.is-bad role="alert" {
                        p { strong { (fault.message) } }
                        p .meta { "Code " code { (fault.code) } " · nothing was changed" }
                    }
                }
                form action={ "/quarantine/" (item.id) "/replay" } method="post" {
                    div .field { label for="payload" { "Payload" }
                        textarea #payload name="payload" rows="6" spellcheck="false" { (text) } }
                    div .field { label for="sent_at" { "Sent at, by the sender's clock (optional)" }
                        input #sent_at name="sent_at" value=(mended.map_or("", |it| it.sent_at.as_str()))
                            placeholder="2026-11-20T10:00:00Z" maxlength="40"; }
                    p .meta { "A sample's time is corrected by the difference between this time and its arrival." }
                    div .buttons { button type="submit" { "Replay" } }
                }
            }
        }
    }
}

/// A payload as text where it is that, else as hexadecimal digits with what can be read beside.
fn payload(bytes: &[u8]) -> Markup {
    let is_text =
        |text: &&str| text.chars().all(|c| !c.is_control() || matches!(c, '\n' | '\r' | '\t'));
    match std::str::from_utf8(bytes).ok().filter(is_text) {
        Some(text) => {
            let json = serde_json::from_str::<serde_json::Value>(text).ok();
            let text = json.map_or_else(|| text.to_owned(), |json| format!("{json:#}"));
            html! { pre tabindex="0" { code { (text) } } }
        }
        None => html! {
            pre tabindex="0" { code { (hexadecimal(bytes)) } }
            @if bytes.len() > HEX_BYTES_MAX {
                p .meta { "The first " (HEX_BYTES_MAX) " bytes; the API gives all of them." }
            }
        },
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    let mut text = String::new();
    for (line, chunk) in bytes.chunks(16).take(HEX_BYTES_MAX / 16).enumerate() {
        let digits: Vec<String> = chunk.iter().map(|byte| format!("{byte:02x}")).collect();
        let readable = |byte: &u8| match byte {
            0x20..=0x7e => char::from(*byte),
            _ => '.',
        };
        let beside: String = chunk.iter().map(readable).collect();
        // Writing to a text does not fail.
        let written = writeln!(text, "{:06x}  {:<47}  {beside}", line * 16, digits.join(" "));
        debug_assert!(written.is_ok(), "a text takes everything");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_shown_as_what_it_is() {
        for (bytes, words) in [
            (&b"{\"a\":1}"[..], "{\n  &quot;a&quot;: 1\n}"),
            (b"<script>", "&lt;script&gt;"),
            (b"\x0a\x04abc\xff", "000000  0a 04 61 62 63 ff"),
            (b"a\x1b[2J", "61 1b 5b"),
        ] {
            let shown = payload(bytes).into_string();
            assert!(shown.contains(words), "{shown}");
        }
    }
}
