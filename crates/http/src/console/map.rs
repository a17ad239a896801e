//! `/map`: where the fleet is. The map itself is drawn by a script; the list below it is written
//! here and leads closer by links, so that the page works without one.

use std::sync::Arc;

use axle_app::{Area, Cluster, MapFilter, MapView, Vehicle};
use axle_domain::{Error, Role};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;

use crate::answer::encode;
use crate::api::Api;
use crate::console::asset;
use crate::console::layout::{Nav, module, page};
use crate::console::viewer::Viewer;
use crate::problem::Problem;

/// Rows of the list.
const ROWS_MAX: usize = 400;

#[derive(Default, Deserialize)]
pub(super) struct Wanted {
    #[serde(default)]
    bbox: String,
    zoom: Option<f64>,
    #[serde(default)]
    kind: String,
    #[serde(default)]
    q: String,
}

impl Wanted {
    /// The address of another area with the same filter.
    fn address(&self, [west, south, east, north]: [f64; 4]) -> String {
        let mut address = format!("/map?bbox={west},{south},{east},{north}&zoom=24");
        for (name, value) in [("kind", &self.kind), ("q", &self.q)] {
            if !value.is_empty() {
                address.push_str(&format!("&{name}={}", encode(value)));
            }
        }
        address
    }
}

pub(super) async fn get(
    State(api): State<Arc<Api>>,
    viewer: Viewer,
    query: Result<Query<Wanted>, QueryRejection>,
) -> Result<Response, Problem> {
    viewer.require_role(&[Role::Admin, Role::Operator, Role::Support, Role::Household])?;
    let wanted = query.map(|query| query.0).map_err(|_error| {
        Problem::bad_request("request.query_invalid", "the query of the address is unreadable")
    })?;
    let area = match wanted.bbox.as_str() {
        "" => Area::world(),
        bbox => Area::parse(bbox, wanted.zoom.unwrap_or(1.0))?,
    };
    let filter = MapFilter {
        kind: Some(wanted.kind.clone()).filter(|kind| !kind.is_empty()),
        search: wanted.q.clone(),
    };
    let (app, principal) = (Arc::clone(&api.app), viewer.principal.clone());
    let view = tokio::task::spawn_blocking(move || app.fleet_map.view(&principal, &area, &filter));
    let view = view.await.map_err(|error| Error::internal("map.view", error.to_string()))??;
    Ok(page(&viewer, Nav::Map, "Map", body(&api.basemap.address(), &wanted, &view)))
}

fn body(basemap: &str, wanted: &Wanted, view: &MapView) -> Markup {
    let bounds = bounds(wanted, view);
    html! {
        link rel="stylesheet" href=(asset::address("vendor/maplibre-gl.css"));
        link rel="stylesheet" href=(asset::address("map.css"));
        @for name in ["vendor/maplibre-gl.js", "basemap.js"] {
            link rel="modulepreload" href=(asset::address(name));
        }
        script src=(asset::address("vendor/pmtiles.js")) defer {}
        div .map-page {
            div .bar {
                h1 { "Map" }
                span #map-counts { (counts(view)) }
                form #find .end action="/map" method="get" role="search" aria-label="Find a vehicle" {
                    label .hidden for="find-q" { "Id of a vehicle" }
                    input #find-q type="search" name="q" maxlength="128" autocomplete="off"
                        placeholder="Fly to a vehicle …" value=(wanted.q);
                    button type="submit" { "Find" }
                }
            }
            div #kinds .map-kinds role="group" aria-label="Kinds of vehicles" {}
            noscript { p { "The map needs JavaScript; the list below does not." } }
            div .map-frame {
                p #map-status role="status" {}
                div #map .map-canvas role="region" aria-label="Live map of the fleet"
                    data-basemap=(basemap) data-kind=(wanted.kind) data-q=(wanted.q)
                    data-bounds=[bounds.map(|it| it.map(|edge| edge.to_string()).join(","))] {}
                ul .map-legend aria-label="Legend" {
                    li { span .is-moving {} "moving" }
                    li { span .is-online {} "connected" }
                    li { span .is-offline {} "not connected" }
                    li { span .is-cluster {} "several" }
                }
            }
            details open[!wanted.bbox.is_empty() || !wanted.q.is_empty()] {
                summary { "What is in view, as a list" }
                (list(wanted, view))
            }
        }
        (module("map.js"))
    }
}

fn counts(view: &MapView) -> Markup {
    html! {
        strong { (view.total) } " in view · " (view.online) " connected · " (view.moving) " moving"
    }
}

fn list(wanted: &Wanted, view: &MapView) -> Markup {
    html! {
        div .scroll tabindex="0" role="region" aria-label="Vehicles in view" {
            table {
                thead { tr {
                    th scope="col" { "Vehicle" } th scope="col" { "Latitude, longitude" }
                    th scope="col" { "State" } th scope="col" { "Seen there" }
                } }
                tbody #map-list {
                    @for cluster in view.clusters.iter().take(ROWS_MAX) { (several(wanted, cluster)) }
                    @for vehicle in view.vehicles.iter().take(ROWS_MAX) { (single(vehicle, view)) }
                }
            }
        }
        @if view.total == 0 {
            div .empty {
                p { strong { "No vehicle has reported a position here yet." } }
                p { "A vehicle appears with its first message that has " code { "lat" } " and "
                    code { "lon" } ". " a href="/devices" { "Register a device" } ", or start "
                    code { "axle demo" } " to see a fleet." }
            }
        }
    }
}

fn several(wanted: &Wanted, cluster: &Cluster) -> Markup {
    html! { tr {
        td { a href=(wanted.address(cluster.bounds)) { (cluster.count) " vehicles" } }
        td { (format!("{:.4}, {:.4}", cluster.lat, cluster.lon)) }
        td { (cluster.online) " connected, " (cluster.moving) " moving" }
        td {}
    } }
}

fn single(vehicle: &Vehicle, view: &MapView) -> Markup {
    let state = match (vehicle.is_moving, vehicle.is_online) {
        (true, _) => "moving",
        (false, true) => "connected",
        (false, false) => "not connected",
    };
    html! { tr {
        td { a href={ "/devices/" (encode(&vehicle.device)) } { (vehicle.device) } }
        td { (format!("{:.4}, {:.4}", vehicle.lat, vehicle.lon)) }
        td { (state) }
        td { (super::written::moment(vehicle.time, view.now)) }
    } }
}

/// West, south, east, north of what is shown first: the wanted area, else all vehicles.
fn bounds(wanted: &Wanted, view: &MapView) -> Option<[f64; 4]> {
    if !wanted.bbox.is_empty() {
        let mut edges = wanted.bbox.split(',').filter_map(|edge| edge.trim().parse().ok());
        return Some([edges.next()?, edges.next()?, edges.next()?, edges.next()?]);
    }
    let singles = view.vehicles.iter().map(|it| [it.lon, it.lat, it.lon, it.lat]);
    let clusters = view.clusters.iter().map(|it| it.bounds);
    let all = clusters
        .chain(singles)
        .reduce(|a, b| [a[0].min(b[0]), a[1].min(b[1]), a[2].max(b[2]), a[3].max(b[3])]);
    // Over the antimeridian the least and the greatest say nothing: then the whole world.
    all.filter(|[west, _, east, _]| west <= east)
}
