//! What households used: the API and its pages.

use serde_json::json;

use crate::world::World;

#[tokio::test]
async fn consumption_is_told_by_socket_and_bucket_with_what_is_known() {
    let world = World::new().await;
    let path = "/api/v1/households/b-1/consumption?tz=Europe/Berlin&compare=1";
    let reply = world.get(path).send().await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let body = reply.json();
    // It is a quarter past four in Berlin, and the day began at midnight there.
    assert_eq!(body["from"], "2026-09-20T22:00:00Z");
    assert_eq!(body["buckets"].as_array().unwrap().len(), 17);
    assert_eq!(body["buckets"][16]["seconds"], 800);
    let [first, second] = [&body["sockets"][0], &body["sockets"][1]];
    assert_eq!((&first["socket"], &first["source"]), (&json!("s-1"), &json!("readings")));
    assert_eq!((&first["kwh"], &first["covered_s"]), (&json!(0.02), &json!(800.0)));
    assert_eq!(first["values"][16], json!({"kwh": 0.02, "covered_s": 800.0}));
    assert_eq!(first["values"][0], json!({"kwh": null, "covered_s": 0}), "no data is not nothing");
    assert_eq!((&second["source"], &second["kwh"]), (&json!("counter"), &json!(0.03)));
    assert_eq!((&first["now"]["watts"], &first["now"]["age_s"]), (&json!(90.0), &json!(10)));
    assert_eq!(body["previous"]["coverage"], 0.0);

    for (query, expected) in [
        ("tz=Mars/Olympus", "no time zone"),
        ("bucket=fortnight", "hour, day, month"),
        ("from=2020-01-01T00:00:00Z", "days apart: at most 400"),
        ("from=2026-09-21T00:00:00Z&to=2026-09-20T00:00:00Z", "must be before"),
        ("from=2025-12-01T00:00:00Z&bucket=hour", "ask for longer ones"),
    ] {
        let path = format!("/api/v1/households/b-1/consumption?{query}");
        let reply = world.get(&path).send().await;
        assert_eq!(reply.status, 400, "{query}");
        assert!(reply.text().contains(expected), "{query}: {}", reply.text());
    }
    assert_eq!(world.get("/api/v1/households/x-1/consumption").send().await.status, 404);
}

#[tokio::test]
async fn the_page_shows_its_numbers_without_a_script() {
    let world = World::new().await;
    let session = world.session().await;
    for period in ["day", "week", "month", "year"] {
        let page = world.page(&format!("/energy/b-1?period={period}"), &session).await;
        assert_eq!(page.status, 200);
        let text = page.text();
        assert!(text.contains("0.050<span class=\"unit\">kWh so far"), "{period}: {text}");
        assert!(text.contains("class=\"no-data\"") && text.contains(">no data<"), "{period}");
        assert!(text.contains("The chart as a table"), "{period}");
        assert!(!text.contains(" style=") && !text.contains("height=\"-"), "{period}");
    }
    let now = world.page("/energy/b-1/now", &session).await.text();
    assert!(now.contains("180<span class=\"unit\">W at 2 sockets"), "{now}");
    assert_eq!(world.page("/energy/b-1?tz=Mars", &session).await.status, 400);
    assert_eq!(world.page("/energy/x-1", &session).await.status, 404);
    let earlier = world.page("/energy/b-1?date=2026-01-01", &session).await.text();
    assert!(earlier.contains("No reading in this time"), "{earlier}");
}
