//! A clock that is not set at first, and jumps when the network comes.

use serde_json::Value;

use crate::gateway::{Gateway, Message, measurements};
use crate::world::{TestClock, World};

const SECOND: i64 = 1_000_000;
/// 2026-09-21, microseconds.
const TODAY: i64 = 1_790_000_000 * SECOND;

fn stamps(messages: &[Message]) -> Vec<Option<i64>> {
    messages
        .iter()
        .flat_map(|message| measurements(&message.payload))
        .map(|(_, _, _, ts)| ts.map(|ts| ts - TODAY / 1000))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_from_before_the_clock_was_set_have_their_real_time() {
    let gateway = Gateway::start(true).await;
    let world = World::new(&gateway.address, "energy");
    let clock = TestClock::new("boot-1", SECOND);
    let agent = world.start_with(clock.clone()).unwrap();
    world.write("socket=s-1 name=power watts=1\n");
    world.wait_for_count("sample", 1).await;
    clock.pass(60 * SECOND);
    world.write("socket=s-1 name=power watts=2\n");
    world.wait_for_count("sample", 2).await;
    clock.pass(30 * SECOND);
    assert_eq!(gateway.received(), [], "without a clock nothing is claimed");
    clock.set(TODAY);
    world.write("socket=s-1 name=power watts=3\n");
    gateway.wait_for("all three", |received| stamps(received).len() == 3).await;
    agent.stop().await;
    assert_eq!(stamps(&gateway.received()), [Some(-90_000), Some(-30_000), Some(0)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_of_a_boot_that_never_knew_the_time_are_sent_without_a_claim() {
    let gateway = Gateway::start(true).await;
    let world = World::new(&gateway.address, "energy");
    let agent = world.start_with(TestClock::new("boot-1", SECOND)).unwrap();
    world.write("socket=s-1 name=power watts=1\n");
    world.wait_for_count("sample", 1).await;
    agent.stop().await;
    let agent = world.start_with(TestClock::new("boot-2", TODAY)).unwrap();
    world.write("socket=s-1 name=power watts=2\n");
    gateway.wait_for("both", |received| stamps(received).len() == 2).await;
    agent.stop().await;
    assert_eq!(stamps(&gateway.received()), [None, Some(0)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plausible_clock_that_was_behind_is_corrected_too() {
    let gateway = Gateway::start(false).await;
    let world = World::new(&gateway.address, "energy");
    // The computer was off for an hour and began where it was switched off.
    let clock = TestClock::new("boot-1", TODAY - 3600 * SECOND);
    let agent = world.start_with(clock.clone()).unwrap();
    world.write("socket=s-1 name=power watts=1\n");
    world.wait_for_count("sample", 1).await;
    clock.pass(10 * SECOND);
    clock.set(TODAY);
    gateway.open();
    gateway.wait_for("it", |received| stamps(received).len() == 1).await;
    agent.stop().await;
    assert_eq!(stamps(&gateway.received()), [Some(-10_000)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sent_at_is_the_clock_of_the_claims_even_after_it_was_set() {
    let gateway = Gateway::start(true).await;
    gateway.acknowledge(false);
    let world = World::new(&gateway.address, "status");
    let clock = TestClock::new("boot-1", TODAY - 3600 * SECOND);
    let agent = world.start_with(clock.clone()).unwrap();
    world.write("battery_pct=1\n");
    gateway.wait_for("it", |received| received.len() == 1).await;
    // Composed by the wrong clock; what is sent again must say so, or nobody could correct it.
    clock.pass(20 * SECOND);
    clock.set(TODAY);
    gateway.kick();
    gateway.wait_for("it again", |received| received.len() == 2).await;
    agent.stop().await;
    let again: Value = serde_json::from_slice(&gateway.received()[1].payload).unwrap();
    let micros = |value: &Value| {
        chrono::DateTime::parse_from_rfc3339(value.as_str().unwrap()).unwrap().timestamp_micros()
    };
    let age = micros(&again["sent_at"]) - micros(&again["samples"][0]["time"]);
    assert_eq!(age, 20 * SECOND);
}
