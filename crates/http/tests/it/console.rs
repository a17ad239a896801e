//! The console's page and its one-time links.

use crate::client::Events;
use crate::world::World;

const PAGES: &[&str] = &[
    "/",
    "/devices",
    "/devices/b-1",
    "/query",
    "/energy",
    "/energy/b-1",
    "/account",
    "/users",
    "/login",
    "/docs",
];

#[tokio::test]
async fn a_link_opens_the_console_once() {
    let world = World::new().await;
    let closed = world.request("GET", "/").send().await;
    assert_eq!((closed.status, closed.header("location")), (303, Some("/login")));
    let deep = world.request("GET", "/search?q=a").send().await;
    assert_eq!(deep.header("location"), Some("/login?next=%2Fsearch%3Fq%3Da"));
    assert!(world.request("GET", "/login").send().await.text().contains("Sign in"));
    assert_eq!(world.request("HEAD", &world.login).send().await.status, 403);
    let opened = world.request("GET", &world.login).send().await;
    assert_eq!((opened.status, opened.header("location")), (303, Some("/")));
    let cookie = opened.header("set-cookie").unwrap();
    assert!(cookie.contains("; HttpOnly; SameSite=Strict; Path=/"), "{cookie}");
    let pair = cookie.split(';').next().unwrap();
    assert_eq!(world.request("GET", &world.login).send().await.status, 403);
    let page = world.request("GET", "/").header("Cookie", pair).send().await.text();
    assert!(page.contains("per second") && page.contains("Sign out"));
}

#[tokio::test]
async fn signing_out_ends_the_session_and_needs_a_page_of_ours() {
    let world = World::new().await;
    let pair = world.session().await;
    let leave = || world.request("POST", "/logout").header("Cookie", &pair);
    assert_eq!(leave().send().await.code(), "request.cross_origin");
    let foreign = leave().header("Sec-Fetch-Site", "cross-site").send().await;
    assert_eq!((foreign.status, foreign.code().as_str()), (403, "request.cross_origin"));
    assert_eq!(world.page("/", &pair).await.status, 200);
    let left = leave().header("Sec-Fetch-Site", "same-origin").send().await;
    assert_eq!((left.status, left.header("location")), (303, Some("/login")));
    assert!(left.header("set-cookie").unwrap().contains("Max-Age=0"));
    assert_eq!(world.page("/", &pair).await.status, 303);
}

#[tokio::test]
async fn the_overview_shows_new_messages_as_they_come() {
    let world = World::new().await;
    assert_eq!(world.request("GET", "/live/overview").send().await.status, 303);
    let script = world.request("GET", "/live/overview").header("Accept", "text/event-stream");
    assert_eq!(script.send().await.code(), "session.missing");
    let link = world.post("/api/v1/login-links").send().await.json();
    assert!(link["url"].as_str().unwrap().starts_with("http://127.0.0.1:"));
    let opened = world.request("GET", link["path"].as_str().unwrap()).send().await;
    let pair = opened.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    assert!(world.page("/", &pair).await.text().contains("No message yet"));
    let request = world.request("GET", "/live/overview").header("Cookie", &pair);
    let mut live = Events::open(request).await;
    world.publish("b-1", "ride", r#"{"lat":1}"#);
    loop {
        let (name, html) = live.next_text().await.unwrap();
        if name == "latest" && html.contains("v1/d/b-1/t/ride") {
            break;
        }
    }
    let page = world.page("/", &pair).await.text();
    assert!(page.contains("v1/d/b-1/t/ride"), "the page has its data without the script");
    assert!(!page.contains("No message yet"));
}

#[tokio::test]
async fn a_live_page_ends_with_its_session() {
    let world = World::new().await;
    let pair = world.session().await;
    let request = world.request("GET", "/live/overview").header("Cookie", &pair);
    let mut live = Events::open(request).await;
    live.next_text().await.unwrap();
    let leave = world.request("POST", "/logout").header("Cookie", &pair);
    leave.header("Sec-Fetch-Site", "same-origin").send().await;
    while live.next_text().await.is_some() {}
}

#[tokio::test]
async fn devices_are_found_by_typing_and_paged() {
    let world = World::new().await;
    let pair = world.session().await;
    let list = world.page("/devices", &pair).await.text();
    assert!(list.contains("/devices/b-1") && list.contains("/devices/b-2"));
    let found = world.page("/devices?search=B-2", &pair).await.text();
    assert!(!found.contains("/devices/b-1") && found.contains("/devices/b-2"));
    let part = world.request("GET", "/devices?search=b-2").header("HX-Request", "true");
    let part = part.header("Cookie", &pair).send().await.text();
    assert!(part.contains("/devices/b-2") && !part.contains("<html"), "{part}");
    let none = world.page("/devices?search=%3Cb%3E", &pair).await.text();
    assert!(none.contains("No device matches") && none.contains("&lt;b&gt;"), "{none}");
    for index in 0..60 {
        let id = crate::world::device(&format!("many-{index:02}"));
        let new = axle_app::NewDevice { id, name: String::new(), kind: String::new() };
        world.app.devices.register(new).await.unwrap();
    }
    let first = world.page("/devices?search=many", &pair).await.text();
    assert!(first.contains("many-49") && !first.contains("many-50"));
    let next = "/devices?search=many&amp;after=many-49";
    assert!(first.contains(next), "{first}");
    let second = world.page(&next.replace("&amp;", "&"), &pair).await.text();
    assert!(second.contains("many-59") && !second.contains("Next page"));
}

#[tokio::test]
async fn a_device_page_shows_latest_values_and_escapes_them() {
    let world = World::new().await;
    let pair = world.session().await;
    let fresh = world.page("/devices/b-1", &pair).await.text();
    assert!(fresh.contains("No value yet"));
    world.publish("b-1", "status", r#"{"battery_pct":81.5,"firmware":"<script>x</script>"}"#);
    world.settle().await;
    let page = world.page("/devices/b-1", &pair).await.text();
    assert!(page.contains("81.5") && page.contains("&lt;script&gt;x&lt;/script&gt;"), "{page}");
    assert!(!page.contains("<script>x"));
    let missing = world.page("/devices/b-9", &pair).await;
    assert_eq!(missing.status, 404);
    assert!(missing.text().contains("device.not_found"));
    assert_eq!(world.page("/devices/b%209", &pair).await.status, 400);
}

#[tokio::test]
async fn a_question_is_answered_without_scripts_as_a_page_or_a_file() {
    let world = World::new().await;
    let pair = world.session().await;
    let page = world.page("/query", &pair).await.text();
    for part in ["heart_rate_bpm", "time_quality", "10\u{202f}000 rows", "LIMIT 50"] {
        assert!(page.contains(part), "{part}");
    }
    let send = |path: &str, sql: &str| {
        let request = world.request("POST", path).header("Cookie", &pair);
        let request = request.header("Sec-Fetch-Site", "same-origin").header("Accept", "text/html");
        request.body("application/x-www-form-urlencoded", format!("sql={sql}")).send()
    };
    let answered = send("/query", "SELECT+%3Cb%3E").await;
    assert_eq!(answered.status, 200);
    let text = answered.text();
    for part in ["2 rows", " ms", "=1+1", "SELECT &lt;b&gt;"] {
        assert!(text.contains(part), "{part}");
    }
    let refused = send("/query", "DROP+TABLE+ride").await;
    assert_eq!(refused.status, 403);
    assert!(
        refused.text().contains("query.not_read_only") && refused.text().contains("DROP TABLE")
    );
    let file = send("/query/csv", "SELECT+1").await;
    assert!(file.header("content-disposition").unwrap().starts_with("attachment"));
    assert!(file.text().contains("\"'=1+1\""), "{}", file.text());
}

#[tokio::test]
async fn every_answer_is_guarded() {
    let world = World::new().await;
    for path in ["/", "/docs", "/api/v1/devices", "/nowhere", "/healthz"] {
        let reply = world.request("GET", path).send().await;
        for (name, part) in [
            ("content-security-policy", "default-src 'none'; script-src 'self'; style-src 'self'"),
            ("content-security-policy", "frame-ancestors 'none'; base-uri 'none'"),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("x-frame-options", "DENY"),
            ("cache-control", "no-"),
        ] {
            assert!(reply.header(name).is_some_and(|it| it.contains(part)), "{path} {name}");
        }
        let policy = reply.header("content-security-policy").unwrap();
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(reply.header("access-control-allow-origin"), None);
    }
}

#[tokio::test]
async fn an_error_is_a_page_for_people_with_the_code_and_the_id_of_the_request() {
    let world = World::new().await;
    let pair = world.session().await;
    let page = world.page("/nowhere/%3Cscript%3E", &pair).await;
    let id = page.header("x-request-id").unwrap().to_owned();
    assert_eq!(page.status, 404);
    let text = page.text();
    for part in ["<nav", "Code <code>", &format!("request <code>{id}</code>")] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert!(!text.contains("/<script>"));
    let part = world.request("GET", "/nowhere").header("HX-Request", "true");
    let part = part.header("Cookie", &pair).send().await.text();
    assert!(part.starts_with("<div class=\"notice is-bad\" role=\"alert\">"), "{part}");
    let machine = world.request("GET", "/nowhere").header("Accept", "application/json");
    assert!(!machine.send().await.code().is_empty());
}

#[tokio::test]
async fn files_of_pages_are_kept_by_browsers_and_come_small() {
    let world = World::new().await;
    let page = world.request("GET", "/login").send().await.text();
    let mut seen = 0;
    for address in page.split(['"']).filter(|part| part.starts_with("/assets/")) {
        seen += 1;
        let plain = world.request("GET", address).send().await;
        assert_eq!(plain.status, 200, "{address}");
        assert!(plain.header("cache-control").unwrap().contains("immutable"));
        let small = world.request("GET", address).header("Accept-Encoding", "gzip").send().await;
        assert!(small.body.len() <= plain.body.len());
        assert_eq!(small.header("content-type"), plain.header("content-type"));
        let old = address.replacen("/assets/", "/assets/0", 1);
        let old = world.request("GET", &old).send().await;
        assert_eq!((old.status, old.header("cache-control")), (200, Some("no-cache")));
    }
    assert!(seen >= 4, "{page}");
    assert_eq!(world.request("GET", "/assets/1/app.rs").send().await.status, 404);
}

#[tokio::test]
async fn pages_have_no_inline_code_and_no_outside_addresses() {
    let world = World::new().await;
    let pair = world.session().await;
    for path in PAGES {
        // Who has signed in is led on from there.
        let session = if *path == "/login" { "" } else { &pair };
        let page = world.page(path, session).await;
        assert_eq!(page.status, 200, "{path}");
        let page = page.text();
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
