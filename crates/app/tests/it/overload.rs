//! More comes than can be made safe: who gives way first, and who never does.

use axle_app::{Content, NewCommand, Publisher, Rights, UploadRequest};
use axle_domain::port::AnswerFormat;
use axle_domain::{Envelope, Error, Kind, StreamName, limit};
use bytes::Bytes;

use crate::world::{NOW, World, device};

const MEGABYTE: usize = 1024 * 1024;

fn publish(world: &World, topic: &str, qos: u8, payload: &[u8]) -> Result<(), Error> {
    let publisher = Publisher { device: device("b-1"), connected_at: NOW, rights: Rights::OwnTree };
    let envelope = Envelope { qos, ..Envelope::default() };
    let content = Content { topic, content_type: "", payload, envelope, origin: "" };
    world.app.ingest.publish(&publisher, &content).map(|_offset| ())
}

/// Whether each class is taken now, by the name of its class.
async fn taken(world: &World) -> Vec<&'static str> {
    let principal = world.principal(&["admin"]).await;
    let question = world.app.queries.sql(&principal, "SELECT 1", AnswerFormat::Table).await;
    let is_busy = |error: &Error| error.kind == Kind::Busy && error.code == "overload.give_way";
    let mut taken = Vec::new();
    // The store in memory answers no question, and says that instead.
    if !question.as_ref().is_err_and(is_busy) {
        taken.push("question");
    }
    if question.as_ref().is_err_and(is_busy) {
        assert!(question.unwrap_err().retry_after.is_some());
    }
    if publish(world, "v1/d/b-1/t/ride", 0, b"{}").is_ok() {
        taken.push("qos 0");
    }
    if publish(world, "v1/d/b-1/t/ride", 1, b"{}").is_ok() {
        taken.push("qos 1");
    }
    if publish(world, "v1/d/b-1/c/k1/r", 1, b"{}").is_ok() {
        taken.push("answer");
    }
    taken
}

#[tokio::test]
async fn a_disk_that_stands_still_shows_in_the_age_of_what_waits() {
    let world = World::new().await;
    let all = ["question", "qos 0", "qos 1", "answer"];
    for (seconds, gone) in [(1, 0), (2, 1), (3, 2), (60, 2)] {
        world.ground.log.stall(std::time::Duration::from_millis(seconds * 1000));
        publish(&world, "v1/d/b-1/t/ride", 1, b"{}").unwrap();
        assert_eq!(taken(&world).await, all[gone..], "{seconds} s");
        world.ground.log.commit();
        assert_eq!(taken(&world).await, all[..], "nothing waits any more");
        world.ground.log.commit();
    }
}

#[tokio::test]
async fn each_class_gives_way_before_the_next_and_control_never() {
    let world = World::new().await;
    world.ground.log.hold();
    let mut gone = Vec::new();
    let mut before = taken(&world).await;
    assert_eq!(before, ["question", "qos 0", "qos 1", "answer"]);
    let megabyte = vec![b' '; MEGABYTE];
    while publish(&world, "v1/d/b-1/t/ride", 1, &megabyte).is_ok() {
        let now = taken(&world).await;
        gone.extend(before.iter().filter(|class| !now.contains(class)).copied());
        before = now;
    }
    assert_eq!(gone, ["question", "qos 0", "qos 1"], "in this order");
    // Now that devices wait too, their answers still come in, and commands still go out.
    assert_eq!(taken(&world).await, ["answer"]);
    let waiting = world.app.ports.log.waiting_bytes();
    assert!(waiting < limit::COMMIT_BUFFER_BYTES_MAX - 4 * MEGABYTE, "there is room for them");
    let command = NewCommand {
        name: "unlock".to_owned(),
        payload: "{}".to_owned(),
        timeout: std::time::Duration::from_secs(60),
        is_dry_run: false,
    };
    world.app.commands.create(&device("b-1"), command).await.unwrap();
    let principal = world.principal(&["admin"]).await;
    world.app.queries.state(&principal, &device("b-1")).await.unwrap();
    // And all is as before once the disk has caught up.
    world.ground.log.commit();
    assert_eq!(taken(&world).await, ["question", "qos 0", "qos 1", "answer"]);
}

#[tokio::test]
async fn apps_give_way_before_devices_and_are_told_when_to_come_again() {
    let world = World::new().await;
    let principal = world.principal(&["admin"]).await;
    world.ground.log.hold();
    let megabyte = vec![b' '; MEGABYTE];
    while world.app.ports.log.waiting_bytes() <= limit::COMMIT_BUFFER_BYTES_MAX / 8 * 6 {
        publish(&world, "v1/d/b-1/t/ride", 1, &megabyte).unwrap();
    }
    let request = UploadRequest {
        device: Some(device("b-1")),
        stream: Some(StreamName::parse("ride").unwrap()),
        sent_at: None,
        content_type: "application/json".to_owned(),
        body: Bytes::from_static(br#"{"samples":[{"lat":48.1}]}"#),
        idempotency_key: None,
    };
    let (upload, commit) = tokio::join!(world.app.uploads.accept(&principal, request), async {
        // The refusal is counted in the log, and told once that is safe.
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        world.ground.log.commit();
    });
    let () = commit;
    let error = upload.unwrap_err();
    assert_eq!((error.kind, error.code), (Kind::Busy, "overload.give_way"));
    assert!(error.retry_after.is_some_and(|wait| wait.as_secs() >= 2));
}
