//! `/users`: who may sign in, for administrators.

mod rows;

use std::sync::Arc;

use axle_app::{NewUser, UserChange};
use axle_domain::port::{UserEntry, UserFilter};
use axle_domain::{DeviceId, Error, Role, Timestamp, UserName, limit};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;

use crate::answer::encode;
use crate::api::Api;
use crate::console::account::meaning;
use crate::console::form::Form;
use crate::console::layout::{Nav, document, empty, heading, html_answer};
use crate::console::login::{fault, to};
use crate::console::viewer::Viewer;
use crate::problem::Problem;
use crate::visitor::Visitor;

/// People on one page.
const PAGE_PEOPLE: usize = 50;
const ONLY: &[Role] = &[Role::Admin];

#[derive(Clone, Default, Deserialize)]
pub(super) struct Wanted {
    #[serde(default)]
    search: String,
    #[serde(default)]
    after: String,
}

/// What a page says beside the list.
#[derive(Default)]
struct Said {
    problem: Option<Problem>,
    /// For whom, and the link.
    invitation: Option<(UserName, String)>,
    /// What was in the form that failed.
    form: Option<Form>,
}

/// `GET /users`.
pub(super) async fn get(
    State(api): State<Arc<Api>>,
    viewer: Viewer,
    query: Result<Query<Wanted>, QueryRejection>,
) -> Result<Response, Problem> {
    viewer.require_role(ONLY)?;
    let wanted = query.map(|query| query.0).unwrap_or_default();
    show(&api, &viewer, &wanted, Said::default()).await
}

/// `POST /users`: adds a person.
pub(super) async fn add(
    State(api): State<Arc<Api>>,
    visitor: Visitor,
    viewer: Viewer,
    form: Form,
) -> Result<Response, Problem> {
    viewer.require_role(ONLY)?;
    let created = match new_user(&form) {
        Ok(new) => api.app.users.create(new).await,
        Err(error) => Err(error),
    };
    let said = match created {
        Ok((entry, code)) => {
            let (name, by) = (entry.user.name, viewer.log_name());
            tracing::info!(user.name = %name, role = %entry.user.role, by, "user added");
            let link = visitor.invitation_link(&code);
            Said { invitation: Some((name, link)), ..Said::default() }
        }
        Err(error) => Said { problem: Some(error.into()), form: Some(form), ..Said::default() },
    };
    show(&api, &viewer, &Wanted::default(), said).await
}

/// `POST /users/{name}/{action}`: `invite`, `disable`, `enable` or `delete`.
pub(super) async fn act(
    State(api): State<Arc<Api>>,
    visitor: Visitor,
    viewer: Viewer,
    Path((name, action)): Path<(String, String)>,
) -> Result<Response, Problem> {
    viewer.require_role(ONLY)?;
    let name = UserName::parse(&name)?;
    let by = viewer.log_name();
    match action.as_str() {
        "invite" => {
            let code = api.app.users.invite(&name).await?;
            tracing::info!(user.name = %name, by, "user invited again");
            let said = Said {
                invitation: Some((name, visitor.invitation_link(&code))),
                ..Said::default()
            };
            return show(&api, &viewer, &Wanted::default(), said).await;
        }
        "disable" | "enable" => {
            let is_disabled = Some(action == "disable");
            let change = UserChange { is_disabled, ..UserChange::default() };
            api.app.users.update(&name, change).await?;
            tracing::info!(user.name = %name, by, action, "user changed");
        }
        "delete" => {
            api.app.users.delete(&name).await?;
            tracing::info!(user.name = %name, by, "user deleted");
        }
        _ => return Err(Problem::of_status(StatusCode::NOT_FOUND)),
    }
    Ok(to("/users", None))
}

fn new_user(form: &Form) -> Result<NewUser, Error> {
    let role = form.text("role");
    let role = Role::parse(role)
        .ok_or_else(|| Error::invalid("user.role_invalid", "choose a role for this person"))?;
    let ids = form.text("devices").split([',', ' ', '\n', '\r', '\t']);
    let devices = ids.filter(|id| !id.is_empty()).map(DeviceId::parse);
    Ok(NewUser {
        name: UserName::parse(form.text("name").trim())?,
        display_name: form.text("display_name").trim().to_owned(),
        role,
        devices: devices.collect::<Result<_, _>>()?,
    })
}

async fn show(
    api: &Api,
    viewer: &Viewer,
    wanted: &Wanted,
    said: Said,
) -> Result<Response, Problem> {
    let filter = UserFilter {
        search: wanted.search.chars().take(64).collect(),
        after: UserName::parse(&wanted.after).ok(),
        limit: PAGE_PEOPLE + 1,
    };
    let mut people = api.app.users.list(filter).await?;
    let has_more = people.len() > PAGE_PEOPLE;
    people.truncate(PAGE_PEOPLE);
    let status = said.problem.as_ref().map_or(StatusCode::OK, Problem::status);
    let body = html! {
        (heading("People", html! {}))
        (fault(said.problem.as_ref()))
        @if let Some((name, link)) = &said.invitation { (invitation(name, link)) }
        (list(&people, wanted, has_more, api.app.ports.clock.now()))
        (form(said.form.as_ref(), people.is_empty()))
    };
    Ok(html_answer(status, document(Some(viewer), Nav::People, "People", body)))
}

fn invitation(name: &UserName, link: &str) -> Markup {
    let days = limit::INVITATION_TIME_MAX.as_secs() / 86_400;
    html! {
        div .notice.is-good role="status" {
            p { strong { "Send this link to " (name) ":" } }
            pre tabindex="0" role="region" aria-label="Link" { (link) }
            p .meta { "It is shown this once, works once, and for " (days) " days. There the person \
                chooses a password or a passkey; what the person signed in with before ends then." }
        }
    }
}

fn list(people: &[UserEntry], wanted: &Wanted, has_more: bool, now: Timestamp) -> Markup {
    let is_all = wanted.search.is_empty() && wanted.after.is_empty();
    if people.is_empty() && is_all {
        let next = html! { p { "Add the first person below. Until then, one-time links by "
        code { "axle login" } " are the only way in." } };
        return empty("Nobody has an account yet", next);
    }
    let next = people.last().filter(|_| has_more).map(|last| {
        let (search, after) = (encode(&wanted.search), encode(last.user.name.as_str()));
        format!("/users?search={search}&after={after}")
    });
    html! {
        section .panel aria-labelledby="people-title" {
            div .bar {
                h2 #people-title { "Who may sign in" }
                form .end method="get" action="/users" role="search" aria-label="People" {
                    input name="search" value=(wanted.search) aria-label="Part of a name"
                        placeholder="Part of a name" maxlength="64";
                    button type="submit" { "Find" }
                }
            }
            @if people.is_empty() { p { "Nobody of that name. " a href="/users" { "Show all" } } }
            @else { (rows::table(people, now)) }
            @if let Some(next) = next { div .pages { span {} a href=(next) { "Next page" } } }
        }
    }
}

fn form(failed: Option<&Form>, is_first: bool) -> Markup {
    let text = |name| failed.map_or("", |form| form.text(name));
    let chosen = Role::parse(text("role")).or(is_first.then_some(Role::Admin));
    html! {
        section .panel aria-labelledby="add-title" {
            h2 #add-title { "Add a person" }
            form action="/users" method="post" {
                div .fields {
                    div .field {
                        label for="name" { "Name to sign in with" }
                        input #name name="name" value=(text("name")) required maxlength="64"
                            pattern="[a-z0-9._@\\-]+" autocomplete="off" autocapitalize="none"
                            spellcheck="false" aria-describedby="name-rule";
                    }
                    div .field {
                        label for="display_name" { "Called (optional)" }
                        input #display_name name="display_name" value=(text("display_name"))
                            maxlength="100" autocomplete="off";
                    }
                    div .field {
                        label for="role" { "Role" }
                        select #role name="role" required {
                            option value="" disabled selected[chosen.is_none()] { "choose …" }
                            @for role in Role::ALL {
                                option value=(role) selected[chosen == Some(role)] { (role) }
                            }
                        }
                    }
                }
                p #name-rule .meta { "The name: small letters, digits and . _ @ -" }
                details {
                    summary { "What the roles may do" }
                    dl .facts {
                        @for role in Role::ALL { dt { (role) } dd { (meaning(role)) } }
                    }
                }
                div .field {
                    label for="devices" { "Devices of a household, by id" }
                    textarea #devices name="devices" rows="2" spellcheck="false"
                        placeholder="meter-0001" aria-describedby="devices-rule" {
                        (text("devices"))
                    }
                    p #devices-rule .meta { "Only for the role household; separated by spaces or lines." }
                }
                div .buttons { button .primary type="submit" { "Add and make a link" } }
            }
        }
    }
}
