//! Backend applications over HTTP.

use serde_json::json;

use crate::world::World;

#[tokio::test]
async fn an_application_is_made_listed_certified_and_withdrawn() {
    let world = World::new().await;
    let body = json!({"name": "erp", "publish": ["plant/+/order"], "subscribe": ["v1/d/+/t/#"]});
    let made = world.post("/api/v1/applications").json(&body).send().await;
    assert_eq!(made.status, 201);
    let made = made.json();
    let secret = made["token"].as_str().unwrap().to_owned();
    assert!(world.app.registry.authenticate_token(secret.as_bytes()).is_ok());
    assert_eq!((&made["kind"], &made["has_token"]), (&json!("backend"), &json!(true)));
    let again = world.post("/api/v1/applications").json(&body).send().await;
    assert_eq!((again.status, &again.json()["code"]), (409, &json!("application.exists")));
    let csr = json!({"csr": "CSR"});
    let issued = world.post("/api/v1/applications/erp/certificates").json(&csr).send().await;
    assert_eq!((issued.status, &issued.json()["certificate"]), (201, &json!("PEM of erp")));
    let listed =
        world.request("GET", "/api/v1/applications").token(&world.admin).send().await.json();
    assert_eq!(listed["items"][0]["certificates"], json!(["07".repeat(32)]));
    assert!(listed["items"][0].get("token").is_none(), "the secret is shown once");
    let gone = world.request("DELETE", "/api/v1/applications/erp").token(&world.admin).send().await;
    assert_eq!(gone.status, 204);
    assert!(world.app.registry.authenticate_token(secret.as_bytes()).is_err());
    let gone = world.request("DELETE", "/api/v1/applications/erp").token(&world.admin).send().await;
    assert_eq!((gone.status, &gone.json()["code"]), (404, &json!("application.not_found")));
}

#[tokio::test]
async fn a_claim_is_an_identity_and_no_program() {
    let world = World::new().await;
    let claim = json!({"devices": "bike-*", "kind": "bike", "count": 500});
    let body = json!({"name": "line-7", "claim": claim});
    let made = world.post("/api/v1/applications").json(&body).send().await;
    assert_eq!(made.status, 201);
    let made = made.json();
    assert_eq!((&made["kind"], &made["has_token"]), (&json!("claim"), &json!(false)));
    assert_eq!(made["claim"], json!({"devices": "bike-*", "kind": "bike", "left": 500}));
    assert_eq!((&made["publish"], made["subscribe"].as_array().unwrap().len()), (&json!([]), 2));
    for (body, pointers) in [
        (json!({"name": "x", "claim": {"devices": "a b", "count": 1}}), &["/claim/devices"][..]),
        (json!({"name": "x", "claim": {"count": "1"}}), &["/claim/devices", "/claim/count"]),
        (json!({"name": "x", "claim": {"devices": "*", "count": 1, "x": 1}}), &["/claim/x"]),
        (json!({"name": "x", "claim": 7}), &["/claim"]),
        (
            json!({"name": "x", "publish": ["a"], "claim": {"devices": "*", "count": 1}}),
            &["/claim"],
        ),
        (json!({"name": "x", "claim": {"devices": "*", "count": 0}}), &[""]),
    ] {
        let refused = world.post("/api/v1/applications").json(&body).send().await;
        assert_eq!(refused.status, 422, "{body}");
        let faults = refused.json()["errors"].as_array().unwrap().clone();
        let seen: Vec<_> = faults.iter().map(|it| it["pointer"].as_str().unwrap()).collect();
        assert_eq!(seen, pointers, "{body}");
    }
}

#[tokio::test]
async fn every_fault_of_a_new_application_is_named() {
    let world = World::new().await;
    let body = json!({"name": "Erp", "publish": ["a/#/b"], "subscribe": ["ok", "$share/g/x"]});
    let refused = world.post("/api/v1/applications").json(&body).send().await;
    assert_eq!(refused.status, 422);
    let faults = refused.json()["errors"].as_array().unwrap().clone();
    let pointers: Vec<_> = faults.iter().map(|it| it["pointer"].as_str().unwrap()).collect();
    assert_eq!(pointers, ["/name", "/publish/0", "/subscribe/1"]);
    let many = json!({"name": "erp", "publish": vec!["a"; 65]});
    let refused = world.post("/api/v1/applications").json(&many).send().await;
    assert_eq!((refused.status, &refused.json()["limit"]), (422, &json!(64)));
    assert!(world.app.applications.list().is_empty());
}
