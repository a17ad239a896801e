//! `/welcome`: where an invitation leads. The person says how to sign in from now on.

use std::sync::Arc;

use axle_domain::{Kind, User};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;

use crate::api::Api;
use crate::console::account::password_rule;
use crate::console::form::Form;
use crate::console::layout::{html_answer, module};
use crate::console::login::{alone, enter, fault, used_up};
use crate::console::passkey::{Place, absent};
use crate::problem::Problem;
use crate::visitor::Visitor;

#[derive(Default, Deserialize)]
pub(super) struct Welcome {
    #[serde(default)]
    code: String,
}

/// `GET /welcome?code=…`: looks at the invitation and leaves it good.
pub(super) async fn get(
    State(api): State<Arc<Api>>,
    visitor: Visitor,
    query: Result<Query<Welcome>, QueryRejection>,
) -> Result<Response, Problem> {
    let code = query.map(|query| query.0.code).unwrap_or_default();
    api.sign_ins.take_address(visitor.address)?;
    let user = match api.app.sign_in.invited(&code).await {
        Ok(user) => user,
        Err(error) if error.kind == Kind::NotFound => return Ok(gone()),
        Err(error) => return Err(error.into()),
    };
    let body = welcome(&Place::of(&api, &visitor), &user, &code, None);
    Ok(html_answer(StatusCode::OK, alone("Welcome", body)))
}

/// `POST /welcome`: a password.
pub(super) async fn post(
    State(api): State<Arc<Api>>,
    visitor: Visitor,
    headers: HeaderMap,
    form: Form,
) -> Result<Response, Problem> {
    let code = form.text("code");
    api.sign_ins.take_address(visitor.address)?;
    let accepted = match passwords(&form) {
        Ok(password) => api.app.sign_in.accept_with_password(code, password).await,
        Err(error) => Err(error),
    };
    match accepted {
        Ok(secret) => enter(&api, &headers, &visitor, &secret, "/").await,
        Err(error) if error.kind == Kind::NotFound => Ok(gone()),
        Err(error) => {
            let user = api.app.sign_in.invited(code).await?;
            let problem = Problem::from(error);
            let body = welcome(&Place::of(&api, &visitor), &user, code, Some(&problem));
            Ok(html_answer(problem.status(), alone("Welcome", body)))
        }
    }
}

/// The new password of a form, which stands there twice.
pub(super) fn passwords(form: &Form) -> Result<&str, axle_domain::Error> {
    let password = form.text("password");
    match password == form.text("again") {
        true => Ok(password),
        false => Err(axle_domain::Error::invalid(
            "password.differ",
            "the two passwords differ: type the same one twice",
        )),
    }
}

fn gone() -> Response {
    let body = used_up(html! {
        "Have you chosen a way in already? Then " a href="/login" { "sign in" }
        ". Else ask an administrator for a new invitation."
    });
    html_answer(StatusCode::NOT_FOUND, alone("Link used up", body))
}

fn welcome(place: &Place, user: &User, code: &str, problem: Option<&Problem>) -> Markup {
    let called = match user.display_name.as_str() {
        "" => user.name.as_str(),
        name => name,
    };
    html! {
        section .card.narrow {
            h1 { "Welcome, " (called) }
            p { "Choose how you sign in from now on, as " strong { (user.name) } " (" (user.role) ")." }
            h2 { "With a passkey" }
            p .meta { "Your fingerprint, face or PIN instead of a password. Nothing to remember, \
                nothing that can be stolen from this server." }
            @if place.is_here() {
                div .buttons {
                    button .primary type="button" hidden data-passkey="create" data-next="/"
                        data-code=(code) data-options="/welcome/passkey/options"
                        data-finish="/welcome/passkey" { "Create a passkey" }
                }
                p .meta role="status" data-passkey-status {}
            }
            (absent(place, &format!("/welcome?code={code}")))
            h2 { "Or with a password" }
            (fault(problem))
            form action="/welcome" method="post" {
                input type="hidden" name="code" value=(code);
                input .hidden type="text" name="name" value=(user.name) autocomplete="username"
                    tabindex="-1" aria-hidden="true" readonly;
                (new_password())
                div .buttons { button type="submit" { "Set the password" } }
            }
            (module("passkey.js"))
        }
    }
}

/// Two fields for a new password.
pub(super) fn new_password() -> Markup {
    html! {
        div .field {
            label for="password" { "New password" }
            input #password type="password" name="password" required minlength="10" maxlength="256"
                autocomplete="new-password" aria-describedby="rule";
            p #rule .meta { (password_rule()) }
        }
        div .field {
            label for="again" { "The same again" }
            input #again type="password" name="again" required minlength="10" maxlength="256"
                autocomplete="new-password";
        }
    }
}
