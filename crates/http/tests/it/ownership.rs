//! Rotation of certificates, the end of a device's service, and its change of owner.

use axle_domain::{DeviceStatus, Role, UserName};
use serde_json::json;

use crate::world::World;

#[tokio::test]
async fn a_certificate_ends_at_once_or_by_date_and_never_later_again() {
    let world = World::new().await;
    let csr = json!({"csr": "CSR"});
    let issued = world.post("/api/v1/devices/b-1/certificates").json(&csr).send().await.json();
    let fingerprint = issued["fingerprint"].as_str().unwrap();
    let path = format!("/api/v1/devices/b-1/certificates/{fingerprint}/revoke");
    for (at, expected) in [
        (json!({"at": "2026-09-28T00:00:00Z"}), "2026-09-28T00:00:00Z"),
        (json!({"at": "2026-10-05T00:00:00Z"}), "2026-09-28T00:00:00Z"),
        (json!({}), crate::world::NOW_TEXT),
    ] {
        let revoked = world.post(&path).json(&at).send().await;
        assert_eq!(revoked.status, 200);
        assert_eq!(revoked.json()["revoked_at"], expected, "{at}");
    }
    let path = format!("/api/v1/devices/b-2/certificates/{fingerprint}/revoke");
    let foreign = world.post(&path).json(&json!({})).send().await;
    assert_eq!((foreign.status, &foreign.json()["code"]), (404, &json!("certificate.not_found")));
}

#[tokio::test]
async fn a_retired_device_has_no_commands_and_keeps_its_data() {
    let world = World::new().await;
    world.publish("b-1", "ride", r#"{"time":1790000000000,"lat":47,"lon":15}"#);
    world.settle().await;
    let unlock = json!({"name": "unlock"});
    let command = world.post("/api/v1/devices/b-1/commands").json(&unlock).send().await.json();
    for canceled in [1, 0] {
        let retired = world.post("/api/v1/devices/b-1/retire").send().await;
        assert_eq!(retired.status, 200);
        let retired = retired.json();
        assert_eq!(retired["device"]["status"], "retired");
        assert_eq!(retired["commands_canceled"], canceled);
    }
    let id = command["id"].as_str().unwrap();
    let command = world.get(&format!("/api/v1/commands/{id}")).send().await.json();
    assert_eq!(command["status"], "canceled");
    let state = world.get("/api/v1/devices/b-1/state").send().await.json();
    assert_eq!(state["fields"]["ride.lat"]["value"], 47.0);
    let again = world.post("/api/v1/devices/b-1/revoke").send().await.json();
    assert_eq!(again["status"], "retired", "who is retired stays so");
    let status = world.app.devices.get(&crate::world::device("b-1")).await.unwrap().status;
    assert_eq!(status, DeviceStatus::Retired);
}

#[tokio::test]
async fn a_change_of_owner_cuts_the_former_one_off() {
    let world = World::new().await;
    let anna = world.user("anna", Role::Household, &["b-1", "b-2"]).await;
    world.user("bert", Role::Household, &[]).await;
    let reading = world.token("read:b-1").await;
    let other = world.token("read:b-2").await;
    let unlock = json!({"name": "unlock"});
    world.post("/api/v1/devices/b-1/commands").json(&unlock).send().await;
    let path = "/api/v1/devices/b-1/transfer";
    let cut = world.post(path).json(&json!({"to": "bert"})).send().await;
    assert_eq!(cut.status, 200);
    assert_eq!(
        cut.json(),
        json!({"device": "b-1", "owner": "bert", "former": ["anna"], "commands_canceled": 1,
               "tokens_withdrawn": 1})
    );
    let asked = |path, cookie: &str| {
        world.request("GET", path).header("Cookie", cookie).header("Sec-Fetch-Site", "same-origin")
    };
    assert_eq!(asked("/api/v1/devices/b-2", &anna).send().await.status, 401, "signed out");
    let status = async |token: &str, id: &str| {
        world.request("GET", &format!("/api/v1/devices/{id}")).token(token).send().await.status
    };
    assert_eq!((status(&reading, "b-1").await, status(&other, "b-2").await), (401, 200));
    let devices = async |name: &str| {
        let entry = world.app.users.get(&UserName::parse(name).unwrap()).await.unwrap();
        entry.user.devices.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(
        (devices("anna").await, devices("bert").await),
        (vec!["b-2".into()], vec!["b-1".into()])
    );
    let fresh = world.token("read:b-1").await;
    let again = world.post(path).json(&json!({"to": "bert"})).send().await.json();
    assert_eq!((&again["former"], &again["tokens_withdrawn"]), (&json!([]), &json!(0)));
    assert_eq!(status(&fresh, "b-1").await, 200, "again cuts nothing of the new owner's");
    let nobody = world.post(path).json(&json!({"to": null})).send().await.json();
    assert_eq!((&nobody["owner"], &nobody["former"]), (&json!(null), &json!(["bert"])));
    world.user("carl", Role::Support, &[]).await;
    let refused = world.post(path).json(&json!({"to": "carl"})).send().await;
    assert_eq!(refused.status, 422, "owners are households");
}
