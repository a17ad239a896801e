//! The console's page and its one-time links.

use serde_json::json;

use crate::client::Events;
use crate::world::World;

#[tokio::test]
async fn a_link_opens_the_console_once() {
    let world = World::new().await;
    let closed = world.request("GET", "/").send().await;
    assert!(closed.text().contains("Sign in"));
    assert_eq!(world.request("HEAD", &world.login).send().await.status, 403);
    let opened = world.request("GET", &world.login).send().await;
    assert_eq!((opened.status, opened.header("location")), (303, Some("/")));
    let cookie = opened.header("set-cookie").unwrap();
    assert!(cookie.contains("; HttpOnly; SameSite=Strict; Path=/"), "{cookie}");
    let pair = cookie.split(';').next().unwrap();
    assert_eq!(world.request("GET", &world.login).send().await.status, 403);
    let page = world.request("GET", "/").header("Cookie", pair).send().await.text();
    assert!(page.contains("messages per second") && page.contains("<script src=\"/app.js\""));
    let api = world.request("GET", "/api/v1/devices").header("Cookie", pair).send().await;
    assert_eq!((api.status, api.code().as_str()), (401, "token.missing"));
}

#[tokio::test]
async fn the_page_shows_new_messages_as_they_come() {
    let world = World::new().await;
    assert_eq!(world.request("GET", "/live").send().await.code(), "session.missing");
    let link = world.post("/api/v1/login-links").send().await.json();
    assert!(link["url"].as_str().unwrap().starts_with("http://127.0.0.1:"));
    let opened = world.request("GET", link["path"].as_str().unwrap()).send().await;
    let pair = opened.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    let mut live = Events::open(world.request("GET", "/live").header("Cookie", &pair)).await;
    world.publish("b-1", "ride", r#"{"lat":1}"#);
    let figures = loop {
        let figures = live.next().await.unwrap();
        if figures["log_records"] == 1 {
            break figures;
        }
    };
    assert_eq!(figures["latest"][0]["topic"], json!("v1/d/b-1/t/ride"), "{figures}");
    let page = world.request("GET", "/").header("Cookie", &pair).send().await.text();
    assert!(page.contains("v1/d/b-1/t/ride"), "the page has its data without the script");
}

#[tokio::test]
async fn every_answer_is_guarded() {
    let world = World::new().await;
    for path in ["/", "/docs", "/app.js", "/api/v1/devices", "/nowhere", "/healthz"] {
        let reply = world.request("GET", path).send().await;
        for (name, part) in [
            ("content-security-policy", "default-src 'none'; script-src 'self'"),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("x-frame-options", "DENY"),
            ("cache-control", "no-"),
        ] {
            assert!(reply.header(name).is_some_and(|it| it.contains(part)), "{path} {name}");
        }
        assert_eq!(reply.header("access-control-allow-origin"), None);
    }
}

#[tokio::test]
async fn pages_have_no_inline_code_and_no_outside_addresses() {
    let world = World::new().await;
    for path in ["/", "/docs"] {
        let page = world.request("GET", path).send().await.text();
        for banned in ["<style", "style=\"", "onclick", "http://", "https://"] {
            assert!(!page.contains(banned), "{path} has {banned}");
        }
    }
    let docs = world.request("GET", "/docs").send().await.text();
    let contract = world.request("GET", "/api/v1/openapi.json").send().await.json();
    for (path, methods) in contract["paths"].as_object().unwrap() {
        assert!(docs.contains(path.as_str()), "{path} is not in /docs");
        for operation in methods.as_object().unwrap().values() {
            for (status, response) in operation["responses"].as_object().unwrap() {
                assert!(
                    response["description"].as_str().is_some_and(|it| !it.is_empty()),
                    "{status}"
                );
            }
        }
    }
}
