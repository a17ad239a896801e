//! `/system`: how the instance is.

mod followers;

use std::sync::Arc;
use std::time::Duration;

use axle_app::{DoorRates, FileSystem, Quantiles};
use axle_domain::Timestamp;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use futures_util::stream;
use maud::{Markup, html};

use crate::answer::encode;
use crate::api::Api;
use crate::console::feed::{self, Part};
use crate::console::layout::{self, Nav, heading, pill};
use crate::console::spark;
use crate::console::viewer::Viewer;
use crate::console::written::{bytes, grouped, moment, span};
use crate::operation::OPERATORS;
use crate::problem::Problem;
use crate::vitals::Signs;

/// The page.
pub(super) async fn get(State(api): State<Arc<Api>>, viewer: Viewer) -> Result<Response, Problem> {
    viewer.require_role(OPERATORS)?;
    let signs = Arc::clone(&api.vitals.borrow());
    let body = html! {
        (heading("System", html! {
            span #connection .pill.is-calm role="status" { "as of loading" }
            a href="/api/v1/system" { "as JSON" }
        }))
        div data-live="/live/system" {
            @for (name, write) in PARTS {
                div data-part=(name) { (write(&signs)) }
            }
        }
    };
    std::future::ready(Ok(layout::page(&viewer, Nav::System, "System", body))).await
}

/// A part of the page and what writes it.
type Write = fn(&Signs) -> Markup;
const PARTS: [(&str, Write); 6] = [
    ("alarms", alarms),
    ("rates", rates),
    ("latencies", latencies),
    ("followers", followers::followers),
    ("disks", disks),
    ("machine", machine),
];

/// The parts as Server-Sent Events, each when it changes.
pub(super) async fn live(
    State(api): State<Arc<Api>>,
    viewer: Viewer,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    viewer.require_role(OPERATORS)?;
    let mut signs = api.vitals.clone();
    signs.mark_changed();
    let source = stream::unfold(signs, |mut signs| async move {
        signs.changed().await.ok()?;
        let current = Arc::clone(&signs.borrow_and_update());
        let parts = PARTS.iter().map(|(name, write)| Part::new(name, write(&current)));
        Some((parts.collect(), signs))
    });
    std::future::ready(feed::answer(&api, &headers, source)).await
}

/// What a person should look at first.
fn alarms(signs: &Signs) -> Markup {
    let vitals = &signs.vitals;
    let nearly_full = |it: &&FileSystem| {
        it.full_in.is_some_and(|it| it < Duration::from_secs(7 * 86_400))
            || it.free_bytes < it.total_bytes / 20
    };
    html! {
        @if vitals.is_stuck {
            div .notice.is-bad role="alert" {
                p { strong { "A projection cannot go on: the server's log says why." } }
                p .meta { "Messages are kept safely and are shown once it goes on." }
            }
        }
        @for disk in vitals.file_systems.iter().filter(nearly_full) {
            div .notice.is-warn role="alert" {
                p { strong {
                    "The disk of " (disk.parts.join(", ")) " has "
                    (bytes(disk.free_bytes)) " left" (full(disk)) "."
                } }
                p .meta { "Make room, or keep less of the log: log.retention_bytes, log.retention_age." }
            }
        }
        @for warning in vitals.machine.identity.warnings(vitals.at) {
            div .notice.is-warn { p { strong { (warning) } } }
        }
        @if vitals.ending_count > 0 {
            div .notice.is-warn {
                p { strong { (grouped(vitals.ending_count)) " device certificates end within 30 days." } }
                p .meta { "They are listed below; axle device add ID --renew issues new ones." }
            }
        }
    }
}

fn full(disk: &FileSystem) -> String {
    disk.full_in.map_or_else(String::new, |wait| format!(", full in about {}", days(wait)))
}

fn days(wait: Duration) -> String {
    match wait.as_secs() / 86_400 {
        0 => format!("{} h", wait.as_secs() / 3_600),
        1..730 => format!("{} days", wait.as_secs() / 86_400),
        days => format!("{} years", days / 365),
    }
}

/// One of the rates.
type Pick = fn(&DoorRates) -> f64;

fn rates(signs: &Signs) -> Markup {
    let vitals = &signs.vitals;
    let cards: [(_, _, Pick, u64); 5] = [
        ("Received", "rows and messages at the door", |it| it.received, vitals.counters.received()),
        ("Stored", "rows", |it| it.stored, vitals.counters.stored),
        ("Quarantined", "samples and messages", |it| it.quarantined, vitals.counters.quarantined),
        ("Rejected", "messages that may not come in", |it| it.rejected, vitals.counters.rejected),
        ("Shed", "messages for which there was no room", |it| it.shed, vitals.counters.shed),
    ];
    html! {
        section .cards aria-label="Rates at the door" {
            @for (title, what, pick, total) in cards {
                div .card {
                    h2 { (title) }
                    p .number { (rate(pick(&vitals.rates))) span .unit { "per second" } }
                    (spark::history(title, &vitals.history.iter().map(pick).collect::<Vec<_>>()))
                    p .meta { (grouped(total)) " in all: " (what) }
                }
            }
            div .card {
                h2 { "Connections" }
                p .number { (grouped(vitals.connections))
                    span .unit { "of " (grouped(vitals.devices)) " devices" } }
                (spark::share(vitals.connections, vitals.devices))
                p .meta { a href="/connections" { "Who was refused, and why" } }
            }
        }
    }
}

/// A rate with as many digits as it is worth.
fn rate(per_second: f64) -> String {
    match per_second {
        0.0 => "0".to_owned(),
        ..10.0 => format!("{per_second:.1}"),
        _ => {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a rate is not negative, and no machine does more than 2^64 a second"
            )]
            let whole = per_second.round() as u64;
            grouped(whole)
        }
    }
}

fn latencies(signs: &Signs) -> Markup {
    let vitals = &signs.vitals;
    html! {
        div .columns.is-two {
            section .panel aria-labelledby="latencies-title" {
                h2 #latencies-title { "Latencies of the last five minutes" }
                div .scroll tabindex="0" role="group" aria-labelledby="latencies-title" {
                    table {
                        thead { tr { th scope="col" { "What" } th .right scope="col" { "Median" }
                            th .right scope="col" { "99 %" } th .right scope="col" { "Count" } } }
                        tbody {
                            (took("Log: write and sync of a commit", &vitals.commits))
                            @for it in &vitals.projections {
                                (took(match it.name {
                                    "store" => "From arrival until queries see it",
                                    _ => "From arrival until it is a latest value",
                                }, &it.shown_after))
                            }
                            @for (class, it) in &signs.requests { (took(class.label(), it)) }
                        }
                    }
                }
            }
            section .panel aria-labelledby="projections-title" {
                h2 #projections-title { "Projections" }
                div .scroll tabindex="0" role="group" aria-labelledby="projections-title" {
                    table {
                        thead { tr { th scope="col" { "Projection" } th .right scope="col" { "Position" }
                            th .right scope="col" { "Behind" } th .right scope="col" { "Shows until" }
                            th scope="col" { "State" } } }
                        tbody {
                            @for it in &vitals.projections {
                                tr {
                                    td { (it.name) }
                                    td .right { (grouped(it.position)) }
                                    td .right { (grouped(it.lag_records)) " records" }
                                    td .right { @if it.lag_records == 0 { "now" } @else { (span(it.age)) " ago" } }
                                    td { (match (vitals.is_stuck, it.age.as_secs()) {
                                        (true, _) => pill("bad", "stuck"),
                                        (false, 0..5) => pill("good", "up to date"),
                                        (false, 5..60) => pill("warn", "catching up"),
                                        _ => pill("bad", "behind"),
                                    }) }
                                }
                            }
                        }
                    }
                }
                p .meta.after { "The log has " (grouped(vitals.log.durable.0)) " records that are safe." }
            }
        }
    }
}

fn took(what: &str, quantiles: &Quantiles) -> Markup {
    let written = |it: Option<Duration>| it.map_or_else(|| "–".to_owned(), span);
    html! {
        tr {
            td { (what) }
            td .right { (written(quantiles.p50)) }
            td .right { (written(quantiles.p99)) }
            td .right { (grouped(quantiles.count)) }
        }
    }
}

fn disks(signs: &Signs) -> Markup {
    let vitals = &signs.vitals;
    let (log, store) = (&vitals.log, &vitals.store);
    html! {
        section .panel aria-labelledby="disks-title" {
            h2 #disks-title { "Disk" }
            @for disk in &vitals.file_systems {
                div .disk {
                    p { strong { (bytes(disk.free_bytes)) } " free of " (bytes(disk.total_bytes))
                        " · " (disk.parts.join(", ")) " · "
                        @match (disk.full_in, disk.bytes_per_day) {
                            (Some(wait), _) => {
                                strong { "full in about " (days(wait)) } " at this rate"
                            }
                            (None, Some(_)) => { "not filling up at this rate" }
                            (None, None) => {
                                "not enough history yet to say when it is full: ten minutes are needed"
                            }
                        }
                    }
                    (spark::share(disk.total_bytes.saturating_sub(disk.free_bytes), disk.total_bytes))
                }
            }
            div .scroll tabindex="0" role="group" aria-labelledby="disks-title" {
                table {
                    thead { tr { th scope="col" { "Part" } th .right scope="col" { "Takes" }
                        th .right scope="col" { "Grows a day" } th scope="col" { "Holds" } th scope="col" { "Where" } } }
                    tbody {
                        @for it in &vitals.parts {
                            tr {
                                td { (it.part) }
                                td .right { (bytes(it.bytes)) }
                                td .right { (it.bytes_per_day.map_or_else(|| "–".to_owned(), growth)) }
                                td .wrap { @match it.part {
                                    "log" => {
                                        (grouped(vitals.log_segments)) " segment" @if vitals.log_segments != 1 { "s" } ", from offset " (grouped(log.first.0))
                                        @if let Some(first) = vitals.log_first_at { ", " (moment(first, vitals.at)) }
                                    }
                                    "store" => {
                                        (grouped(store.files)) " files with " (grouped(store.file_rows)) " rows; "
                                        (grouped(store.recent_rows)) " rows in memory; "
                                        (grouped(store.collapsed_rows)) " duplicates collapsed"
                                    }
                                    _ => { "registry, people, commands, latest values, quarantine" }
                                } }
                                td { code { (it.path) } }
                            }
                        }
                    }
                }
            }
            @if let Some(over) = vitals.grown_over {
                p .meta.after { "Growth as measured over the last " (span(over)) "." }
            }
        }
    }
}

fn growth(per_day: f64) -> String {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is not negative, and no disk grows by 2^64 bytes a day"
    )]
    let written = bytes(per_day.abs().round() as u64);
    if per_day < 0.0 { format!("−{written}") } else { written }
}

fn machine(signs: &Signs) -> Markup {
    let vitals = &signs.vitals;
    let (machine, process) = (&vitals.machine, &vitals.machine.process);
    let facts = [
        ("Version", format!("axle {}", machine.version)),
        ("System", machine.system.clone()),
        (
            "Memory",
            format!("{} of {}", bytes(process.memory_bytes), bytes(process.machine_memory_bytes)),
        ),
        ("Processors", format!("{:.2} of {} in use", vitals.processors_used, process.processors)),
        ("Threads", grouped(process.threads)),
        (
            "Open files",
            format!("{} of {}", grouped(process.open_files), grouped(process.open_files_max)),
        ),
    ];
    html! {
        div .columns.is-two {
            section .panel aria-labelledby="process-title" {
                h2 #process-title { "Process" }
                dl .facts {
                    dt { "Started" } dd { (moment(machine.started_at, vitals.at)) }
                    @for (name, value) in facts { dt { (name) } dd { (value) } }
                    @for (name, address) in &machine.listeners {
                        dt { "Listens: " (name) } dd { code { (address) } }
                    }
                }
            }
            section .panel aria-labelledby="certificates-title" {
                h2 #certificates-title { "Certificates" }
                dl .facts {
                    @for it in &machine.identity.ends {
                        dt { (it.name) } dd { (ends_in(it.ends, vitals.at)) }
                    }
                }
                @if vitals.ending.is_empty() {
                    p .quiet { "No device certificate ends within 30 days." }
                } @else {
                    div .scroll tabindex="0" role="group" aria-labelledby="certificates-title" {
                        table {
                            thead { tr { th scope="col" { "Device" } th scope="col" { "Certificate" } th scope="col" { "Ends" } } }
                            tbody {
                                @for it in vitals.ending.iter() {
                                    tr {
                                        td { a href={ "/devices/" (encode(it.device.as_str())) } { (it.device) } }
                                        td { code { (it.fingerprint.to_string().get(..16).unwrap_or_default()) "…" } }
                                        td { (ends_in(it.not_after, vitals.at)) }
                                    }
                                }
                            }
                        }
                    }
                    @if vitals.ending_count > vitals.ending.len() as u64 {
                        p .meta.after { "and " (grouped(vitals.ending_count - vitals.ending.len() as u64)) " more" }
                    }
                }
            }
        }
    }
}

fn ends_in(ends: Timestamp, now: Timestamp) -> Markup {
    let exact = axle_app::format_time(ends);
    let left = Duration::from_micros(u64::try_from(ends.micros_since(now)).unwrap_or(0));
    html! { time datetime=(exact) title=(exact) { "in " (days(left)) } }
}
