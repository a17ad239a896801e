//! The pages of an operator's desk: quarantine, data quality, connections.

use axle_testkit::conformance::state::connection_journal::refused;

use crate::client::Reply;
use crate::world::{World, device};

const FUTURE: &str = r#"{"time":"2036-01-01T00:00:00Z","lat":1}"#;
const FORM: &str = "application/x-www-form-urlencoded";

async fn send(world: &World, path: &str, session: &str, body: &str) -> Reply {
    let request = world.request("POST", path).header("Cookie", session);
    let request = request.header("Sec-Fetch-Site", "same-origin");
    request.header("Accept", "text/html").body(FORM, body).send().await
}

#[tokio::test]
async fn a_quarantined_item_is_mended_on_its_page_and_replayed() {
    let world = World::new().await;
    world.publish("b-1", "ride", FUTURE);
    world.settle().await;
    let session = world.session().await;
    let list = world.page("/quarantine?code=time.future", &session).await.text();
    assert!(list.contains("href=\"/quarantine/q-0-0\""), "{list}");
    assert!(list.contains("Replay all 1 as they are"), "{list}");
    let none = world.page("/quarantine?code=time.past", &session).await.text();
    assert!(none.contains("No item fits"), "{none}");

    let item = world.page("/quarantine/q-0-0", &session).await;
    assert!(item.text().contains("clock is far ahead"), "what to do");
    let path = "/quarantine/q-0-0/replay";
    let again = send(
        &world,
        path,
        &session,
        "payload=%7B%22time%22%3A%222036-01-01T00%3A00%3A00Z%22%2C%22lat%22%3A2%7D",
    )
    .await;
    assert_eq!(again.status, 422);
    assert!(again.text().contains("it would be set aside again"), "{}", again.text());
    assert!(again.text().contains("&quot;lat&quot;:2"), "what was typed is still there");
    let mended = send(&world, path, &session, "payload=%7B%22lat%22%3A2%7D").await;
    assert_eq!((mended.status, mended.header("location")), (303, Some("/quarantine/q-0-0")));
    world.settle().await;
    let item = world.page("/quarantine/q-0-0", &session).await.text();
    assert!(item.contains("It was sent in again and understood"), "{item}");
}

#[tokio::test]
async fn all_items_of_a_code_are_replayed_in_steps() {
    let world = World::new().await;
    (0..60).for_each(|_| world.publish("b-1", "ride", FUTURE));
    world.settle().await;
    let session = world.session().await;
    let body = "code=time.future&of=60";
    let first = send(&world, "/quarantine/replay", &session, body).await.text();
    assert!(first.contains("0 replayed, 50 still at fault of 60"), "{first}");
    assert!(first.contains("Go on"), "{first}");
    let body = "code=time.future&of=60&done=0&failed=50&before=q-10-0";
    let last = send(&world, "/quarantine/replay", &session, body).await.text();
    assert!(last.contains("0 replayed, 60 still at fault of 60"), "{last}");
    assert!(!last.contains("Go on") && last.contains("Show what is left"), "{last}");
    let bad = send(&world, "/quarantine/replay", &session, "code=").await;
    assert_eq!(bad.status, 400);
}

#[tokio::test]
async fn quality_names_silent_devices_and_what_was_set_aside() {
    let world = World::new().await;
    world.publish("b-1", "ride", FUTURE);
    world.settle().await;
    let seen = world.get("/api/v1/quality").send().await.json();
    assert_eq!(seen["days"], 7);
    let code = &seen["quarantine"][0];
    assert_eq!((&code["code"], &code["waiting"]), (&"time.future".into(), &1.into()));
    assert_eq!(code["example"]["id"], "q-0-0");
    assert_eq!((&seen["silent"]["day"], &seen["silent"]["week"]), (&1.into(), &1.into()));
    assert_eq!(seen["silent"]["devices"][0]["device"], "b-2");
    assert_eq!(world.get("/api/v1/quality?days=31").send().await.status, 400);
    let session = world.session().await;
    let page = world.page("/quality?days=30", &session).await.text();
    for words in ["time.future", "href=\"/devices/b-2\"", "aria-current=\"true\""] {
        assert!(page.contains(words), "{words} in {page}");
    }
    let asked = world.store.asked.lock().unwrap().len();
    world.page("/quality?days=30", &session).await;
    assert_eq!(world.store.asked.lock().unwrap().len(), asked, "the same answer is given again");
}

#[tokio::test]
async fn quality_tells_what_is_known_while_it_counts() {
    let world = World::new().await;
    world.publish("b-1", "ride", FUTURE);
    world.settle().await;
    let session = world.session().await;
    let busy = world.store.busy.lock().await;
    let page = world.page("/quality", &session).await;
    assert_eq!(page.header("refresh"), Some("2"), "the page looks again by itself");
    let page = page.text();
    for words in ["Counting; below is what is known so far", "<progress", "time.future"] {
        assert!(page.contains(words), "{words} in {page}");
    }
    let seen = world.get("/api/v1/quality").send().await.json();
    assert_eq!(seen["progress"]["streams"], 0);
    drop(busy);
    let page = world.page("/quality", &session).await;
    assert_eq!(page.header("refresh"), None);
    let seen = world.get("/api/v1/quality").send().await.json();
    assert_eq!(seen["progress"], serde_json::Value::Null);
}

#[tokio::test]
async fn a_refused_device_is_told_why_on_its_page() {
    let world = World::new().await;
    let session = world.session().await;
    let quiet = world.page("/devices/b-1", &session).await.text();
    assert!(quiet.contains("It has not connected, nor tried to"), "{quiet}");
    let event = axle_domain::ConnectionEvent {
        device: Some(device("b-1")),
        reason: "the <certificate> has ended".to_owned(),
        ..refused("tls.expired", 0)
    };
    world.app.ports.connections.record(event);
    let page = world.page("/devices/b-1", &session).await.text();
    assert!(
        page.contains("It cannot connect: </strong>the &lt;certificate&gt; has ended"),
        "{page}"
    );
    for (query, words) in [
        ("", "only named"),
        ("?address=127.0.0.1", "tls.expired"),
        ("?address=10.0.0.1", "Nobody yet"),
        ("?address=nowhere", "an address is IPv4 or IPv6"),
        ("?fingerprint=xyz", "64 hexadecimal digits"),
        ("?device=b-2", "Nobody yet"),
    ] {
        let page = world.page(&format!("/connections{query}"), &session).await.text();
        assert!(page.contains(words), "{query}: {page}");
    }
}
