//! `/energy`: what households use: now, and by day, week, month and year.

mod chart;

use std::sync::Arc;
use std::time::Duration;

use axle_app::{Consumption, ConsumptionQuestion, Period, Reading, SocketUse, Zone};
use axle_domain::port::DeviceFilter;
use axle_domain::{Access, Device, DeviceId, Timestamp, limit};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use serde::Deserialize;

use crate::answer::encode;
use crate::api::Api;
use crate::console::layout::{Nav, empty, heading, html_answer, module, page, pill};
use crate::console::viewer::Viewer;
use crate::console::written::{grouped, moment};
use crate::problem::Problem;

/// Households of a page.
const PAGE: usize = 50;
/// Registry pages that are looked through for one page of households.
const LOOKS_MAX: usize = 20;
/// How long a page waits for days to be added up before it shows how far that is.
const WAIT_MAX: Duration = Duration::from_secs(1);
/// Zones that are proposed; any other may be typed.
const ZONES: [&str; 12] = [
    "UTC",
    "Europe/Berlin",
    "Europe/London",
    "Europe/Paris",
    "Europe/Madrid",
    "Europe/Warsaw",
    "Europe/Athens",
    "America/New_York",
    "America/Los_Angeles",
    "Asia/Tokyo",
    "Asia/Kolkata",
    "Australia/Sydney",
];

/// What the address of the list asks for.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct AskList {
    after: String,
}

/// The list of households; where there is but one, its page.
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    viewer: Viewer,
    query: Result<Query<AskList>, QueryRejection>,
) -> Result<Response, Problem> {
    let ask = query.map(|query| query.0).unwrap_or_default();
    let after = if ask.after.is_empty() { None } else { Some(DeviceId::parse(&ask.after)?) };
    let is_first = after.is_none();
    let (meters, next) = meters(&api, &viewer, after).await?;
    if let ([only], true, None) = (meters.as_slice(), is_first, &next) {
        return Ok(Redirect::to(&address(&only.id)).into_response());
    }
    let body = html! {
        (heading("Energy", html! {}))
        @if meters.is_empty() && is_first {
            (empty("No household yet", html! {
                p { "A household is a device of the kind " code { "meter" } ". Register one on the server's machine:" }
                pre tabindex="0" { code { "axle device add home-1 --kind meter --out ./home-1" } }
                p { "It publishes its readings to " code { "v1/d/home-1/t/energy" } "." }
            }))
        } @else {
            section .panel.flush aria-label="List of households" {
                div .scroll tabindex="0" role="group" aria-label="Table of households" {
                    table {
                        thead { tr { th { "Household" } th { "Name" } } }
                        tbody { @for meter in &meters {
                            tr { td { a href=(address(&meter.id)) { (meter.id) } } td { (meter.name) } }
                        } }
                    }
                }
            }
            nav .pages aria-label="Pages" {
                @if is_first { span {} } @else { a .button href="/energy" { "First page" } }
                @if let Some(next) = &next {
                    a .button rel="next" href={ "/energy?after=" (encode(next.as_str())) } { "Next page" }
                }
            }
        }
    };
    Ok(page(&viewer, Nav::Energy, "Energy", body))
}

/// Meters that the viewer may see, and after which device to go on.
async fn meters(
    api: &Api,
    viewer: &Viewer,
    mut after: Option<DeviceId>,
) -> Result<(Vec<Device>, Option<DeviceId>), Problem> {
    let reads = viewer.principal.reads();
    let mut meters = Vec::new();
    for _ in 0..LOOKS_MAX {
        let limit = limit::PAGE_ITEMS_MAX;
        let filter = DeviceFilter { search: String::new(), after: after.clone(), limit };
        let devices = api.app.devices.list_visible(&reads, filter).await?;
        let is_last = devices.len() < limit;
        for device in devices {
            if meters.len() >= PAGE {
                return Ok((meters, after));
            }
            after = Some(device.id.clone());
            if device.kind == "meter" {
                meters.push(device);
            }
        }
        if is_last {
            return Ok((meters, None));
        }
    }
    Ok((meters, after))
}

fn address(device: &DeviceId) -> String {
    format!("/energy/{}", encode(device.as_str()))
}

/// What the address of a household asks for.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Ask {
    period: String,
    date: String,
    tz: String,
}

/// What a page shows.
struct Shown {
    device: Device,
    period: Period,
    zone: Zone,
    span: (Timestamp, Timestamp),
    neighbors: [(Timestamp, Timestamp); 2],
    used: Consumption,
    before: Consumption,
    now: Timestamp,
}

/// The page of a household.
pub(super) async fn get(
    State(api): State<Arc<Api>>,
    viewer: Viewer,
    Path(device): Path<String>,
    query: Result<Query<Ask>, QueryRejection>,
) -> Result<Response, Problem> {
    let ask = query.map(|query| query.0).unwrap_or_default();
    let device = readable(&api, &viewer, &device).await?;
    let zone = if ask.tz.is_empty() { Zone::utc() } else { Zone::parse(ask.tz.trim())? };
    let period = match ask.period.as_str() {
        "week" => Period::Week,
        "month" => Period::Month,
        "year" => Period::Year,
        _ => Period::Day,
    };
    let now = api.app.consumption.clock_now();
    let at = zone.parse_day(&ask.date).unwrap_or(now);
    let span = zone.period(at, period)?;
    let neighbors = zone.neighbors(at, period)?;
    let question = ConsumptionQuestion {
        device: device.id.clone(),
        from: span.0,
        to: span.1,
        bucket: period.bucket(),
        zone: zone.clone(),
    };
    let reach = (neighbors[0].0, span.1);
    let (done, days) =
        api.app.consumption.prepare(&viewer.principal, &device.id, reach, WAIT_MAX).await?;
    if done < days {
        return Ok(adding_up(&viewer, &device, done, days));
    }
    let used = api.app.consumption.get(&viewer.principal, &question).await?;
    // A period that still runs is compared with as much of the one before.
    let passed = span.1.min(now).micros_since(span.0);
    let [(from, end), _] = neighbors;
    let to = if passed <= 0 || span.1 <= now { end } else { from.shifted(passed).min(end) };
    let question = ConsumptionQuestion { from, to, ..question };
    let before = api.app.consumption.get(&viewer.principal, &question).await?;
    let latest = api.app.consumption.now(&viewer.principal, &device.id).await?;
    let shown = Shown { device, period, zone, span, neighbors, used, before, now };
    let name = match shown.device.name.as_str() {
        "" => shown.device.id.to_string(),
        name => name.to_owned(),
    };
    let body = html! {
        (module("energy.js"))
        (heading(&name, html! {
            a href={ "/devices/" (encode(shown.device.id.as_str())) } { "Device " (shown.device.id) }
            a href="/energy" { "All households" }
        }))
        section .panel aria-labelledby="now" {
            h2 #now { "Now" }
            div hx-get={ (address(&shown.device.id)) "/now" } hx-trigger="every 10s" {
                (readings(&latest, now))
            }
        }
        (use_of(&shown))
    };
    Ok(page(&viewer, Nav::Energy, &name, body))
}

/// Where the work is, until a year that nobody asked for yet is added up.
fn adding_up(viewer: &Viewer, device: &Device, done: usize, days: usize) -> Response {
    let body = html! {
        (heading(device.id.as_str(), html! { a href="/energy" { "All households" } }))
        section .panel {
            h2 #adding { "Adding up readings" }
            progress max=(days) value=(done) aria-labelledby="adding" {}
            p role="status" { (done) " of " (days) " days. This is done once; the page goes on by itself." }
        }
    };
    let mut response = page(viewer, Nav::Energy, device.id.as_str(), body);
    response.headers_mut().insert("refresh", HeaderValue::from_static("0"));
    response
}

/// The newest readings alone, for htmx.
pub(super) async fn now(
    State(api): State<Arc<Api>>,
    viewer: Viewer,
    Path(device): Path<String>,
) -> Result<Response, Problem> {
    let device = readable(&api, &viewer, &device).await?;
    let latest = api.app.consumption.now(&viewer.principal, &device.id).await?;
    Ok(html_answer(StatusCode::OK, readings(&latest, api.app.consumption.clock_now())))
}

async fn readable(api: &Api, viewer: &Viewer, device: &str) -> Result<Device, Problem> {
    let device = DeviceId::parse(device)?;
    viewer.principal.require(Access::Read(&device))?;
    Ok(api.app.devices.get(&device).await?)
}

fn readings(latest: &[Reading], now: Timestamp) -> Markup {
    let most = latest.iter().map(|it| it.watts).fold(1.0, f64::max);
    let sum: f64 = latest.iter().map(|it| it.watts).sum();
    html! {
        @if latest.is_empty() {
            p { "No reading within the last 24 hours." }
        } @else {
            p .number { (grouped_float(sum)) span .unit { "W at " (latest.len()) @if latest.len() == 1 { " socket" } @else { " sockets" } } }
            ul .meters {
                @for reading in latest {
                    li {
                        span .what { (reading.socket) " " span .quiet { (reading.name) } }
                        meter .share min="0" max=(format!("{most:.1}"))
                            value=(format!("{:.1}", reading.watts.max(0.0)))
                            aria-label={ (reading.socket) " " (reading.name) } {}
                        span .right { (grouped_float(reading.watts)) " W" }
                        span .quiet.right { (moment(reading.time, now)) }
                    }
                }
            }
        }
    }
}

fn grouped_float(number: f64) -> String {
    let sign = if number < -0.5 { "−" } else { "" };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it saturates")]
    let whole = number.abs().round() as u64;
    format!("{sign}{}", grouped(whole))
}

fn use_of(shown: &Shown) -> Markup {
    let is_empty = shown.used.sockets.iter().all(|socket| socket.covered_s <= 0.0);
    html! {
        section .panel aria-labelledby="used" {
            (controls(shown))
            @if is_empty {
                (empty("No reading in this time", html! {
                    @if shown.span.0 > shown.now {
                        p { "It is still to come." }
                    } @else {
                        p { "Nothing was received, so nothing is known: that is not the same as nothing used. Look at another time, or at the "
                            a href={ "/devices/" (encode(shown.device.id.as_str())) } { "device" } "." }
                    }
                }))
            } @else {
                (summary(shown))
                (chart::draw(&shown.used, &|at| label(shown, at), &title(shown)))
                (sockets(shown))
                (table(shown))
            }
        }
    }
}

fn word(period: Period) -> &'static str {
    match period {
        Period::Day => "day",
        Period::Week => "week",
        Period::Month => "month",
        Period::Year => "year",
    }
}

fn title(shown: &Shown) -> String {
    let (zone, from) = (&shown.zone, shown.span.0);
    match shown.period {
        Period::Day => zone.text(from, "%A, %-d %B %Y"),
        Period::Week => format!(
            "{} to {}",
            zone.text(from, "%-d %B"),
            zone.text(shown.span.1.shifted(-1), "%-d %B %Y")
        ),
        Period::Month => zone.text(from, "%B %Y"),
        Period::Year => zone.text(from, "%Y"),
    }
}

/// What stands under a bucket.
fn label(shown: &Shown, at: Timestamp) -> String {
    let pattern = match shown.period {
        Period::Day => "%H:%M",
        Period::Week => "%a %-d",
        Period::Month => "%-d",
        Period::Year => "%b",
    };
    shown.zone.text(at, pattern)
}

fn controls(shown: &Shown) -> Markup {
    let link = |period: Period, at: Timestamp| {
        let date = shown.zone.text(at, "%F");
        let zone = encode(shown.zone.name());
        format!("{}?period={}&date={date}&tz={zone}", address(&shown.device.id), word(period))
    };
    // The period that a shorter or longer one leads to holds today, where this one does.
    let holds_now = shown.span.0 <= shown.now && shown.now < shown.span.1;
    let anchor = if holds_now { shown.now } else { shown.span.0 };
    html! {
        div .bar.energy {
            h2 #used { (title(shown)) }
            div .end {
                nav .choice aria-label="Length" {
                    @for period in [Period::Day, Period::Week, Period::Month, Period::Year] {
                        a href=(link(period, anchor)) aria-current=[(period == shown.period).then_some("true")]
                            { (word(period)) }
                    }
                }
                nav .choice aria-label="Time" {
                    a rel="prev" href=(link(shown.period, shown.neighbors[0].0))
                        aria-label={ "The " (word(shown.period)) " before" } { "‹ before" }
                    @if shown.span.1 <= shown.now {
                        a rel="next" href=(link(shown.period, shown.neighbors[1].0))
                            aria-label={ "The " (word(shown.period)) " after" } { "after ›" }
                    }
                }
            }
        }
        form .fields action=(address(&shown.device.id)) method="get" {
            input type="hidden" name="period" value=(word(shown.period));
            div .field { label for="date" { "Day" }
                input #date type="date" name="date" value=(shown.zone.text(anchor, "%F")); }
            div .field { label for="tz" { "Time zone" }
                input #tz name="tz" list="zones" maxlength="64" value=(shown.zone.name()); }
            datalist #zones { @for zone in ZONES { option value=(zone) {} } }
            div .field { button type="submit" { "Show" } }
        }
    }
}

fn summary(shown: &Shown) -> Markup {
    let (kwh, before) = (shown.used.kwh(), shown.before.kwh());
    let coverage = shown.used.coverage();
    let is_running = shown.now < shown.span.1;
    let than = match is_running {
        true => format!("by now in the {} before", word(shown.period)),
        false => format!("in the {} before", word(shown.period)),
    };
    html! {
        p .number { (kwh_text(kwh)) span .unit { "kWh" @if is_running { " so far" } } }
        p .meta {
            @if shown.before.coverage() <= 0.0 {
                "Nothing is known of the " (word(shown.period)) " before. "
            } @else {
                (change(kwh, before)) " " (than) " (" (kwh_text(before)) " kWh"
                @if shown.before.coverage() < 0.9 { ", of which only " (percent(shown.before.coverage())) " is known" }
                "). "
            }
            @if coverage < 0.995 {
                (pill(if coverage < 0.9 { "warn" } else { "info" },
                    &format!("{} of the time is known", percent(coverage))))
            } @else { (pill("good", "all of the time is known")) }
        }
    }
}

fn percent(share: f64) -> String {
    // What is not whole is never rounded to whole, and what is there never to nothing.
    format!("{:.0} %", (share * 100.0).clamp(if share > 0.0 { 1.0 } else { 0.0 }, 100.0).floor())
}

fn change(kwh: f64, before: f64) -> String {
    if before <= 0.0 {
        return "More than".to_owned();
    }
    let change = (kwh / before - 1.0) * 100.0;
    match change {
        change if change.abs() < 0.5 => "About as much as".to_owned(),
        change if change > 0.0 => format!("{change:.0} % more than"),
        change => format!("{:.0} % less than", -change),
    }
}

fn kwh_text(kwh: f64) -> String {
    match kwh {
        kwh if kwh >= 100.0 => format!("{kwh:.0}"),
        kwh if kwh >= 1.0 => format!("{kwh:.2}"),
        kwh => format!("{kwh:.3}"),
    }
}

fn sockets(shown: &Shown) -> Markup {
    let before = |socket: &SocketUse| {
        let same = |it: &&SocketUse| it.socket == socket.socket && it.name == socket.name;
        shown.before.sockets.iter().find(same).filter(|it| it.covered_s > 0.0)
    };
    let seconds = shown.used.seconds.max(1) as f64;
    html! {
        div { div .scroll tabindex="0" role="group" aria-label="What each socket used" {
            table {
                thead { tr { th { "Socket" } th { "Measured" } th .right { "kWh" }
                    th .right { (word(shown.period)) " before" } th .right { "Known" } th { "From" } } }
                tbody { @for (socket, color) in chart::ranked(&shown.used) {
                    tr {
                        td { span class={ "swatch " (color) } aria-hidden="true" {} " " (socket.socket) }
                        td { (socket.name) }
                        td .right { (kwh_text(socket.kwh)) }
                        td .right { @match before(socket) { Some(it) => (kwh_text(it.kwh)),
                            None => span .quiet { "no data" } } }
                        td .right { (percent((socket.covered_s / seconds).min(1.0))) }
                        td { @if socket.is_counted { "counter" } @else { "readings" }
                            @if socket.gap_kwh > 0.0 {
                                " (and " (kwh_text(socket.gap_kwh)) " kWh in gaps, nobody knows when)"
                            } }
                    }
                } }
            }
        } }
    }
}

/// The chart as numbers.
fn table(shown: &Shown) -> Markup {
    html! {
        details {
            summary { "The chart as a table" }
            div .scroll tabindex="0" role="group" aria-label="Kilowatt-hours by time and socket" {
                table {
                    thead { tr { th { "From" }
                        @for socket in &shown.used.sockets { th .right { (socket.socket) " " (socket.name) } }
                    } }
                    tbody { @for (index, bucket) in shown.used.buckets.iter().enumerate() {
                        @if bucket.seconds > 0 {
                            tr {
                                th scope="row" { (shown.zone.text(bucket.from, "%a %F %H:%M")) }
                                @for socket in &shown.used.sockets {
                                    td .right { @match socket.values.get(index).filter(|it| it.covered_s > 0.0) {
                                        Some(value) => (kwh_text(value.kwh)),
                                        None => span .quiet { "no data" } } }
                                }
                            }
                        }
                    } }
                }
            }
        }
    }
}
