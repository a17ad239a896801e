//! A demonstration against the fake: everyone is born, lives, obeys, and the plant tells of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axle_fleet::api::{Api, Call};
use axle_fleet::{Fleet, FleetPlan, FleetStatus, Switches};
use hyper::Method;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::fake::{Fake, Lie};

fn plan() -> FleetPlan {
    FleetPlan { bikes: 4, cars: 2, meters: 2, seed: 3, speed: 20.0, switches: Switches::default() }
}

/// Waits until a counter has reached a number.
async fn reached(counter: &AtomicU64, number: u64) {
    let wait = async {
        while counter.load(Ordering::Relaxed) < number {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), wait).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn everyone_lives_has_a_past_and_is_told_of_by_the_plant() {
    let (fake, doors) = Fake::start(Lie::None).await;
    let fleet = Fleet::new(plan(), doors);
    let (status, stop): (Arc<FleetStatus>, _) = (fleet.status(), CancellationToken::new());
    let life = tokio::spawn({
        let stop = stop.clone();
        async move { fleet.run(stop).await }
    });
    reached(&status.enrolled, 8).await;
    reached(&status.connected, 6).await;
    reached(&status.acked, 50).await;
    // The status of four bikes, and rides.
    reached(&status.uploads, 8).await;
    // A device, its parts, and where they sit: eleven of a bike, nine of a car.
    reached(&status.records, 4 * 11 + 2 * 9).await;
    stop.cancel();
    life.await.unwrap().unwrap();
    assert_eq!(status.connected.load(Ordering::Relaxed), 0);
    let memory = fake.memory.lock().unwrap();
    let told = |device: &str| memory.records.iter().any(|record| record["id"] == device);
    assert!(told("bike-0004") && told("car-0002") && !told("meter-0001"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_arrives_twice_is_executed_once() {
    let (_fake, doors) = Fake::start(Lie::SendTwice).await;
    let api = Api::new(&doors.http, &doors.token);
    let fleet = Fleet::new(FleetPlan { bikes: 1, cars: 0, meters: 0, ..plan() }, doors);
    let (status, stop) = (fleet.status(), CancellationToken::new());
    let life = tokio::spawn({
        let stop = stop.clone();
        async move { fleet.run(stop).await }
    });
    reached(&status.acked, 1).await;
    let body = json!({ "name": "ring", "timeout_s": 60 });
    for number in 1..=5 {
        let path = "/api/v1/devices/bike-0001/commands";
        // A bike in a tunnel hears of it when it comes out.
        let answer = api.call(&Call::json(Method::POST, path, &body)).await.unwrap();
        assert!(answer.is_success());
        reached(&status.commands, number).await;
    }
    // The second of each pair has been here before the next command was answered.
    assert_eq!(status.commands.load(Ordering::Relaxed), 5);
    stop.cancel();
    life.await.unwrap().unwrap();
}

#[tokio::test]
async fn refuses_plans_that_cannot_be() {
    let (_fake, doors) = Fake::start(Lie::None).await;
    let refused = async |plan: FleetPlan| {
        let fleet = Fleet::new(plan, doors.clone());
        Box::pin(fleet.run(CancellationToken::new())).await.unwrap_err().code
    };
    assert_eq!(refused(FleetPlan { bikes: 10_001, ..plan() }).await, "demo.too_many");
    let switches = Switches { late: -1.0, ..Switches::default() };
    assert_eq!(refused(FleetPlan { switches, ..plan() }).await, "fleet.share_invalid");
}
