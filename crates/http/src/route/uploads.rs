//! `/uploads`: batches of apps.

use std::sync::Arc;
use std::time::Duration;

use axle_app::UploadRequest;
use axle_domain::{DeviceId, Error, Kind, StreamName, Turned, limit, network};
use axum::extract::State;
use axum::http::header::{HeaderMap, HeaderName};
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use bytes::Bytes;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout};

use crate::answer::body_answer;
use crate::api::{Api, UPLOAD_UNIT_BYTES};
use crate::body::{check_length, read_body};
use crate::call::{Answer, Call, is_media, media_type};
use crate::content::Coding;
use crate::operation::{OPERATORS, Operation, Parameter, RequestBody, reply};
use crate::problem::Problem;
use crate::rate::Verdict;

const MEDIA: &[&str] = &["application/json", "application/x-ndjson"];
/// How long an upload waits for others to end before it is turned away.
const ROOM_TIME_MAX: Duration = Duration::from_secs(2);
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const IDEMPOTENT_REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

pub(super) static CREATE: Operation = Operation {
    id: "createUpload",
    method: "POST",
    path: "/api/v1/uploads",
    tag: "Uploads",
    summary: "Upload a batch of samples of one device",
    description: "Answers when the records are durable, with a verdict for each record that was \
        not stored. The same batch again (same `Idempotency-Key`, else same body) gets the same \
        answer, with `Idempotent-Replayed: true`, and is not stored again. As JSON the batch is \
        `{device, stream, sent_at?, samples}`; as NDJSON, one sample a line, device and stream \
        stand in the query. `Content-Encoding` may be gzip, br or zstd.",
    rights: "`upload:DEVICE` or `admin`",
    roles: OPERATORS,
    query: &[
        Parameter {
            name: "device",
            schema: r#"{"type":"string"}"#,
            description: "The device, where it does not stand in the body.",
        },
        Parameter {
            name: "stream",
            schema: r#"{"type":"string"}"#,
            description: "The stream, where it does not stand in the body.",
        },
        Parameter {
            name: "sent_at",
            schema: r#"{"type":"string","format":"date-time"}"#,
            description: "The sender's clock when it sent; corrects a clock that is wrong.",
        },
    ],
    headers: &[Parameter {
        name: "Idempotency-Key",
        schema: r#"{"type":"string","minLength":1,"maxLength":128}"#,
        description: "Tells a repetition from a new upload; visible ASCII.",
    }],
    body: Some(RequestBody { schema: "Upload", media: MEDIA, is_required: true }),
    replies: &[reply(200, "UploadReceipt", "The records are durable.")],
    problems: &[404, 408, 413, 415, 422],
};

pub(super) async fn create(State(api): State<Arc<Api>>, mut call: Call) -> Answer {
    let token = api.by_token.take(call.principal.id(), Instant::now());
    let result = match admit(&api, &call, token) {
        Ok(()) => receive(&api, &mut call).await,
        Err(problem) => Err(problem),
    };
    // What the use case has seen it counts itself.
    let result = match result {
        Ok((request, _permit)) => {
            api.app.uploads.accept(&call.principal, request).await.map_err(refusal)
        }
        Err(problem) => {
            let shed = u64::from(problem.is_retryable());
            api.app.ingest.settle(Turned { rejected: 1 - shed, shed }).await;
            Err(problem)
        }
    };
    let answer = result.map_err(|problem| with_rate(problem, token))?;
    let mut response = body_answer(StatusCode::OK, "application/json", answer.body);
    if answer.is_repeated {
        response.headers_mut().insert(IDEMPOTENT_REPLAYED, HeaderValue::from_static("true"));
    }
    add_rate(&mut response, token);
    Ok(response)
}

/// A key that came with another body is a mistake of the request, not of the moment.
fn refusal(error: Error) -> Problem {
    let problem = Problem::from(error);
    match problem.is("upload.idempotency_conflict") {
        true => problem.with_status(StatusCode::UNPROCESSABLE_ENTITY),
        false => problem,
    }
}

/// Turns away who comes too often, before anything is read.
fn admit(api: &Api, call: &Call, token: Verdict) -> Result<(), Problem> {
    let busy = |code, what: &str, wait| {
        let message = format!("too many uploads {what}: wait, then send larger batches");
        Err(Problem::from(Error::new(Kind::Busy, code, message).with_retry_after(wait)).closing())
    };
    if let Some(wait) = token.wait {
        return busy("upload.rate_token", "with this token", wait);
    }
    match api.by_address.take(network(call.visitor.address), Instant::now()).wait {
        Some(wait) => busy("upload.rate_address", "from this address", wait),
        None => Ok(()),
    }
}

/// Checks the head, reads the body and unpacks it. The permit stands for the body's memory.
async fn receive<'a>(
    api: &'a Api,
    call: &mut Call,
) -> Result<(UploadRequest, SemaphorePermit<'a>), Problem> {
    if !is_media(&call.headers, MEDIA) {
        return Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "upload.media_type_unsupported",
            "`Content-Type` must be application/json or application/x-ndjson, in UTF-8",
        ));
    }
    let coding = Coding::of(&call.headers)?;
    let idempotency_key = idempotency_key(&call.headers)?;
    let device = call.parameters.find("device").map(DeviceId::parse).transpose()?;
    if let Some(device) = &device {
        call.require(axle_domain::Access::Upload(device))?;
    }
    let stream = call.parameters.find("stream").map(StreamName::parse).transpose()?;
    let sent_at = call.parameters.time("sent_at")?;
    let limit = limit::UPLOAD_ENCODED_BYTES_MAX;
    check_length(&call.headers, limit, "upload.too_large")?;
    let encoded = {
        let _permit = room(&api.reading, 1).await?;
        let body = std::mem::take(&mut call.body);
        read_body(body, &call.headers, limit, "upload.too_large").await?
    };
    let (body, permit) = unpack(api, coding, encoded).await?;
    let content_type = media_type(&call.headers).unwrap_or_default();
    let request = UploadRequest { device, stream, sent_at, idempotency_key, content_type, body };
    Ok((request, permit))
}

async fn unpack(
    api: &Api,
    coding: Coding,
    encoded: Bytes,
) -> Result<(Bytes, SemaphorePermit<'_>), Problem> {
    let mut permit = room(&api.decoding, units(coding.bound(encoded.len()))).await?;
    if coding == Coding::Identity {
        return Ok((encoded, permit));
    }
    let decoded = tokio::task::spawn_blocking(move || coding.decode(&encoded)).await;
    let decoded = decoded.map_err(|error| {
        Problem::from(Error::internal("upload.panic", "unpacking failed").with_source(error))
    })??;
    // Most bodies become much smaller than they might.
    if let Some(needed) = permit.split(units(decoded.len()) as usize) {
        permit = needed;
    }
    Ok((decoded, permit))
}

fn units(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(UPLOAD_UNIT_BYTES).max(1)).unwrap_or(u32::MAX)
}

pub(super) async fn room(
    semaphore: &Semaphore,
    units: u32,
) -> Result<SemaphorePermit<'_>, Problem> {
    match timeout(ROOM_TIME_MAX, semaphore.acquire_many(units)).await {
        Ok(Ok(permit)) => Ok(permit),
        Ok(Err(_)) | Err(_) => Err(Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "upload.no_room",
            "too many uploads are in progress: keep the batch and send it again",
        )
        .with_retry_after(Duration::from_secs(2))),
    }
}

pub(super) fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let most = limit::IDEMPOTENCY_KEY_BYTES_MAX;
    let text = value.to_str().unwrap_or_default();
    let is_visible = text.bytes().all(|byte| byte.is_ascii_graphic());
    if values.next().is_some() || !is_visible || !(1..=most).contains(&text.len()) {
        return Err(Problem::bad_request(
            "upload.idempotency_key_invalid",
            format!("`Idempotency-Key` must be 1 to {most} visible ASCII characters, once"),
        ));
    }
    Ok(Some(text.to_owned()))
}

fn rate_headers(verdict: Verdict) -> [(HeaderName, String); 2] {
    let Verdict { limit, remaining, reset, .. } = verdict;
    [
        (RATE_LIMIT_POLICY, format!("\"token\";q={limit};w=60")),
        (RATE_LIMIT, format!("\"token\";r={remaining};t={}", reset.as_secs())),
    ]
}

fn add_rate(response: &mut Response, verdict: Verdict) {
    for (name, value) in rate_headers(verdict) {
        if let Ok(value) = HeaderValue::from_str(&value) {
            response.headers_mut().insert(name, value);
        }
    }
}

fn with_rate(mut problem: Problem, verdict: Verdict) -> Problem {
    for (name, value) in rate_headers(verdict) {
        if let Ok(value) = HeaderValue::from_str(&value) {
            problem = problem.with_header(name, value);
        }
    }
    problem
}
