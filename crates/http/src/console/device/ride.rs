//! The last ride: map and charts that know of each other.

use axle_app::Ride;
use maud::{Markup, PreEscaped, html};
use serde_json::json;

use crate::console::asset::address;
use crate::console::layout::module;
use crate::console::written::{clock_time, float};

/// Places of the table for those without scripts.
const TABLE_ROWS: usize = 40;

/// The section.
pub(super) fn section(ride: &Ride) -> Markup {
    let (Some(first), Some(last)) = (ride.points.first(), ride.points.last()) else {
        return html! {};
    };
    let minutes = ride.duration().as_secs() / 60;
    html! {
        section .panel #ride aria-labelledby="ride-title" {
            div .bar {
                h2 #ride-title { "Last ride" }
                span .quiet {
                    (clock_time(first.time)) " – " (clock_time(last.time)) " · "
                    (minutes / 60) " h " (minutes % 60) " min · "
                    (format!("{:.1}", ride.distance_km())) " km · "
                    (ride.points.len()) @if ride.points.len() == 1 { " place" } @else { " places" }
                    @if ride.is_reduced { ", reduced for drawing" }
                }
            }
            div .ride data-ride="ride-points" {
                div .ride-map role="group" aria-label="Map of the ride" {}
                div .ride-charts {}
            }
            script type="application/json" #ride-points { (PreEscaped(points_json(ride))) }
            link rel="stylesheet" href=(address("vendor/maplibre-gl.css"));
            link rel="stylesheet" href=(address("map.css"));
            (module("ride.js"))
            details { summary { "As a table" } (table(ride)) }
        }
    }
}

/// Columns of numbers; times are milliseconds since 1970. No text of a device is in it.
fn points_json(ride: &Ride) -> String {
    let points = ride.points.iter().map(|point| {
        json!({
            "time": point.time.micros() / 1000,
            "lat": point.lat,
            "lon": point.lon,
            "speed_kmh": point.speed_kmh,
            "altitude_m": point.altitude_m,
            "battery_pct": point.battery_pct,
            "heart_rate_bpm": point.heart_rate_bpm,
        })
    });
    points.collect::<serde_json::Value>().to_string()
}

fn table(ride: &Ride) -> Markup {
    let step = ride.points.len().div_ceil(TABLE_ROWS).max(1);
    let number = |number: Option<f64>| number.map_or(String::new(), float);
    html! {
        div .scroll tabindex="0" role="group" aria-label="Places of the ride" {
            table {
                thead { tr { th { "Time" } th .right { "Latitude" } th .right { "Longitude" }
                    th .right { "Speed, km/h" } th .right { "Altitude, m" }
                    th .right { "Battery, %" } } }
                tbody {
                    @for point in ride.points.iter().step_by(step) {
                        tr {
                            td { (clock_time(point.time)) }
                            td .right { (format!("{:.5}", point.lat)) }
                            td .right { (format!("{:.5}", point.lon)) }
                            td .right { (number(point.speed_kmh)) }
                            td .right { (number(point.altitude_m)) }
                            td .right { (number(point.battery_pct)) }
                        }
                    }
                }
            }
        }
    }
}
