//! `/map`: where the fleet is, as GeoJSON that a map draws as it comes.

use std::sync::Arc;

use axle_app::{Area, Cluster, MapFilter, MapView, Vehicle};
use axle_domain::{Error, Timestamp, limit};
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::IntoResponse;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::answer::{body_answer, time};
use crate::api::Api;
use crate::call::{Answer, Call};
use crate::operation::{EVERYONE, OPERATION, Operation, Parameter, Reply};
use crate::parameter::{Parameters, invalid};
use crate::problem::Problem;

const GEOJSON: &str = "application/geo+json";
/// Longest kind or part of an id that is looked for.
const FILTER_BYTES_MAX: usize = 256;

pub(super) static VIEW: Operation = Operation {
    id: "getMap",
    path: "/api/v1/map",
    tag: "Telemetry",
    summary: "See where the fleet is",
    description: "The latest positions in an area as GeoJSON: vehicles one by one where they are \
        few, else clusters, whatever the size of the fleet. Counts of clusters and vehicles sum \
        to `total`. The same view again with `If-None-Match` answers 304 while nothing moved.",
    rights: "`admin`, or `read:DEVICE` for these devices",
    roles: EVERYONE,
    query: &[
        Parameter {
            name: "bbox",
            schema: r#"{"type":"string"}"#,
            description: "West, south, east, north in degrees, separated by commas; a west \
                greater than the east crosses the antimeridian. Default: the world.",
        },
        Parameter {
            name: "zoom",
            schema: r#"{"type":"number","minimum":0,"maximum":24,"default":1}"#,
            description: "The zoom of a map with tiles of 512 pixels; decides what is too close \
                to be told apart.",
        },
        Parameter {
            name: "kind",
            schema: r#"{"type":"string"}"#,
            description: "Only vehicles of this kind.",
        },
        Parameter {
            name: "q",
            schema: r#"{"type":"string"}"#,
            description: "Only vehicles whose id has this part, in any case.",
        },
    ],
    headers: &[Parameter {
        name: "If-None-Match",
        schema: r#"{"type":"string"}"#,
        description: "Nothing, with 304, if the view still has this `ETag`.",
    }],
    replies: &[
        Reply {
            status: 200,
            description: "What the area holds.",
            schema: Some("MapView"),
            media: &[GEOJSON],
        },
        Reply { status: 304, description: "Nothing moved.", schema: None, media: &[] },
    ],
    problems: &[403],
    ..OPERATION
};

pub(super) async fn view(State(api): State<Arc<Api>>, call: Call) -> Answer {
    let area = area(&call.parameters)?;
    let filter = filter(&call.parameters)?;
    let (app, principal) = (Arc::clone(&api.app), call.principal);
    // Milliseconds of a processor where the fleet is large.
    let look = move || app.fleet_map.view(&principal, &area, &filter);
    let view = tokio::task::spawn_blocking(look).await;
    let view = view.map_err(|error| Error::internal("map.view", error.to_string()))??;
    let tag = tag(&view);
    let is_known = call.headers.get(IF_NONE_MATCH).is_some_and(|known| matches_tag(known, &tag));
    let mut headers = HeaderMap::new();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    headers.extend(HeaderValue::from_str(&tag).ok().map(|tag| (ETAG, tag)));
    if is_known {
        return Ok((StatusCode::NOT_MODIFIED, headers).into_response());
    }
    let body = body(&view).to_string();
    Ok((headers, body_answer(StatusCode::OK, GEOJSON, body)).into_response())
}

fn area(parameters: &Parameters) -> Result<Area, Problem> {
    let zoom = match parameters.find("zoom") {
        None => 1.0,
        Some(text) => text.parse().map_err(|_error| invalid("zoom", "must be a number"))?,
    };
    let bbox = parameters.find("bbox").unwrap_or("-180,-90,180,90");
    Ok(Area::parse(bbox, zoom)?)
}

fn filter(parameters: &Parameters) -> Result<MapFilter, Problem> {
    for name in ["kind", "q"] {
        if parameters.find(name).is_some_and(|text| text.len() > FILTER_BYTES_MAX) {
            return Err(invalid(name, &format!("is at most {FILTER_BYTES_MAX} bytes")));
        }
    }
    Ok(MapFilter {
        kind: parameters.find("kind").filter(|kind| !kind.is_empty()).map(str::to_owned),
        search: parameters.find("q").unwrap_or_default().to_owned(),
    })
}

/// Names what a view holds but for the moment of asking, which every age follows from.
fn tag(view: &MapView) -> String {
    let timeless = MapView { now: Timestamp::default(), ..view.clone() };
    let hash = Sha256::digest(format!("{timeless:?}"));
    let hex: String = hash.iter().take(12).map(|byte| format!("{byte:02x}")).collect();
    format!("W/\"{hex}\"")
}

fn matches_tag(known: &HeaderValue, tag: &str) -> bool {
    let known = known.to_str().unwrap_or_default();
    known.split(',').any(|known| known.trim() == tag)
}

fn body(view: &MapView) -> Value {
    let vehicles = view.vehicles.iter().map(|vehicle| single(vehicle, view.now));
    let features: Vec<Value> = view.clusters.iter().map(cluster).chain(vehicles).collect();
    let kinds: Map<String, Value> =
        view.kinds.iter().map(|(kind, count)| (kind.clone(), json!(count))).collect();
    json!({
        "type": "FeatureCollection",
        "features": features,
        "total": view.total,
        "online": view.online,
        "moving": view.moving,
        "kinds": kinds,
        "complete": view.is_complete,
        "now": time(view.now),
        "limit": limit::MAP_CELLS_MAX,
    })
}

fn cluster(cluster: &Cluster) -> Value {
    let properties = json!({
        "cluster": true,
        "count": cluster.count,
        "online": cluster.online,
        "moving": cluster.moving,
        "bounds": cluster.bounds,
    });
    feature(cluster.lat, cluster.lon, properties)
}

fn single(vehicle: &Vehicle, now: Timestamp) -> Value {
    let properties = json!({
        "cluster": false,
        "device": vehicle.device,
        "kind": vehicle.kind,
        "time": time(vehicle.time),
        "age_s": now.micros_since(vehicle.time).max(0) / 1_000_000,
        "speed_kmh": vehicle.speed_kmh,
        "battery_pct": vehicle.battery_pct,
        "heading_deg": vehicle.heading_deg,
        "online": vehicle.is_online,
        "moving": vehicle.is_moving,
    });
    feature(vehicle.lat, vehicle.lon, properties)
}

fn feature(lat: f64, lon: f64, properties: Value) -> Value {
    json!({
        "type": "Feature",
        "geometry": {"type": "Point", "coordinates": [lon, lat]},
        "properties": properties,
    })
}
