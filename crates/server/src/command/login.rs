//! `axle login`: a fresh one-time link to the console.

use serde_json::{Value, json};

use crate::cli::Target;
use crate::client::Client;
use crate::failure::{Exit, Failure};
use crate::output::print;

pub(super) async fn run(target: Target) -> Result<(), Failure> {
    let client = Client::find(&target)?;
    let answer = client.post("/api/v1/login-links", &json!({})).await?;
    let link = ["url", "link", "path"].iter().find_map(|field| answer.get(field));
    let Some(link) = link.and_then(Value::as_str) else {
        return Err(Failure::new(Exit::Internal, "the server answered without a link"));
    };
    let base = if link.starts_with('/') { client.base() } else { String::new() };
    print(&format!("{base}{link}\n"))
}
