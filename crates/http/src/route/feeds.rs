//! `/feeds`: what plants say of devices and components, and what of it waits for a person.

use std::sync::Arc;

use axle_app::{FeedForm, FeedRequest, ReviewDecision};
use axle_domain::port::{BatchFilter, BatchReceipt, ReviewFilter};
use axle_domain::{Access, Error, PlantName, ReviewId, ReviewItem, ReviewStatus, limit};
use axum::extract::State;
use axum::http::header::HeaderName;
use axum::http::{HeaderValue, StatusCode};
use serde_json::{Value, json};

use super::uploads::{idempotency_key, room};
use crate::answer::{encode, json_answer, page, time};
use crate::api::Api;
use crate::body::check_length;
use crate::call::{Answer, Call, media_type};
use crate::field::Fields;
use crate::operation::{
    JSON, LIMIT, OPERATION, OPERATORS, Operation, Parameter, RequestBody, STAFF, json_body, reply,
};
use crate::parameter::invalid;
use crate::problem::Problem;

const TAG: &str = "Feeds";
const BATCHES: &str = "/api/v1/feeds/{plant}/batches";
const MEDIA: &[&str] = &["application/json", "application/x-ndjson"];
/// What a batch takes of the memory for bodies that are being read, in units of an upload.
const READING_UNITS: u32 = 2;
const IDEMPOTENT_REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

pub(super) static CREATE: Operation = Operation {
    id: "createBatch",
    method: "POST",
    path: BATCHES,
    tag: TAG,
    summary: "Hand in what a plant says of devices and components",
    description: "Each record is checked against what is known and the records before it. What is \
        new is taken in, what is known already is `unchanged`, and what conflicts changes nothing \
        and waits for a person; those are listed. The same batch again (same `Idempotency-Key`, \
        else same body) gets the same answer, with `Idempotent-Replayed: true`. As NDJSON a \
        record stands on each line.",
    rights: "`feed:PLANT` or `admin`",
    query: &[Parameter {
        name: "dry_run",
        schema: r#"{"type":"boolean","default":false}"#,
        description: "Only say what would become of each record.",
    }],
    headers: &[Parameter {
        name: "Idempotency-Key",
        schema: r#"{"type":"string","minLength":1,"maxLength":128}"#,
        description: "Tells a repetition from a new batch; visible ASCII.",
    }],
    body: Some(RequestBody { schema: "Batch", media: MEDIA, is_required: true }),
    replies: &[reply(200, "BatchReceipt", "What was taken in is durable.")],
    roles: OPERATORS,
    problems: &[403, 408, 413, 415, 422],
};

pub(super) async fn create(State(api): State<Arc<Api>>, mut call: Call) -> Answer {
    let plant = plant(&call)?;
    call.require(Access::Feed(&plant))?;
    let is_dry_run = call.parameters.switch("dry_run")?;
    let idempotency_key = idempotency_key(&call.headers)?;
    check_length(&call.headers, limit::FEED_BYTES_MAX, "feed.too_large")?;
    let form = match media_type(&call.headers).as_deref() {
        Some("application/x-ndjson") => FeedForm::Ndjson,
        _ => FeedForm::Json,
    };
    let _permit = room(&api.reading, READING_UNITS).await?;
    let body = call.json(MEDIA, limit::FEED_BYTES_MAX).await?;
    let request = FeedRequest { plant, idempotency_key, form, body, is_dry_run };
    let accepted = api.app.feeds.accept(&call.principal, request).await;
    let (receipt, is_repeated) = accepted.map_err(refusal)?;
    let mut body = wire_receipt(&receipt);
    if let Some(body) = body.as_object_mut() {
        if is_dry_run {
            body.insert("dry_run".to_owned(), Value::Bool(true));
            body.insert("batch".to_owned(), Value::Null);
        }
        body.insert("records".to_owned(), records(&receipt));
    }
    let mut response = json_answer(StatusCode::OK, &body);
    if is_repeated {
        response.headers_mut().insert(IDEMPOTENT_REPLAYED, HeaderValue::from_static("true"));
    }
    Ok(response)
}

/// A key that came with another body is a mistake of the request, not of the moment.
fn refusal(error: Error) -> Problem {
    let problem = Problem::from(error);
    match problem.is("feed.idempotency_conflict") {
        true => problem.with_status(StatusCode::UNPROCESSABLE_ENTITY),
        false => problem,
    }
}

pub(super) static LIST: Operation = Operation {
    id: "listBatches",
    path: BATCHES,
    tag: TAG,
    summary: "List the batches of a plant, newest first",
    rights: "`feed:PLANT` or `admin`",
    query: &[LIMIT],
    replies: &[reply(200, "BatchPage", "The newest batches.")],
    roles: STAFF,
    problems: &[403],
    ..OPERATION
};

pub(super) async fn list(State(api): State<Arc<Api>>, call: Call) -> Answer {
    let plant = plant(&call)?;
    require_sight(&call, Some(&plant))?;
    let limit = call.parameters.count("limit", 100, limit::PAGE_ITEMS_MAX)?;
    let batches = api.app.feeds.list_batches(BatchFilter { plant: Some(plant), limit }).await?;
    Ok(page(batches.iter().map(wire_receipt).collect(), None))
}

pub(super) static REVIEWS: Operation = Operation {
    id: "listReviews",
    path: "/api/v1/feeds/review",
    tag: TAG,
    summary: "List records that wait for a person, newest first",
    description: "A token for one plant must name it in `plant`.",
    rights: "`admin`, or `feed:PLANT` with `plant`",
    query: &[
        Parameter {
            name: "plant",
            schema: r#"{"type":"string"}"#,
            description: "Only records of this plant.",
        },
        Parameter {
            name: "status",
            schema: r#"{"enum":["waiting","accepted","rejected"]}"#,
            description: "Only records with this status.",
        },
        LIMIT,
        Parameter {
            name: "before",
            schema: r#"{"type":"string"}"#,
            description: "Only items before this one: `next` of the page before.",
        },
    ],
    replies: &[reply(200, "ReviewPage", "A page of items.")],
    roles: STAFF,
    problems: &[403],
    ..OPERATION
};

pub(super) async fn reviews(State(api): State<Arc<Api>>, call: Call) -> Answer {
    let plant = call.parameters.find("plant").map(PlantName::parse).transpose()?;
    require_sight(&call, plant.as_ref())?;
    let status = match call.parameters.find("status") {
        None => None,
        Some(text) => match ReviewStatus::parse(text) {
            Some(status) => Some(status),
            None => return Err(invalid("status", "must be waiting, accepted or rejected")),
        },
    };
    let before = match call.parameters.find("before") {
        None => None,
        Some(text) => match ReviewId::parse(text) {
            Some(id) => Some(id),
            None => return Err(invalid("before", "must be `next` of the page before")),
        },
    };
    let limit = call.parameters.count("limit", 100, limit::PAGE_ITEMS_MAX)?;
    let mut of = String::new();
    if let Some(plant) = &plant {
        of.push_str(&format!("&plant={}", encode(plant.as_str())));
    }
    if let Some(status) = status {
        of.push_str(&format!("&status={}", status.as_str()));
    }
    let filter = ReviewFilter { plant, status, before, limit };
    let items = api.app.feeds.list_reviews(filter).await?;
    let next = items.last().filter(|_| items.len() >= limit).map(|last| {
        let id = last.id.to_string();
        let address = format!("/api/v1/feeds/review?limit={limit}{of}&before={id}");
        (id, address)
    });
    Ok(page(items.iter().map(wire_review).collect(), next))
}

pub(super) static REVIEW: Operation = Operation {
    id: "getReview",
    path: "/api/v1/feeds/review/{id}",
    tag: TAG,
    summary: "Read a record that waits for a person",
    rights: "`admin`, or `feed:PLANT` for its own",
    replies: &[reply(200, "Review", "The item.")],
    roles: STAFF,
    problems: &[404],
    ..OPERATION
};

pub(super) async fn review(State(api): State<Arc<Api>>, call: Call) -> Answer {
    let id = review_id(&call)?;
    let item = api.app.feeds.get_review(id).await?;
    if require_sight(&call, Some(&item.plant)).is_err() {
        return Err(review_not_found(&id.to_string()).into());
    }
    Ok(json_answer(StatusCode::OK, &wire_review(&item)))
}

pub(super) static DECIDE: Operation = Operation {
    id: "decideReview",
    method: "POST",
    path: "/api/v1/feeds/review/{id}",
    tag: TAG,
    summary: "Accept or reject a record that waits",
    description: "An accepted record is checked again: facts that contradict what was known \
        replace it. With `close_other_at` whatever stands in the way of an installation ends at \
        that moment, as in a swap. Refused with 409, and nothing changes, where the record still \
        cannot be true.",
    rights: "`admin`",
    body: json_body("Decision"),
    replies: &[reply(200, "Review", "The item as it is now.")],
    problems: &[403, 404, 409, 413, 415, 422],
    ..OPERATION
};

pub(super) async fn decide(State(api): State<Arc<Api>>, mut call: Call) -> Answer {
    call.require(Access::Operate)?;
    let id = review_id(&call)?;
    let body = call.json(JSON, limit::REQUEST_BYTES_MAX).await?;
    let mut fields = Fields::read(&body)?;
    let is_accepted = match fields.text("decision").as_str() {
        "accept" => true,
        "reject" => false,
        "" => false,
        _ => {
            fields.fault("decision", "must be accept or reject");
            false
        }
    };
    let note = fields.optional_text("note").unwrap_or_default();
    let close_other_at = fields.optional_time("close_other_at");
    fields.finish()?;
    let decision = ReviewDecision { id, is_accepted, close_other_at, note };
    let by = call.principal.id();
    let item = api.app.feeds.decide(&by, decision).await.map_err(|error| {
        let is_note = error.code.starts_with("review.note_");
        let problem = Problem::from(error);
        if is_note { problem.at("/note") } else { problem }
    })?;
    Ok(json_answer(StatusCode::OK, &wire_review(&item)))
}

/// Whoever reads every device sees what waits; a plant sees its own.
fn require_sight(call: &Call, plant: Option<&PlantName>) -> Result<(), Problem> {
    match plant {
        Some(plant) if call.principal.allows(Access::Feed(plant)) => Ok(()),
        _ => call.require(Access::ReadAll),
    }
}

fn plant(call: &Call) -> Result<PlantName, Problem> {
    Ok(PlantName::parse(call.segment("plant"))?)
}

fn review_id(call: &Call) -> Result<ReviewId, Error> {
    let text = call.segment("id");
    ReviewId::parse(text).ok_or_else(|| review_not_found(text))
}

fn review_not_found(id: &str) -> Error {
    let shown: String = id.chars().take(64).collect();
    let message = format!("review item `{}` not found", shown.escape_debug());
    Error::not_found("review.not_found", message)
}

fn wire_receipt(receipt: &BatchReceipt) -> Value {
    json!({
        "batch": receipt.id.as_str(),
        "plant": receipt.plant.as_str(),
        "received_at": time(receipt.received_at),
        "accepted": receipt.accepted,
        "unchanged": receipt.unchanged,
        "review": receipt.review.len(),
    })
}

fn records(receipt: &BatchReceipt) -> Value {
    let records = receipt.review.iter().map(|aside| {
        json!({
            "index": aside.index,
            "verdict": "review",
            "code": aside.code,
            "detail": aside.detail,
            "review": aside.review.map(|id| id.to_string()),
        })
    });
    records.collect()
}

fn wire_review(item: &ReviewItem) -> Value {
    // A record that was cut, or was no JSON at all, is shown as a text.
    let record = serde_json::from_str(&item.record);
    let record = record.unwrap_or_else(|_error| Value::String(item.record.clone()));
    json!({
        "id": item.id.to_string(),
        "plant": item.plant.as_str(),
        "batch": item.batch.as_str(),
        "index": item.index,
        "code": item.code,
        "detail": item.detail,
        "record": record,
        "received_at": time(item.received_at),
        "status": item.status.as_str(),
        "decided": item.decided.as_ref().map(|decided| json!({
            "by": decided.by,
            "at": time(decided.at),
            "note": decided.note,
        })),
    })
}
