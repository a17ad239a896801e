//! How good the data is.

use std::sync::Arc;

use axle_app::{CodeQuality, DayQuality, FieldQuality, QualityReport};
use axle_domain::Access;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::answer::{json_answer, optional_time, time};
use crate::api::Api;
use crate::call::{Answer, Call};
use crate::operation::{OPERATION, Operation, Parameter, STAFF, reply};

/// Longest stretch that is looked at.
const DAYS_MAX: usize = 30;

pub(super) static GET: Operation = Operation {
    id: "getQuality",
    path: "/api/v1/quality",
    tag: "Quality",
    summary: "Read how good the data is",
    description: "By stream and day how far the time of rows can be trusted; what was set aside, \
        by code, with what to do about it; devices with the worst clocks and those that fell \
        silent; fields that are often missing. The same answer is given for some seconds, and longer \
        where it took long. `progress` tells of a newer one that is being counted: until then this \
        is the last one, or, where `at` is new, the part that is known.",
    rights: "`admin`",
    roles: STAFF,
    query: &[Parameter {
        name: "days",
        schema: r#"{"type":"integer","minimum":1,"maximum":30,"default":7}"#,
        description: "How many days, today included.",
    }],
    replies: &[reply(200, "Quality", "The report.")],
    problems: &[403],
    ..OPERATION
};

pub(super) async fn get(State(api): State<Arc<Api>>, call: Call) -> Answer {
    call.require(Access::ReadAll)?;
    let days = call.parameters.count("days", 7, DAYS_MAX)?;
    let report = api.app.quality.report(u32::try_from(days).unwrap_or(7)).await;
    Ok(json_answer(StatusCode::OK, &wire(&report)))
}

fn wire(report: &QualityReport) -> Value {
    let (silent, silent_day) = &report.silent_day;
    let silent = silent
        .iter()
        .map(|it| json!({"device": it.device.as_str(), "last_seen": optional_time(it.last_seen)}));
    let clocks = report.clocks.iter().map(|it| {
        json!({
            "device": it.device,
            "rows": it.rows,
            "doubtful_share": it.doubtful_share,
            "median_off_s": it.median_off_s,
        })
    });
    json!({
        "at": time(report.at),
        "days": report.days,
        "streams": report.streams.iter().map(day).collect::<Vec<_>>(),
        "collapsed_rows": report.collapsed_rows,
        "quarantine": report.quarantine.iter().map(code).collect::<Vec<_>>(),
        "clocks": clocks.collect::<Vec<_>>(),
        "fields": report.fields.iter().map(field).collect::<Vec<_>>(),
        "silent": {
            "day": silent_day,
            "week": report.silent_week,
            "devices": silent.collect::<Vec<_>>(),
        },
        "unknown": report.unknown,
        "progress": report.progress.map(|(done, of)| json!({"streams": done, "of": of})),
    })
}

fn day(it: &DayQuality) -> Value {
    json!({
        "stream": it.stream,
        "day": time(it.day),
        "rows": it.rows,
        "by_quality": it.by_quality,
    })
}

fn code(it: &CodeQuality) -> Value {
    let example = it.example.as_ref();
    let example = example.map(|(id, detail)| json!({"id": id.to_string(), "detail": detail}));
    json!({
        "code": it.code,
        "waiting": it.waiting,
        "replayed": it.replayed,
        "advice": it.advice,
        "example": example,
    })
}

fn field(it: &FieldQuality) -> Value {
    let pair = |it: Option<(f64, f64)>| it.map(|(min, max)| json!({"min": min, "max": max}));
    json!({
        "stream": it.stream,
        "field": it.field,
        "rows": it.rows,
        "missing": it.missing,
        "range": pair(it.range),
        "allowed": pair(it.allowed),
    })
}
