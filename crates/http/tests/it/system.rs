//! How the instance is, over the API and as a page.

use serde_json::json;

use crate::world::World;

/// The figures, once they were taken for the first time.
async fn figures(world: &World) -> serde_json::Value {
    let wait = async {
        loop {
            let seen = world.get("/api/v1/system").send().await.json();
            if seen["process"]["version"] != "" {
                return seen;
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(10), wait).await.expect("figures in time")
}

#[tokio::test]
async fn the_figures_are_those_of_the_machine_and_of_the_door() {
    let world = World::new().await;
    let seen = figures(&world).await;
    assert_eq!(seen["at"], crate::world::NOW_TEXT);
    assert_eq!((&seen["devices"], &seen["connections"]), (&json!(2), &json!(0)));
    assert_eq!(seen["listeners"], json!([{"name": "http", "address": "127.0.0.1:8080"}]));
    let disk = &seen["disk"]["file_systems"][0];
    assert_eq!(disk["parts"], json!(["log", "store", "state"]));
    assert_eq!((&disk["free_bytes"], &disk["full_in_days"]), (&json!(3_u64 << 30), &json!(null)));
    assert_eq!(seen["disk"]["measured_over_s"], json!(null), "there is no history yet");
    let names: Vec<_> =
        seen["projections"].as_array().unwrap().iter().map(|it| it["name"].clone()).collect();
    assert_eq!(names, ["store", "state"]);
    assert_eq!(seen["certificates"]["own"][0]["name"], "device listeners");
}

#[tokio::test]
async fn the_page_shows_them_to_who_may_see_them() {
    let world = World::new().await;
    let export = json!({"name": "export", "from": "first"});
    world.post("/api/v1/streams/consumers").json(&export).send().await;
    let seen = figures(&world).await;
    assert_eq!(seen["log"]["follower_count"], 1);
    let follower = &seen["log"]["followers"][0];
    assert_eq!((&follower["name"], &follower["position"]), (&json!("export"), &json!(0)));
    assert_eq!((&follower["is_consumer"], &follower["is_holding"]), (&json!(true), &json!(true)));
    let session = world.session().await;
    let page = world.page("/system", &session).await.text();
    for words in [
        "Linux 6.1",
        "not enough history yet",
        "From arrival until queries see it",
        "Who follows the log",
        "<code>export</code>",
    ] {
        assert!(page.contains(words), "{words}");
    }
    assert!(!page.contains(" style="), "the policy forbids inline styles");
    let nobody = world.request("GET", "/system").send().await;
    assert_eq!(nobody.status, 303);
}
