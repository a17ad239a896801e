//! Commands to a device: a form to send one, and the life of each.

use std::sync::Arc;
use std::time::Duration;

use axle_app::NewCommand;
use axle_domain::{Access, Command, CommandId, CommandStatus, DeviceId, Error};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use serde_json::Value;

use crate::answer::encode;
use crate::api::Api;
use crate::console::form::Form;
use crate::console::layout::{html_answer, pill};
use crate::console::viewer::Viewer;
use crate::console::written::clock_time;
use crate::problem::Problem;

/// Commands that the page shows.
const SHOWN: usize = 10;
const TIMEOUT_DEFAULT: &str = "60";

/// The newest commands, as `list` shows them.
pub(super) async fn read(api: &Api, device: &DeviceId) -> Result<Vec<Command>, Error> {
    api.app.commands.list(device, SHOWN).await
}

/// The section: form and list.
pub(super) fn section(viewer: &Viewer, device: &DeviceId, commands: &[Command]) -> Markup {
    html! {
        section .panel #commands aria-labelledby="commands-title" {
            h2 #commands-title { "Commands" }
            @if viewer.principal.allows(Access::Command(device)) { (form(device)) }
            div #command-answer {}
            div data-part="commands" { (list(viewer, device, commands)) }
        }
    }
}

fn form(device: &DeviceId) -> Markup {
    let action = format!("/devices/{}/commands", encode(device.as_str()));
    html! {
        form action=(action) method="post" hx-post=(action) hx-target="#command-answer"
            hx-disabled-elt="find button" {
            div .fields {
                div .field {
                    label for="command-name" { "Command" }
                    input #command-name name="name" list="command-names" value="unlock" required
                        maxlength="64" autocomplete="off" size="14";
                    datalist #command-names {
                        option value="unlock" {} option value="lock" {} option value="locate" {}
                    }
                }
                div .field.grow {
                    label for="command-payload" { "Payload, JSON" }
                    input .code #command-payload name="payload" value="{}" autocomplete="off"
                        spellcheck="false";
                }
                div .field {
                    label for="command-timeout" { "Timeout, s" }
                    input #command-timeout name="timeout_s" type="number" min="1" max="2592000"
                        value=(TIMEOUT_DEFAULT);
                }
                label .check { input type="checkbox" name="dry_run"; "Dry run" }
                div .field { button .primary type="submit" { "Send" } }
            }
        }
    }
}

/// The commands, newest first, each with its steps.
pub(super) fn list(viewer: &Viewer, device: &DeviceId, commands: &[Command]) -> Markup {
    let may_cancel = viewer.principal.allows(Access::Command(device));
    html! {
        @if commands.is_empty() {
            p .quiet { "No command was sent to this device yet." }
        }
        @for command in commands {
            details .command data-key=(command.id) open[!command.status().is_final()] {
                summary {
                    code { (command.name) } " " (status(command.status()))
                    @if command.is_dry_run { " " span .pill.is-info { "dry run" } }
                    @if let Some(first) = command.history.first() { " " (clock_time(first.time)) }
                }
                ol .timeline {
                    @for step in &command.history {
                        li {
                            (status(step.status)) " " (clock_time(step.time)) " "
                            span .quiet { (step.evidence) }
                        }
                    }
                }
                dl .facts {
                    dt { "Id" } dd { code { (command.id) } }
                    dt { "Payload" } dd { code { (command.payload) } }
                    dt { "Deadline" } dd { (clock_time(command.deadline)) }
                    @if let Some(result) = &command.result {
                        dt { "Result" } dd { code { (result) } }
                    }
                }
                @if may_cancel && !command.status().is_final() { (cancel_form(device, command)) }
            }
        }
    }
}

fn cancel_form(device: &DeviceId, command: &Command) -> Markup {
    let action = format!("/devices/{}/commands/{}/cancel", encode(device.as_str()), command.id);
    html! {
        form action=(action) method="post" hx-post=(action) hx-target="#command-answer" {
            button .danger type="submit" { "Cancel" }
        }
    }
}

fn status(status: CommandStatus) -> Markup {
    let tone = match status {
        CommandStatus::Accepted | CommandStatus::Waiting => "calm",
        CommandStatus::Sent | CommandStatus::Delivered | CommandStatus::Running => "info",
        CommandStatus::Succeeded => "good",
        CommandStatus::Expired | CommandStatus::Canceled => "warn",
        CommandStatus::Failed | CommandStatus::Rejected => "bad",
    };
    pill(tone, status.as_str())
}

/// `POST /devices/{id}/commands`.
pub(in crate::console) async fn create(
    State(api): State<Arc<Api>>,
    viewer: Viewer,
    Path(id): Path<String>,
    headers: HeaderMap,
    form: Form,
) -> Result<Response, Problem> {
    let device = super::find(&api, &viewer, &id).await?.id;
    viewer.principal.require(Access::Command(&device))?;
    let payload = match form.text("payload").trim() {
        "" => "{}".to_owned(),
        text => match serde_json::from_str::<Value>(text) {
            Ok(payload) => payload.to_string(),
            Err(error) => {
                let detail = format!("the payload is not JSON: {error}");
                return Err(unprocessable("command.payload_invalid", detail));
            }
        },
    };
    let Ok(timeout) = form.text("timeout_s").trim().parse() else {
        let detail = "the timeout must be a whole number of seconds";
        return Err(unprocessable("command.timeout_invalid", detail.to_owned()));
    };
    let new = NewCommand {
        name: form.text("name").trim().to_owned(),
        payload,
        timeout: Duration::from_secs(timeout),
        is_dry_run: form.switch("dry_run"),
    };
    let command = api.app.commands.create(&device, new).await?;
    Ok(done(&headers, &device, &command))
}

fn unprocessable(code: &'static str, detail: String) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, code, detail)
}

/// `POST /devices/{id}/commands/{command}/cancel`.
pub(in crate::console) async fn cancel(
    State(api): State<Arc<Api>>,
    viewer: Viewer,
    Path((id, command)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let device = super::find(&api, &viewer, &id).await?.id;
    viewer.principal.require(Access::Command(&device))?;
    let command = CommandId::parse(&command)?;
    if api.app.commands.get(&command).await?.device != device {
        let message = format!("command `{command}` not found");
        return Err(Error::not_found("command.not_found", message).into());
    }
    let command = api.app.commands.cancel(&command).await?;
    Ok(done(&headers, &device, &command))
}

/// The list lives by itself; a page without scripts is loaded again.
fn done(headers: &HeaderMap, device: &DeviceId, command: &Command) -> Response {
    if !headers.contains_key("hx-request") {
        let target = format!("/devices/{}#commands", encode(device.as_str()));
        return Redirect::to(&target).into_response();
    }
    let notice = html! {
        p .notice.is-good role="status" {
            "Command " code { (command.name) } " is " (status(command.status()))
            ", with the id " code { (command.id) } "."
        }
    };
    html_answer(StatusCode::OK, notice)
}
