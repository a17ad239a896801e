//! `/components/{serial}`: the whole life of a component, from when to when it sat in which
//! device.

use std::sync::Arc;
use std::time::Duration;

use axle_domain::port::{Cell, History, Reduce};
use axle_domain::{Component, ComponentStatus, Error, Installation, Serial, StreamName, Timestamp};
use axum::extract::{Path, State};
use axum::response::Response;
use maud::{Markup, html};

use crate::answer::encode;
use crate::api::Api;
use crate::console::layout::{Nav, empty, heading, page, pill};
use crate::console::viewer::Viewer;
use crate::console::written::{clock_time, float, moment, span};
use crate::problem::Problem;

/// Installations of which the odometer is shown beside, the newest ones.
const ODOMETERS_MAX: usize = 3;

/// How long after an installation a device may take to say something.
const READING_TIME_MAX: Duration = Duration::from_secs(24 * 3600);

/// What a device said when a component was built in.
struct Reading {
    odometer_km: Option<f64>,
    battery_pct: Option<f64>,
}

/// The page.
pub(super) async fn get(
    State(api): State<Arc<Api>>,
    viewer: Viewer,
    Path(serial): Path<String>,
) -> Result<Response, Problem> {
    let serial = Serial::parse(&serial).map_err(|_error| {
        Error::not_found("component.not_found", "there is no component of that serial")
    })?;
    let (component, life) = api.app.components.get(&viewer.principal, &serial).await?;
    let now = api.app.ports.clock.now();
    let mut readings = Vec::new();
    for installation in life.iter().rev().take(ODOMETERS_MAX) {
        readings.push(reading(&api, &viewer, installation).await);
    }
    let body = html! {
        (title(&component, &life))
        (facts(&component, now))
        (timeline(&life, &readings, now))
    };
    Ok(page(&viewer, Nav::Devices, component.serial.as_str(), body))
}

fn title(component: &Component, life: &[Installation]) -> Markup {
    let sits = life.iter().rfind(|it| it.is_open());
    heading(
        component.serial.as_str(),
        html! {
            span .pill { (component.kind) }
            (status(component.status))
            @if let Some(sits) = sits {
                span { "sits in "
                    a href={ "/devices/" (encode(sits.device.as_str())) } { (sits.device) } }
            }
        },
    )
}

fn facts(component: &Component, now: Timestamp) -> Markup {
    html! {
        section .panel aria-labelledby="facts-title" {
            h2 #facts-title { "What is known" }
            dl .facts {
                dt { "Model" }
                dd { @if component.model.is_empty() { "unknown" } @else { (component.model) } }
                dt { "Produced" }
                dd { @match component.produced_at { Some(at) => (clock_time(at)), None => "unknown" } }
                dt { "Registered" } dd { (moment(component.created_at, now)) }
                dt { "Changed last" } dd { (moment(component.updated_at, now)) }
            }
        }
    }
}

fn timeline(life: &[Installation], readings: &[Reading], now: Timestamp) -> Markup {
    if life.is_empty() {
        return empty(
            "It has not sat in any device",
            html! { p { "Its life begins when a plant or a workshop says where it was built in." } },
        );
    }
    html! {
        section .panel aria-labelledby="life-title" {
            h2 #life-title { "Its life, the latest first" }
            ol .timeline {
                @for (index, it) in life.iter().rev().enumerate() {
                    li .is-open[it.is_open()] {
                        p {
                            a href={ "/devices/" (encode(it.device.as_str())) } { (it.device) }
                            " " span .quiet { "for " (length(it, now)) }
                        }
                        p .meta {
                            "from " (clock_time(it.from)) " "
                            @match it.to { Some(to) => { "to " (clock_time(to)) },
                                None => "until now" }
                            @if let Some(reading) = readings.get(index) { (said(reading)) }
                        }
                    }
                }
            }
        }
    }
}

fn length(installation: &Installation, now: Timestamp) -> String {
    let micros = installation.to.unwrap_or(now).micros_since(installation.from);
    span(Duration::from_micros(u64::try_from(micros).unwrap_or(0)))
}

fn said(reading: &Reading) -> Markup {
    html! {
        @if let Some(km) = reading.odometer_km { " · odometer " (float(km)) " km" }
        @if let Some(percent) = reading.battery_pct { " · battery " (float(percent)) " %" }
    }
}

/// The first that the device said after the component was built in. Nothing where it said
/// nothing, or where this cannot be asked just now: the page has its point without.
async fn reading(api: &Api, viewer: &Viewer, installation: &Installation) -> Reading {
    let mut reading = Reading { odometer_km: None, battery_pct: None };
    let Ok(stream) = StreamName::parse("status") else { return reading };
    let end = installation.from.after(READING_TIME_MAX);
    let history = History {
        device: installation.device.clone(),
        stream,
        from: installation.from,
        to: installation.to.map_or(end, |to| to.min(end)),
        fields: vec!["odometer_km".to_owned(), "battery_pct".to_owned()],
        reduce: Reduce::Points(2),
    };
    let Ok((table, _)) = api.app.queries.history(&viewer.principal, history).await else {
        return reading;
    };
    let first = |name: &str| {
        let column = table.columns.iter().position(|column| column.name == name)?;
        table.rows.iter().find_map(|row| match row.get(column)? {
            Cell::Float(number) => Some(*number),
            Cell::Null | Cell::Bool(_) | Cell::Int(_) | Cell::Time(_) | Cell::Text(_) => None,
        })
    };
    (reading.odometer_km, reading.battery_pct) = (first("odometer_km"), first("battery_pct"));
    reading
}

/// A status of a component in its color.
pub(super) fn status(status: ComponentStatus) -> Markup {
    match status {
        ComponentStatus::InUse => pill("good", "in use"),
        ComponentStatus::Spare => pill("calm", "spare"),
        ComponentStatus::Remanufactured => pill("info", "remanufactured"),
        ComponentStatus::Recycled => pill("warn", "recycled"),
    }
}
