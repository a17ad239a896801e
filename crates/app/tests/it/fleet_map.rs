//! The live map: what it shows, to whom, and that it is what the state holds.

use axle_app::{Area, DeviceChange, MapFilter, MapView, NewDevice};
use axle_domain::limit;
use proptest::prelude::*;

use crate::world::{NOW, World, device};

const WORLD: &str = "-180,-90,180,90";

/// Puts a vehicle somewhere, so many seconds before now.
fn ride(world: &World, id: &str, seconds_ago: i64, rest: &str) {
    let time = NOW.0 / 1000 - seconds_ago * 1000;
    let payload = format!(r#"{{"time":{time},{rest}}}"#);
    world.publish(id, &format!("v1/d/{id}/t/ride"), &payload);
}

fn at(lat: f64, lon: f64) -> String {
    format!(r#""lat":{lat:.6},"lon":{lon:.6}"#)
}

async fn register(world: &World, id: &str, kind: &str) {
    let new = NewDevice { id: device(id), name: String::new(), kind: kind.to_owned() };
    world.app.devices.register(new).await.unwrap();
}

async fn look(world: &World, scopes: &[&str], bbox: &str, zoom: f64, filter: MapFilter) -> MapView {
    let principal = world.principal(scopes).await;
    let area = Area::parse(bbox, zoom).unwrap();
    world.app.fleet_map.view(&principal, &area, &filter).unwrap()
}

fn ids(view: &MapView) -> Vec<&str> {
    view.vehicles.iter().map(|vehicle| vehicle.device.as_str()).collect()
}

#[tokio::test]
async fn a_vehicle_stands_where_it_was_last_with_what_it_said_there() {
    let world = World::new().await;
    ride(&world, "b-1", 60, &at(48.1, 11.5));
    world.settle().await;
    let more = r#","speed_kmh":18.24,"battery_pct":80.6"#;
    ride(&world, "b-1", 50, &format!("{}{more}", at(48.1, 11.51)));
    world.settle().await;
    ride(&world, "b-1", 55, &at(0.0, 0.0));
    ride(&world, "b-1", -600, &at(1.0, 1.0));
    world.ground.link.online.lock().unwrap().insert(device("b-1"), ());
    world.settle().await;
    let view = look(&world, &["admin"], "11,48,12,49", 12.0, MapFilter::default()).await;
    let [vehicle] = &view.vehicles[..] else { panic!("{view:?}") };
    assert_eq!((vehicle.device.as_str(), vehicle.kind.as_str()), ("b-1", "bike"));
    assert_eq!((vehicle.lat, vehicle.lon), (48.1, 11.51), "forward only, never a future row");
    assert_eq!((vehicle.speed_kmh, vehicle.battery_pct), (Some(18.2), Some(81)));
    assert_eq!(vehicle.time, NOW.shifted(-50_000_000));
    assert!(vehicle.is_online && vehicle.is_moving);
    assert_eq!((view.total, view.online, view.moving), (1, 1, 1));
    assert_eq!(view.kinds, [("bike".to_owned(), 1)]);
    assert!(view.is_complete);
}

#[tokio::test]
async fn the_heading_is_of_the_way_it_came() {
    let world = World::new().await;
    for (seconds, lat) in [(20, 48.1), (10, 48.101)] {
        ride(&world, "b-1", seconds, &at(lat, 11.5));
        world.settle().await;
    }
    let view = look(&world, &["admin"], WORLD, 12.0, MapFilter::default()).await;
    assert_eq!(view.vehicles[0].heading_deg, Some(0.0));
}

#[tokio::test]
async fn a_speed_that_is_minutes_old_moves_nothing() {
    let world = World::new().await;
    ride(&world, "b-1", 180, &format!(r#"{},"speed_kmh":18"#, at(48.1, 11.5)));
    ride(&world, "b-2", 5, &format!(r#"{},"speed_kmh":0.5"#, at(48.2, 11.5)));
    world.settle().await;
    let view = look(&world, &["admin"], WORLD, 12.0, MapFilter::default()).await;
    assert_eq!((view.total, view.moving), (2, 0));
}

#[tokio::test]
async fn after_a_restart_the_map_is_filled_from_the_state() {
    let world = World::new().await;
    for number in 0..30 {
        let id = format!("c-{number}");
        register(&world, &id, "car").await;
        ride(&world, &id, 5, &at(10.0 + f64::from(number), 20.0));
    }
    ride(&world, "b-1", 5, r#""lat":48.1"#);
    world.settle().await;
    let before = look(&world, &["admin"], WORLD, 5.0, MapFilter::default()).await;
    assert_eq!((before.total, before.kinds[0].1), (30, 30), "half a position is none");
    let world = World::start(world.stop().await).await;
    while !world.app.fleet_map.is_filled() {
        tokio::task::yield_now().await;
    }
    let after = look(&world, &["admin"], WORLD, 5.0, MapFilter::default()).await;
    assert_eq!(before, after);
}

#[tokio::test]
async fn everybody_sees_their_own_alone() {
    let world = World::new().await;
    for (id, lat) in [("b-1", 48.1), ("b-2", 48.2)] {
        ride(&world, id, 5, &at(lat, 11.5));
    }
    world.settle().await;
    for (scopes, expected) in [
        (&["admin"][..], &["b-1", "b-2"][..]),
        (&["read:b-1"], &["b-1"]),
        (&["read:b-1", "command:b-1"], &["b-1"]),
        (&["command:b-2", "upload:b-1"], &["b-2"]),
    ] {
        let view = look(&world, scopes, WORLD, 12.0, MapFilter::default()).await;
        assert_eq!(ids(&view), expected, "{scopes:?}");
        let counts = (view.total, view.kinds.iter().map(|kind| kind.1).sum::<u64>());
        assert_eq!(counts, (expected.len() as u64, expected.len() as u64), "{scopes:?}");
    }
    let principal = world.principal(&["upload:b-1"]).await;
    let view = world.app.fleet_map.view(&principal, &Area::world(), &MapFilter::default());
    assert_eq!(view.unwrap_err().code, "token.scope_missing");
}

#[tokio::test]
async fn filters_by_kind_and_by_part_of_the_id() {
    let world = World::new().await;
    register(&world, "Car-9", "car").await;
    for (id, lat) in [("b-1", 48.1), ("b-2", 48.2), ("Car-9", 48.3)] {
        ride(&world, id, 5, &at(lat, 11.5));
    }
    world.settle().await;
    let find = async |kind: Option<&str>, search: &str| {
        let filter = MapFilter { kind: kind.map(str::to_owned), search: search.to_owned() };
        look(&world, &["admin"], WORLD, 12.0, filter).await
    };
    let cars = find(Some("car"), "").await;
    assert_eq!((ids(&cars), cars.total), (vec!["Car-9"], 1));
    let kinds = [("bike".to_owned(), 2), ("car".to_owned(), 1)];
    assert_eq!(cars.kinds, kinds, "what one could choose instead");
    assert_eq!(find(Some("boat"), "").await.total, 0);
    assert_eq!(ids(&find(None, "CAR").await), ["Car-9"]);
    assert_eq!(ids(&find(None, "-2").await), ["b-2"]);
    assert_eq!(find(None, "no such thing").await.total, 0);
    let change = DeviceChange { kind: Some("cargo".to_owned()), ..DeviceChange::default() };
    world.app.devices.update(&device("b-1"), change).await.unwrap();
    assert_eq!(ids(&find(Some("cargo"), "").await), ["b-1"]);
}

#[tokio::test]
async fn who_is_connected_follows_the_link() {
    let world = World::new().await;
    ride(&world, "b-1", 5, &at(48.1, 11.5));
    world.settle().await;
    let online = async || look(&world, &["admin"], WORLD, 2.0, MapFilter::default()).await.online;
    assert_eq!(online().await, 0);
    world.ground.link.online.lock().unwrap().insert(device("b-1"), ());
    world.ground.clock.advance(std::time::Duration::from_secs(2));
    assert_eq!(online().await, 1);
    world.ground.link.online.lock().unwrap().clear();
    world.ground.clock.advance(std::time::Duration::from_secs(2));
    assert_eq!(online().await, 0);
}

/// Where vehicles are and where someone looks: everywhere, also over the antimeridian and poles.
fn spots() -> impl Strategy<Value = Vec<(f64, f64)>> {
    let lon = prop_oneof![-180.0..180.0_f64, 179.9..180.0_f64, -180.0..-179.9_f64, 11.0..11.1_f64];
    let lat = prop_oneof![-90.0..90.0_f64, 48.0..48.1_f64];
    proptest::collection::vec((lat, lon), 0..120)
}

fn bbox() -> impl Strategy<Value = (f64, f64, f64, f64)> {
    let lon = || prop_oneof![-180.0..180.0_f64, 10.0..12.0_f64, 179.0..180.0_f64];
    let lat = || prop_oneof![-90.0..90.0_f64, 47.0..49.0_f64];
    (lon(), lat(), lon(), lat()).prop_filter("not empty", |(w, s, e, n)| s < n && w != e)
}

fn is_inside((west, south, east, north): (f64, f64, f64, f64), (lat, lon): (f64, f64)) -> bool {
    let edge = |lat: f64| lat.clamp(-85.0511, 85.0511);
    let is_between = edge(south) <= edge(lat) && edge(lat) <= edge(north);
    let is_east = if west < east { west <= lon && lon <= east } else { lon >= west || lon <= east };
    is_between && is_east
}

fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(future)
}

/// A world with a vehicle at each spot, told of in a given order.
async fn world_of(spots: &[(f64, f64)], order: impl Iterator<Item = usize>) -> World {
    let world = World::new().await;
    for number in 0..spots.len() {
        register(&world, &format!("v-{number:03}"), "bike").await;
    }
    for number in order {
        let (lat, lon) = spots[number];
        let id = format!("v-{number:03}");
        for seconds in [number as i64 % 3, 7, 5] {
            let shift = if seconds == number as i64 % 3 { 0.0 } else { 1.0 };
            ride(&world, &id, seconds, &at((lat + shift).min(90.0), lon));
        }
    }
    world.settle().await;
    world
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn clusters_and_vehicles_sum_to_the_devices_of_the_area_whatever_the_order(
        spots in spots(), areas in proptest::collection::vec((bbox(), 0.0..20.0_f64), 1..12)
    ) {
        run(async {
            // As they are sent: six decimals.
            let round = |degrees: f64| (degrees * 1e6).round() / 1e6;
            let spots: Vec<_> = spots.iter().map(|it| (round(it.0), round(it.1))).collect();
            let forward = world_of(&spots, 0..spots.len()).await;
            let backward = world_of(&spots, (0..spots.len()).rev()).await;
            for (bbox, zoom) in areas {
                let text = format!("{},{},{},{}", bbox.0, bbox.1, bbox.2, bbox.3);
                let view = look(&forward, &["admin"], &text, zoom, MapFilter::default()).await;
                let expected = spots.iter().filter(|spot| is_inside(bbox, **spot)).count() as u64;
                let clustered: u64 = view.clusters.iter().map(|it| u64::from(it.count)).sum();
                prop_assert_eq!(view.total, expected, "{} at {}", &text, zoom);
                prop_assert_eq!(clustered + view.vehicles.len() as u64, expected);
                prop_assert!(view.clusters.len() + view.vehicles.len() <= limit::MAP_CELLS_MAX);
                for cluster in &view.clusters {
                    let [_, south, _, north] = cluster.bounds;
                    prop_assert!(south <= cluster.lat && cluster.lat <= north);
                }
                let other = look(&backward, &["admin"], &text, zoom, MapFilter::default()).await;
                prop_assert_eq!(view, other);
            }
            Ok(())
        })?;
    }
}

#[tokio::test]
async fn near_vehicles_become_one_point_that_tells_its_bounds() {
    let world = World::new().await;
    for (id, lat, lon) in [("b-1", 48.0, 179.999), ("b-2", 48.001, -179.999)] {
        ride(&world, id, 5, &at(lat, lon));
    }
    world.settle().await;
    let view = look(&world, &["admin"], "170,40,190,50", 4.0, MapFilter::default()).await;
    let [cluster] = &view.clusters[..] else { panic!("{view:?}") };
    assert_eq!((cluster.count, cluster.bounds), (2, [179.999, 48.0, -179.999, 48.001]));
    assert!((cluster.lat - 48.0005).abs() < 1e-5 && cluster.lon.abs() > 179.99, "{cluster:?}");
    let near = look(&world, &["admin"], "170,40,190,50", 14.0, MapFilter::default()).await;
    assert_eq!(ids(&near), ["b-1", "b-2"]);
}
