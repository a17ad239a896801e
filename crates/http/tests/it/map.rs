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
async fn a_household_sees_its_own_devices_alone_in_the_api_and_on_the_page() {
    let world = World::new().await;
    put(&world, "b-1", 5, 48.1, 11.5);
    put(&world, "b-2", 5, 48.2, 11.7);
    world.settle().await;
    let cookie = world.user("anna", axle_domain::Role::Household, &["b-1"]).await;
    let get = async |path: &str| {
        let request = world.request("GET", path).header("Cookie", &cookie);
        request.header("Sec-Fetch-Site", "same-origin").send().await
    };
    let seen = get("/api/v1/map?zoom=3").await.json();
    assert_eq!(seen["features"][0]["properties"]["device"], "b-1");
    assert_eq!((&seen["total"], &seen["kinds"]["bike"]), (&1.into(), &1.into()));
    let page = get("/map").await;
    let text = page.text();
    assert_eq!(page.status, 200);
    assert!(text.contains("/devices/b-1\"") && !text.contains("b-2"), "{text}");
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

async fn range(world: &World, range: &str) -> crate::client::Reply {
    world.request("GET", "/basemap/current").header("Range", range).send().await
}

#[tokio::test]
async fn the_embedded_basemap_is_served_by_ranges() {
    let world = World::new().await;
    let head = range(&world, "bytes=0-126").await;
    assert_eq!((head.status, head.body.len(), &head.body[..7]), (206, 127, &b"PMTiles"[..]));
    let shown = head.header("content-range").unwrap();
    let len: usize = shown.strip_prefix("bytes 0-126/").unwrap().parse().unwrap();
    assert_eq!(head.header("content-length"), Some("127"));
    assert_eq!(head.header("content-type"), Some("application/vnd.pmtiles"));
    assert_eq!(range(&world, "bytes=-5").await.body.len(), 5);
    let tail = range(&world, &format!("bytes={}-", len - 5)).await;
    assert_eq!(tail.body, range(&world, "bytes=-5").await.body);
    let behind = range(&world, &format!("bytes={len}-")).await;
    assert_eq!((behind.status, behind.code().as_str()), (416, "request.range_unsatisfiable"));
    assert_eq!(behind.header("content-range").unwrap(), format!("bytes */{len}"));
    assert_eq!(range(&world, "lines=1-2").await.status, 200);
    let whole = world.request("GET", "/basemap/current").send().await;
    assert_eq!((whole.status, whole.body.len()), (200, len));
    let tag = whole.header("etag").unwrap();
    let request = world.request("GET", "/basemap/current").header("If-None-Match", tag);
    assert_eq!(request.send().await.status, 304);
    let other = world.request("GET", "/basemap/current").header("If-Range", "\"other\"");
    assert_eq!(other.header("Range", "bytes=0-1").send().await.status, 200);
    let page = world.request("GET", "/map").header("Cookie", &sign_in(&world).await).send().await;
    let text = page.text();
    let address = text.split("data-basemap=\"").nth(1).unwrap().split('"').next().unwrap();
    let kept = world.request("GET", address).header("Range", "bytes=0-1").send().await;
    assert!(kept.header("cache-control").unwrap().contains("immutable"), "{address}");
}

#[tokio::test]
async fn a_file_of_the_operator_is_served_by_the_same_route() {
    let embedded = include_bytes!("../../src/asset/basemap.pmtiles");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("own.pmtiles");
    // Longer than what is read at a time.
    let mut own = embedded.to_vec();
    own.extend_from_slice(&[7; 1000]);
    std::fs::write(&path, &own).unwrap();
    let settings = axle_http::HttpSettings::default();
    let world = World::with_basemap(settings, path.to_str().unwrap()).await;
    let whole = world.request("GET", "/basemap/current").send().await;
    assert_eq!(whole.status, 200);
    assert!(whole.body == own, "{} of {} bytes", whole.body.len(), own.len());
    assert_eq!(range(&world, "bytes=-1000").await.body, [7; 1000]);
    let middle = range(&world, "bytes=100-600099").await;
    assert!(middle.body == own[100..600_100], "{} bytes", middle.body.len());
}

async fn sign_in(world: &World) -> String {
    let opened = world.request("GET", &world.login).send().await;
    let cookie = opened.header("set-cookie").unwrap();
    cookie.split(';').next().unwrap().to_owned()
}

#[tokio::test]
async fn the_page_lists_what_is_in_view_without_a_script() {
    let world = World::new().await;
    let cookie = sign_in(&world).await;
    let get = async |path: &str| {
        world
            .request("GET", path)
            .header("Cookie", &cookie)
            .header("Accept", "text/html")
            .send()
            .await
    };
    let empty = get("/map").await;
    assert_eq!(empty.status, 200);
    assert!(empty.text().contains("No vehicle has reported a position here yet."));
    put(&world, "b-1", 5, 48.1, 11.5);
    put(&world, "b-2", 5, 48.2, 11.7);
    world.link.0.lock().unwrap().insert(crate::world::device("b-2"), ());
    world.settle().await;
    let far = get("/map").await.text();
    assert!(far.contains("data-bounds=\"11.5,48.1,11.7,48.2\""), "{far}");
    let closer = "/map?bbox=11.5,48.1,11.7,48.2&amp;zoom=24";
    assert!(far.contains(&format!("<a href=\"{closer}\">2 vehicles</a>")), "{far}");
    let near = get(&closer.replace("&amp;", "&")).await.text();
    assert!(
        near.contains("<a href=\"/devices/b-1\">b-1</a>") && near.contains("11.7000"),
        "{near}"
    );
    let refused = get("/map?bbox=1,2").await;
    assert_eq!(refused.status, 400);
    assert!(refused.text().contains("west,south,east,north"), "{}", refused.text());
}
