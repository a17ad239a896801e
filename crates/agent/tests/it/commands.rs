//! Commands: executed once however often they come, and answered honestly.

use std::time::Duration;

use axle_agent::Source;
use serde_json::{Value, json};

use crate::gateway::{Gateway, Message, in_time};
use crate::world::World;

fn world(gateway: &Gateway) -> World {
    let mut world = World::new(&gateway.address, "energy");
    world.settings.source = Source::None;
    let done = world.path("done");
    let append = format!("cat >> {0}; echo \" $AXLE_COMMAND_ID\" >> {0}", done.display());
    world.settings.commands = [
        ("append", append.clone()),
        ("tell", format!("{append}; echo '{{\"volts\":230}}'")),
        ("fail", "echo 'no relay' >&2; exit 3".to_owned()),
        ("hang", format!("{append}; sleep 1000")),
        ("slow", "sleep 2.2; echo plain words".to_owned()),
    ]
    .map(|(name, line)| (name.to_owned(), line))
    .into();
    world
}

fn answers(received: &[Message], id: &str) -> Vec<Value> {
    let topic = format!("v1/d/d-1/c/{id}/r");
    let answers = received.iter().filter(|message| message.topic == topic);
    answers.map(|message| serde_json::from_slice(&message.payload).unwrap()).collect()
}

async fn answer(gateway: &Gateway, id: &str) -> Value {
    let last = |received: &[Message]| answers(received, id).pop();
    let is_final = |answer: Value| answer["status"] != "running";
    gateway.wait_for(id, |received| last(received).is_some_and(is_final)).await;
    last(&gateway.received()).unwrap()
}

fn done(world: &World) -> String {
    std::fs::read_to_string(world.path("done")).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_that_comes_again_and_again_is_executed_once() {
    let gateway = Gateway::start(true).await;
    let world = world(&gateway);
    for _ in 0..3 {
        gateway.command("k-1", "tell", json!({}));
    }
    let agent = world.start();
    let first = answer(&gateway, "k-1").await;
    assert_eq!(first, json!({ "status": "succeeded", "result": { "volts": 230 } }));
    world.wait_for_count("letter", 0).await;
    let before = answers(&gateway.received(), "k-1").len();
    agent.kill().await;
    // The next agent hears all three again and only repeats its answer.
    let agent = world.start();
    gateway.wait_for("the answer again", |received| answers(received, "k-1").len() > before).await;
    agent.stop().await;
    assert!(answers(&gateway.received(), "k-1").iter().all(|answer| *answer == first));
    assert_eq!(done(&world), "{\"n\":1} k-1\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_that_a_crash_interrupted_is_not_executed_again() {
    let gateway = Gateway::start(true).await;
    let world = world(&gateway);
    gateway.command("k-1", "hang", json!({}));
    gateway.command("k-2", "append", json!({}));
    let agent = world.start();
    while done(&world).lines().count() == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    agent.kill().await;
    let agent = world.start();
    let expected = json!({ "status": "failed", "reason": "interrupted; not executed again" });
    assert_eq!(answer(&gateway, "k-1").await, expected);
    assert_eq!(answer(&gateway, "k-2").await["status"], "succeeded", "it had not begun");
    agent.stop().await;
    assert_eq!(done(&world), "{\"n\":1} k-1\n{\"n\":1} k-2\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_that_was_taken_and_not_begun_waits_for_the_next_start() {
    let gateway = Gateway::start(true).await;
    let world = world(&gateway);
    gateway.command("k-1", "slow", json!({}));
    gateway.command("k-2", "append", json!({}));
    let agent = world.start();
    world.wait_for_count("command", 2).await;
    gateway.wait_for("running", |received| answers(received, "k-1").len() == 1).await;
    agent.stop().await;
    let slow = answer(&gateway, "k-1").await;
    assert_eq!(slow, json!({ "status": "succeeded", "result": { "output": "plain words" } }));
    assert_eq!(done(&world), "", "stopping begins nothing new");
    let agent = world.start();
    assert_eq!(answer(&gateway, "k-2").await["status"], "succeeded");
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_done_is_answered_with_its_reason() {
    let gateway = Gateway::start(true).await;
    let world = world(&gateway);
    gateway.command("k-1", "explode", json!({}));
    gateway.command("k-2", "append", json!({ "deadline": "2025-06-01T00:00:00Z" }));
    gateway.command("k-3", "append", json!({ "deadline": "soon" }));
    gateway.command("k-4", "append", json!({ "dry_run": true }));
    gateway.command("k-5", "explode", json!({ "dry_run": true }));
    gateway.command("k-6", "fail", json!({}));
    let agent = world.start();
    let mut found = Vec::new();
    for id in ["k-1", "k-2", "k-3", "k-4", "k-5", "k-6"] {
        found.push(answer(&gateway, id).await);
    }
    agent.stop().await;
    let status: Vec<&str> = found.iter().map(|answer| answer["status"].as_str().unwrap()).collect();
    assert_eq!(status, ["rejected", "rejected", "rejected", "succeeded", "rejected", "failed"]);
    let reason = |index: usize| found[index]["reason"].as_str().unwrap().to_owned();
    assert!(reason(0).contains("there are append, fail, hang, slow, tell"), "{}", reason(0));
    assert!(reason(1).contains("after its deadline"), "{}", reason(1));
    assert!(reason(2).contains("deadline"), "{}", reason(2));
    assert_eq!(found[3]["dry_run"], true);
    assert_eq!(found[4]["dry_run"], true);
    assert_eq!(reason(5), "exit status: 3: no relay");
    assert_eq!(done(&world), "", "nothing was executed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_is_not_done_by_its_deadline_is_ended() {
    let gateway = Gateway::start(true).await;
    let world = world(&gateway);
    gateway.command("k-1", "hang", json!({ "deadline": in_time(Duration::from_secs(3)) }));
    let agent = world.start();
    let answer = answer(&gateway, "k-1").await;
    agent.stop().await;
    assert_eq!(answer["status"], "failed");
    assert!(answer["reason"].as_str().unwrap().contains("not done by its deadline"), "{answer}");
    assert_eq!(answers(&gateway.received(), "k-1")[0]["status"], "running");
}
