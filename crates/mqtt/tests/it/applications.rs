//! Backend applications: what they prove themselves by, and what they reach.

use std::sync::Arc;

use axle_app::NewApplication;
use axle_domain::{ApplicationKind, ApplicationName, Grants, TopicFilter};
use axle_mqtt::new_application_request;
use rmqtt_codec::v5;

use crate::client::{Client, connect_v5, last_will};
use crate::world::{Credential, World};

fn name(text: &str) -> ApplicationName {
    ApplicationName::parse(text).unwrap()
}

/// Makes an application that reads all telemetry and publishes orders; returns its token.
async fn application(world: &World, of: &str) -> String {
    let filters = |texts: &[&str]| texts.iter().map(|it| TopicFilter::parse(it).unwrap()).collect();
    let new = NewApplication {
        name: name(of),
        kind: ApplicationKind::Backend,
        grants: Grants {
            publish: filters(&["plant/+/order", "v1/d/+/e/#"]),
            subscribe: filters(&["v1/d/+/t/#", "plant/#"]),
        },
        has_token: true,
    };
    world.app.applications.create(new).await.unwrap().1.unwrap()
}

fn connect(id: &str, token: &str) -> v5::Connect {
    v5::Connect { password: Some(token.to_owned().into()), ..connect_v5(id) }
}

/// A client that trusts the gateway and has no certificate.
async fn bare(world: &World) -> Option<Client> {
    let config = Arc::new(world.bare_config());
    world.tls_client(&config, true).await.ok()
}

/// The code of CONNACK for a client without a certificate.
async fn try_token(world: &World, id: &str, token: &str) -> Option<u8> {
    let mut client = bare(world).await?;
    client.send_v5(connect(id, token)).await;
    match client.receive().await? {
        rmqtt_codec::MqttPacket::V5(v5::Packet::ConnectAck(ack)) => Some(ack.reason_code.into()),
        other => panic!("no CONNACK but {other:?}"),
    }
}

#[tokio::test]
async fn a_token_lets_its_application_in_without_a_certificate() {
    let world = World::new().await;
    world.add("b-1").await;
    assert_eq!(try_token(&world, "erp", "axle_none").await, None, "no token exists: alert 116");
    let token = application(&world, "erp").await;
    for (id, secret, code) in [
        ("erp", token.as_str(), 0),
        ("erp/worker-7", &token, 0),
        ("b-1", &token, 0x85),
        ("crm", &token, 0x85),
        ("erp", "axle_wrong", 0x86),
        ("b-1", "", 0x86),
    ] {
        assert_eq!(try_token(&world, id, secret).await, Some(code), "{id} {secret:?}");
    }
    let mut client = bare(&world).await.unwrap();
    assert_eq!(client.connect("b-1").await, 0x86, "neither certificate nor token");
    world.app.applications.revoke(&name("erp")).await.unwrap();
    assert_eq!(try_token(&world, "erp", &token).await, None, "no token is left: alert 116");
}

#[tokio::test]
async fn a_device_proves_itself_by_certificate_whatever_tokens_exist() {
    let world = World::new().await;
    let credential = world.add_with_certificate("b-1").await;
    let token = application(&world, "erp").await;
    let config = Arc::new(world.client_config(&credential));
    let mut client = world.tls_client(&config, true).await.unwrap();
    // The certificate speaks, the password is not looked at.
    assert_eq!(u8::from(client.connect_v5(connect("b-1", &token)).await.reason_code), 0);
    client.publish("plant/1/order", b"{}", 1).await;
    assert_eq!(client.puback().await, (1, 0x87), "the application's grants are not the device's");
    let foreign = World::new().await.add_with_certificate("b-1").await;
    let config = Arc::new(world.client_config(&foreign));
    let refused = match world.tls_client(&config, true).await {
        Ok(mut client) => {
            client.send_v5(connect("erp", &token)).await;
            client.receive().await.is_none()
        }
        Err(_refused) => true,
    };
    assert!(refused, "a certificate of another authority ends the handshake, token or not");
}

#[tokio::test]
async fn an_application_reaches_what_was_granted_and_nothing_else() {
    let world = World::new().await;
    let credential = world.add_with_certificate("b-1").await;
    let token = application(&world, "erp").await;
    let mut erp = bare(&world).await.unwrap();
    assert_eq!(u8::from(erp.connect_v5(connect("erp", &token)).await.reason_code), 0);
    for (filter, code) in [
        ("v1/d/+/t/#", 1),
        ("v1/d/b-1/t/ride", 1),
        ("plant/#", 1),
        ("#", 0x87),
        ("+/+/+/t/#", 0x87),
        ("v1/d/#", 0x87),
        ("v1/d/b-1/c/#", 0x87),
        ("$SYS/#", 0x87),
        ("$aws/things/b-1/shadow/#", 0x87),
    ] {
        assert_eq!(erp.subscribe(&[filter]).await, [code], "{filter}");
    }
    for (topic, packet_id, code) in [
        ("plant/7/order", 1, 0),
        ("v1/d/b-1/e/recall", 2, 0),
        ("v1/d/b-1/t/ride", 3, 0x87),
        ("v1/d/b-1/c/k1/unlock", 4, 0x87),
        ("plant/7/order/x", 5, 0x87),
    ] {
        erp.publish(topic, b"{}", packet_id).await;
        // What it publishes may come back to it, since it has subscribed to it.
        let acknowledged = loop {
            match erp.receive().await {
                Some(rmqtt_codec::MqttPacket::V5(v5::Packet::PublishAck(ack))) => {
                    break (ack.packet_id.get(), u8::from(ack.reason_code));
                }
                Some(rmqtt_codec::MqttPacket::V5(v5::Packet::Publish(_))) => {}
                other => panic!("no PUBACK but {other:?}"),
            }
        };
        assert_eq!(acknowledged, (packet_id, code), "{topic}");
    }
    let records = world.messages(2).await;
    assert_eq!((records.len(), world.rejected().await), (2, 3));
    let stored: Vec<_> = records.iter().map(|it| it.message().device.to_owned()).collect();
    assert_eq!(stored, ["erp", "b-1"], "an application speaks for the device that it names");
    let config = Arc::new(world.client_config(&credential));
    let mut device = world.tls_client(&config, true).await.unwrap();
    assert_eq!(device.connect("b-1").await, 0);
    device.publish("v1/d/b-1/t/ride", b"{\"speed_kmh\":7}", 1).await;
    loop {
        let message = erp.published().await;
        if &*message.topic == "v1/d/b-1/t/ride" {
            assert_eq!(&*message.payload, b"{\"speed_kmh\":7}");
            break;
        }
    }
}

#[tokio::test]
async fn a_will_beyond_the_grants_is_refused_and_one_of_a_revoked_application_is_not_sent() {
    let world = World::new().await;
    let token = application(&world, "erp").await;
    let will = |topic: &str| last_will(topic, "gone");
    let mut client = bare(&world).await.unwrap();
    let denied =
        v5::Connect { last_will: Some(will("v1/d/b-1/c/k/stop")), ..connect("erp", &token) };
    assert_eq!(u8::from(client.connect_v5(denied).await.reason_code), 0x87);
    let mut client = bare(&world).await.unwrap();
    let good = v5::Connect { last_will: Some(will("plant/7/order")), ..connect("erp", &token) };
    assert_eq!(u8::from(client.connect_v5(good).await.reason_code), 0);
    world.app.applications.revoke(&name("erp")).await.unwrap();
    assert_eq!(client.disconnected().await, Some(0x98), "its connection ends");
    world.records_appended(0).await;
    assert_eq!(world.records(0).await.len(), 0, "and its will is not sent");
}

#[tokio::test]
async fn a_certificate_issued_to_an_application_lets_it_in_until_it_is_revoked() {
    let world = World::new().await;
    application(&world, "erp").await;
    let issue = async || {
        let (key, request) = new_application_request(&name("erp")).unwrap();
        let issued = world.app.applications.issue_certificate(&name("erp"), &request).await;
        Credential::from_pem(&issued.unwrap().0.pem, &key)
    };
    let credential = issue().await;
    let config = Arc::new(world.client_config(&credential));
    let mut client = world.tls_client(&config, true).await.unwrap();
    assert_eq!(client.connect("erp").await, 0);
    assert_eq!(client.subscribe(&["plant/#"]).await, [1]);
    world.app.applications.revoke(&name("erp")).await.unwrap();
    assert_eq!(client.disconnected().await, Some(0x98));
    application(&world, "erp").await;
    let mut client = world.tls_client(&config, true).await.unwrap();
    assert_eq!(client.connect("erp").await, 0x87, "one of the same name does not revive it");
    // No device is ever named by it.
    world.add("b-1").await;
    let mut client = world.tls_client(&config, true).await.unwrap();
    assert_eq!(client.connect("b-1").await, 0x87);
}

#[tokio::test]
async fn a_name_is_a_device_or_an_application_never_both() {
    let world = World::new().await;
    world.add("erp").await;
    let new = NewApplication {
        name: name("erp"),
        kind: ApplicationKind::Backend,
        grants: Grants::default(),
        has_token: false,
    };
    let error = world.app.applications.create(new).await.unwrap_err();
    assert_eq!(error.code, "application.name_of_device");
    application(&world, "crm").await;
    let id = axle_domain::DeviceId::parse("crm").unwrap();
    let new = axle_app::NewDevice { id, name: String::new(), kind: String::new() };
    let error = world.app.devices.register(new).await.unwrap_err();
    assert_eq!(error.code, "device.id_of_application");
}
