//! `/tokens`: who may do what.

use std::sync::Arc;

use axle_domain::{Error, Kind, Scope, Token, limit};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde_json::{Value, json};

use crate::answer::{json_answer, page, time};
use crate::api::Api;
use crate::call::{Answer, Call};
use crate::field::Fields;
use crate::operation::{ADMINISTRATORS, JSON, OPERATION, Operation, Reply, json_body, reply};

const TAG: &str = "Tokens";
const PATH: &str = "/api/v1/tokens";
/// Most scopes of one token.
const SCOPES_MAX: usize = 100;

pub(super) static CREATE: Operation = Operation {
    id: "createToken",
    method: "POST",
    path: PATH,
    tag: TAG,
    summary: "Make a token",
    description: "The token itself is shown this once; axle keeps its hash alone.",
    rights: "`admin`",
    body: json_body("TokenInput"),
    replies: &[reply(201, "NewToken", "The token.")],
    problems: &[403, 404, 415, 422],
    roles: ADMINISTRATORS,
    ..OPERATION
};

pub(super) async fn create(State(api): State<Arc<Api>>, mut call: Call) -> Answer {
    call.require_administrator()?;
    let body = call.json(JSON, limit::REQUEST_BYTES_MAX).await?;
    let mut fields = Fields::read(&body)?;
    let texts = fields.texts("scopes");
    let mut scopes = Vec::new();
    for (index, text) in texts.iter().take(SCOPES_MAX).enumerate() {
        match Scope::parse(text) {
            Ok(scope) => scopes.push(scope),
            Err(error) => fields.fault(&format!("scopes/{index}"), &error.message),
        }
    }
    if texts.len() > SCOPES_MAX {
        fields.fault("scopes", &format!("holds more than {SCOPES_MAX} scopes"));
    }
    fields.finish()?;
    let created = api.app.tokens.create(scopes).await;
    let (token, secret) =
        created.map_err(|error| crate::problem::Problem::from(error).at("/scopes"))?;
    let mut body = wire(&token);
    if let Some(body) = body.as_object_mut() {
        body.insert("token".to_owned(), Value::String(secret));
    }
    Ok(json_answer(StatusCode::CREATED, &body))
}

pub(super) static LIST: Operation = Operation {
    id: "listTokens",
    path: PATH,
    tag: TAG,
    summary: "List tokens",
    rights: "`admin`",
    replies: &[reply(200, "TokenPage", "All tokens, without their secrets.")],
    problems: &[403],
    roles: ADMINISTRATORS,
    ..OPERATION
};

pub(super) async fn list(State(api): State<Arc<Api>>, call: Call) -> Answer {
    call.require_administrator()?;
    Ok(page(api.app.tokens.list().await?.iter().map(wire).collect(), None))
}

pub(super) static DELETE: Operation = Operation {
    id: "deleteToken",
    method: "DELETE",
    path: "/api/v1/tokens/{id}",
    tag: TAG,
    summary: "Withdraw a token",
    description: "It is refused from the next request on. The last one with `admin` stays.",
    rights: "`admin`",
    replies: &[Reply { status: 204, description: "Withdrawn.", schema: None, media: &[] }],
    problems: &[403, 404, 409],
    roles: ADMINISTRATORS,
    ..OPERATION
};

pub(super) async fn delete(State(api): State<Arc<Api>>, call: Call) -> Answer {
    call.require_administrator()?;
    let id = call.segment("id");
    let tokens = api.app.tokens.list().await?;
    let mut administrators = tokens.iter().filter(|token| token.scopes.contains(&Scope::Admin));
    if administrators.next().is_some_and(|first| first.id == id) && administrators.next().is_none()
    {
        let message = "this is the last token with the scope `admin`: make another one first";
        return Err(Error::new(Kind::Conflict, "token.last_admin", message).into());
    }
    api.app.tokens.revoke(id).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn wire(token: &Token) -> Value {
    json!({
        "id": token.id,
        "scopes": token.scopes.iter().map(Scope::to_string).collect::<Vec<_>>(),
        "created_at": time(token.created_at),
    })
}
