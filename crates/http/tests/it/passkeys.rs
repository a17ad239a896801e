//! Passkeys through the doors of the server, with an authenticator in software.

use axle_domain::Role;
use axle_testkit::authenticator::{PRESENT_AND_VERIFIED, SoftPasskey, attestation, client_data};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::client::Reply;
use crate::world::World;

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn cookie(reply: &Reply) -> String {
    let cookie = reply.header("set-cookie").unwrap_or_else(|| panic!("{}", reply.text()));
    cookie.split(';').next().unwrap().to_owned()
}

/// A browser at `http://localhost`.
struct Browser<'a> {
    world: &'a World,
    host: String,
    cookie: String,
}

impl<'a> Browser<'a> {
    fn at(world: &'a World, cookie: &str) -> Self {
        let host = format!("localhost:{}", world.http.port());
        Self { world, host, cookie: cookie.to_owned() }
    }

    fn origin(&self) -> String {
        format!("http://{}", self.host)
    }

    async fn post(&self, path: &str, body: &Value) -> Reply {
        self.world
            .request("POST", path)
            .header("Host", &self.host)
            .header("Cookie", &self.cookie)
            .header("Sec-Fetch-Site", "same-origin")
            .json(body)
            .send()
            .await
    }

    /// What the server wants to be answered.
    async fn challenge(&self, path: &str, body: &Value) -> Value {
        let options = self.post(path, body).await;
        assert_eq!(options.status, 200, "{}", options.text());
        options.json()
    }

    /// Registers for whoever has signed in.
    async fn register(&self, passkey: &SoftPasskey) -> Reply {
        let options = self.challenge("/account/passkeys/options", &json!({})).await;
        let challenge = options["challenge"].as_str().unwrap();
        let client_data = client_data("webauthn.create", challenge, &self.origin());
        let data = passkey.registration_data("localhost", PRESENT_AND_VERIFIED, 0);
        let made = json!({
            "client_data": encode(&client_data),
            "attestation": encode(&attestation(&data)),
            "label": "Test key",
        });
        self.post("/account/passkeys", &made).await
    }

    async fn assertion(&self, passkey: &SoftPasskey, handle: &str, count: u32) -> Value {
        let options = self.challenge("/login/passkey/options", &json!({})).await;
        assert_eq!(options["rpId"], "localhost");
        assert_eq!(options["userVerification"], "required");
        let challenge = options["challenge"].as_str().unwrap();
        let client_data = client_data("webauthn.get", challenge, &self.origin());
        let data = SoftPasskey::sign_in_data("localhost", PRESENT_AND_VERIFIED, count);
        json!({
            "id": encode(&passkey.id),
            "client_data": encode(&client_data),
            "authenticator_data": encode(&data),
            "signature": encode(&passkey.sign(&data, &client_data)),
            "user_handle": handle,
        })
    }
}

/// The handle by which authenticators know a person.
async fn handle(browser: &Browser<'_>) -> String {
    let options = browser.challenge("/account/passkeys/options", &json!({})).await;
    options["user"]["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_passkey_is_registered_and_signs_in() {
    let world = World::new().await;
    let session = world.user("anna", Role::Support, &[]).await;
    let browser = Browser::at(&world, &session);
    let handle = handle(&browser).await;
    for (passkey, number) in [(SoftPasskey::es256("one"), 1), (SoftPasskey::eddsa("two"), 2)] {
        let made = browser.register(&passkey).await;
        assert_eq!(made.status, 201, "{}", made.text());
        assert_eq!(browser.register(&passkey).await.code(), "passkey.exists");
        assert_eq!(world.get("/api/v1/users/anna").send().await.json()["passkeys"], number);
        let stranger = Browser::at(&world, "");
        let assertion = stranger.assertion(&passkey, &handle, 5).await;
        let entered = stranger.post("/login/passkey", &assertion).await;
        assert_eq!(entered.status, 200, "{}", entered.text());
        let account = world.page("/account", &cookie(&entered)).await.text();
        assert!(account.contains("Test key"), "{account}");
        let again = stranger.post("/login/passkey", &assertion).await;
        assert_eq!(again.code(), "passkey.challenge_over", "a challenge answers once");
        let copied = stranger.assertion(&passkey, &handle, 5).await;
        let refused = stranger.post("/login/passkey", &copied).await;
        assert_eq!((refused.status, refused.code().as_str()), (401, "passkey.count_went_back"));
    }
}

#[tokio::test]
async fn whatever_does_not_fit_signs_nobody_in() {
    let world = World::new().await;
    let session = world.user("anna", Role::Support, &[]).await;
    let browser = Browser::at(&world, &session);
    let (anna, passkey) = (handle(&browser).await, SoftPasskey::es256("one"));
    browser.register(&passkey).await;
    let stranger = Browser::at(&world, "");
    let other = encode(&[0; 16]);
    let refused = stranger.assertion(&passkey, &other, 0).await;
    assert_eq!(stranger.post("/login/passkey", &refused).await.code(), "passkey.unknown");
    let unknown = stranger.assertion(&SoftPasskey::es256("unknown"), &anna, 0).await;
    assert_eq!(stranger.post("/login/passkey", &unknown).await.code(), "passkey.unknown");
    let forged = stranger.assertion(&SoftPasskey::es256("one"), &anna, 0).await;
    let refused = stranger.post("/login/passkey", &forged).await;
    assert_eq!((refused.status, refused.code().as_str()), (401, "passkey.signature_wrong"));
    // The challenge of a registration is none of a sign-in, and one that we made up is none at all.
    let options = browser.challenge("/account/passkeys/options", &json!({})).await;
    for challenge in [options["challenge"].as_str().unwrap(), "bWFkZSB1cA"] {
        let client_data = client_data("webauthn.get", challenge, &stranger.origin());
        let mut assertion = stranger.assertion(&passkey, &anna, 0).await;
        assertion["client_data"] = encode(&client_data).into();
        let refused = stranger.post("/login/passkey", &assertion).await;
        assert_eq!(refused.code(), "passkey.challenge_over");
    }
    for field in ["id", "client_data", "authenticator_data", "signature", "user_handle"] {
        let mut assertion = stranger.assertion(&passkey, &anna, 0).await;
        assertion[field] = "!".into();
        assert_eq!(stranger.post("/login/passkey", &assertion).await.status, 400, "{field}");
    }
    let disabled = json!({"disabled": true});
    let patch = world.request("PATCH", "/api/v1/users/anna").token(&world.admin).json(&disabled);
    patch.send().await;
    let good = stranger.assertion(&passkey, &anna, 0).await;
    assert_eq!(stranger.post("/login/passkey", &good).await.code(), "passkey.unknown");
}

#[tokio::test]
async fn an_invitation_takes_a_passkey_and_ends_the_ones_of_before() {
    let world = World::new().await;
    let session = world.user("anna", Role::Support, &[]).await;
    let (old, new) = (SoftPasskey::es256("old"), SoftPasskey::eddsa("new"));
    Browser::at(&world, &session).register(&old).await;
    let made = world.post("/api/v1/users/anna/invitation").send().await.json();
    let code = made["path"].as_str().unwrap().strip_prefix("/welcome?code=").unwrap();
    let stranger = Browser::at(&world, "");
    let page = world.page(&format!("/welcome?code={code}"), "").await.text();
    assert!(page.contains("Passkeys need a name in the address"), "on an address of numbers");
    let options = stranger.challenge("/welcome/passkey/options", &json!({"code": code})).await;
    assert_eq!(options["authenticatorSelection"]["userVerification"], "required");
    let challenge = options["challenge"].as_str().unwrap();
    let client_data = client_data("webauthn.create", challenge, &stranger.origin());
    let data = new.registration_data("localhost", PRESENT_AND_VERIFIED, 0);
    let mut registration = json!({
        "client_data": encode(&client_data),
        "attestation": encode(&attestation(&data)),
        "code": "another",
    });
    assert_eq!(stranger.post("/welcome/passkey", &registration).await.status, 404);
    registration["code"] = code.into();
    let entered = stranger.post("/welcome/passkey", &registration).await;
    assert_eq!(entered.status, 200, "{}", entered.text());
    let account = world.page("/account", &cookie(&entered)).await.text();
    assert!(account.contains("Passkey for localhost") && !account.contains("Test key"));
    assert_eq!(world.page("/account", &session).await.status, 303, "the old session has ended");
    let handle = options["user"]["id"].as_str().unwrap();
    let assertion = stranger.assertion(&old, handle, 0).await;
    assert_eq!(stranger.post("/login/passkey", &assertion).await.code(), "passkey.unknown");
    let again = stranger.post("/welcome/passkey/options", &json!({"code": code})).await;
    assert_eq!(again.code(), "invitation.not_found");
}

#[tokio::test]
async fn the_last_way_in_stays() {
    let world = World::new().await;
    let session = world.user("anna", Role::Support, &[]).await;
    let browser = Browser::at(&world, &session);
    let (one, two) = (SoftPasskey::es256("one"), SoftPasskey::es256("two"));
    browser.register(&one).await;
    browser.register(&two).await;
    let remove = async |passkey: &SoftPasskey| {
        let request = world.request("POST", "/account/passkeys/delete").header("Cookie", &session);
        let form = format!("id={}", encode(&passkey.id));
        let request = request.header("Sec-Fetch-Site", "same-origin");
        request.body("application/x-www-form-urlencoded", form).send().await
    };
    assert_eq!(remove(&one).await.status, 303);
    let refused = remove(&two).await;
    assert_eq!(refused.status, 409);
    assert!(refused.text().contains("this is the last way in"), "{}", refused.text());
}

#[tokio::test]
async fn an_address_of_numbers_and_a_foreign_name_have_no_passkeys() {
    let world = World::with(axle_http::HttpSettings {
        names: vec!["axle.example.com".to_owned()],
        ..axle_http::HttpSettings::default()
    })
    .await;
    let port = world.http.port();
    for (host, expected) in [
        (format!("127.0.0.1:{port}"), None),
        (format!("localhost:{port}"), Some("localhost")),
        (format!("axle.example.com:{port}"), Some("axle.example.com")),
    ] {
        let options = Browser { world: &world, host, cookie: String::new() };
        let reply = options.post("/login/passkey/options", &json!({})).await;
        match expected {
            Some(name) => assert_eq!(reply.json()["rpId"], name),
            None => assert_eq!(reply.code(), "passkey.no_name"),
        }
    }
}
