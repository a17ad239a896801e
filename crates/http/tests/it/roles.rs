//! What people may do, by role: the whole table of routes, asked by each role for what is theirs,
//! what is another's, and what does not exist. A new route is asked by itself.

use axle_domain::Role;
use serde_json::{Map, Value, json};

use crate::client::{Events, Reply};
use crate::world::World;

/// A household's device, another's, and one that nobody has registered.
const OWN: &str = "b-1";
const FOREIGN: &str = "b-2";
const MISSING: &str = "b-9";

/// One route of the contract.
struct Route {
    id: String,
    method: String,
    path: String,
    /// The roles that its description promises.
    roles: Vec<Role>,
    query: Vec<String>,
    body: Option<Value>,
}

/// Every route, with a body made of the schema where it takes one.
async fn routes(world: &World) -> Vec<Route> {
    let contract = world.request("GET", "/openapi.json").send().await.json();
    let schemas = &contract["components"]["schemas"];
    let mut routes = Vec::new();
    for (path, methods) in contract["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let text = operation["description"].as_str().unwrap();
            let (_, roles) = text.rsplit_once("Roles of people: ").unwrap();
            let roles = Role::ALL.into_iter().filter(|role| roles.contains(&format!("`{role}`")));
            let parameters = operation["parameters"].as_array().unwrap().iter();
            let query = parameters.filter(|it| it["in"] == "query").map(|it| text_of(&it["name"]));
            let content = operation["requestBody"]["content"].as_object();
            let schema = content.and_then(|it| it.values().next()).map(|it| &it["schema"]);
            routes.push(Route {
                id: text_of(&operation["operationId"]),
                method: method.to_uppercase(),
                path: path.clone(),
                roles: roles.collect(),
                query: query.collect(),
                body: schema.map(|schema| example(schema, schemas, 0)),
            });
        }
    }
    assert!(routes.len() >= 40, "{}", routes.len());
    routes
}

fn text_of(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

/// A value that fits a schema, more or less; every device in it is `DEVICE`.
fn example(schema: &Value, schemas: &Value, depth: usize) -> Value {
    if let Some(name) = schema["$ref"].as_str() {
        let name = name.rsplit('/').next().unwrap();
        return if depth > 4 { json!({}) } else { example(&schemas[name], schemas, depth + 1) };
    }
    if let Some(choice) = schema["enum"].get(0) {
        return choice.clone();
    }
    let kind = schema["type"].as_str().or(schema["type"][0].as_str()).unwrap_or("object");
    match kind {
        "string" => json!("x"),
        "integer" | "number" => json!(1),
        "boolean" => json!(false),
        "array" => json!([example(&schema["items"], schemas, depth + 1)]),
        _ => {
            let none = Map::new();
            let properties = schema["properties"].as_object().unwrap_or(&none).iter();
            let fields = properties.map(|(name, schema)| match name.as_str() {
                "device" => (name.clone(), json!("DEVICE")),
                "devices" => (name.clone(), json!(["DEVICE"])),
                "stream" => (name.clone(), json!("ride")),
                "sql" => (name.clone(), json!("SELECT 1")),
                "name" => (name.clone(), json!("unlock")),
                _ => (name.clone(), example(schema, schemas, depth + 1)),
            });
            Value::Object(fields.collect())
        }
    }
}

/// What is there of one device, so that there is something to leak.
struct Things {
    device: String,
    command: String,
    quarantine: String,
    serial: String,
}

async fn things(world: &World, device: &str, number: u32) -> Things {
    world.publish(device, "ride", r#"{"time":1790000000000,"lat":47,"lon":15}"#);
    world.publish(device, "ride", r#"{"time":"2036-01-01T00:00:00Z"}"#);
    world.settle().await;
    let serial = format!("S{number}");
    let records = json!({"records": [
        {"type": "component", "serial": serial, "kind": "battery"},
        {"type": "installation", "serial": serial, "device": device, "from": "2026-01-01"},
    ]});
    assert_eq!(world.post("/api/v1/feeds/graz/batches").json(&records).send().await.status, 200);
    let made = world.post(&format!("/api/v1/devices/{device}/commands"));
    let made = made.json(&json!({"name": "unlock"})).send().await.json();
    let set_aside = world.get(&format!("/api/v1/quarantine?device={device}")).send().await.json();
    Things {
        device: device.to_owned(),
        command: text_of(&made["id"]),
        quarantine: text_of(&set_aside["items"][0]["id"]),
        serial,
    }
}

/// Names of the same form that nobody has.
fn nothing(like: &Things) -> Things {
    Things {
        device: MISSING.to_owned(),
        // The same beginning, so that it sorts alike where a list goes on behind it.
        command: format!("c{}", like.command[1..].chars().rev().collect::<String>()),
        quarantine: "q-4040-0".to_owned(),
        serial: "S9".to_owned(),
    }
}

impl Things {
    fn all(&self) -> [&str; 4] {
        [&self.device, &self.command, &self.quarantine, &self.serial]
    }

    /// Every way to fill in the variables of a path, each of these things once.
    fn paths(&self, path: &str) -> Vec<String> {
        let fixed = path.replace("{stream}", "ride").replace("{plant}", "graz");
        if !fixed.contains('{') {
            return vec![fixed];
        }
        self.all().map(|thing| fill(&fixed, thing)).to_vec()
    }
}

fn fill(path: &str, with: &str) -> String {
    let part = |part: &str| if part.starts_with('{') { with.to_owned() } else { part.to_owned() };
    path.split('/').map(part).collect::<Vec<_>>().join("/")
}

async fn ask(world: &World, route: &Route, path: &str, device: &str, cookie: &str) -> Reply {
    let mut request = world
        .request(&route.method, path)
        .header("Cookie", cookie)
        .header("Sec-Fetch-Site", "same-origin");
    if let Some(body) = &route.body {
        request = request.body("application/json", body.to_string().replace("DEVICE", device));
    }
    if route.path == "/api/v1/events" {
        // A stream that is open has no end; that it opens is its answer.
        let status = Events::open(request).await.status().await;
        return Reply { status, headers: Vec::new(), body: b"{}".to_vec() };
    }
    request.send().await
}

#[tokio::test]
async fn a_household_cannot_tell_what_is_anothers_from_what_does_not_exist() {
    let world = World::new().await;
    let household = world.user("anna", Role::Household, &[OWN]).await;
    things(&world, OWN, 1).await;
    let foreign = things(&world, FOREIGN, 2).await;
    let nothing = nothing(&foreign);
    for route in routes(&world).await {
        let mut addresses: Vec<_> =
            foreign.paths(&route.path).into_iter().zip(nothing.paths(&route.path)).collect();
        // The same for whatever a query may name.
        let plain = addresses[0].clone();
        for name in &route.query {
            for (theirs, nobodys) in foreign.all().into_iter().zip(nothing.all()) {
                let with = |path: &str, value: &str| format!("{path}?{name}={value}");
                addresses.push((with(&plain.0, theirs), with(&plain.1, nobodys)));
            }
        }
        for (theirs, nobodys) in addresses {
            let seen = ask(&world, &route, &theirs, FOREIGN, &household).await;
            let expected = ask(&world, &route, &nobodys, MISSING, &household).await;
            let (mut seen, mut expected) = (shown(&seen), shown(&expected));
            for (is, was) in foreign.all().into_iter().zip(nothing.all()) {
                seen = seen.replace(is, "THING");
                expected = expected.replace(was, "THING");
            }
            assert_eq!(seen, expected, "{} {theirs}", route.id);
        }
    }
}

fn shown(reply: &Reply) -> String {
    let is_json = reply.header("content-type").is_some_and(|it| it.contains("json"));
    let mut body: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    if !is_json {
        body = json!(String::from_utf8_lossy(&reply.body));
    }
    if let Some(body) = body.as_object_mut() {
        body.remove("request_id");
    }
    format!("{} {body}", reply.status)
}

#[tokio::test]
async fn nothing_that_a_household_reads_names_another() {
    let world = World::new().await;
    let household = world.user("anna", Role::Household, &[OWN]).await;
    let own = things(&world, OWN, 1).await;
    let foreign = things(&world, FOREIGN, 2).await;
    let (mut lists, mut own_seen) = (0, 0);
    for route in routes(&world).await {
        for path in own.paths(&route.path) {
            let reply = ask(&world, &route, &path, OWN, &household).await;
            let text = String::from_utf8_lossy(&reply.body);
            for thing in foreign.all() {
                assert!(!text.contains(&format!("\"{thing}\"")), "{}: {text}", route.id);
            }
            lists += usize::from(reply.status == 200);
            own_seen += usize::from(reply.status == 200 && text.contains(&format!("\"{OWN}\"")));
        }
    }
    assert!(lists >= 15 && own_seen >= 8, "there was something to see: {lists} {own_seen}");
}

#[tokio::test]
async fn every_role_may_do_exactly_what_the_contract_promises_it() {
    for role in Role::ALL {
        let world = World::new().await;
        let devices: &[&str] = if role == Role::Household { &[OWN] } else { &[] };
        let cookie = world.user("anna", role, devices).await;
        let own = things(&world, OWN, 1).await;
        for route in routes(&world).await {
            let is_promised = route.roles.contains(&role);
            // What ends the test's own ground comes last in no order: it is not asked at all.
            let is_fatal = matches!(route.id.as_str(), "deleteUser" | "patchUser" | "inviteUser");
            for path in own.paths(&route.path).into_iter().filter(|_| !is_fatal || !is_promised) {
                let reply = ask(&world, &route, &path, OWN, &cookie).await;
                let is_denied = reply.code() == "role.denied";
                assert_eq!(is_denied, !is_promised, "{role} {} {path} {}", route.id, shown(&reply));
                assert!(reply.status != 401 && (!is_denied || reply.status == 403), "{}", route.id);
            }
        }
    }
}

#[tokio::test]
async fn a_session_speaks_to_the_api_from_our_own_pages_alone() {
    let world = World::new().await;
    let admin = world.user("anna", Role::Admin, &[]).await;
    let body = json!({"name": "unlock"});
    let host = world.http.to_string();
    let own = format!("http://{host}");
    for (method, headers, expected) in [
        ("GET", &[][..], 200),
        ("GET", &[("Sec-Fetch-Site", "same-origin")], 200),
        ("GET", &[("Sec-Fetch-Site", "none")], 200),
        ("GET", &[("Sec-Fetch-Site", "cross-site")], 403),
        ("GET", &[("Sec-Fetch-Site", "same-site")], 403),
        ("GET", &[("Origin", "http://evil.example")], 403),
        ("POST", &[], 403),
        ("POST", &[("Sec-Fetch-Site", "none")], 403),
        ("POST", &[("Sec-Fetch-Site", "cross-site"), ("Origin", own.as_str())], 403),
        ("POST", &[("Origin", "http://evil.example")], 403),
        ("POST", &[("Origin", own.as_str())], 202),
        ("POST", &[("Sec-Fetch-Site", "same-origin")], 202),
    ] {
        let mut request =
            world.request(method, "/api/v1/devices/b-1/commands").header("Cookie", &admin);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        if method == "POST" {
            request = request.json(&body);
        }
        let reply = request.send().await;
        assert_eq!(reply.status, expected, "{method} {headers:?} {}", reply.text());
    }
    // A token is proof enough, and goes before the cookie.
    let request = world.post("/api/v1/devices/b-1/commands").header("Cookie", &admin);
    assert_eq!(request.header("Sec-Fetch-Site", "cross-site").json(&body).send().await.status, 202);
    let request = world.request("GET", "/api/v1/devices").header("Cookie", &admin).token("wrong");
    assert_eq!(request.send().await.code(), "token.unknown");
}

#[tokio::test]
async fn who_is_disabled_or_has_signed_out_speaks_no_more() {
    let world = World::new().await;
    let cookie = world.user("anna", Role::Operator, &[]).await;
    let devices = || world.request("GET", "/api/v1/devices").header("Cookie", &cookie);
    assert_eq!(devices().send().await.status, 200);
    let disabled = json!({"disabled": true});
    let patch = world.request("PATCH", "/api/v1/users/anna").token(&world.admin).json(&disabled);
    assert_eq!(patch.send().await.json()["disabled"], true);
    assert_eq!(devices().send().await.code(), "session.over");
    let enabled = json!({"disabled": false});
    let patch = world.request("PATCH", "/api/v1/users/anna").token(&world.admin).json(&enabled);
    patch.send().await;
    assert_eq!(devices().send().await.code(), "session.over", "the session has ended");
}

/// The paths of the console's pages, as its router has them.
fn page_paths() -> Vec<&'static str> {
    let source = include_str!("../../src/console.rs");
    let paths = source.split(".route(\"").skip(1).filter_map(|rest| rest.split('"').next());
    let of_pages = |path: &&str| !path.starts_with("/assets") && !path.starts_with("/basemap");
    let paths: Vec<_> = paths.filter(of_pages).collect();
    assert!(paths.len() >= 25, "{paths:?}");
    paths
}

/// Status, target and text of an answer, without what differs from request to request.
async fn look(world: &World, method: &str, path: &str, cookie: &str) -> String {
    let request = world
        .request(method, path)
        .header("Cookie", cookie)
        .header("Sec-Fetch-Site", "same-origin")
        .header("Accept", "text/html,*/*;q=0.8");
    let request = match method {
        "POST" => request.body("application/x-www-form-urlencoded", "name=unlock&payload=%7B%7D"),
        _ => request,
    };
    if path.starts_with("/live") {
        return Events::open(request).await.status().await.to_string();
    }
    let reply = request.send().await;
    let text = String::from_utf8_lossy(&reply.body).into_owned();
    let id = reply.header("x-request-id").unwrap().to_owned();
    format!("{} {:?} {}", reply.status, reply.header("location"), text.replace(&id, "REQUEST"))
}

#[tokio::test]
async fn no_page_tells_a_household_whether_there_is_another() {
    let world = World::new().await;
    let household = world.user("anna", Role::Household, &[OWN]).await;
    things(&world, OWN, 1).await;
    let foreign = things(&world, FOREIGN, 2).await;
    let nothing = nothing(&foreign);
    for path in page_paths() {
        // Signing out would end the walk, and tries to sign in are counted.
        let is_way_in = ["/log", "/welcome", "/account/sign-out"];
        if is_way_in.iter().any(|start| path.starts_with(start)) {
            continue;
        }
        let mut addresses: Vec<_> = if path.contains('{') {
            foreign
                .all()
                .into_iter()
                .zip(nothing.all())
                .map(|(theirs, nobodys)| (fill(path, theirs), fill(path, nobodys)))
                .collect()
        } else {
            vec![(path.to_owned(), path.to_owned())]
        };
        let plain = addresses[0].clone();
        for name in ["q", "search", "device", "id", "item", "stream", "after"] {
            for (theirs, nobodys) in foreign.all().into_iter().zip(nothing.all()) {
                let with = |path: &str, value: &str| format!("{path}?{name}={value}");
                addresses.push((with(&plain.0, theirs), with(&plain.1, nobodys)));
            }
        }
        for (theirs, nobodys) in addresses {
            for method in ["GET", "POST"] {
                let mut seen = look(&world, method, &theirs, &household).await;
                let mut expected = look(&world, method, &nobodys, &household).await;
                for (is, was) in foreign.all().into_iter().zip(nothing.all()) {
                    seen = seen.replace(is, "THING");
                    expected = expected.replace(was, "THING");
                }
                assert_eq!(seen, expected, "{method} {theirs}");
            }
        }
    }
}

#[tokio::test]
async fn the_pages_hold_to_the_roles_too() {
    let world = World::new().await;
    let household = world.user("anna", Role::Household, &[OWN]).await;
    things(&world, OWN, 1).await;
    things(&world, FOREIGN, 2).await;
    for role in [Role::Household, Role::Support, Role::Operator] {
        let cookie = world.user(role.as_str(), role, &[]).await;
        assert_eq!(world.page("/users", &cookie).await.status, 403, "{role}");
        assert_eq!(world.page("/account", &cookie).await.status, 200, "{role}");
    }
    for path in page_paths().into_iter().filter(|path| !path.starts_with("/live")) {
        let text = world.page(&fill(path, OWN), &household).await.text();
        assert!(!text.contains(FOREIGN) && !text.contains("S2"), "{path}: {text}");
    }
    assert_eq!(world.page("/devices/b-1", &household).await.status, 200);
}
