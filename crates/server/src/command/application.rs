//! `axle application`: backend programs that speak MQTT.

use std::fs;

use axle_domain::{ApplicationName, IdPattern, TopicFilter};
use hyper::Method;
use serde_json::{Value, json};

use crate::cli::{
    ApplicationCertifyArgs, ApplicationCommand, ApplicationCreateArgs, ListArgs, ThingArgs,
};
use crate::client::{Call, Client, encode_segment};
use crate::data_dir;
use crate::failure::{Exit, Failure};
use crate::output::{TextTable, items, note, print, print_json};

pub(super) async fn run(command: ApplicationCommand) -> Result<(), Failure> {
    match command {
        ApplicationCommand::Create(args) => create(args).await,
        ApplicationCommand::Certify(args) => certify(args).await,
        ApplicationCommand::List(args) => list(args).await,
        ApplicationCommand::Revoke(args) => revoke(args).await,
    }
}

async fn create(args: ApplicationCreateArgs) -> Result<(), Failure> {
    let name = ApplicationName::parse(&args.name)?;
    for filter in args.publish.iter().chain(&args.subscribe) {
        TopicFilter::parse(filter)?;
    }
    let body = match &args.claim {
        Some(devices) => {
            let devices = IdPattern::parse(devices)?;
            let claim =
                json!({"devices": devices.as_str(), "kind": args.kind, "count": args.count});
            json!({"name": name.as_str(), "claim": claim})
        }
        None => json!({
            "name": name.as_str(),
            "publish": args.publish,
            "subscribe": args.subscribe,
            "token": !args.no_token,
        }),
    };
    let answer = Client::find(&args.target)?.post("/api/v1/applications", &body).await?;
    if args.json {
        return print_json(&answer);
    }
    match answer.get("token").and_then(Value::as_str) {
        Some(secret) => {
            note(&format!(
                "application {name} is made; `axle application revoke {name}` withdraws it; its \
                 token is its MQTT password and is shown this once:"
            ));
            print(&format!("{secret}\n"))
        }
        None => {
            note(&format!("application {name} is made; next: `axle application certify {name}`"));
            Ok(())
        }
    }
}

async fn certify(args: ApplicationCertifyArgs) -> Result<(), Failure> {
    let name = ApplicationName::parse(&args.name)?;
    let (key_path, certificate_path) =
        (args.out.join(format!("{name}.key")), args.out.join(format!("{name}.crt")));
    if key_path.exists() {
        let message = format!("{} exists already", key_path.display());
        return Err(Failure::new(Exit::Conflict, message).with_hint("another `--out`"));
    }
    let (key, request) = axle_mqtt::new_application_request(&name)?;
    let path = format!("/api/v1/applications/{name}/certificates");
    let issued = Client::find(&args.target)?.post(&path, &json!({"csr": request})).await?;
    let text = |field: &str| {
        issued.get(field).and_then(Value::as_str).map(str::to_owned).ok_or_else(|| {
            Failure::new(Exit::Internal, format!("the server answered without `{field}`"))
        })
    };
    let (certificate, authority) = (text("certificate")?, text("ca")?);
    fs::create_dir_all(&args.out).map_err(|error| Failure::file("create", &args.out, &error))?;
    data_dir::put(&key_path, key.as_bytes(), 0o600)?;
    data_dir::put(&certificate_path, certificate.as_bytes(), 0o644)?;
    data_dir::put(&args.out.join("ca.crt"), authority.as_bytes(), 0o644)?;
    note(&format!("{} and {} are written", key_path.display(), certificate_path.display()));
    Ok(())
}

async fn list(args: ListArgs) -> Result<(), Failure> {
    let answer = Client::find(&args.target)?.get("/api/v1/applications").await?;
    if args.json {
        return print_json(&answer);
    }
    let mut table = TextTable::new(&["NAME", "KIND", "PUBLISH", "SUBSCRIBE", "TOKEN", "CREATED"]);
    for application in items(&answer) {
        let fields = ["name", "kind", "publish", "subscribe", "has_token", "created_at"];
        table.push_fields(application, &fields);
    }
    print(&table.render())
}

async fn revoke(args: ThingArgs) -> Result<(), Failure> {
    let path = format!("/api/v1/applications/{}", encode_segment(&args.id));
    let call = Call { method: Method::DELETE, path: &path, ..Call::default() };
    Client::find(&args.target)?.json(call).await?;
    note(&format!("application {} is withdrawn", args.id));
    Ok(())
}
