//! Charts of every numeric field over a chosen range, and the same as a table.

use std::sync::Arc;

use axle_app::{DeviceState, parse_time};
use axle_domain::port::{Aggregate, Cell, History, Reduce, Table};
use axle_domain::{DeviceId, Error, OwnedValue, StreamName, StreamSchema, Timestamp};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::json;

use super::values::split;
use crate::answer::encode;
use crate::api::Api;
use crate::console::layout::{html_answer, module};
use crate::console::viewer::Viewer;
use crate::console::written::{clock_time, field_name, float};
use crate::problem::Problem;

/// Rows of the table.
const TABLE_ROWS: usize = 50;
const HOUR: i64 = 3600 * 1_000_000;
/// The ranges that end now: name, label, length and width of a row of the table, microseconds.
const RANGES: [(&str, &str, i64, i64); 4] = [
    ("1h", "1 h", HOUR, HOUR / 30),
    ("24h", "24 h", 24 * HOUR, HOUR / 2),
    ("7d", "7 d", 7 * 24 * HOUR, 4 * HOUR),
    ("all", "All", i64::MAX, 24 * HOUR),
];

/// What the address asks for.
#[derive(Clone, Default, Deserialize)]
#[serde(default)]
pub(in crate::console) struct Ask {
    stream: String,
    range: String,
    from: String,
    to: String,
}

/// A stretch of time.
struct Range {
    name: String,
    from: Timestamp,
    to: Timestamp,
    /// Width of a row of the table, microseconds.
    step: i64,
    /// Length, where it ends now.
    length: Option<i64>,
}

/// `GET /devices/{id}/charts`: the section alone, for htmx.
pub(in crate::console) async fn get(
    State(api): State<Arc<Api>>,
    viewer: Viewer,
    Path(id): Path<String>,
    query: Result<Query<Ask>, QueryRejection>,
) -> Result<Response, Problem> {
    let device = super::find(&api, &viewer, &id).await?.id;
    let state = api.app.queries.state(&viewer.principal, &device).await?;
    let ask = query.map(|query| query.0).unwrap_or_default();
    Ok(html_answer(StatusCode::OK, section(&api, &viewer, (&device, &state), &ask).await?))
}

/// The section; nothing where no number was ever reported.
pub(super) async fn section(
    api: &Api,
    viewer: &Viewer,
    (device, state): (&DeviceId, &DeviceState),
    ask: &Ask,
) -> Result<Markup, Problem> {
    let streams = numeric_streams(state);
    let chosen = streams.iter().find(|stream| **stream == ask.stream).or(streams.first());
    let Some(schema) = chosen.and_then(|stream| api.app.schemas.find(stream)) else {
        return Ok(html! {});
    };
    let range = range(ask, state, schema)?;
    let fields = numeric_fields(state, schema);
    let table = read(api, viewer, device, (schema, &fields), &range).await?;
    let link = |stream: &str, range: &str| {
        format!("/devices/{}?stream={stream}&range={range}", encode(device.as_str()))
    };
    Ok(html! {
        section .panel #charts aria-labelledby="charts-title" {
            div .bar {
                h2 #charts-title { "Charts" }
                nav .choice aria-label="Stream" {
                    @for stream in &streams {
                        (choice(stream, &link(stream, &range.name), *stream == schema.name.as_str()))
                    }
                }
                nav .choice aria-label="Range" {
                    @for (name, label, ..) in RANGES {
                        (choice(label, &link(schema.name.as_str(), name), name == range.name))
                    }
                }
                (custom(device, schema, &range))
            }
            (canvas(device, schema, &fields, &range))
            (as_table(&table, &range))
            (module("charts.js"))
        }
    })
}

/// A link that also works as a part of the page.
fn choice(label: &str, address: &str, is_current: bool) -> Markup {
    let part = address.replacen('?', "/charts?", 1);
    html! {
        a href={ (address) "#charts" } hx-get=(part) hx-target="#charts" hx-swap="outerHTML"
            aria-current=[is_current.then_some("true")] { (label) }
    }
}

fn custom(device: &DeviceId, schema: &StreamSchema, range: &Range) -> Markup {
    let action = format!("/devices/{}", encode(device.as_str()));
    let local = |time: Timestamp| {
        let text = axle_app::format_time(time);
        text.get(..16).unwrap_or_default().to_owned()
    };
    let is_custom = range.name == "custom";
    html! {
        details .custom open[is_custom] {
            summary { "Custom" }
            form .bar action=(action) method="get" hx-get={ (action) "/charts" }
                hx-target="#charts" hx-swap="outerHTML" {
                input type="hidden" name="stream" value=(schema.name);
                input type="hidden" name="range" value="custom";
                label { "From " input type="datetime-local" name="from" required
                    value=[is_custom.then(|| local(range.from))]; }
                label { "to " input type="datetime-local" name="to" required
                    value=[is_custom.then(|| local(range.to))]; }
                span .quiet { "UTC" }
                button type="submit" { "Show" }
            }
        }
    }
}

/// What the module draws, and where.
fn canvas(device: &DeviceId, schema: &StreamSchema, fields: &[&str], range: &Range) -> Markup {
    let source = format!("/api/v1/devices/{}/telemetry/{}", encode(device.as_str()), schema.name);
    let described: Vec<_> = fields
        .iter()
        .map(|name| {
            let (label, unit) = field_name(name);
            json!({"name": name, "label": label, "unit": unit})
        })
        .collect();
    html! {
        div .charts data-charts=(source) data-fields=(json!(described)) data-keys=(json!(schema.keys))
            data-length=[range.length.map(|length| length / 1000)]
            data-from=(range.from.micros() / 1000) data-to=(range.to.micros() / 1000)
            aria-live="off" {}
    }
}

fn as_table(table: &Table, range: &Range) -> Markup {
    let skipped = table.rows.len().saturating_sub(TABLE_ROWS);
    let minutes = range.step / 60_000_000;
    html! {
        details {
            summary { "As a table" }
            @if table.rows.is_empty() {
                p .quiet { "No row lies in this range." }
            } @else {
                p .meta {
                    "Averages of " @if minutes >= 1 { (minutes) " min" } @else { "less than a minute" }
                    @if skipped > 0 { ", the newest " (TABLE_ROWS) " of " (table.rows.len()) }
                    ". Times in UTC."
                }
                div .scroll tabindex="0" role="group" aria-label="Values" {
                    table {
                        thead { tr { @for column in &table.columns {
                            th .right[column.name != "time"] { (column.name) }
                        } } }
                        tbody {
                            @for row in table.rows.iter().skip(skipped) {
                                tr { @for cell in row { (shown(cell)) } }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn shown(cell: &Cell) -> Markup {
    match cell {
        Cell::Null => html! { td {} },
        Cell::Bool(truth) => html! { td .right { (truth) } },
        Cell::Int(number) => html! { td .right { (number) } },
        Cell::Float(number) => html! { td .right { (float(*number)) } },
        Cell::Time(time) => html! { td { (clock_time(*time)) } },
        Cell::Text(text) => html! { td .right { (text) } },
    }
}

async fn read(
    api: &Api,
    viewer: &Viewer,
    device: &DeviceId,
    (schema, fields): (&StreamSchema, &[&str]),
    range: &Range,
) -> Result<Table, Error> {
    let history = History {
        device: device.clone(),
        stream: StreamName::parse(schema.name.as_str())?,
        from: range.from,
        to: range.to,
        fields: fields.iter().map(|name| (*name).to_owned()).collect(),
        reduce: Reduce::Bucket(range.step, Aggregate::Avg),
    };
    Ok(api.app.queries.history(&viewer.principal, history).await?.0)
}

/// Streams of which the device has reported a number.
fn numeric_streams(state: &DeviceState) -> Vec<&str> {
    let numbers = state.fields.iter().filter(|it| matches!(it.value, OwnedValue::Float(_)));
    let mut streams: Vec<_> = numbers.map(|it| split(&it.field.0).0).collect();
    streams.dedup();
    streams
}

/// Fields of which it has reported a number; places last, since a map shows them better.
fn numeric_fields<'a>(state: &DeviceState, schema: &'a StreamSchema) -> Vec<&'a str> {
    let is_there = |name: &str| {
        state.fields.iter().any(|latest| {
            let (stream, field, _) = split(&latest.field.0);
            let is_number = matches!(latest.value, OwnedValue::Float(_));
            is_number && stream == schema.name.as_str() && field == name
        })
    };
    let mut fields: Vec<_> = schema.fields.iter().map(|field| field.name).collect();
    fields.retain(|name| is_there(name));
    fields.sort_by_key(|name| matches!(*name, "lat" | "lon"));
    fields
}

/// The range that is asked for; else the shortest that holds the newest value.
fn range(ask: &Ask, state: &DeviceState, schema: &StreamSchema) -> Result<Range, Problem> {
    let end = state.now.shifted(1_000_000);
    if ask.range == "custom" {
        let (from, to) = (moment("from", &ask.from)?, moment("to", &ask.to)?);
        let length = to.micros_since(from);
        if length <= 0 {
            let detail = "`from` must be before `to`";
            return Err(Problem::bad_request("telemetry.range_empty", detail));
        }
        let step = (length / 48).max(1_000_000);
        return Ok(Range { name: "custom".to_owned(), from, to, step, length: None });
    }
    let of_stream = state.fields.iter().filter(|it| split(&it.field.0).0 == schema.name.as_str());
    let age = of_stream.map(|it| state.now.micros_since(it.time)).min().unwrap_or_default();
    let named = RANGES.iter().find(|(name, ..)| *name == ask.range);
    let fitting = RANGES.iter().skip(1).find(|(_, _, length, _)| age < *length);
    let (name, _, length, step) = named.or(fitting).copied().unwrap_or(("all", "", i64::MAX, HOUR));
    let from = match length {
        i64::MAX => Timestamp::YEAR_2000,
        length => end.shifted(-length),
    };
    let length = (length != i64::MAX).then_some(length);
    Ok(Range { name: name.to_owned(), from, to: end, step, length })
}

/// A moment as a field of the form sends it, in UTC.
fn moment(name: &str, text: &str) -> Result<Timestamp, Problem> {
    let forms = [format!("{text}:00Z"), format!("{text}Z"), text.to_owned()];
    forms.iter().find_map(|text| parse_time(text)).ok_or_else(|| {
        let detail = format!("`{name}` must be a time such as 2026-11-20T10:00");
        Problem::bad_request("telemetry.range_invalid", detail)
    })
}
