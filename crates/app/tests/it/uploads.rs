//! Batches of apps: once, with verdicts.

use axle_app::{UploadAnswer, UploadRequest};
use axle_domain::port::EventLog;
use axle_domain::{Error, Kind};
use serde_json::{Value, json};

use crate::world::{World, device};

fn request(body: &str, key: Option<&str>) -> UploadRequest {
    UploadRequest {
        device: None,
        stream: None,
        sent_at: None,
        idempotency_key: key.map(str::to_owned),
        content_type: "application/json".to_owned(),
        body: body.to_owned().into(),
    }
}

async fn upload(world: &World, body: &str, key: Option<&str>) -> Result<UploadAnswer, Error> {
    let principal = axle_app::Principal::Token(axle_domain::Token {
        id: "t-app".to_owned(),
        hash: axle_domain::TokenHash([1; 32]),
        scopes: vec![axle_domain::Scope::Upload(device("b-1"))],
        created_at: crate::world::NOW,
    });
    world.app.uploads.accept(&principal, request(body, key)).await
}

const BATCH: &str = r#"{"device":"b-1","stream":"ride","samples":[
    {"time":1790000000000,"speed_kmh":1},{"time":1790000000000,"speed_kmh":1},
    {"time":"2085-01-01T00:00:00Z","speed_kmh":2},{"time":1789999999000,"speed_kmh":3}]}"#;

#[tokio::test]
async fn each_record_gets_its_verdict() {
    let world = World::new().await;
    let answer = upload(&world, BATCH, None).await.unwrap();
    let body: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(
        (&body["stored"], &body["duplicate"], &body["quarantined"]),
        (&json!(2), &json!(1), &json!(1))
    );
    assert_eq!(body["records"][0]["index"], 1);
    assert_eq!(body["records"][0]["verdict"], "duplicate");
    assert_eq!(body["records"][1]["index"], 2);
    assert_eq!(body["records"][1]["code"], "time.future");
}

#[tokio::test]
async fn the_same_upload_again_gets_the_same_answer_and_is_stored_once() {
    let world = World::new().await;
    let first = upload(&world, BATCH, None).await.unwrap();
    let again = upload(&world, BATCH, None).await.unwrap();
    assert_eq!((again.body, again.is_repeated), (first.body.clone(), true));
    world.settle().await;
    let settled = upload(&world, BATCH, None).await.unwrap();
    assert_eq!((&settled.body, settled.is_repeated), (&first.body, true));
    let world = World::start(world.crash()).await;
    let restarted = upload(&world, BATCH, None).await.unwrap();
    assert_eq!((restarted.body, restarted.is_repeated), (first.body, true));
    assert_eq!(world.ground.log_len(), 1);
}

#[tokio::test]
async fn a_crash_before_the_projection_does_not_forget_the_receipt() {
    let world = World::new().await;
    let first = upload(&world, BATCH, Some("k-1")).await.unwrap();
    let world = World::start(world.crash()).await;
    let again = upload(&world, BATCH, Some("k-1")).await.unwrap();
    assert_eq!((again.body, again.is_repeated), (first.body, true));
}

#[tokio::test]
async fn many_at_once_are_stored_once() {
    let world = World::new().await;
    let uploads = (0..20).map(|_| upload(&world, BATCH, Some("k")));
    let answers = futures_util::future::join_all(uploads).await;
    let first = answers[0].as_ref().unwrap().body.clone();
    assert!(answers.iter().all(|answer| answer.as_ref().unwrap().body == first));
    assert_eq!(world.ground.log_len(), 1);
}

#[tokio::test]
async fn a_key_with_another_body_is_a_conflict() {
    let world = World::new().await;
    upload(&world, BATCH, Some("k")).await.unwrap();
    let other = BATCH.replace("speed_kmh\":3", "speed_kmh\":4");
    let error = upload(&world, &other, Some("k")).await.unwrap_err();
    assert_eq!((error.kind, error.code), (Kind::Conflict, "upload.idempotency_conflict"));
}

#[tokio::test]
async fn a_body_that_is_no_batch_stores_nothing() {
    let world = World::new().await;
    let many = (0..10_001).map(|i| format!(r#"{{"speed_kmh":{}}}"#, i % 100)).collect::<Vec<_>>();
    let many = format!(r#"{{"device":"b-1","stream":"ride","samples":[{}]}}"#, many.join(","));
    for (body, code) in [
        ("", "upload.empty"),
        ("{", "payload.invalid"),
        (r#"{"device":"b-1","stream":"ride","samples":[{]}"#, "payload.invalid"),
        (r#"{"device":"b-1","stream":"nosuch","samples":[]}"#, "stream.unknown"),
        (r#"{"device":"b-2","stream":"ride","samples":[]}"#, "device.not_found"),
        (r#"{"device":"b-9","stream":"ride","samples":[]}"#, "device.not_found"),
        (r#"{"stream":"ride","samples":[]}"#, "upload.subject_missing"),
        (&many, "upload.too_many_records"),
    ] {
        let error = upload(&world, body, None).await.unwrap_err();
        assert_eq!(error.code, code, "{}", &body[..body.len().min(80)]);
    }
    let first = world.ground.log.bounds().first;
    let kept = world.ground.log.read(first, 1 << 20).await.unwrap();
    assert!(kept.iter().all(|record| record.source == axle_domain::Source::Door));
}

#[tokio::test]
async fn a_batch_of_nothing_is_accepted_and_leaves_nothing() {
    let world = World::new().await;
    let body = r#"{"device":"b-1","stream":"ride","samples":[]}"#;
    let answer: Value =
        serde_json::from_str(&upload(&world, body, None).await.unwrap().body).unwrap();
    assert_eq!((&answer["stored"], &answer["quarantined"]), (&json!(0), &json!(0)));
    assert_eq!(world.ground.log_len(), 0);
}
