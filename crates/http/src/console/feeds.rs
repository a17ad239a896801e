//! `/feeds`: what plants have handed in, and what of it waits for a person.

use std::sync::Arc;

use axle_app::{ReviewDecision, parse_time};
use axle_domain::port::{BatchFilter, BatchReceipt, ReviewFilter};
use axle_domain::{Access, FeedRecord, PlantName, ReviewId, ReviewItem, ReviewStatus, Timestamp};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use serde::Deserialize;

use crate::answer::encode;
use crate::api::Api;
use crate::console::form::Form;
use crate::console::layout::{Nav, empty, heading, page, pill};
use crate::console::viewer::{Role, Viewer};
use crate::console::written::{grouped, moment};
use crate::problem::Problem;

/// Review items of a page.
const PAGE: usize = 25;
/// Batches that are shown.
const BATCHES: usize = 20;
/// Who sees what plants say.
const STAFF: &[Role] = &[Role::Admin, Role::Operator, Role::Support];

/// What the address asks for.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Ask {
    plant: String,
    status: String,
    before: String,
    /// Why the decision before did not work.
    refused: String,
}

/// The page.
pub(super) async fn get(
    State(api): State<Arc<Api>>,
    viewer: Viewer,
    query: Result<Query<Ask>, QueryRejection>,
) -> Result<Response, Problem> {
    viewer.require_role(STAFF)?;
    let ask = query.map(|query| query.0).unwrap_or_default();
    let plant = PlantName::parse(&ask.plant).ok();
    let status = ReviewStatus::parse(&ask.status).unwrap_or(ReviewStatus::Waiting);
    let filter = ReviewFilter {
        plant: plant.clone(),
        status: Some(status),
        before: ReviewId::parse(&ask.before),
        limit: PAGE,
    };
    let items = api.app.feeds.list_reviews(filter).await?;
    let batches = api.app.feeds.list_batches(BatchFilter { plant, limit: BATCHES }).await?;
    let now = api.app.ports.clock.now();
    let may_decide = viewer.principal.allows(Access::Operate);
    let body = html! {
        (heading("Plant feeds", html! { "what plants say of devices and components" }))
        @if !ask.refused.is_empty() {
            div .notice.is-warn role="alert" { p { "Nothing was changed: " (ask.refused) } }
        }
        section #review .panel aria-labelledby="review-title" {
            div .bar { h2 #review-title { "Review" } (choice(&ask, status)) }
            @if items.is_empty() { (nothing(status)) }
            @for item in &items { (review(item, may_decide, now)) }
        }
        @if let Some(last) = items.last().filter(|_| items.len() >= PAGE) {
            nav .pages aria-label="Pages" { span {}
                a .button rel="next" href=(address(&ask, status, &last.id.to_string())) {
                    "Older ones" }
            }
        }
        (batch_table(&batches, now))
    };
    Ok(page(&viewer, Nav::Feeds, "Plant feeds", body))
}

/// Takes a decision and leads back to the page.
pub(super) async fn decide(
    State(api): State<Arc<Api>>,
    viewer: Viewer,
    Path(id): Path<String>,
    form: Form,
) -> Result<Response, Problem> {
    viewer.principal.require(Access::Operate)?;
    let id = ReviewId::parse(&id).ok_or_else(|| {
        Problem::new(axum::http::StatusCode::NOT_FOUND, "review.not_found", "there is no such item")
    })?;
    let field = |name| form.text(name);
    let decision = read(id, (field("decision"), field("close_other_at"), field("note")))?;
    let outcome = api.app.feeds.decide(&viewer.principal.id(), decision).await;
    let target = match outcome {
        Ok(_) => "/feeds#review".to_owned(),
        Err(error) if error.kind.is_retryable() => return Err(error.into()),
        Err(error) => format!("/feeds?refused={}", encode(&error.message)),
    };
    Ok(Redirect::to(&target).into_response())
}

fn read(
    id: ReviewId,
    (decision, close_other_at, note): (&str, &str, &str),
) -> Result<ReviewDecision, Problem> {
    let wrong = |detail: &str| Err(Problem::bad_request("review.decision_invalid", detail));
    let is_accepted = match decision {
        "accept" => true,
        "reject" => false,
        _ => return wrong("a decision is accept or reject"),
    };
    let close_other_at = match close_other_at.trim() {
        "" => None,
        text => match parse_time(text) {
            Some(time) => Some(time),
            None => return wrong("the time must be RFC 3339, such as 2026-11-20T10:00:00Z"),
        },
    };
    // A browser sends line ends of its own.
    let note = note.replace("\r\n", "\n");
    Ok(ReviewDecision { id, is_accepted, close_other_at, note })
}

fn address(ask: &Ask, status: ReviewStatus, before: &str) -> String {
    format!("/feeds?plant={}&status={}&before={before}", encode(&ask.plant), status.as_str())
}

fn choice(ask: &Ask, current: ReviewStatus) -> Markup {
    html! {
        div .end { div .choice role="group" aria-label="Which records" {
            @for status in ReviewStatus::ALL {
                a href=(address(ask, status, ""))
                    aria-current=[(status == current).then_some("true")] { (status.as_str()) }
            }
        } }
    }
}

fn nothing(status: ReviewStatus) -> Markup {
    match status {
        ReviewStatus::Waiting => empty(
            "Nothing waits for you",
            html! { p { "Records of plants that contradict what is known wait here." } },
        ),
        ReviewStatus::Accepted | ReviewStatus::Rejected => {
            empty("None yet", html! { p { "What somebody decided stands here." } })
        }
    }
}

fn review(item: &ReviewItem, may_decide: bool, now: Timestamp) -> Markup {
    let id = item.id.to_string();
    html! {
        article .review aria-labelledby=(id) {
            h3 id=(id) { (in_words(&item.code)) }
            p { (item.detail) }
            p .meta {
                (pill(tone(item.status), item.status.as_str())) " "
                code { (item.code) } " · " (item.plant) " · " (moment(item.received_at, now))
                " · " (id) ", record " (item.index) " of batch " code { (item.batch) }
            }
            @if let Some(decided) = &item.decided {
                p .meta { "by " (decided.by) " " (moment(decided.at, now))
                    @if !decided.note.is_empty() { ": " (decided.note) } }
            }
            details {
                summary { "The record as it came" }
                pre tabindex="0" { code { (item.record) } }
            }
            @if may_decide && item.decided.is_none() { (form(item, &id)) }
        }
    }
}

fn form(item: &ReviewItem, id: &str) -> Markup {
    let note = format!("note-{id}");
    let close = format!("close-{id}");
    html! {
        form .decide action={ "/feeds/review/" (id) } method="post" {
            div .field {
                label for=(note) { "Note" }
                input id=(note) name="note" maxlength="1000" autocomplete="off"
                    placeholder="Why, for whoever looks here later";
            }
            @if is_swap(&item.code) {
                div .field {
                    label for=(close) { "It was a swap: what is in the way ended at" }
                    input id=(close) name="close_other_at" autocomplete="off"
                        placeholder="2026-11-20T10:00:00Z; empty if it was not"
                        value=(swap_time(item));
                }
            }
            div .buttons {
                @if may_ever_be_true(&item.code) {
                    button .primary type="submit" name="decision" value="accept" { "Accept" }
                }
                button type="submit" name="decision" value="reject" { "Reject" }
            }
        }
    }
}

fn tone(status: ReviewStatus) -> &'static str {
    match status {
        ReviewStatus::Waiting => "warn",
        ReviewStatus::Accepted => "good",
        ReviewStatus::Rejected => "calm",
    }
}

fn is_swap(code: &str) -> bool {
    matches!(code, "component.installed_elsewhere" | "device.slot_taken" | "installation.overlaps")
}

/// What no person can make true by accepting it.
fn may_ever_be_true(code: &str) -> bool {
    !code.starts_with("record.")
        && !code.starts_with("time.")
        && code != "installation.ends_before_start"
}

/// The start of the installation: the latest moment at which the other can have ended.
fn swap_time(item: &ReviewItem) -> String {
    match axle_app::read_record(&item.record) {
        Ok(FeedRecord::Installation(record)) => axle_app::format_time(record.from),
        Ok(FeedRecord::Device(_) | FeedRecord::Component(_)) | Err(_) => String::new(),
    }
}

/// A reason in words, for people who know no codes.
fn in_words(code: &str) -> &'static str {
    match code {
        "component.conflict" => "The same serial with other facts",
        "component.installed_elsewhere" => "A component in two devices at one time",
        "component.unknown" => "A component that nobody has announced",
        "component.in_use" => "A component that sits in a device cannot go",
        "component.recycled" => "A component that was recycled",
        "component.installed_before" => "A component that was in use before it was made",
        "device.conflict" => "The same device with other facts",
        "device.unknown" => "A device that was never registered",
        "device.slot_taken" => "A place in a device that is taken",
        "installation.overlaps" => "The same installation with another start",
        "installation.not_open" => "The end of an installation that ended already",
        "installation.ends_before_start" => "An installation that ends before it begins",
        "installation.before_production" => "An installation before the component was made",
        "kind.unknown" => "A kind that is not known",
        "time.future" => "A time in the future",
        "time.past" => "A time before anything of ours was made",
        "record.too_large" => "A record that is too long",
        _ => "A record that cannot be understood",
    }
}

fn batch_table(batches: &[BatchReceipt], now: Timestamp) -> Markup {
    html! {
        section #batches .panel aria-labelledby="batches-title" {
            h2 #batches-title { "Latest batches" }
            @if batches.is_empty() {
                (empty("No plant has said anything yet", html! {
                    p { "Give a plant a token and let it hand in a file:" }
                    pre tabindex="0" { code { "axle token create --scope feed:graz\n\
                        axle feed submit graz FILE" } }
                }))
            } @else {
                div .scroll tabindex="0" role="group" aria-label="Table of batches" {
                    table {
                        thead { tr { th { "Plant" } th { "Batch" } th { "Came" }
                            th .right { "Accepted" } th .right { "Unchanged" }
                            th .right { "To review" } th { "By" } } }
                        tbody { @for batch in batches { tr {
                            td { a href={ "/feeds?plant=" (encode(batch.plant.as_str())) } {
                                (batch.plant) } }
                            td { code { (batch.id) } }
                            td { (moment(batch.received_at, now)) }
                            td .right { (grouped(u64::from(batch.accepted))) }
                            td .right { (grouped(u64::from(batch.unchanged))) }
                            td .right { (grouped(batch.review.len() as u64)) }
                            td { (batch.by) }
                        } } }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decision_is_read_or_refused() {
        let decide = |decision, close| read(ReviewId(1), (decision, close, "a\r\nb"));
        let accepted = decide("accept", " 2026-11-20T10:00:00Z ").unwrap();
        assert!(accepted.is_accepted && accepted.close_other_at.is_some());
        assert_eq!(accepted.note, "a\nb");
        assert!(!decide("reject", "").unwrap().is_accepted);
        for (decision, close) in [("", ""), ("maybe", ""), ("accept", "yesterday")] {
            assert!(decide(decision, close).is_err(), "{decision} {close}");
        }
    }
}
