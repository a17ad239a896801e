//! Ceremonies of passkeys as the browser's module drives them: options first, then what the
//! authenticator has made of them.

use std::sync::Arc;

use axle_app::NewPasskey;
use axle_domain::{User, limit};
use axum::extract::State;
use axum::http::header::SET_COOKIE;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::answer::json_answer;
use crate::api::Api;
use crate::console::account::person;
use crate::console::form::Json;
use crate::console::login::leave;
use crate::console::session;
use crate::console::viewer::Viewer;
use crate::problem::Problem;
use crate::visitor::Visitor;
use crate::webauthn::{
    ALGORITHMS, Expected, Purpose, Registered, challenge_of, decode, encode, rp_id,
    verify_assertion, verify_registration,
};

/// Whether passkeys work under the name that the browser has used.
pub(super) enum Place {
    /// They do; browsers bind them to this name.
    Here(String),
    /// Not under this address, but under this host of the same server.
    Elsewhere(String),
    /// Not under this address, and we know of no other.
    Nowhere,
}

impl Place {
    /// What the browser's `Host` means for passkeys.
    pub(super) fn of(api: &Api, visitor: &Visitor) -> Self {
        match rp_id(&visitor.host, &api.names) {
            Some(name) => Self::Here(name),
            None => visitor.local_name().map_or(Self::Nowhere, Self::Elsewhere),
        }
    }

    /// Whether they work here.
    pub(super) fn is_here(&self) -> bool {
        matches!(self, Self::Here(_))
    }

    fn name(self) -> Result<String, Problem> {
        match self {
            Self::Here(name) => Ok(name),
            Self::Elsewhere(_) | Self::Nowhere => Err(Problem::bad_request(
                "passkey.no_name",
                "passkeys need a name in the address: open this server as http://localhost or by \
                 a name of `server.names`",
            )),
        }
    }
}

/// Says why there is no button for passkeys, and where there would be one. `path` is where this
/// page stands.
pub(super) fn absent(place: &Place, path: &str) -> Markup {
    html! {
        @match place {
            Place::Here(_) => {
                p .meta hidden data-passkey-absent {
                    "This browser offers no passkeys here: they need TLS, or a name like localhost."
                }
            }
            Place::Elsewhere(host) => {
                p .meta {
                    "Passkeys need a name in the address: "
                    a href=(format!("//{host}{path}")) { "open this page as " (host) }
                    "."
                }
            }
            Place::Nowhere => {
                p .meta {
                    "Passkeys need a name in the address: use one that the operator has put into "
                    code { "server.names" } "."
                }
            }
        }
    }
}

/// What an authenticator has signed.
#[derive(Deserialize)]
pub(super) struct Assertion {
    id: String,
    client_data: String,
    authenticator_data: String,
    signature: String,
    #[serde(default)]
    user_handle: String,
}

/// What an authenticator has made.
#[derive(Deserialize)]
pub(super) struct Registration {
    client_data: String,
    attestation: String,
    #[serde(default)]
    label: String,
    /// Of an invitation, where it is for one.
    #[serde(default)]
    code: String,
}

/// Whom a registration is for.
#[derive(Deserialize)]
pub(super) struct For {
    /// Of an invitation.
    #[serde(default)]
    code: String,
}

/// `POST /login/passkey/options`.
pub(super) async fn sign_in_options(
    State(api): State<Arc<Api>>,
    visitor: Visitor,
) -> Result<Response, Problem> {
    api.sign_ins.take_address(visitor.address)?;
    let rp_id = Place::of(&api, &visitor).name()?;
    let challenge = api.challenges.create(Purpose::SignIn, Instant::now())?;
    let body = json!({
        "challenge": challenge,
        "rpId": rp_id,
        "timeout": limit::CHALLENGE_TIME_MAX.as_millis(),
        "userVerification": "required",
    });
    std::future::ready(Ok(json_answer(StatusCode::OK, &body))).await
}

/// `POST /login/passkey`.
pub(super) async fn sign_in(
    State(api): State<Arc<Api>>,
    visitor: Visitor,
    headers: HeaderMap,
    Json(made): Json<Assertion>,
) -> Result<Response, Problem> {
    api.sign_ins.take_address(visitor.address)?;
    let rp_id = Place::of(&api, &visitor).name()?;
    let client_data = decode("client_data", &made.client_data)?;
    api.challenges.take(&challenge_of(&client_data)?, &Purpose::SignIn, Instant::now())?;
    let (passkey, user) = api.app.sign_in.passkey(&decode("id", &made.id)?).await?;
    if decode("user_handle", &made.user_handle)? != user.handle.0 {
        let detail = "the passkey names another person: remove it and register a new one";
        return Err(Problem::unauthenticated("passkey.unknown", detail));
    }
    let origin = visitor.origin();
    let sign_count = verify_assertion(
        Expected { origin: &origin, rp_id: &rp_id },
        &passkey.public_key,
        &client_data,
        &decode("authenticator_data", &made.authenticator_data)?,
        &decode("signature", &made.signature)?,
    )
    .inspect_err(|error| {
        tracing::info!(user.name = %user.name, how = "passkey", code = error.code, "sign-in failed");
    })?;
    let secret = api.app.sign_in.by_passkey(&passkey, sign_count).await?;
    entered(&api, &headers, &visitor, &secret).await
}

/// `POST /account/passkeys/options`.
pub(super) async fn add_options(
    State(api): State<Arc<Api>>,
    visitor: Visitor,
    viewer: Viewer,
) -> Result<Response, Problem> {
    let user = person(&viewer)?;
    let purpose = Purpose::Add(user.name.clone());
    let known = api.app.sign_in.passkeys(&user.name).await?;
    let known = known.iter().map(|passkey| encode(&passkey.id)).collect();
    creation_options(&api, &visitor, purpose, user, known)
}

/// `POST /account/passkeys`.
pub(super) async fn add(
    State(api): State<Arc<Api>>,
    visitor: Visitor,
    viewer: Viewer,
    Json(made): Json<Registration>,
) -> Result<Response, Problem> {
    let user = person(&viewer)?;
    let new = registered(&api, &visitor, &Purpose::Add(user.name.clone()), &made)?;
    api.app.sign_in.add_passkey(&user.name, new).await?;
    Ok(json_answer(StatusCode::CREATED, &json!({})))
}

/// `POST /welcome/passkey/options`.
pub(super) async fn welcome_options(
    State(api): State<Arc<Api>>,
    visitor: Visitor,
    Json(wanted): Json<For>,
) -> Result<Response, Problem> {
    api.sign_ins.take_address(visitor.address)?;
    let user = api.app.sign_in.invited(&wanted.code).await?;
    creation_options(&api, &visitor, Purpose::Welcome(user.name.clone()), &user, Vec::new())
}

/// `POST /welcome/passkey`.
pub(super) async fn welcome(
    State(api): State<Arc<Api>>,
    visitor: Visitor,
    headers: HeaderMap,
    Json(made): Json<Registration>,
) -> Result<Response, Problem> {
    api.sign_ins.take_address(visitor.address)?;
    let user = api.app.sign_in.invited(&made.code).await?;
    let new = registered(&api, &visitor, &Purpose::Welcome(user.name), &made)?;
    let secret = api.app.sign_in.accept_with_passkey(&made.code, new).await?;
    entered(&api, &headers, &visitor, &secret).await
}

fn creation_options(
    api: &Api,
    visitor: &Visitor,
    purpose: Purpose,
    user: &User,
    known: Vec<String>,
) -> Result<Response, Problem> {
    let rp_id = Place::of(api, visitor).name()?;
    let challenge = api.challenges.create(purpose, Instant::now())?;
    let parameters = ALGORITHMS.map(|number| json!({"type": "public-key", "alg": number}));
    let known = known.into_iter().map(|id| json!({"type": "public-key", "id": id}));
    let display_name = match user.display_name.as_str() {
        "" => user.name.as_str(),
        name => name,
    };
    let body = json!({
        "challenge": challenge,
        "rp": {"id": rp_id, "name": "axle"},
        "user": {
            "id": encode(&user.handle.0),
            "name": user.name.as_str(),
            "displayName": display_name,
        },
        "pubKeyCredParams": parameters,
        "excludeCredentials": known.collect::<Value>(),
        "timeout": limit::CHALLENGE_TIME_MAX.as_millis(),
        "attestation": "none",
        "authenticatorSelection": {
            "residentKey": "required",
            "requireResidentKey": true,
            "userVerification": "required",
        },
    });
    Ok(json_answer(StatusCode::OK, &body))
}

fn registered(
    api: &Api,
    visitor: &Visitor,
    purpose: &Purpose,
    made: &Registration,
) -> Result<NewPasskey, Problem> {
    let rp_id = Place::of(api, visitor).name()?;
    let client_data = decode("client_data", &made.client_data)?;
    api.challenges.take(&challenge_of(&client_data)?, purpose, Instant::now())?;
    let origin = visitor.origin();
    let expected = Expected { origin: &origin, rp_id: &rp_id };
    let attestation = decode("attestation", &made.attestation)?;
    let Registered { id, public_key, sign_count } =
        verify_registration(expected, &client_data, &attestation)?;
    let label = match made.label.trim() {
        "" => format!("Passkey for {rp_id}"),
        label => label.to_owned(),
    };
    Ok(NewPasskey { id, public_key, sign_count, label })
}

/// The answer to a script that has signed somebody in. The session of before ends.
async fn entered(
    api: &Api,
    headers: &HeaderMap,
    visitor: &Visitor,
    secret: &str,
) -> Result<Response, Problem> {
    leave(api, headers).await?;
    let mut response = json_answer(StatusCode::OK, &json!({}));
    if let Ok(cookie) = HeaderValue::from_str(&session::cookie(secret, visitor.is_secure)) {
        response.headers_mut().insert(SET_COOKIE, cookie);
    }
    Ok(response)
}
