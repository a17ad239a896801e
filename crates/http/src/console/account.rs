//! `/account`: what a person signs in with.

use std::sync::Arc;

use axle_app::{NewUser, Password, Principal};
use axle_domain::port::WhichSessions;
use axle_domain::{DeviceId, Error, Kind, Passkey, Role, Timestamp, User, UserName, limit};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use maud::{Markup, html};

use crate::api::Api;
use crate::console::form::Form;
use crate::console::layout::{Nav, document, heading, html_answer, module};
use crate::console::login::{fault, leave, to};
use crate::console::passkey::{Place, absent};
use crate::console::session;
use crate::console::viewer::Viewer;
use crate::console::welcome::{new_password, passwords};
use crate::console::written::moment;
use crate::problem::Problem;
use crate::visitor::Visitor;
use crate::webauthn::{decode, encode};

/// `GET /account`.
pub(super) async fn get(
    State(api): State<Arc<Api>>,
    visitor: Visitor,
    viewer: Viewer,
) -> Result<Response, Problem> {
    show(&api, &visitor, &viewer, None).await
}

/// `POST /account/password`.
pub(super) async fn change_password(
    State(api): State<Arc<Api>>,
    visitor: Visitor,
    viewer: Viewer,
    form: Form,
) -> Result<Response, Problem> {
    let user = person(&viewer)?;
    api.sign_ins.take(user.name.as_str(), visitor.address)?;
    let current = Password::presented(form.text("current"));
    let changed = match passwords(&form) {
        Ok(new) => {
            let session = viewer.session.hash;
            api.app.sign_in.change_password(&user.name, current, new, session).await
        }
        Err(error) => Err(error),
    };
    match changed {
        Ok(()) => {
            api.sign_ins.give_back(user.name.as_str(), visitor.address);
            Ok(to("/account", None))
        }
        Err(error) => show(&api, &visitor, &viewer, Some(&error.into())).await,
    }
}

/// `POST /account/passkeys/delete`.
pub(super) async fn delete_passkey(
    State(api): State<Arc<Api>>,
    visitor: Visitor,
    viewer: Viewer,
    form: Form,
) -> Result<Response, Problem> {
    let user = person(&viewer)?;
    let id = decode("id", form.text("id"))?;
    match api.app.sign_in.delete_passkey(&user.name, &id).await {
        Ok(()) => Ok(to("/account", None)),
        Err(error) => show(&api, &visitor, &viewer, Some(&error.into())).await,
    }
}

/// `POST /account/sign-out-everywhere`: ends all sessions of the person, this one too.
pub(super) async fn sign_out_everywhere(
    State(api): State<Arc<Api>>,
    headers: HeaderMap,
    viewer: Viewer,
) -> Result<Response, Problem> {
    if let Principal::User(user) = &viewer.principal {
        let ended = api.app.sessions.end(WhichSessions::Of(user.name.clone(), None)).await?;
        tracing::info!(user.name = %user.name, sessions = ended, "signed out everywhere");
    }
    leave(&api, &headers).await?;
    Ok(to("/login", Some(session::cookie_of_nobody())))
}

/// `POST /account/administrator`: whoever came by a one-time link gets a name.
pub(super) async fn create_administrator(
    State(api): State<Arc<Api>>,
    visitor: Visitor,
    viewer: Viewer,
    form: Form,
) -> Result<Response, Problem> {
    viewer.require_role(&[Role::Admin])?;
    let new = UserName::parse(form.text("name").trim()).map(|name| NewUser {
        name,
        display_name: form.text("display_name").trim().to_owned(),
        role: Role::Admin,
        devices: Vec::new(),
    });
    let created = match new {
        Ok(new) => api.app.users.create(new).await,
        Err(error) => Err(error),
    };
    match created {
        Ok((entry, code)) => {
            tracing::info!(user.name = %entry.user.name, "first administrator added by link");
            Ok(to(&format!("/welcome?code={code}"), None))
        }
        Err(error) => show(&api, &visitor, &viewer, Some(&error.into())).await,
    }
}

/// The person behind a viewer.
///
/// # Errors
/// 409 for the administrator without a name.
pub(super) fn person(viewer: &Viewer) -> Result<&User, Problem> {
    match &viewer.principal {
        Principal::User(user) => Ok(user),
        Principal::Token(_) | Principal::Link => Err(Error::new(
            Kind::Conflict,
            "account.no_name",
            "you came by a one-time link: create an administrator with a name first",
        )
        .into()),
    }
}

/// What a password must be.
pub(super) fn password_rule() -> String {
    let least = limit::PASSWORD_CHARS_MIN;
    format!("At least {least} characters; a few words that do not belong together are best.")
}

async fn show(
    api: &Api,
    visitor: &Visitor,
    viewer: &Viewer,
    problem: Option<&Problem>,
) -> Result<Response, Problem> {
    let place = Place::of(api, visitor);
    let body = match &viewer.principal {
        Principal::User(user) => {
            let passkeys = api.app.sign_in.passkeys(&user.name).await?;
            let has_password = api.app.users.get(&user.name).await?.has_password;
            html! {
                (heading("My account", html! {}))
                (fault(problem))
                (about(user))
                (passkey_panel(&place, &passkeys, api.app.ports.clock.now()))
                (password_panel(user, has_password))
                (everywhere())
                (module("passkey.js"))
            }
        }
        Principal::Token(_) | Principal::Link => html! {
            (heading("My account", html! {}))
            (fault(problem))
            (first_administrator())
        },
    };
    let status = problem.map_or(StatusCode::OK, Problem::status);
    Ok(html_answer(status, document(Some(viewer), Nav::None, "My account", body)))
}

fn about(user: &User) -> Markup {
    html! {
        section .panel aria-labelledby="about" {
            h2 #about { "Who I am" }
            dl .facts {
                dt { "Name" } dd { (user.name) }
                @if !user.display_name.is_empty() { dt { "Called" } dd { (user.display_name) } }
                dt { "Role" } dd { (user.role) " · " (meaning(user.role)) }
                @if user.role == Role::Household {
                    dt { "My devices" }
                    dd { (devices(&user.devices)) }
                }
            }
        }
    }
}

fn devices(devices: &[DeviceId]) -> Markup {
    html! {
        @if devices.is_empty() { "none yet: ask an administrator" }
        @for (index, id) in devices.iter().enumerate() {
            @if index > 0 { ", " }
            a href=(format!("/devices/{}", crate::answer::encode(id.as_str()))) { (id) }
        }
    }
}

/// What a role may do, in a few words.
pub(super) fn meaning(role: Role) -> &'static str {
    match role {
        Role::Admin => "may do everything",
        Role::Operator => "everything but people and tokens",
        Role::Support => "reads and commands every device; no registry, no SQL",
        Role::Household => "reads and commands its own devices alone",
    }
}

fn passkey_panel(place: &Place, passkeys: &[Passkey], now: Timestamp) -> Markup {
    html! {
        section .panel aria-labelledby="passkeys" {
            h2 #passkeys { "My passkeys" }
            @if passkeys.is_empty() {
                p { "None yet. A passkey is your fingerprint, face or PIN instead of a password." }
            }
            @if place.is_here() {
                div .fields {
                    div .field {
                        label for="label" { "What to call a new one" }
                        input #label maxlength="100" placeholder="My phone" data-passkey-label;
                    }
                    div .field {
                        button type="button" hidden data-passkey="create" data-next="/account"
                            data-options="/account/passkeys/options"
                            data-finish="/account/passkeys" { "Add a passkey" }
                    }
                }
                p .meta role="status" data-passkey-status {}
            }
            (absent(place, "/account"))
            @if !passkeys.is_empty() {
                div .scroll tabindex="0" role="region" aria-label="Table of passkeys" {
                    table {
                        thead { tr { th { "Passkey" } th { "Added" } th { "Last used" }
                            th { "Remove" } } }
                        tbody {
                            @for passkey in passkeys {
                                tr {
                                    td { (passkey.label) }
                                    td { (moment(passkey.created_at, now)) }
                                    td { @match passkey.last_used_at {
                                        Some(at) => (moment(at, now)),
                                        None => "never",
                                    } }
                                    td {
                                        form action="/account/passkeys/delete" method="post" {
                                            input type="hidden" name="id" value=(encode(&passkey.id));
                                            button .danger.quiet type="submit"
                                                aria-label=(format!("Remove {}", passkey.label)) {
                                                "Remove"
                                            }
                                        }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn password_panel(user: &User, has_password: bool) -> Markup {
    html! {
        section .panel aria-labelledby="password-title" {
            h2 #password-title { @if has_password { "Change my password" } @else { "Set a password" } }
            form .slim action="/account/password" method="post" {
                input .hidden type="text" name="name" value=(user.name) autocomplete="username"
                    tabindex="-1" aria-hidden="true" readonly;
                @if has_password {
                    div .field {
                        label for="current" { "Current password" }
                        input #current type="password" name="current" required
                            autocomplete="current-password";
                    }
                }
                (new_password())
                p .meta { "My other sessions end with that." }
                div .buttons { button type="submit" { "Save" } }
            }
        }
    }
}

fn everywhere() -> Markup {
    html! {
        section .panel aria-labelledby="everywhere" {
            h2 #everywhere { "Sign out everywhere" }
            p { "Ends every session of mine, on every device, this one too." }
            form action="/account/sign-out-everywhere" method="post" {
                button .danger type="submit" { "Sign out everywhere" }
            }
        }
    }
}

fn first_administrator() -> Markup {
    html! {
        section .card.narrow {
            h2 { "Give yourself a name" }
            p { "You came by a one-time link, as an administrator without a name; this session ends \
                within twelve hours. Create an administrator with a name, and sign in with a \
                passkey or a password from now on." }
            form action="/account/administrator" method="post" {
                div .field {
                    label for="name" { "Name to sign in with" }
                    input #name name="name" required maxlength="64" pattern="[a-z0-9._@\\-]+"
                        autocomplete="username" autocapitalize="none" spellcheck="false"
                        aria-describedby="name-rule";
                    p #name-rule .meta { "Small letters, digits and . _ @ -" }
                }
                div .field {
                    label for="display_name" { "What people call you (optional)" }
                    input #display_name name="display_name" maxlength="100" autocomplete="name";
                }
                div .buttons { button .primary type="submit" { "Continue" } }
            }
        }
    }
}
