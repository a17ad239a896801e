//! Puts load on any MQTT 3.1.1 broker, so that axle and its peers are measured by one hand.
//!
//! ```text
//! broker_load window    at=127.0.0.1:1883 connections=100 window=50 seconds=5
//! broker_load paced     at=127.0.0.1:1883 connections=2000 rate=33000 seconds=10
//! broker_load idle      at=127.0.0.1:1883 connections=5000
//! broker_load offline   at=127.0.0.1:1883 connections=5000
//! broker_load reconnect at=127.0.0.1:8883 connections=10000 tls=DIR
//! broker_load fanout    at=127.0.0.1:1883 connections=10000 seconds=10
//! broker_load echo      at=127.0.0.1:1883 connections=10 seconds=10
//! ```
//!
//! Further: `client=PREFIX`, `topic=TOPIC`, `filter=FILTER`, `user=NAME`, `password=TEXT`. With `tls`
//! a directory holds `ca.crt`, `client.crt` and `client.key`. `tools/peers/run` starts the brokers and
//! reads the one line of JSON that comes out. `idle` holds its connections until its input ends.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a tool that measures: it prints, and stops where something is wrong"
)]

mod lane;
mod plan;

use std::collections::HashMap;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Semaphore;

use crate::lane::{Schedule, Socket, keep_in_flight, send_on_time};
use crate::plan::{AT_ONCE, Plan, client_tls, packet, put_text, read_packet, subscribe};

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let mode = arguments.next().unwrap_or_default();
    let words: HashMap<String, String> = arguments
        .map(|word| {
            let (name, value) = word.split_once('=').unwrap();
            (name.to_owned(), value.to_owned())
        })
        .collect();
    let tls = words.get("tls").map(|dir| client_tls(Path::new(dir)));
    let plan = Arc::new(Plan { words, tls });
    match &*mode {
        "window" => window(&plan).await,
        "paced" => paced(&plan).await,
        "idle" => idle(&plan).await,
        "offline" => offline(&plan).await,
        "reconnect" => reconnect(&plan).await,
        "fanout" => fanout(&plan).await,
        "echo" => echo(&plan).await,
        other => println!("unknown mode {other:?}: the head of this file lists them"),
    }
}

/// Every connection keeps so many publishes in flight; what was acknowledged is counted.
async fn window(plan: &Arc<Plan>) {
    let (total, window) = (Arc::new(AtomicU64::new(0)), plan.number("window", 50));
    for (number, socket) in plan.connect_all(true).await.into_iter().enumerate() {
        let one = plan.publish(&topic_of(plan, number));
        tokio::spawn(keep_in_flight(socket, one, window, Arc::clone(&total)));
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    println!("{{\"measuring\": true}}");
    let (before, began) = (total.load(Ordering::Relaxed), Instant::now());
    tokio::time::sleep(Duration::from_secs(plan.seconds())).await;
    let acknowledged = total.load(Ordering::Relaxed) - before;
    let rate = acknowledged as f64 / began.elapsed().as_secs_f64();
    println!("{{\"acknowledged\": {acknowledged}, \"per_s\": {rate:.0}}}");
}

/// `{n}` in the topic stands for the connection's number.
fn topic_of(plan: &Plan, number: usize) -> String {
    plan.text("topic", "load/{n}").replace("{n}", &number.to_string())
}

/// So many messages per second over all connections, whatever comes back: an open loop.
async fn paced(plan: &Arc<Plan>) {
    let sockets = plan.connect_all(true).await;
    let (count, rate) = (sockets.len() as f64, plan.number("rate", 33_000) as f64);
    let every = Duration::from_secs_f64(count / rate);
    let begin = tokio::time::Instant::now() + Duration::from_millis(200);
    let until = begin + Duration::from_secs(plan.seconds());
    let mut lanes = Vec::new();
    for (number, socket) in sockets.into_iter().enumerate() {
        let first = begin + every.mul_f64(number as f64 / count);
        let one = plan.publish(&topic_of(plan, number));
        let schedule = Schedule { first, every, until };
        lanes.push(tokio::spawn(send_on_time(socket, one, schedule)));
    }
    tokio::time::sleep_until(begin).await;
    println!("{{\"measuring\": true}}");
    let mut seen = Vec::new();
    for lane in lanes {
        seen.extend(lane.await.unwrap());
    }
    let rate = seen.len() as f64 / plan.seconds() as f64;
    println!("{{\"messages\": {}, \"per_s\": {rate:.0}, {}}}", seen.len(), spread(seen));
}

/// p50, p99 and the greatest of microseconds, in milliseconds.
fn spread(mut micros: Vec<u32>) -> String {
    micros.sort_unstable();
    let at = |share: f64| {
        let index = (micros.len().saturating_sub(1) as f64 * share) as usize;
        f64::from(micros.get(index).copied().unwrap_or_default()) / 1e3
    };
    format!("\"p50_ms\": {:.2}, \"p99_ms\": {:.2}, \"max_ms\": {:.2}", at(0.5), at(0.99), at(1.0))
}

/// Opens connections and holds them until standard input ends.
async fn idle(plan: &Arc<Plan>) {
    let began = Instant::now();
    let sockets = plan.connect_all(true).await;
    let per_s = sockets.len() as f64 / began.elapsed().as_secs_f64();
    println!("{{\"connections\": {}, \"per_s\": {per_s:.0}}}", sockets.len());
    let end = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
    drop(end.await);
}

/// Leaves kept sessions behind, each with a subscription and nobody at its end.
async fn offline(plan: &Arc<Plan>) {
    let turns = Arc::new(Semaphore::new(AT_ONCE));
    let leaving: Vec<_> = (0..plan.connections())
        .map(|number| {
            let (plan, turns) = (Arc::clone(plan), Arc::clone(&turns));
            tokio::spawn(async move {
                let _turn = turns.acquire().await.unwrap();
                let mut socket = plan.connect(&number.to_string(), false).await;
                let filter = plan.text("filter", "load/{n}").replace("{n}", &number.to_string());
                subscribe(&mut socket, &filter).await;
                socket.write_all(&[0xe0, 0]).await.unwrap();
                socket.shutdown().await.unwrap();
                // Its turn ends when the broker has let go of it as well.
                drop(socket.read(&mut [0]).await);
            })
        })
        .collect();
    for one in leaving {
        one.await.unwrap();
    }
    println!("{{\"sessions\": {}}}", plan.connections());
}

/// All at once, as after an outage: the time from the first attempt until each was accepted. Who is
/// turned away tries again, as devices do, after a pause that doubles from 100 ms to 2 s.
async fn reconnect(plan: &Arc<Plan>) {
    let (began, again) = (Instant::now(), Arc::new(AtomicU64::new(0)));
    let connecting: Vec<_> = (0..plan.connections())
        .map(|number| {
            let (plan, again) = (Arc::clone(plan), Arc::clone(&again));
            tokio::spawn(async move {
                let mut pause = Duration::from_millis(100);
                while began.elapsed() < Duration::from_secs(120) {
                    if let Ok(socket) = plan.try_connect(&number.to_string(), true).await {
                        return Some((began.elapsed().as_micros() as u32, socket));
                    }
                    again.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(Duration::from_secs(2));
                }
                None
            })
        })
        .collect();
    let (mut seen, mut held) = (Vec::new(), Vec::new());
    for one in connecting {
        if let Some((micros, socket)) = one.await.unwrap() {
            seen.push(micros);
            held.push(socket);
        }
    }
    let per_s = seen.len() as f64 / began.elapsed().as_secs_f64();
    let (failed, again) = (plan.connections() - seen.len(), again.load(Ordering::Relaxed));
    let spread = spread(seen);
    println!("{{\"per_s\": {per_s:.0}, \"failed\": {failed}, \"again\": {again}, {spread}}}");
}

/// One message a second to all: the time from its sending until each had it.
async fn fanout(plan: &Arc<Plan>) {
    let (count, topic) = (plan.connections(), plan.text("topic", "load/all"));
    let turns = Arc::new(Semaphore::new(AT_ONCE));
    let began = Instant::now();
    let (seen, mut arrivals) = tokio::sync::mpsc::channel::<(u32, u64)>(65_536);
    let mut lanes = Vec::new();
    for number in 0..count {
        let (plan, turns, seen) = (Arc::clone(plan), Arc::clone(&turns), seen.clone());
        let filter = plan.text("filter", &topic);
        lanes.push(tokio::spawn(async move {
            let turn = turns.acquire().await.unwrap();
            let mut socket = plan.connect(&number.to_string(), true).await;
            subscribe(&mut socket, &filter).await;
            drop(turn);
            let reading = async move {
                while let Some((first, body)) = read_packet(&mut socket).await {
                    if first >> 4 != 3 {
                        continue;
                    }
                    let at = 2 + usize::from(u16::from_be_bytes([body[0], body[1]]));
                    let ack = [0x40, 2, body[at], body[at + 1]];
                    let sent = u64::from_be_bytes(body[at + 2..at + 10].try_into().unwrap());
                    let took = began.elapsed().as_micros() as u64 - sent;
                    if seen.send((took as u32, sent)).await.is_err() {
                        return;
                    }
                    if socket.write_all(&ack).await.is_err() || socket.flush().await.is_err() {
                        return;
                    }
                }
            };
            tokio::spawn(reading);
        }));
    }
    for lane in lanes {
        lane.await.unwrap();
    }
    println!("{{\"measuring\": true}}");
    let mut publisher = plan.connect("publisher", true).await;
    let (mut took, mut last) = (Vec::new(), Vec::new());
    for round in 0..plan.seconds() {
        let sent = began.elapsed().as_micros() as u64;
        let mut body = Vec::new();
        put_text(&mut body, &topic);
        body.extend_from_slice(&(round as u16 + 1).to_be_bytes());
        body.extend_from_slice(&sent.to_be_bytes());
        body.resize(128, b'x');
        publisher.write_all(&packet(0x32, &body)).await.unwrap();
        publisher.flush().await.unwrap();
        let (mut slowest, mut got) = (0, 0);
        while got < count {
            let arrival = tokio::time::timeout(Duration::from_secs(30), arrivals.recv());
            let Ok(Some((micros, of))) = arrival.await else { break };
            if of == sent {
                (slowest, got) = (slowest.max(micros), got + 1);
                took.push(micros);
            }
        }
        last.push(slowest);
    }
    let (messages, lost) = (took.len(), count * plan.seconds() as usize - took.len());
    let (each, last) = (spread(took), spread(last));
    println!(
        "{{\"deliveries\": {messages}, \"lost\": {lost}, {each}, \"until_all_had_it\": {{{last}}}}}"
    );
}

/// Pairs: one publishes, the other has it and publishes back; the way there and back is measured.
async fn echo(plan: &Arc<Plan>) {
    let until = Instant::now() + Duration::from_secs(plan.seconds());
    let pairs: Vec<_> = (0..plan.connections())
        .map(|number| {
            let plan = Arc::clone(plan);
            tokio::spawn(async move { pair(&plan, number, until).await })
        })
        .collect();
    let mut seen = Vec::new();
    for one in pairs {
        seen.extend(one.await.unwrap());
    }
    println!("{{\"round_trips\": {}, {}}}", seen.len(), spread(seen));
}

async fn pair(plan: &Plan, number: usize, until: Instant) -> Vec<u32> {
    let prefix = plan.text("topic", "load/echo");
    let (there, back) = (format!("{prefix}/{number}/there"), format!("{prefix}/{number}/back"));
    let mut near = plan.connect(&format!("near-{number}"), true).await;
    let mut far = plan.connect(&format!("far-{number}"), true).await;
    subscribe(&mut near, &back).await;
    subscribe(&mut far, &there).await;
    let answering = tokio::spawn(async move {
        while has_message(&mut far).await {
            send(&mut far, &back).await;
        }
    });
    let mut seen = Vec::new();
    while Instant::now() < until {
        let began = Instant::now();
        send(&mut near, &there).await;
        if !has_message(&mut near).await {
            break;
        }
        seen.push(began.elapsed().as_micros() as u32);
    }
    answering.abort();
    seen
}

async fn send(socket: &mut Box<dyn Socket>, topic: &str) {
    let mut body = Vec::new();
    put_text(&mut body, topic);
    body.extend_from_slice(&[0, 7]);
    body.resize(body.len() + 64, b'x');
    // A socket that ended is seen by the one that reads.
    drop(socket.write_all(&packet(0x32, &body)).await);
    drop(socket.flush().await);
}

/// The next message, acknowledged; false where the connection ended.
async fn has_message(socket: &mut Box<dyn Socket>) -> bool {
    loop {
        let Some((first, body)) = read_packet(socket).await else { return false };
        if first >> 4 == 3 {
            let at = 2 + usize::from(u16::from_be_bytes([body[0], body[1]]));
            let ack = [0x40, 2, body[at], body[at + 1]];
            return socket.write_all(&ack).await.is_ok() && socket.flush().await.is_ok();
        }
    }
}
