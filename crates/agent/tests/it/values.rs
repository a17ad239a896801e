//! Values: kept, sent, sent again, counted when they must go.

use std::collections::BTreeMap;
use std::time::Duration;

use axle_agent::Source;
use axle_domain::Kind;
use serde_json::Value;

use crate::gateway::{Gateway, Measurement, Message, measurements};
use crate::world::World;

const MINUTE_MS: i64 = 1_790_000_000_000;

fn line(number: i64) -> String {
    let time = MINUTE_MS + number;
    format!("{{\"time\":{time},\"socket\":\"s-1\",\"name\":\"power\",\"watts\":{number}.5}}\n")
}

fn lines(numbers: std::ops::Range<i64>) -> String {
    numbers.map(line).collect()
}

fn rows(messages: &[Message]) -> BTreeMap<i64, f64> {
    let containers = messages.iter().filter(|message| message.topic == "v1/d/d-1/t/energy");
    let found = containers.flat_map(|message| measurements(&message.payload));
    found.map(|(_, _, watts, ts)| (ts.unwrap() - MINUTE_MS, watts)).collect()
}

fn expected(numbers: std::ops::Range<i64>) -> BTreeMap<i64, f64> {
    numbers.map(|number| (number, number as f64 + 0.5)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_read_offline_arrives_later_and_once() {
    let gateway = Gateway::start(false).await;
    let world = World::new(&gateway.address, "energy");
    world.write(&lines(0..1200));
    let agent = world.start();
    world.wait_for_count("sample", 1200).await;
    agent.stop().await;
    std::fs::remove_file(world.path("values")).unwrap();

    gateway.open();
    let agent = world.start();
    world.wait_for_count("sample", 0).await;
    agent.stop().await;
    let count: usize =
        gateway.received().iter().map(|message| measurements(&message.payload).len()).sum();
    assert_eq!((count, rows(&gateway.received())), (1200, expected(0..1200)));
    assert_eq!(world.count("batch") + world.count("letter"), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_without_an_acknowledgement_comes_again_byte_by_byte() {
    let gateway = Gateway::start(true).await;
    gateway.acknowledge(false);
    let world = World::new(&gateway.address, "energy");
    world.write(&lines(0..3));
    let agent = world.start();
    gateway.wait_for("the first message", |received| received.len() == 1).await;
    // More values must not find their way into a message that was sent.
    world.write(&lines(3..5));
    world.wait_for_count("sample", 5).await;
    gateway.kick();
    // The later values may have gone out beside the first message, or after it came again.
    let is_again = |received: &[Message]| received.iter().skip(1).any(|it| *it == received[0]);
    gateway.wait_for("it again", |received| is_again(received) && received.len() >= 3).await;
    agent.kill().await;
    let before = gateway.received();
    let others: Vec<_> = before.iter().filter(|it| **it != before[0]).cloned().collect();
    assert_eq!(rows(&others), expected(3..5), "in messages of their own");

    gateway.acknowledge(true);
    let agent = world.start();
    world.wait_for_count("sample", 0).await;
    agent.stop().await;
    let after = gateway.received();
    assert_eq!(after[before.len()], before[0], "after a restart too");
    assert_eq!(rows(&after), expected(0..5));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_of_json_are_the_same_again_and_sent_at_is_of_the_moment() {
    let gateway = Gateway::start(true).await;
    gateway.acknowledge(false);
    let world = World::new(&gateway.address, "status");
    world.write("battery_pct=80\nbattery_pct=80\n");
    let agent = world.start();
    gateway.wait_for("the first message", |received| received.len() == 1).await;
    gateway.kick();
    gateway.wait_for("it again", |received| received.len() >= 2).await;
    agent.kill().await;
    let batches: Vec<Value> = gateway.received()[..2]
        .iter()
        .map(|message| serde_json::from_slice(&message.payload).unwrap())
        .collect();
    assert_eq!(batches[0]["samples"], batches[1]["samples"]);
    let (first, second) = (&batches[0]["samples"][0], &batches[0]["samples"][1]);
    assert_ne!(first["time"], second["time"], "equal values of one moment stay two rows");
    assert!(batches[0]["sent_at"].as_str().unwrap() < batches[1]["sent_at"].as_str().unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_at_any_moment_neither_lose_nor_double_rows() {
    let gateway = Gateway::start(true).await;
    let world = World::new(&gateway.address, "energy");
    let mut state = 7_u64;
    for round in 0..12 {
        world.write(&lines(round * 100..round * 100 + 100));
        let agent = world.start();
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        gateway.acknowledge(state >> 63 == 0);
        tokio::time::sleep(Duration::from_millis((state >> 40) % 60)).await;
        agent.kill().await;
        if round % 3 == 0 {
            gateway.kick();
        }
    }
    gateway.acknowledge(true);
    let agent = world.start();
    gateway.wait_for("everything", |received| rows(received) == expected(0..1200)).await;
    world.wait_for_count("sample", 0).await;
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_line_is_left_out_and_the_rest_goes_on() {
    let gateway = Gateway::start(true).await;
    let world = World::new(&gateway.address, "energy");
    let long = "x".repeat(100_000);
    world.write(&format!("garbage\n{}{{\"socket\":\n{long}\n\u{0}\n{}", line(1), line(2)));
    let agent = world.start();
    gateway.wait_for("the good ones", |received| rows(received).len() == 2).await;
    agent.stop().await;
    assert_eq!(rows(&gateway.received()), expected(1..3));
    let file = rusqlite::Connection::open(world.settings.data_dir.join("queue.db")).unwrap();
    let bad: i64 = file
        .query_row("SELECT value FROM meta WHERE name = 'bad_lines'", [], |row| row.get(0))
        .unwrap();
    assert_eq!(bad, 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_lets_the_oldest_go_and_tells_how_many() {
    let gateway = Gateway::start(false).await;
    let mut world = World::new(&gateway.address, "energy");
    world.settings.queue_bytes_max = 64 * 1024;
    // Each run has 400 values; 64 KiB hold fewer than two.
    let program = "i=0; while [ $i -lt 400 ]; do \
        echo \"socket=s-1 name=power watts=$i\"; i=$((i+1)); done; echo run >> runs";
    let line = format!("cd {} && {program}", world.path("").display());
    world.settings.source = Source::Command { line, every: Duration::from_millis(10) };
    let agent = world.start();
    let runs = || std::fs::read_to_string(world.path("runs")).unwrap_or_default().lines().count();
    while runs() < 4 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    agent.stop().await;
    let waiting = world.count("sample");
    assert!((400..800).contains(&waiting), "{waiting}");
    let file = rusqlite::Connection::open(world.settings.data_dir.join("queue.db")).unwrap();
    let lost: i64 =
        file.query_row("SELECT value FROM meta WHERE name = 'lost'", [], |row| row.get(0)).unwrap();
    drop(file);
    assert_eq!((lost + waiting) % 400, 0, "every value waits or is counted");

    gateway.open();
    world.settings.source = Source::File(world.path("nothing"));
    let agent = world.start();
    world.wait_for_count("sample", 0).await;
    world.wait_for_count("letter", 0).await;
    agent.stop().await;
    let received = gateway.received();
    let event = received.iter().find(|message| message.topic == "v1/d/d-1/e/values_lost").unwrap();
    let event: Value = serde_json::from_slice(&event.payload).unwrap();
    assert_eq!(event["lost"], lost);
    assert!(event["from"].as_str().unwrap() <= event["to"].as_str().unwrap());
    let fault = received.iter().find(|message| message.topic == "v1/d/d-1/t/fault").unwrap();
    let fault: Value = serde_json::from_slice(&fault.payload).unwrap();
    assert_eq!(fault["code"], "agent.values_lost");
    let found: Vec<Measurement> = received
        .iter()
        .filter(|message| message.topic.ends_with("energy"))
        .flat_map(|message| measurements(&message.payload))
        .collect();
    assert_eq!(found.len() as i64, waiting);
    assert_eq!(found.last().unwrap().2, 399.0, "the newest stay");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_is_not_read_on_while_the_queue_is_full() {
    let gateway = Gateway::start(false).await;
    let mut world = World::new(&gateway.address, "energy");
    world.settings.queue_bytes_max = 64 * 1024;
    world.write(&lines(0..3000));
    let agent = world.start();
    while world.count("sample") < 300 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    gateway.open();
    gateway.wait_for("everything", |received| rows(received) == expected(0..3000)).await;
    agent.stop().await;
    let events = gateway.received().iter().filter(|message| message.topic.contains("/e/")).count();
    assert_eq!(events, 0, "nothing was lost");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotated_or_cut_file_is_read_whole() {
    let gateway = Gateway::start(true).await;
    let world = World::new(&gateway.address, "energy");
    world.write(&lines(0..10));
    let agent = world.start();
    gateway.wait_for("the first", |received| rows(received).len() == 10).await;
    world.write(&lines(10..11));
    std::fs::rename(world.path("values"), world.path("values.1")).unwrap();
    world.write(&lines(11..20));
    gateway.wait_for("the second file", |received| rows(received).len() == 20).await;
    agent.stop().await;
    // Cut while the agent is away; shorter than before, so it must be another content.
    std::fs::write(world.path("values"), lines(20..22)).unwrap();
    let agent = world.start();
    gateway.wait_for("the cut file", |received| rows(received).len() == 22).await;
    agent.stop().await;
    assert_eq!(rows(&gateway.received()), expected(0..22));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn csv_goes_on_with_its_header_after_a_restart() {
    let gateway = Gateway::start(true).await;
    let mut world = World::new(&gateway.address, "energy");
    let path = world.path("values.csv");
    world.settings.source = Source::File(path.clone());
    let row = |number: i64| format!("{},s-1,power,{number}.5\n", MINUTE_MS + number);
    crate::world::append(&path, &format!("time,socket,name,watts\n{}", row(0)));
    let agent = world.start();
    gateway.wait_for("the first", |received| rows(received).len() == 1).await;
    agent.stop().await;
    crate::world::append(&path, &row(1));
    let agent = world.start();
    gateway.wait_for("the second", |received| rows(received).len() == 2).await;
    agent.stop().await;
    assert_eq!(rows(&gateway.received()), expected(0..2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pipe_is_read_whoever_writes() {
    let gateway = Gateway::start(true).await;
    let mut world = World::new(&gateway.address, "energy");
    let path = world.path("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
    world.settings.source = Source::File(path.clone());
    let agent = world.start();
    for number in 0..3 {
        let (path, text) = (path.clone(), line(number));
        tokio::task::spawn_blocking(move || std::fs::write(path, text).unwrap()).await.unwrap();
    }
    gateway.wait_for("all three", |received| rows(received).len() == 3).await;
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_agent_on_the_same_data_is_refused() {
    let world = World::new("127.0.0.1:1", "energy");
    let agent = world.start();
    let clock = std::sync::Arc::new(axle_agent::MachineClock::open().unwrap());
    let error = world.start_with(clock).map(|_agent| ()).unwrap_err();
    assert_eq!((error.kind, error.code), (Kind::Conflict, "agent.data_dir_taken"));
    agent.stop().await;
}
