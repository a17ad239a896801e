//! What plants hand in, over the API and on the pages, and the search over all of it.

use axle_domain::Role;
use serde_json::{Value, json};

use crate::client::Reply;
use crate::world::World;

fn conflict() -> Value {
    json!({"type": "installation", "serial": "BAT-1", "device": "b-2", "from": "2026-06-01"})
}

/// A battery in `b-1`, and a record that says it is in `b-2`.
async fn hand_in(world: &World, key: &str) -> Reply {
    let batch = json!({"records": [
        {"type": "component", "serial": "BAT-1", "kind": "battery", "model": "P <500>"},
        {"type": "installation", "serial": "BAT-1", "device": "b-1", "from": "2026-01-01T00:00:00Z"},
        conflict(),
    ]});
    let token = world.token("feed:graz").await;
    let request = world.request("POST", "/api/v1/feeds/graz/batches").token(&token);
    request.header("Idempotency-Key", key).json(&batch).send().await
}

#[tokio::test]
async fn a_batch_is_taken_in_once_and_conflicts_wait() {
    let world = World::new().await;
    let receipt = hand_in(&world, "k").await;
    let body = receipt.json();
    assert_eq!(
        (&body["accepted"], &body["unchanged"], &body["review"]),
        (&json!(2), &json!(0), &json!(1))
    );
    assert_eq!(
        body["records"],
        json!([{
            "index": 2, "verdict": "review", "code": "component.installed_elsewhere",
            "detail": "`BAT-1` sits in `b-1` at that time, not in `b-2`", "review": "r-1",
        }])
    );
    let again = hand_in(&world, "k").await;
    assert_eq!((again.json(), again.header("idempotent-replayed")), (body, Some("true")));
    let other = world.post("/api/v1/feeds/graz/batches").header("Idempotency-Key", "k");
    let other = other.json(&json!({"records": []})).send().await;
    assert_eq!((other.status, other.code().as_str()), (422, "feed.idempotency_conflict"));
    let dry = world.post("/api/v1/feeds/graz/batches?dry_run=true");
    let dry = dry.json(&json!({"records": [conflict()]})).send().await.json();
    assert_eq!((&dry["batch"], &dry["records"][0]["review"]), (&Value::Null, &Value::Null));
    let foreign = world.token("feed:linz").await;
    let foreign = world.request("POST", "/api/v1/feeds/graz/batches").token(&foreign);
    assert_eq!(foreign.json(&json!({"records": []})).send().await.status, 403);
    let lines = world.post("/api/v1/feeds/graz/batches");
    let lines =
        lines.body("application/x-ndjson", "{\"type\":\"device\"}\n17\n").send().await.json();
    assert_eq!(lines["review"], 2);
    for (body, code) in [("[]", "feed.invalid"), ("{\"records\":{}}", "feed.invalid")] {
        let bad = world.post("/api/v1/feeds/graz/batches").body("application/json", body);
        assert_eq!(bad.send().await.code(), code);
    }
}

#[tokio::test]
async fn a_swap_is_accepted_with_the_time_at_which_the_other_ended() {
    let world = World::new().await;
    hand_in(&world, "k").await;
    let decide = |body: Value| world.post("/api/v1/feeds/review/r-1").json(&body);
    let plain = decide(json!({"decision": "accept"})).send().await;
    assert_eq!((plain.status, plain.code().as_str()), (409, "review.refused"));
    for (body, pointer) in [
        (json!({"decision": "maybe"}), "/decision"),
        (json!({"decision": "accept", "close_other_at": "soon"}), "/close_other_at"),
        (json!({"decision": "reject", "note": "a\u{0}"}), "/note"),
    ] {
        let bad = decide(body).send().await;
        assert_eq!((bad.status, &bad.json()["errors"][0]["pointer"]), (422, &json!(pointer)));
    }
    let swap =
        json!({"decision": "accept", "note": "seen", "close_other_at": "2026-06-01T00:00:00Z"});
    let accepted = decide(swap.clone()).send().await.json();
    assert_eq!(
        (&accepted["status"], &accepted["decided"]["note"]),
        (&json!("accepted"), &json!("seen"))
    );
    assert_eq!(decide(swap).send().await.code(), "review.decided");
    let history = world.get("/api/v1/components/BAT-1/history").send().await.json();
    let spans: Vec<_> = history["items"].as_array().unwrap().iter().collect();
    assert_eq!(spans[0]["to"], "2026-06-01T00:00:00Z");
    assert_eq!((&spans[1]["device"], &spans[1]["to"]), (&json!("b-2"), &Value::Null));
    let own = world.token("read:b-1").await;
    let own = world.request("GET", "/api/v1/components/BAT-1/history").token(&own);
    let own = own.send().await.json();
    assert_eq!(own["items"].as_array().unwrap().len(), 1, "only what was in the own device");
}

#[tokio::test]
async fn people_find_what_they_may_see() {
    let world = World::new().await;
    hand_in(&world, "k").await;
    let hits = |reply: Reply| -> Vec<String> {
        let body = reply.json();
        let hits = body["items"].as_array().unwrap().iter();
        hits.map(|hit| format!("{} {} {}", hit["type"], hit["id"], hit["matched"])).collect()
    };
    let find = async |session: &str, text: &str| {
        let request = world.request("GET", &format!("/api/v1/search?q={text}"));
        let request = request.header("Cookie", session).header("Sec-Fetch-Site", "same-origin");
        hits(request.send().await)
    };
    let support = world.user("sam", Role::Support, &[]).await;
    let household = world.user("hanna", Role::Household, &["b-2"]).await;
    assert_eq!(find(&support, "bat1").await, ["\"component\" \"BAT-1\" \"exact\""]);
    assert_eq!(find(&support, "hana").await, ["\"user\" \"hanna\" \"fuzzy\""]);
    assert_eq!(find(&household, "bat1").await, [""; 0]);
    assert_eq!(find(&household, "b-").await, ["\"device\" \"b-2\" \"exact\""]);
    assert_eq!(world.get("/api/v1/search").send().await.code(), "request.parameter_invalid");
}

#[tokio::test]
async fn the_pages_show_a_component_and_take_decisions() {
    let world = World::new().await;
    hand_in(&world, "k").await;
    let pair = world.session().await;
    let feeds = world.page("/feeds", &pair).await.text();
    for part in ["A component in two devices at one time", "r-1", "graz", "2026-06-01T00:00:00Z"] {
        assert!(feeds.contains(part), "{part} in {feeds}");
    }
    let decide = |form: &str| {
        let request = world.request("POST", "/feeds/review/r-1").header("Cookie", &pair);
        let request = request.header("Sec-Fetch-Site", "same-origin");
        request.body("application/x-www-form-urlencoded", form)
    };
    let refused = decide("decision=accept&note=").send().await;
    assert!(refused.header("location").unwrap().starts_with("/feeds?refused="));
    let taken = decide("decision=accept&note=swap&close_other_at=2026-06-01T00%3A00%3A00Z");
    assert_eq!(taken.send().await.header("location"), Some("/feeds#review"));
    let page = world.page("/components/BAT-1", &pair).await.text();
    for part in ["P &lt;500&gt;", "/devices/b-1", "/devices/b-2", "until now", "in use"] {
        assert!(page.contains(part), "{part} in {page}");
    }
    assert!(world.page("/devices/b-2", &pair).await.text().contains("/components/BAT-1"));
    assert!(world.page("/search?q=ba", &pair).await.text().contains("begins a word of its serial"));
    assert!(world.page("/search/quick?q=p500", &pair).await.text().contains("BAT-1"));
    let household = world.user("hanna", Role::Household, &["b-1"]).await;
    assert_eq!(world.page("/feeds", &household).await.status, 403);
    assert_eq!(world.page("/components/BAT-1", &household).await.status, 200);
}
