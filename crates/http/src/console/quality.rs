//! `/quality`: how good the data is, and what to do where it is not.

use std::sync::Arc;

use axle_app::{ClockQuality, CodeQuality, DayQuality, FieldQuality, QualityReport};
use axle_domain::Timestamp;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::HeaderValue;
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;

use crate::answer::encode;
use crate::api::Api;
use crate::console::layout::{Nav, empty, heading, page, pill};
use crate::console::spark;
use crate::console::viewer::Viewer;
use crate::console::written::{float, grouped, moment};
use crate::operation::STAFF;
use crate::problem::Problem;

/// The words for how far a time can be trusted, from good to bad.
const QUALITIES: [&str; 5] = ["trusted", "corrected", "late", "future", "unknown"];

/// What the address asks for.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Ask {
    days: u32,
}

/// The page.
pub(super) async fn get(
    State(api): State<Arc<Api>>,
    viewer: Viewer,
    query: Result<Query<Ask>, QueryRejection>,
) -> Result<Response, Problem> {
    viewer.require_role(STAFF)?;
    let days = if query.is_ok_and(|query| query.0.days == 30) { 30 } else { 7 };
    let report = api.app.quality.report(days).await;
    let body = html! {
        (heading("Data quality", html! {
            nav .choice aria-label="Days" {
                @for choice in [7, 30] {
                    a href={ "/quality?days=" (choice) } aria-current=[(choice == days).then_some("true")] {
                        (choice) " days"
                    }
                }
            }
            span { "as of " (moment(report.at, api.app.ports.clock.now())) }
        }))
        @if let Some((done, of)) = report.progress { (progress(&report, done, of)) }
        @for reason in &report.unknown {
            div .notice.is-warn { p { strong { "Not everything could be computed: " } (reason) }
                p .meta { "Fewer days cost less; the rest of this page is complete." } }
        }
        (quarantine(&report))
        (streams(&report))
        div .columns.is-two {
            (clocks(&report))
            (silent(&report))
        }
        (fields(&report))
    };
    let mut response = page(&viewer, Nav::Quality, "Data quality", body);
    if report.progress.is_some() {
        response.headers_mut().insert("refresh", HeaderValue::from_static("2"));
    }
    Ok(response)
}

fn progress(report: &QualityReport, done: usize, of: usize) -> Markup {
    let is_old = !report.took.is_zero();
    html! {
        div .notice {
            p {
                @if is_old { "Counting anew; below is the last report." }
                @else { "Counting; below is what is known so far." }
            }
            label { (done) " of " (of) " streams" progress max=(of) value=(done) {} }
        }
    }
}

fn quarantine(report: &QualityReport) -> Markup {
    html! {
        section .panel aria-labelledby="codes-title" {
            h2 #codes-title { a href="/quarantine" { "Quarantine" } }
            @if report.quarantine.is_empty() {
                p .quiet { "Nothing was set aside." }
            } @else {
                div .scroll tabindex="0" role="group" aria-labelledby="codes-title" {
                    table {
                        thead { tr { th scope="col" { "Code" } th .right scope="col" { "Waiting" }
                            th .right scope="col" { "Replayed" } th scope="col" { "Example" } th scope="col" { "Why" }
                            th scope="col" { "What to do" } } }
                        tbody { @for it in &report.quarantine { (code(it)) } }
                    }
                }
            }
        }
    }
}

fn code(it: &CodeQuality) -> Markup {
    html! {
        tr {
            td { a href={ "/quarantine?code=" (encode(&it.code)) } { code { (it.code) } } }
            td .right { (grouped(it.waiting)) }
            td .right { (grouped(it.replayed)) }
            @match &it.example {
                Some((id, detail)) => {
                    td { a href={ "/quarantine/" (id) } { (id) } }
                    td .wrap { (detail) }
                }
                None => { td {} td {} }
            }
            td .wrap { (it.advice) }
        }
    }
}

fn streams(report: &QualityReport) -> Markup {
    if report.streams.is_empty() && report.progress.is_none() {
        return empty(
            "No rows in these days",
            html! { p { "Rows appear here as soon as devices report. Look at a longer stretch, or \
            publish a first message." } },
        );
    }
    html! {
        section .panel aria-labelledby="streams-title" {
            h2 #streams-title { "Rows by stream and day" }
            div .scroll tabindex="0" role="group" aria-labelledby="streams-title" {
                table {
                    thead { tr { th scope="col" { "Day" } th scope="col" { "Stream" }
                        th .right scope="col" { "Rows" } th scope="col" { "Trust" }
                        @for quality in QUALITIES { th .right scope="col" { (quality) } } } }
                    tbody { @for it in &report.streams { (day(it)) } }
                }
            }
            p .meta.after {
                (grouped(report.collapsed_rows)) " duplicates were collapsed, of all streams since \
                the beginning. Corrected: the device's clock was off and it said so; late: older \
                than a day on arrival; future: ahead of the server; unknown: without a usable time."
            }
        }
    }
}

fn day(it: &DayQuality) -> Markup {
    let of = |quality: &str| it.by_quality.get(quality).copied().unwrap_or(0);
    let written = axle_app::format_time(it.day);
    html! {
        tr {
            th scope="row" { (written.split('T').next().unwrap_or_default()) }
            td { (it.stream) }
            td .right { (grouped(it.rows)) }
            td { (spark::share(of("trusted"), it.rows)) }
            @for quality in QUALITIES {
                td .right { @if of(quality) > 0 { (percent(of(quality), it.rows)) } @else { span .quiet { "–" } } }
            }
        }
    }
}

/// A share that is never written as nothing or all where it is not.
fn percent(part: u64, whole: u64) -> String {
    let share = part as f64 / whole.max(1) as f64 * 100.0;
    match share {
        _ if part == whole => "100 %".to_owned(),
        ..0.1 => "< 0.1 %".to_owned(),
        99.9.. => "> 99.9 %".to_owned(),
        _ => format!("{share:.1} %"),
    }
}

fn clocks(report: &QualityReport) -> Markup {
    html! {
        section .panel aria-labelledby="clocks-title" {
            h2 #clocks-title { "Worst clocks" }
            @if report.clocks.is_empty() {
                p .quiet { "No device's clock is off." }
            } @else {
                div .scroll tabindex="0" role="group" aria-labelledby="clocks-title" {
                    table {
                        thead { tr { th scope="col" { "Device" } th .right scope="col" { "Rows" }
                            th .right scope="col" { "Doubtful" } th .right scope="col" { "Median off" } } }
                        tbody { @for it in &report.clocks { (clock(it)) } }
                    }
                }
                p .meta.after { "Doubtful: corrected, ahead or unknown. Median off: between the time \
                    claimed and the arrival; a device that stores while it is offline is off, too." }
            }
        }
    }
}

fn clock(it: &ClockQuality) -> Markup {
    html! {
        tr {
            td { a href={ "/devices/" (encode(&it.device)) } { (it.device) } }
            td .right { (grouped(it.rows)) }
            td .right { (format!("{:.0} %", it.doubtful_share * 100.0)) }
            td .right { (seconds(it.median_off_s)) }
        }
    }
}

fn seconds(number: f64) -> String {
    match number {
        ..120.0 => format!("{number:.1} s"),
        120.0..7200.0 => format!("{:.0} min", number / 60.0),
        7200.0..172_800.0 => format!("{:.0} h", number / 3600.0),
        _ => format!("{:.0} d", number / 86_400.0),
    }
}

fn silent(report: &QualityReport) -> Markup {
    let (devices, count) = &report.silent_day;
    html! {
        section .panel aria-labelledby="silent-title" {
            h2 #silent-title { "Silent devices" }
            @if *count == 0 {
                p .quiet { "Every registered device was heard of within a day." }
            } @else {
                p { (grouped(*count)) " not heard of for a day, " (grouped(report.silent_week)) " for seven days." }
                div .scroll tabindex="0" role="group" aria-labelledby="silent-title" {
                    table {
                        thead { tr { th scope="col" { "Device" } th scope="col" { "Last message" } } }
                        tbody { @for it in devices { (silence(it.device.as_str(), it.last_seen, report.at)) } }
                    }
                }
            }
        }
    }
}

fn silence(device: &str, seen: Option<Timestamp>, now: Timestamp) -> Markup {
    html! {
        tr {
            td { a href={ "/devices/" (encode(device)) } { (device) } }
            td { @match seen { Some(time) => (moment(time, now)), None => span .quiet { "never" } } }
        }
    }
}

fn fields(report: &QualityReport) -> Markup {
    if report.fields.is_empty() {
        return html! {};
    }
    html! {
        section .panel aria-labelledby="fields-title" {
            h2 #fields-title { "Fields" }
            div .scroll tabindex="0" role="group" aria-labelledby="fields-title" {
                table {
                    thead { tr { th scope="col" { "Stream" } th scope="col" { "Field" }
                        th .right scope="col" { "Missing" } th .right scope="col" { "Least" }
                        th .right scope="col" { "Greatest" } th .right scope="col" { "Possible" } th scope="col" { "Note" } } }
                    tbody { @for it in &report.fields { (field(it)) } }
                }
            }
            p .meta.after { "A value that is not possible is quarantined as "
                a href="/quarantine?code=field.range" { code { "field.range" } } "." }
        }
    }
}

fn field(it: &FieldQuality) -> Markup {
    let missing = it.missing as f64 / it.rows.max(1) as f64;
    html! {
        tr {
            td { (it.stream) }
            th scope="row" { (it.field) }
            td .right { (percent_or_none(it.missing, it.rows)) }
            td .right { @if let Some((least, _)) = it.range { (float(least)) } @else { span .quiet { "–" } } }
            td .right { @if let Some((_, greatest)) = it.range { (float(greatest)) } @else { span .quiet { "–" } } }
            td .right.quiet { @if let Some((least, greatest)) = it.allowed { (float(least)) " … " (float(greatest)) } }
            td { @if it.missing == it.rows { (pill("calm", "never sent")) }
                @else if missing > 0.5 { (pill("warn", "often missing")) } }
        }
    }
}

fn percent_or_none(part: u64, whole: u64) -> String {
    if part == 0 { "–".to_owned() } else { percent(part, whole) }
}
