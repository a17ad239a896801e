//! `/`: what goes on, as numbers that live.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use futures_util::stream;
use maud::{Markup, html};

use crate::answer::encode;
use crate::api::Api;
use crate::console::feed::{self, Part};
use crate::console::layout::{self, Nav, empty, heading, pill};
use crate::console::live::{Figures, Rates};
use crate::console::spark;
use crate::console::viewer::{Role, Viewer};
use crate::console::written::{bytes, grouped, moment};
use crate::problem::Problem;

/// The page.
pub(super) async fn get(State(api): State<Arc<Api>>, viewer: Viewer) -> Response {
    if viewer.role == Role::Household {
        return std::future::ready(Redirect::to("/energy").into_response()).await;
    }
    let figures = Arc::clone(&api.figures.borrow());
    let body = html! {
        (heading("Overview", html! {
            span #connection .pill.is-calm role="status" { "as of loading" }
        }))
        div data-live="/live/overview" {
            @for (name, write) in PARTS {
                div data-part=(name) { (write(&figures)) }
            }
        }
    };
    layout::page(&viewer, Nav::Overview, "Overview", body)
}

/// A part of the page and what writes it.
type Write = fn(&Figures) -> Markup;
const PARTS: [(&str, Write); 4] =
    [("start", start), ("figures", cards), ("latest", latest), ("quarantine", quarantine)];

/// The parts as Server-Sent Events, each when it changes.
pub(super) async fn live(
    State(api): State<Arc<Api>>,
    viewer: Viewer,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    if viewer.role == Role::Household {
        return Err(Problem::of_status(StatusCode::NOT_FOUND));
    }
    let mut figures = api.figures.clone();
    figures.mark_changed();
    let source = stream::unfold(figures, |mut figures| async move {
        figures.changed().await.ok()?;
        let current = Arc::clone(&figures.borrow_and_update());
        let parts = PARTS.iter().map(|(name, write)| Part::new(name, write(&current)));
        Some((parts.collect(), figures))
    });
    std::future::ready(feed::answer(&api, &headers, source)).await
}

/// What to do first, while nothing is there.
fn start(figures: &Figures) -> Markup {
    html! {
        @if figures.is_stuck {
            div .notice.is-bad role="alert" {
                p { strong { "A projection cannot go on: the server's log says why." } }
                p .meta { "Messages are kept safely and are shown once it goes on." }
            }
        }
        @if figures.devices == 0 {
            (empty("No device yet", html! {
                p { "Register one on the server's machine; it writes a key, a certificate and a line that publishes a first message:" }
                pre tabindex="0" { code { "axle device add bike-1 --out ./bike-1" } }
                p { "Or look at a whole simulated fleet, in a data directory of its own:" }
                pre tabindex="0" { code { "axle demo" } }
            }))
        } @else if figures.log_records == 0 {
            (empty("No message yet", html! {
                p { "Devices are registered, and none has reported. Publish a first message with a device's certificate:" }
                pre tabindex="0" { code {
                    "mosquitto_pub -h localhost -p 8883 --cafile ca.crt --cert DEVICE.crt --key DEVICE.key \\\n"
                    "  -i DEVICE -q 1 -t v1/d/DEVICE/t/status -m '{\"battery_pct\": 81}'"
                } }
                p { "Its address stands in " code { "addresses.json" } " of the data directory." }
            }))
        }
    }
}

fn cards(figures: &Figures) -> Markup {
    let rate = |pick: fn(&Rates) -> u64| figures.rates.iter().map(pick).collect::<Vec<_>>();
    let now = figures.now();
    let lag = figures.store_lag.max(figures.state_lag);
    html! {
        section .cards aria-label="Figures" {
            div .card {
                h2 { "Messages" }
                p .number { (grouped(now.messages)) span .unit { "per second" } }
                (spark::line("Messages per second", &rate(|it| it.messages)))
            }
            div .card {
                h2 { "Rows" }
                p .number { (grouped(now.rows)) span .unit { "per second" } }
                (spark::line("Rows per second", &rate(|it| it.rows)))
            }
            div .card {
                h2 { a href="/devices" { "Devices" } }
                p .number { (grouped(figures.connections as u64))
                    span .unit { "connected, of " (grouped(figures.devices as u64)) } }
                (spark::share(figures.connections as u64, figures.devices as u64))
            }
            div .card {
                h2 { "Lag" }
                p .number { (grouped(lag)) span .unit { "messages not shown yet" } }
                p .meta {
                    (match lag { 0..1000 => pill("good", "up to date"),
                        1000..100_000 => pill("warn", "catching up"), _ => pill("bad", "behind") })
                    " queries " (grouped(figures.store_lag))
                    " · latest values " (grouped(figures.state_lag))
                }
            }
            div .card {
                h2 { "Log" }
                p .number { (bytes(figures.log_bytes)) span .unit { "on disk" } }
                p .meta { (grouped(figures.log_records)) " messages since the beginning" }
            }
            div .card {
                h2 { "Store" }
                p .number { (bytes(figures.store_bytes)) span .unit { "in "
                    (grouped(figures.store_files)) " files" } }
                p .meta { (grouped(figures.store_rows)) " rows, queryable" }
            }
            div .card {
                h2 { a href="/quality" { "Quarantine" } }
                p .number { (grouped(figures.quarantined)) span .unit { "set aside" } }
                p .meta { "samples and messages, with their reasons" }
            }
            div .card {
                h2 { "Updated" }
                p .number { (moment(figures.at, figures.at)) }
                p .meta { "once a second; by the server's clock" }
            }
        }
    }
}

fn latest(figures: &Figures) -> Markup {
    html! {
        section .panel aria-labelledby="latest-title" {
            h2 #latest-title { "Latest messages" }
            @if figures.latest.is_empty() {
                p .quiet { "No message has come yet." }
            } @else {
                div .scroll tabindex="0" role="group" aria-labelledby="latest-title" {
                    table {
                        thead { tr { th { "Received" } th { "Device" } th { "Topic" } th { "Door" }
                            th .right { "Bytes" } th .right { "Offset" } } }
                        tbody {
                            @for message in &figures.latest {
                                tr {
                                    td { (moment(message.time, figures.at)) }
                                    td { (device(&message.device)) }
                                    td { code { (message.topic) } }
                                    td { (message.source) }
                                    td .right { (grouped(message.bytes as u64)) }
                                    td .right { (message.offset) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn quarantine(figures: &Figures) -> Markup {
    html! {
        section .panel aria-labelledby="quarantine-title" {
            h2 #quarantine-title { "Latest in quarantine" }
            @if figures.quarantine.is_empty() {
                p .quiet { "Nothing was set aside." }
            } @else {
                div .scroll tabindex="0" role="group" aria-labelledby="quarantine-title" {
                    table {
                        thead { tr { th { "Received" } th { "Device" } th { "Code" } th { "Reason" } } }
                        tbody {
                            @for item in figures.quarantine.iter() {
                                tr {
                                    td { (moment(item.received_at, figures.at)) }
                                    td { (device(&item.device)) }
                                    td { code { (item.code) } }
                                    td .wrap { (item.detail) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn device(id: &str) -> Markup {
    html! { a href={ "/devices/" (encode(id)) } { (id) } }
}
