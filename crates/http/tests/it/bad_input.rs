//! Requests that no good client sends: each gets its answer, and good clients beside notice
//! nothing.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::client::{Request, send};
use crate::uploads::batch;
use crate::world::World;

const PATH: &str = "/api/v1/uploads";

async fn check(world: &World, what: &str, request: Request, status: u16, code: &str) {
    let before = world.log_len();
    let reply = request.send().await;
    assert_eq!((reply.status, reply.code().as_str()), (status, code), "{what}: {reply:?}");
    assert_eq!(world.log_len(), before, "{what} left something");
}

#[tokio::test]
async fn tokens_that_are_missing_wrong_or_in_the_address_are_refused() {
    let world = World::new().await;
    let admin = world.admin.clone();
    let body = || batch(1);
    let post = |path: &str| world.request("POST", path).body("application/json", body());
    let with = |value: &str| post(PATH).header("Authorization", value);
    for (what, request, code) in [
        ("none", post(PATH), "token.missing"),
        ("unknown", with("Bearer axle_nobody"), "token.unknown"),
        ("basic", with("Basic YTpi"), "token.malformed"),
        ("bare", with(&admin), "token.malformed"),
        ("long", with(&format!("Bearer {}", "x".repeat(4096))), "token.malformed"),
        ("in the address", post(&format!("{PATH}?access_token={admin}")), "token.in_address"),
        (
            "in the address, too",
            world.post(&format!("{PATH}?token={admin}")).body("application/json", body()),
            "token.in_address",
        ),
    ] {
        let reply = request.send().await;
        assert_eq!((reply.status, reply.code().as_str()), (401, code), "{what}");
        assert_eq!(reply.header("www-authenticate"), Some("Bearer realm=\"axle\""));
        assert_eq!(world.log_len(), 0);
    }
    assert_eq!(world.post(PATH).body("application/json", body()).send().await.status, 200);
}

#[tokio::test]
async fn uploads_of_the_wrong_form_leave_nothing() {
    let world = World::new().await;
    let json = "application/json";
    let body = |media: &str, text: &str| world.post(PATH).body(media, text);
    let query = |query: &str| world.post(&format!("{PATH}?{query}")).body(json, "[{}]");
    let key = |key: &str| world.post(PATH).header("Idempotency-Key", key).body(json, batch(1));
    let long_key = "k".repeat(129);
    let unsupported = "upload.media_type_unsupported";
    let bare = world.post(PATH).header("Content-Length", "2");
    check(&world, "no media type", bare, 415, unsupported).await;
    for (what, request, status, code) in [
        ("multipart", body("multipart/form-data; boundary=x", "x"), 415, unsupported),
        ("utf-16", body("application/json; charset=utf-16", "[]"), 415, unsupported),
        ("nothing", body(json, ""), 400, "upload.empty"),
        ("no JSON", body(json, "{"), 400, "payload.invalid"),
        ("no device", query("stream=ride"), 400, "upload.subject_missing"),
        ("bad device", query("device=a%20b&stream=ride"), 400, "device.id_invalid"),
        ("foreign device", query("device=b-9&stream=ride"), 404, "device.not_found"),
        ("unknown stream", query("device=b-1&stream=nope"), 400, "stream.unknown"),
        ("bad stream", query("device=b-1&stream=No"), 400, "stream.name_invalid"),
        ("bad time", query("device=b-1&stream=ride&sent_at=now"), 400, "request.parameter_invalid"),
        ("unknown parameter", query("devise=b-1"), 400, "request.parameter_unknown"),
        ("doubled parameter", query("device=b-1&device=b-2"), 400, "request.parameter_doubled"),
        ("empty key", key(""), 400, "upload.idempotency_key_invalid"),
        ("long key", key(&long_key), 400, "upload.idempotency_key_invalid"),
        ("spaced key", key("a b"), 400, "upload.idempotency_key_invalid"),
        ("other letters", key("schlüssel"), 400, "upload.idempotency_key_invalid"),
    ] {
        check(&world, what, request, status, code).await;
    }
    let reply = world.get("/api/v1/devices?serach=x").send().await;
    assert!(reply.text().contains("did you mean `search`?"), "{}", reply.text());
}

#[tokio::test]
async fn paths_and_methods_have_no_tricks() {
    let world = World::new().await;
    let missing = "route.not_found";
    let long = format!("/api/v1/devices/{}", "x".repeat(16 * 1024));
    for (path, status, code) in [
        ("//api/v1/devices", 404, missing),
        ("/api/v1/devices/", 404, missing),
        ("/API/v1/devices", 404, missing),
        ("/api/v1/../../metrics", 404, missing),
        ("/api/v1/devices/b-1%2fstate", 400, "device.id_invalid"),
        ("/api/v1/devices/b-1%00", 400, "device.id_invalid"),
        ("/api/v1/devices/%ff", 400, "request.path_invalid"),
        ("/api/v1/devices/b-1;x=1", 400, "device.id_invalid"),
        ("/api/v1/devices/..", 404, "device.not_found"),
        ("/api/v1/commands/'%20OR%201=1", 400, "command.id_invalid"),
        ("/api/v1/quarantine/%2e%2e", 404, "quarantine.not_found"),
        ("/api/v1/devices?limit=0", 400, "request.parameter_invalid"),
        ("/api/v1/devices?limit=1000000000", 400, "request.parameter_invalid"),
        ("/api/v1/devices?after=%20", 400, "request.parameter_invalid"),
        ("/api/v1/quarantine?before=q", 400, "request.parameter_invalid"),
        ("/api/v1/devices/b-1/telemetry/ride?bucket=1y", 400, "request.parameter_invalid"),
        ("/api/v1/devices/b-1/telemetry/ride?agg=sum", 400, "request.parameter_invalid"),
        ("/api/v1/devices/b-1/telemetry/ride?fields=lat,x", 400, "request.parameter_invalid"),
        ("/api/v1/devices/b-1/telemetry/ride?from=2&to=1", 400, "telemetry.range_empty"),
        ("/api/v1/devices/b-1/telemetry/nope", 404, "stream.not_found"),
        (&long, 414, "request.address_too_long"),
    ] {
        check(&world, path, world.get(path), status, code).await;
    }
    for (method, path, allow) in [
        ("DELETE", PATH, "POST"),
        ("PROPFIND", "/api/v1/devices", "GET,HEAD"),
        ("POST", "/api/v1/devices", "GET,HEAD"),
        ("TRACE", "/", "GET,HEAD"),
    ] {
        let request = world.request(method, path).header("X-HTTP-Method-Override", "GET");
        let reply = request.send().await;
        assert_eq!((reply.status, reply.code().as_str()), (405, "method.not_allowed"), "{method}");
        assert_eq!(reply.header("allow"), Some(allow), "{method}");
    }
}

#[tokio::test]
async fn heads_that_lie_close_the_connection() {
    let world = World::new().await;
    let token = format!("Authorization: Bearer {}\r\n", world.admin);
    let host = format!("Host: {}\r\n", world.http);
    let many: String = (0..300).map(|index| format!("X-{index}: 1\r\n")).collect();
    let chunk = |size: &str| {
        format!(
            "POST {PATH} HTTP/1.1\r\n{host}{token}Content-Type: application/json\r\n\
             Transfer-Encoding: chunked\r\n\r\n{size}\r\n[]\r\n0\r\n\r\n"
        )
    };
    let get = |headers: &str| format!("GET /healthz HTTP/1.1\r\n{headers}\r\n");
    for (what, request, expected) in [
        ("many headers", get(&format!("{host}{many}")), &[431][..]),
        ("long cookie", get(&format!("{host}Cookie: {}\r\n", "x".repeat(64 * 1024))), &[431]),
        ("no host", get(""), &[400]),
        ("two hosts", get(&format!("{host}{host}")), &[400]),
        ("foreign host", get("Host: evil.example\r\nConnection: close\r\n"), &[421]),
        ("two lengths", get(&format!("{host}Content-Length: 1\r\nContent-Length: 2\r\n")), &[400]),
        ("signed length", get(&format!("{host}Content-Length: +1\r\n")), &[400]),
        ("NUL", get(&format!("{host}X: a\0b\r\n")), &[400]),
        ("folded", get(&format!("{host}X: a\r\n b\r\n")), &[400]),
        ("no version", "GET /healthz\r\n\r\n".to_owned(), &[400]),
        ("signed chunk", chunk("+2"), &[400]),
        ("hexadecimal chunk", chunk("0x2"), &[400]),
        ("huge chunk", chunk("fffffffffffffffff"), &[400]),
    ] {
        let reply = send(world.http, request.as_bytes()).await;
        assert!(expected.contains(&reply.status), "{what}: {reply:?}");
    }
    assert_eq!(world.log_len(), 0);
    let named = world.request("GET", "/healthz").header("Host", "LOCALHOST:1").send().await;
    assert_eq!(named.status, 200);
}

#[tokio::test]
async fn an_upload_that_breaks_off_leaves_nothing() {
    let world = World::new().await;
    let whole = world.post(PATH).body("application/json", batch(100)).bytes();
    for cut in [whole.len() - 1, whole.len() / 2] {
        let mut stream = TcpStream::connect(world.http).await.unwrap();
        stream.write_all(&whole[..cut]).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        timeout(Duration::from_secs(5), stream.read_to_end(&mut answer)).await.unwrap().unwrap();
        assert!(!answer.starts_with(b"HTTP/1.1 200"));
    }
    assert_eq!(world.log_len(), 0);
}

#[tokio::test]
async fn slow_heads_and_slow_bodies_are_cut() {
    let world = World::new().await;
    let mut head = TcpStream::connect(world.http).await.unwrap();
    head.write_all(b"GET / HTTP/1.1\r\nHost: local").await.unwrap();
    let body = world.post(PATH).header("Content-Type", "application/json");
    let mut slow = TcpStream::connect(world.http).await.unwrap();
    slow.write_all(&body.header("Content-Length", "100000").bytes()).await.unwrap();
    slow.write_all(&[b' '; 9000]).await.unwrap();
    let read = async |stream: &mut TcpStream| {
        let mut answer = Vec::new();
        timeout(Duration::from_secs(15), stream.read_to_end(&mut answer)).await.unwrap().unwrap();
        String::from_utf8(answer).unwrap()
    };
    let (head, slow) = tokio::join!(read(&mut head), read(&mut slow));
    assert!(!head.contains("200 OK"), "{head}");
    assert!(slow.starts_with("HTTP/1.1 408") && slow.contains("request.too_slow"), "{slow}");
    assert_eq!(world.log_len(), 0);
}
