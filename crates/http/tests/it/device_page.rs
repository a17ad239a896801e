//! The page of a device: its sections, its forms, what lives on it.

use serde_json::json;

use crate::client::{Events, Reply};
use crate::world::{World, device};

/// Sends a form as a page of ours does.
async fn send(world: &World, pair: &str, path: &str, form: &str) -> Reply {
    let request = world.request("POST", path).header("Cookie", pair);
    let request = request.header("Sec-Fetch-Site", "same-origin").header("Accept", "text/html");
    request.body("application/x-www-form-urlencoded", form).send().await
}

#[tokio::test]
async fn a_command_is_sent_from_the_page_and_its_life_is_shown() {
    let world = World::new().await;
    let pair = world.session().await;
    let form = "name=unlock&payload=%7B%22a%22%3A1%7D&timeout_s=60&dry_run=on";
    let sent = send(&world, &pair, "/devices/b-1/commands", form).await;
    assert_eq!((sent.status, sent.header("location")), (303, Some("/devices/b-1#commands")));
    let commands = world.app.commands.list(&device("b-1"), 10).await.unwrap();
    let [command] = &commands[..] else { panic!("{commands:?}") };
    assert_eq!((command.payload.as_str(), command.is_dry_run), (r#"{"a":1}"#, true));
    let page = world.page("/devices/b-1", &pair).await.text();
    for part in [command.id.as_str(), "waiting", "for the device", "dry run", "Cancel"] {
        assert!(page.contains(part), "{part}");
    }
    let cancel = format!("/devices/b-1/commands/{}/cancel", command.id);
    let foreign = cancel.replace("b-1", "b-2");
    assert_eq!(send(&world, &pair, &foreign, "").await.status, 404);
    assert_eq!(send(&world, &pair, &cancel, "").await.status, 303);
    let again = send(&world, &pair, &cancel, "").await;
    assert_eq!(again.status, 409);
    assert!(again.text().contains("command.finished"));
    assert!(world.page("/devices/b-1", &pair).await.text().contains("canceled"));
}

#[tokio::test]
async fn a_command_that_cannot_be_sent_changes_nothing_and_says_why() {
    let world = World::new().await;
    let pair = world.session().await;
    for (path, form, status, code) in [
        ("b-1", "name=unlock&payload=%7B&timeout_s=60", 422, "command.payload_invalid"),
        ("b-1", "name=unlock&payload=&timeout_s=soon", 422, "command.timeout_invalid"),
        ("b-1", "name=unlock&payload=&timeout_s=0", 400, "command.timeout_invalid"),
        ("b-1", "name=a+b&payload=&timeout_s=60", 400, "command.name_invalid"),
        ("b-9", "name=unlock&payload=&timeout_s=60", 404, "device.not_found"),
    ] {
        let reply = send(&world, &pair, &format!("/devices/{path}/commands"), form).await;
        assert_eq!(reply.status, status, "{form}");
        assert!(reply.text().contains(code), "{form}: {}", reply.text());
    }
    let stranger = world.request("POST", "/devices/b-1/commands").header("Cookie", &pair);
    let stranger = stranger.body("application/x-www-form-urlencoded", "name=unlock&timeout_s=60");
    assert_eq!(stranger.send().await.code(), "request.cross_origin");
    assert!(world.app.commands.list(&device("b-1"), 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn what_was_set_aside_is_mended_and_replayed_from_the_page() {
    let world = World::new().await;
    let pair = world.session().await;
    world.publish("b-1", "ride", r#"{"lat":95,"x":"</textarea><script>"}"#);
    world.settle().await;
    let page = world.page("/devices/b-1", &pair).await.text();
    assert!(page.contains("&lt;/textarea&gt;&lt;script&gt;"), "{page}");
    let items = world.app.quarantine.list(Some(&device("b-1")), None, 10).await.unwrap();
    let path = format!("/devices/b-1/quarantine/{}/replay", items[0].id);
    let foreign = send(&world, &pair, &path.replace("b-1", "b-2"), "").await;
    assert_eq!(foreign.status, 404);
    let unmended = send(&world, &pair, &path, "payload=").await;
    assert_eq!(unmended.status, 409);
    assert!(unmended.text().contains("quarantine.still_faulty"));
    let mended = send(&world, &pair, &path, "payload=%7B%22lat%22%3A59%7D").await;
    let target = Some("/devices/b-1#quarantine");
    assert_eq!((mended.status, mended.header("location")), (303, target));
    world.settle().await;
    let page = world.page("/devices/b-1", &pair).await.text();
    assert!(page.contains("replayed") && page.contains("59"), "{page}");
}

#[tokio::test]
async fn the_page_shows_the_newest_messages_of_its_device_alone() {
    let world = World::new().await;
    let pair = world.session().await;
    world.publish("b-1", "status", r#"{"firmware":"<i>mine</i>"}"#);
    world.publish("b-2", "status", r#"{"firmware":"theirs"}"#);
    world.settle().await;
    let page = world.page("/devices/b-1", &pair).await.text();
    assert!(page.contains("&lt;i&gt;mine&lt;/i&gt;") && !page.contains("theirs"), "{page}");
    let request = world.request("GET", "/live/devices/b-1/tail").header("Cookie", &pair);
    let mut tail = Events::opened(request).await;
    world.publish("b-2", "status", r#"{"firmware":"theirs"}"#);
    world.publish("b-1", "energy", "\u{1}\u{2}not a container");
    let (name, line) = tail.next_text().await.unwrap();
    assert_eq!(name, "tail");
    assert!(line.contains("v1/d/b-1/t/energy") && line.contains("0000  01 02 6e"), "{line}");
}

#[tokio::test]
async fn values_and_commands_live() {
    let world = World::new().await;
    let pair = world.session().await;
    let request = world.request("GET", "/live/devices/b-1").header("Cookie", &pair);
    let mut live = Events::open(request).await;
    let wait = async |live: &mut Events, name: &str, text: &str| loop {
        let (part, html) = live.next_text().await.unwrap();
        if part == name && html.contains(text) {
            break;
        }
    };
    wait(&mut live, "values", "No value yet").await;
    world.publish("b-1", "status", r#"{"battery_pct":42.5}"#);
    wait(&mut live, "values", "42.5").await;
    let body = json!({"name": "locate", "payload": {}});
    world.post("/api/v1/devices/b-1/commands").json(&body).send().await;
    wait(&mut live, "commands", "locate").await;
}

#[tokio::test]
async fn charts_come_with_their_data_as_a_table_for_the_range_that_is_chosen() {
    let world = World::new().await;
    let pair = world.session().await;
    world.publish("b-1", "ride", r#"{"lat":48.1,"lon":11.5,"speed_kmh":21.5}"#);
    world.settle().await;
    let page = world.page("/devices/b-1?stream=ride&range=7d", &pair).await.text();
    assert!(page.contains("data-charts=\"/api/v1/devices/b-1/telemetry/ride\""), "{page}");
    assert!(page.contains("As a table") && page.contains("-7"), "the store's answer as a table");
    let asked = world.store.asked.lock().unwrap().clone();
    let wanted = r#"["speed_kmh", "lat", "lon"], Bucket(14400000000, Avg)"#;
    assert!(asked.iter().any(|it| it.contains(wanted)), "{asked:?}");
    let custom = "/devices/b-1/charts?range=custom&from=2026-09-20T10:00&to=2026-09-20T12:00";
    let part = world.page(custom, &pair).await;
    assert_eq!(part.status, 200);
    assert!(part.text().starts_with("<section"));
    let empty = "/devices/b-1?range=custom&from=2026-09-20T12:00&to=2026-09-20T10:00";
    assert!(world.page(empty, &pair).await.text().contains("telemetry.range_empty"));
    let wrong = "/devices/b-1?range=custom&from=yesterday&to=today";
    assert!(world.page(wrong, &pair).await.text().contains("telemetry.range_invalid"));
}
