//! Devices that share an identity until each has its own.

use std::sync::Arc;

use axle_app::NewApplication;
use axle_domain::provisioning::CREATE_FROM_CSR;
use axle_domain::{
    ApplicationKind, ApplicationName, ClaimTerms, DeviceId, DeviceStatus, Grants, IdPattern, limit,
};
use axle_mqtt::{new_application_request, new_key_and_request};
use serde_json::{Value, json};

use crate::certificates::try_connect;
use crate::client::{Client, connect_v5};
use crate::world::{Credential, World};

const THING: &str = "$aws/provisioning-templates/line-7/provision/json";
const ANSWERS: [&str; 4] = [
    "$aws/certificates/create-from-csr/json/accepted",
    "$aws/certificates/create-from-csr/json/rejected",
    "$aws/provisioning-templates/line-7/provision/json/accepted",
    "$aws/provisioning-templates/line-7/provision/json/rejected",
];

/// A claim for so many bikes, and its certificate.
async fn claim(world: &World, left: u32) -> Credential {
    let name = ApplicationName::parse("line-7").unwrap();
    let terms = ClaimTerms {
        devices: IdPattern::parse("bike-*").unwrap(),
        device_kind: "bike".to_owned(),
        left,
    };
    let (kind, grants) = (ApplicationKind::Claim(terms), Grants::default());
    let new = NewApplication { name: name.clone(), kind, grants, has_token: false };
    world.app.applications.create(new).await.unwrap();
    let (key, request) = new_application_request(&name).unwrap();
    let (issued, _) = world.app.applications.issue_certificate(&name, &request).await.unwrap();
    Credential::from_pem(&issued.pem, &key)
}

/// The claim's connection, with its answers subscribed to.
async fn asking(world: &World, credential: &Credential, id: &str, is_v5: bool) -> Client {
    let config = Arc::new(world.client_config(credential));
    let mut client = world.tls_client(&config, is_v5).await.unwrap();
    assert_eq!(client.connect(id).await, 0);
    assert_eq!(client.subscribe(&ANSWERS).await, [1; 4]);
    client
}

/// Asks, and returns the topic and body of the answer.
async fn ask(client: &mut Client, topic: &str, body: &Value) -> (String, Value) {
    client.publish(topic, body.to_string().as_bytes(), 3).await;
    assert_eq!(client.puback().await, (3, 0));
    let answer = client.published().await;
    let id = answer.packet_id.unwrap().get();
    client.acknowledge(id, rmqtt_codec::v5::PublishAckReason::Success).await;
    (answer.topic.to_string(), serde_json::from_slice(&answer.payload).unwrap())
}

/// A key, and the answer to its signing request.
async fn certificate(client: &mut Client) -> (String, Value) {
    // The subject that it asks for is nobody's business.
    let (key, request) = new_key_and_request(&DeviceId::parse("b-1").unwrap()).unwrap();
    let body = json!({"certificateSigningRequest": request});
    let (topic, answer) = ask(client, CREATE_FROM_CSR, &body).await;
    assert_eq!(topic, ANSWERS[0], "{answer}");
    (key, answer)
}

fn thing(answer: &Value, id: &str) -> Value {
    let token = &answer["certificateOwnershipToken"];
    json!({"certificateOwnershipToken": token, "parameters": {"SerialNumber": id}})
}

#[tokio::test]
async fn a_claim_brings_a_device_that_then_comes_by_itself() {
    let world = World::new().await;
    let credential = claim(&world, 10).await;
    for (id, is_v5) in [("bike-1", false), ("bike-2", true)] {
        let mut client = asking(&world, &credential, "line-7/station-2", is_v5).await;
        let (key, answer) = certificate(&mut client).await;
        let own = Credential::from_pem(answer["certificatePem"].as_str().unwrap(), &key);
        let config = Arc::new(world.client_config(&own));
        assert_eq!(try_connect(&world, &config, id).await, Some(0x87), "it names nobody yet");
        let (topic, made) = ask(&mut client, THING, &thing(&answer, id)).await;
        assert_eq!((topic.as_str(), &made["thingName"]), (ANSWERS[2], &json!(id)));
        let again = ask(&mut client, THING, &thing(&answer, "bike-9")).await;
        assert_eq!((again.0.as_str(), &again.1["statusCode"]), (ANSWERS[3], &json!(400)), "once");
        assert_eq!(try_connect(&world, &config, id).await, Some(0));
        let device = world.app.devices.get(&DeviceId::parse(id).unwrap()).await.unwrap();
        assert_eq!((device.status, device.kind.as_str()), (DeviceStatus::Active, "bike"));
    }
    assert_eq!(world.log_length(), 0, "what is asked is no message");
}

#[tokio::test]
async fn a_claim_reaches_its_answers_and_nothing_else() {
    let world = World::new().await;
    world.add("bike-1").await;
    let credential = claim(&world, 10).await;
    let config = Arc::new(world.client_config(&credential));
    assert_eq!(try_connect(&world, &config, "bike-1").await, Some(0x85));
    let mut client = asking(&world, &credential, "line-7", true).await;
    let denied = ["#", "$aws/#", "v1/d/+/t/#", "$aws/provisioning-templates/+/provision/json/+"];
    assert_eq!(client.subscribe(&denied).await, [0x87; 4]);
    for topic in [
        "v1/d/bike-1/t/ride",
        "v1/d/line-7/t/ride",
        "$aws/provisioning-templates/line-8/provision/json",
        "$aws/certificates/create/json",
        ANSWERS[0],
    ] {
        client.publish(topic, b"{}", 5).await;
        assert_eq!(client.puback().await, (5, 0x87), "{topic}");
    }
    // Who has not subscribed is not answered, and another client of the claim hears nothing.
    let mut deaf = world.tls_client(&config, true).await.unwrap();
    deaf.connect_v5(connect_v5("line-7/deaf")).await;
    deaf.publish(CREATE_FROM_CSR, b"{}", 6).await;
    assert_eq!(deaf.puback().await, (6, 0));
    deaf.ping().await;
    client.ping().await;
}

#[tokio::test]
async fn what_a_claim_may_not_bring_is_rejected_with_a_reason() {
    let world = World::new().await;
    let credential = claim(&world, 1).await;
    drop(world.add_with_certificate("bike-1").await);
    world.add("bike-2").await;
    world.app.devices.revoke(&DeviceId::parse("bike-2").unwrap()).await.unwrap();
    world.add("bike-3").await;
    let mut client = asking(&world, &credential, "line-7", true).await;
    for (topic, body, status) in [
        (CREATE_FROM_CSR, json!([]), 400),
        (CREATE_FROM_CSR, json!({"certificateSigningRequest": "?"}), 400),
        (THING, json!({"certificateOwnershipToken": "?", "parameters": {"ThingName": "x"}}), 400),
    ] {
        let (_, answer) = ask(&mut client, topic, &body).await;
        assert_eq!(answer["statusCode"], status, "{answer}");
    }
    let (key, answer) = certificate(&mut client).await;
    for (id, status, why) in [
        ("car-1", 403, "claim.device_not_covered"),
        ("bike-1", 409, "claim.device_exists"),
        ("bike-2", 403, "device.revoked"),
        ("bike 3", 400, "device.id_invalid"),
    ] {
        let (_, refused) = ask(&mut client, THING, &thing(&answer, id)).await;
        assert_eq!(refused["statusCode"], status, "{refused}");
        assert!(refused["errorMessage"].as_str().unwrap().contains(why), "{refused}");
    }
    // Registered by its plant, and without an identity so far: that is what the claim is for.
    let (_, made) = ask(&mut client, THING, &thing(&answer, "bike-3")).await;
    assert_eq!(made["thingName"], "bike-3");
    let own = Credential::from_pem(answer["certificatePem"].as_str().unwrap(), &key);
    let own = Arc::new(world.client_config(&own));
    assert_eq!(try_connect(&world, &own, "bike-3").await, Some(0));
    let (_, answer) = certificate(&mut client).await;
    let (_, spent) = ask(&mut client, THING, &thing(&answer, "bike-4")).await;
    assert!(spent["errorMessage"].as_str().unwrap().contains("claim.spent"), "{spent}");
    assert!(!world.app.registry.knows("bike-4"));
}

#[tokio::test]
async fn a_certificate_waits_for_its_device_only_so_long() {
    let world = World::new().await;
    let credential = claim(&world, 10).await;
    let mut client = asking(&world, &credential, "line-7", true).await;
    let (_, answer) = certificate(&mut client).await;
    world.clock.advance(limit::CLAIM_CERTIFICATE_TIME_MAX);
    let (_, late) = ask(&mut client, THING, &thing(&answer, "bike-1")).await;
    assert!(late["errorMessage"].as_str().unwrap().contains("claim.token_unknown"), "{late}");
}

#[tokio::test]
async fn a_claim_asks_so_often_and_a_withdrawn_one_no_more() {
    let world = World::new().await;
    let credential = claim(&world, 10).await;
    let mut client = asking(&world, &credential, "line-7", true).await;
    let name = ApplicationName::parse("line-7").unwrap();
    for _ in 0..limit::CLAIM_REQUESTS_PER_MINUTE {
        world.app.admit_provisioning(&name).unwrap();
    }
    let (topic, busy) = ask(&mut client, CREATE_FROM_CSR, &json!({})).await;
    assert_eq!((topic.as_str(), &busy["statusCode"]), (ANSWERS[1], &json!(429)));
    world.clock.advance(std::time::Duration::from_secs(60));
    certificate(&mut client).await;
    world.app.applications.revoke(&name).await.unwrap();
    assert_eq!(client.disconnected().await, Some(0x98));
    let config = Arc::new(world.client_config(&credential));
    assert_eq!(try_connect(&world, &config, "line-7").await, Some(0x87));
}
