//! People: adding them, the ways in, and what is refused.

use axle_app::Password;
use axle_domain::{Role, UserName};
use serde_json::json;

use crate::client::Reply;
use crate::world::World;

const FORM: &str = "application/x-www-form-urlencoded";
const GOOD: &str = "correct+horse+battery";

async fn submit(world: &World, path: &str, cookie: &str, form: &str) -> Reply {
    world
        .request("POST", path)
        .header("Cookie", cookie)
        .header("Sec-Fetch-Site", "same-origin")
        .body(FORM, form)
        .send()
        .await
}

fn cookie(reply: &Reply) -> String {
    let cookie = reply.header("set-cookie").unwrap_or_else(|| panic!("{}", reply.text()));
    assert!(cookie.contains("; HttpOnly; SameSite=Strict; Path=/; Max-Age="), "{cookie}");
    cookie.split(';').next().unwrap().to_owned()
}

/// The code of a new invitation.
async fn invited(world: &World, name: &str, role: &str) -> String {
    let body = json!({"name": name, "role": role});
    let made = world.post("/api/v1/users").json(&body).send().await;
    assert_eq!(made.status, 201, "{}", made.text());
    let path = made.json()["invitation"]["path"].as_str().unwrap().to_owned();
    path.strip_prefix("/welcome?code=").unwrap().to_owned()
}

/// Adds a person with the password `correct horse battery`; returns the cookie.
async fn with_password(world: &World, name: &str, role: &str) -> String {
    let code = invited(world, name, role).await;
    let form = format!("code={code}&password={GOOD}&again={GOOD}");
    cookie(&submit(world, "/welcome", "", &form).await)
}

#[tokio::test]
async fn an_invitation_leads_to_a_password_that_signs_in() {
    let world = World::new().await;
    let code = invited(&world, "anna", "operator").await;
    let path = format!("/welcome?code={code}");
    for _ in 0..2 {
        let page = world.page(&path, "").await;
        assert_eq!(page.status, 200);
        assert!(page.text().contains("Welcome, anna") && page.text().contains("operator"));
    }
    for (form, rule) in [
        ("password=short&again=short", "at least 10 characters"),
        ("password=password123&again=password123", "first that anybody would guess"),
        ("password=correct+horse&again=correct+hors", "the two passwords differ"),
    ] {
        let refused = submit(&world, "/welcome", "", &format!("code={code}&{form}")).await;
        assert_eq!(refused.status, 400);
        assert!(refused.text().contains(rule), "{}", refused.text());
    }
    let form = format!("code={code}&password={GOOD}&again={GOOD}");
    let entered = submit(&world, "/welcome", "", &form).await;
    assert_eq!((entered.status, entered.header("location")), (303, Some("/")));
    let account = world.page("/account", &cookie(&entered)).await.text();
    assert!(account.contains("Sign out everywhere") && account.contains("Change my password"));
    assert_eq!(submit(&world, "/welcome", "", &form).await.status, 404, "used up");
    assert_eq!(world.page(&path, "").await.status, 404);
    let form = format!("name=+Anna&password={GOOD}&next=/devices/b-1");
    let entered = submit(&world, "/login", "", &form).await;
    assert_eq!((entered.status, entered.header("location")), (303, Some("/devices/b-1")));
    let list = world.get("/api/v1/users/anna").send().await.json();
    assert_eq!((list["has_password"].clone(), list["passkeys"].clone()), (json!(true), json!(0)));
    assert!(!list.to_string().contains("argon2"), "{list}");
}

#[tokio::test]
async fn a_failed_sign_in_says_the_same_whatever_was_wrong() {
    let world = World::new().await;
    with_password(&world, "anna", "admin").await;
    with_password(&world, "bert", "admin").await;
    let disabled = json!({"disabled": true});
    let patch = world.request("PATCH", "/api/v1/users/bert").token(&world.admin).json(&disabled);
    assert_eq!(patch.send().await.status, 200);
    let mut seen = Vec::new();
    for (name, password) in
        [("anna", "wrong+wrong"), ("nobody", GOOD), ("bert", GOOD), ("No%20Name!", GOOD), ("", "")]
    {
        let form = format!("name={name}&password={password}");
        let refused = submit(&world, "/login", "", &form).await;
        assert_eq!((refused.status, refused.header("set-cookie")), (401, None), "{name}");
        let text = refused.text();
        let start = text.find("role=\"alert\"").unwrap();
        let alert = &text[start..start + text[start..].find("</div>").unwrap()];
        assert!(!text.contains(password) || password.is_empty(), "it gives no password back");
        seen.push(alert.to_owned());
    }
    assert!(seen.iter().all(|alert| *alert == seen[0]), "{seen:?}");
}

#[tokio::test]
async fn guessing_is_slowed_down_by_name_and_who_is_right_is_not() {
    let world = World::new().await;
    with_password(&world, "anna", "admin").await;
    let right = format!("name=anna&password={GOOD}");
    for _ in 0..12 {
        assert_eq!(submit(&world, "/login", "", &right).await.status, 303);
    }
    let wrong = "name=anna&password=wrong+wrong";
    for _ in 0..10 {
        assert_eq!(submit(&world, "/login", "", wrong).await.status, 401);
    }
    let refused = submit(&world, "/login", "", &right).await;
    assert_eq!(refused.status, 429);
    assert!(refused.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
    assert!(refused.text().contains("too many tries"));
    let other = submit(&world, "/login", "", "name=bert&password=wrong+wrong").await;
    assert_eq!(other.status, 401, "another name is untouched");
}

#[tokio::test]
async fn a_new_password_ends_the_other_sessions() {
    let world = World::new().await;
    let first = with_password(&world, "anna", "support").await;
    let form = format!("name=anna&password={GOOD}");
    let second = cookie(&submit(&world, "/login", "", &form).await);
    let new = "password=four+other+words&again=four+other+words";
    let wrong = format!("current=wrong+wrong&{new}");
    let refused = submit(&world, "/account/password", &second, &wrong).await;
    assert_eq!(refused.status, 403);
    assert!(refused.text().contains("the current password is wrong"));
    let right = format!("current={GOOD}&{new}");
    let changed = submit(&world, "/account/password", &second, &right).await;
    assert_eq!((changed.status, changed.header("location")), (303, Some("/account")));
    assert_eq!(world.page("/account", &second).await.status, 200);
    assert_eq!(world.page("/account", &first).await.status, 303, "the other one has ended");
    assert_eq!(submit(&world, "/login", "", &form).await.status, 401, "the old password");
    let left = submit(&world, "/account/sign-out-everywhere", &second, "").await;
    assert_eq!((left.status, left.header("location")), (303, Some("/login")));
    assert_eq!(world.page("/account", &second).await.status, 303);
}

#[tokio::test]
async fn a_new_invitation_replaces_everything_of_before() {
    let world = World::new().await;
    let session = with_password(&world, "anna", "support").await;
    let first = world.post("/api/v1/users/anna/invitation").send().await.json();
    let again = world.post("/api/v1/users/anna/invitation").send().await.json();
    assert_eq!(world.page(first["path"].as_str().unwrap(), "").await.status, 404, "replaced");
    assert_eq!(world.page("/account", &session).await.status, 200, "nothing ends before its use");
    let code = again["path"].as_str().unwrap().strip_prefix("/welcome?code=").unwrap();
    let form = format!("code={code}&password=four+other+words&again=four+other+words");
    assert_eq!(submit(&world, "/welcome", "", &form).await.status, 303);
    assert_eq!(world.page("/account", &session).await.status, 303);
    let old = format!("name=anna&password={GOOD}");
    assert_eq!(submit(&world, "/login", "", &old).await.status, 401);
    let port = world.http.port();
    let url = again["url"].as_str().unwrap();
    assert!(url.starts_with(&format!("http://localhost:{port}/welcome?code=")), "{url}");
}

#[tokio::test]
async fn an_administrator_by_link_gets_a_name() {
    let world = World::new().await;
    let link = world.session().await;
    let page = world.page("/account", &link).await.text();
    assert!(page.contains("Give yourself a name"), "{page}");
    assert_eq!(world.page("/users", &link).await.status, 200);
    let bad = submit(&world, "/account/administrator", &link, "name=Not+Good").await;
    assert_eq!(bad.status, 400);
    let made = submit(&world, "/account/administrator", &link, "name=anna&display_name=Anna").await;
    let welcome = made.header("location").unwrap().to_owned();
    let code = welcome.strip_prefix("/welcome?code=").unwrap();
    assert!(world.page(&welcome, &link).await.text().contains("Welcome, Anna"));
    let form = format!("code={code}&password={GOOD}&again={GOOD}");
    let named = cookie(&submit(&world, "/welcome", &link, &form).await);
    assert!(world.page("/account", &named).await.text().contains("may do everything"));
    assert_eq!(world.page("/account", &link).await.status, 303, "the link's session has ended");
}

#[tokio::test]
async fn the_page_of_people_adds_invites_and_disables() {
    let world = World::new().await;
    let admin = world.user("root", Role::Admin, &[]).await;
    let form = "name=anna&display_name=Anna+%3Cb%3E&role=household&devices=b-1%0D%0Ab-2";
    let added = submit(&world, "/users", &admin, form).await;
    let text = added.text();
    assert_eq!(added.status, 200);
    assert!(text.contains("/welcome?code=") && text.contains("Anna &lt;b&gt;"), "{text}");
    assert!(text.contains("href=\"/devices/b-2\"") && text.contains("invited"));
    for (form, rule) in [
        ("name=anna&role=admin", "exists already"),
        ("name=bert&role=king", "choose a role"),
        ("name=bert&role=household&devices=b-9", "device `b-9` not found"),
        ("name=bert&role=support&devices=b-1", "devices are for the role household"),
    ] {
        let refused = submit(&world, "/users", &admin, form).await;
        assert!(refused.status >= 400 && refused.text().contains(rule), "{}", refused.text());
    }
    assert_eq!(submit(&world, "/users/anna/disable", &admin, "").await.status, 303);
    assert!(world.page("/users?search=ANN", &admin).await.text().contains("disabled"));
    assert_eq!(submit(&world, "/users/anna/invite", &admin, "").await.status, 409);
    assert_eq!(submit(&world, "/users/anna/enable", &admin, "").await.status, 303);
    let again = submit(&world, "/users/anna/invite", &admin, "").await;
    assert!(again.text().contains("/welcome?code="));
    assert_eq!(submit(&world, "/users/anna/delete", &admin, "").await.status, 303);
    assert_eq!(world.get("/api/v1/users/anna").send().await.status, 404);
    let foreign = world.request("POST", "/users").header("Cookie", &admin);
    let foreign = foreign.header("Sec-Fetch-Site", "cross-site").body(FORM, "name=x&role=admin");
    assert_eq!(foreign.send().await.status, 403, "no other site adds anybody");
}

#[tokio::test]
async fn the_api_of_people_says_what_is_wrong() {
    let world = World::new().await;
    for (body, status, pointer) in [
        (json!({"name": "A", "role": "admin"}), 422, "/name"),
        (json!({"name": "a", "role": "king"}), 422, "/role"),
        (json!({"name": "a", "role": "household", "devices": ["b-9"]}), 422, "/devices"),
        (json!({"name": "a", "role": "household", "devices": ["b 9"]}), 422, "/devices/0"),
        (json!({"name": "a", "role": "admin", "devices": ["b-1"]}), 422, "/devices"),
        (json!({"name": "a", "role": "admin", "password": "x"}), 422, "/password"),
    ] {
        let refused = world.post("/api/v1/users").json(&body).send().await;
        assert_eq!(refused.status, status, "{body}");
        assert_eq!(refused.json()["errors"][0]["pointer"], pointer, "{}", refused.text());
    }
    assert_eq!(world.get("/api/v1/users").send().await.json()["items"], json!([]));
    invited(&world, "anna", "household").await;
    let patch = |body| world.request("PATCH", "/api/v1/users/anna").token(&world.admin).json(&body);
    let changed = patch(json!({"devices": ["b-2", "b-1", "b-2"]})).send().await;
    assert_eq!(changed.json()["devices"], json!(["b-1", "b-2"]));
    assert_eq!(changed.header("etag"), Some("\"v2\""));
    let stale = patch(json!({"role": "admin"})).header("If-Match", "\"v1\"").send().await;
    assert_eq!(stale.status, 412);
    let changed = patch(json!({"role": "support"})).header("If-Match", "\"v2\"").send().await;
    assert_eq!(changed.json()["devices"], json!([]), "they were a household's");
    assert_eq!(patch(json!({"role": null})).send().await.status, 422);
    let gone = world.request("DELETE", "/api/v1/users/anna").token(&world.admin);
    assert_eq!(gone.send().await.status, 204);
    assert_eq!(world.get("/api/v1/users/anna").send().await.code(), "user.not_found");
    assert_eq!(world.get("/api/v1/users/NOBODY").send().await.code(), "user.not_found");
}

#[tokio::test]
async fn a_session_ends_by_rest_and_outlives_the_server() {
    let world = World::new().await;
    let name = UserName::parse("anna").unwrap();
    with_password(&world, "anna", "support").await;
    let secret =
        world.app.sign_in.by_password("anna", Password::presented("correct horse battery"));
    let cookie = format!("axle_session={}", secret.await.unwrap());
    assert_eq!(world.page("/account", &cookie).await.status, 200);
    let other = axle_app::App::open(world.app.ports.clone()).await.unwrap();
    let secret = cookie.strip_prefix("axle_session=").unwrap();
    let seen = other.sessions.authenticate(secret).await.unwrap();
    assert_eq!(seen.session.user, Some(name), "another server over the same state knows it");
    world.clock.advance(axle_domain::limit::SESSION_IDLE_MAX);
    assert_eq!(world.page("/account", &cookie).await.status, 303);
}

#[tokio::test]
async fn the_cookie_is_secure_where_the_load_balancer_speaks_tls() {
    let settings = axle_http::HttpSettings {
        trusted_proxies: vec!["127.0.0.1".parse().unwrap()],
        ..axle_http::HttpSettings::default()
    };
    for (settings, expected) in [(settings, true), (axle_http::HttpSettings::default(), false)] {
        let world = World::with(settings).await;
        let request = world.request("GET", &world.login).header("X-Forwarded-Proto", "https");
        let opened = request.send().await;
        assert_eq!(opened.header("set-cookie").unwrap().ends_with("; Secure"), expected);
    }
}
