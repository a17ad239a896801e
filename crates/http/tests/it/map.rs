//! The map's route: what it answers, to whom, and what it refuses.

use expect_test::expect;

use crate::world::World;

fn put(world: &World, id: &str, seconds_ago: i64, lat: f64, lon: f64) {
    let time = crate::world::NOW.0 / 1000 - seconds_ago * 1000;
    let payload =
        format!(r#"{{"time":{time},"lat":{lat},"lon":{lon},"speed_kmh":17.5,"battery_pct":80}}"#);
    world.publish(id, "ride", &payload);
}

#[tokio::test]
async fn shows_clusters_from_afar_and_vehicles_from_near() {
    let world = World::new().await;
    put(&world, "b-1", 5, 48.1, 11.5);
    put(&world, "b-2", 5, 48.2, 11.7);
    world.settle().await;
    let far = world.get("/api/v1/map?bbox=-20,30,40,70&zoom=3").send().await;
    assert_eq!(far.header("content-type"), Some("application/geo+json"));
    expect![[r#"
        200 {
          "complete": true,
          "features": [
            {
              "geometry": {
                "coordinates": [
                  11.6,
                  48.150024
                ],
                "type": "Point"
              },
              "properties": {
                "bounds": [
                  11.5,
                  48.1,
                  11.7,
                  48.2
                ],
                "cluster": true,
                "count": 2,
                "moving": 2,
                "online": 0
              },
              "type": "Feature"
            }
          ],
          "kinds": {
            "bike": 2
          },
          "limit": 1024,
          "moving": 2,
          "now": "2026-09-21T14:13:20Z",
          "online": 0,
          "total": 2,
          "type": "FeatureCollection"
        }"#]]
    .assert_eq(&far.shown());
    let near = world.get("/api/v1/map?bbox=11,48,11.6,48.5&zoom=12.7").send().await.json();
    expect![[r#"
        {"geometry":{"coordinates":[11.5,48.1],"type":"Point"},"properties":{"age_s":5,"battery_pct":80,"cluster":false,"device":"b-1","heading_deg":null,"kind":"bike","moving":true,"online":false,"speed_kmh":17.5,"time":"2026-09-21T14:13:15Z"},"type":"Feature"}"#]]
    .assert_eq(&near["features"][0].to_string());
    assert_eq!((&near["total"], near["features"].as_array().unwrap().len()), (&1.into(), 1));
    let filtered = world.get("/api/v1/map?kind=car&q=b-").send().await.json();
    assert_eq!((&filtered["total"], &filtered["kinds"]["bike"]), (&0.into(), &2.into()));
}

#[tokio::test]
async fn answers_304_until_something_moves() {
    let world = World::new().await;
    put(&world, "b-1", 5, 48.1, 11.5);
    world.settle().await;
    let path = "/api/v1/map?bbox=11,48,12,49&zoom=12";
    let tag = world.get(path).send().await.header("etag").unwrap().to_owned();
    let again = async || world.get(path).header("If-None-Match", &tag).send().await;
    let unchanged = again().await;
    assert_eq!((unchanged.status, unchanged.body.len()), (304, 0));
    assert_eq!(unchanged.header("etag"), Some(tag.as_str()));
    put(&world, "b-2", 5, 10.0, 10.0);
    world.settle().await;
    assert_eq!(again().await.status, 304, "elsewhere");
    put(&world, "b-1", 1, 48.1, 11.6);
    world.settle().await;
    assert_eq!(again().await.status, 200);
}

#[tokio::test]
async fn a_reader_of_one_device_sees_that_alone() {
    let world = World::new().await;
    put(&world, "b-1", 5, 48.1, 11.5);
    put(&world, "b-2", 5, 48.2, 11.7);
    world.settle().await;
    let token = world.token("read:b-2").await;
    let seen = world.request("GET", "/api/v1/map?zoom=3").token(&token).send().await.json();
    assert_eq!(seen["features"][0]["properties"]["device"], "b-2");
    assert_eq!((&seen["total"], &seen["kinds"]["bike"]), (&1.into(), &1.into()));
}

#[tokio::test]
async fn refuses_what_is_no_area_in_words() {
    let world = World::new().await;
    for (query, code) in [
        ("bbox=1,2,3", "map.bbox_invalid"),
        ("bbox=1,2,3,NaN", "map.bbox_invalid"),
        ("bbox=1,5,3,4", "map.bbox_invalid"),
        ("bbox=%00", "map.bbox_invalid"),
        ("zoom=x", "request.parameter_invalid"),
        ("zoom=25", "map.zoom_invalid"),
        ("zoom=-1", "map.zoom_invalid"),
        ("bbx=1,2,3,4", "request.parameter_unknown"),
    ] {
        let reply = world.get(&format!("/api/v1/map?{query}")).send().await;
        assert_eq!((reply.status, reply.code().as_str()), (400, code), "{query}");
    }
    let long = "x".repeat(257);
    let reply = world.get(&format!("/api/v1/map?q={long}")).send().await;
    assert_eq!((reply.status, reply.code().as_str()), (400, "request.parameter_invalid"));
}
