//! Replays all items of a code: some at a time, so that a person sees how it goes on.

use std::sync::Arc;

use axle_app::Mend;
use axle_domain::{Kind, QuarantineFilter, QuarantineId, QuarantineState};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use maud::{Markup, html};

use crate::answer::encode;
use crate::api::Api;
use crate::console::form::Form;
use crate::console::layout::{Nav, heading, html_answer, page};
use crate::console::spark;
use crate::console::viewer::Viewer;
use crate::console::written::grouped;
use crate::operation::OPERATORS;
use crate::problem::Problem;

/// Items of one step.
const STEP: usize = 50;
/// Longest code that is looked for.
const CODE_BYTES_MAX: usize = 64;

/// Where the work is.
struct Work {
    code: String,
    /// Items that waited when it began.
    of: u64,
    done: u64,
    failed: u64,
    /// The last item that was looked at.
    before: String,
    /// Why the last of those that failed did.
    why: String,
}

/// The button that begins it.
pub(super) fn form(code: &str, waiting: u64) -> Markup {
    html! {
        form #replay-all action="/quarantine/replay" method="post"
            hx-post="/quarantine/replay" hx-target="this" hx-swap="outerHTML" {
            input type="hidden" name="code" value=(code);
            input type="hidden" name="of" value=(waiting);
            button type="submit" { "Replay all " (grouped(waiting)) " as they are" }
        }
    }
}

/// Takes a step, and shows what comes next.
pub(in crate::console) async fn all(
    State(api): State<Arc<Api>>,
    viewer: Viewer,
    headers: HeaderMap,
    form: Form,
) -> Result<Response, Problem> {
    viewer.require_role(OPERATORS)?;
    let number = |name| form.text(name).parse().unwrap_or(0);
    let text = |name| form.text(name).to_owned();
    let mut work = Work {
        code: text("code"),
        of: number("of"),
        done: number("done"),
        failed: number("failed"),
        before: text("before"),
        why: text("why"),
    };
    if work.code.is_empty() || work.code.len() > CODE_BYTES_MAX {
        let detail = "`code` must be the code of quarantined items";
        return Err(Problem::bad_request("request.form_invalid", detail));
    }
    let has_more = step(&api, &mut work).await?;
    let shown = progress(&work, has_more);
    if headers.contains_key("hx-request") {
        return Ok(html_answer(StatusCode::OK, shown));
    }
    let body = html! {
        (heading("Replay", html! { code { (work.code) } }))
        div .notice { (shown) }
    };
    Ok(page(&viewer, Nav::Quality, "Replay", body))
}

/// Replays the next items; says whether there are more.
async fn step(api: &Api, work: &mut Work) -> Result<bool, Problem> {
    let filter = QuarantineFilter {
        code: Some(work.code.clone()),
        state: Some(QuarantineState::Waiting),
        before: QuarantineId::parse(&work.before),
        limit: STEP,
        ..QuarantineFilter::default()
    };
    let items = api.app.quarantine.search(filter).await?;
    for item in &items {
        match api.app.quarantine.replay(item.id, Mend::default()).await {
            Ok(_offset) => work.done += 1,
            // Somebody else was quicker, or it is still at fault: the others go on.
            Err(error) if error.kind == Kind::Conflict || error.kind == Kind::NotFound => {
                work.failed += 1;
                work.why = error.message.chars().take(200).collect();
            }
            Err(error) => return Err(error.into()),
        }
        work.before = item.id.to_string();
    }
    Ok(items.len() == STEP)
}

fn progress(work: &Work, has_more: bool) -> Markup {
    let looked_at = work.done + work.failed;
    html! {
        form #replay-all action="/quarantine/replay" method="post"
            hx-post="/quarantine/replay" hx-target="this" hx-swap="outerHTML"
            hx-trigger=[has_more.then_some("load delay:50ms, submit")] {
            p role="status" {
                (grouped(work.done)) " replayed"
                @if work.failed > 0 { ", " (grouped(work.failed)) " still at fault" }
                " of " (grouped(work.of.max(looked_at)))
            }
            (spark::share(looked_at, work.of.max(looked_at)))
            @if !work.why.is_empty() { p .meta { "The last one that is still at fault: " (work.why) } }
            @if has_more {
                @for (name, value) in [("of", work.of), ("done", work.done), ("failed", work.failed)] {
                    input type="hidden" name=(name) value=(value);
                }
                input type="hidden" name="code" value=(work.code);
                input type="hidden" name="before" value=(work.before);
                input type="hidden" name="why" value=(work.why);
                button type="submit" { "Go on" }
            } @else {
                p { a href={ "/quarantine?code=" (encode(&work.code)) } { "Show what is left" } }
            }
        }
    }
}
