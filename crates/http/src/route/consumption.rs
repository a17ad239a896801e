//! `/households/{id}/consumption`: what a household used, by socket and stretch of time.

use std::sync::Arc;

use axle_app::{Bucket, Consumption, ConsumptionQuestion, Period, Reading, SocketUse, Zone};
use axle_domain::{Access, Timestamp};
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::answer::{json_answer, time};
use crate::api::Api;
use crate::call::{Answer, Call};
use crate::operation::{EVERYONE, OPERATION, Operation, Parameter, reply};
use crate::parameter::invalid;

pub(super) static GET: Operation = Operation {
    id: "getConsumption",
    path: "/api/v1/households/{id}/consumption",
    tag: "Households",
    summary: "Read what a household used",
    description: "Energy per socket from the readings of a meter's stream `energy`. Between two \
        readings power runs along a straight line. Readings more than 5 minutes apart (or three \
        times what is usual for the socket, where that is more) have a gap between them, of which \
        nothing is assumed: `covered_s` says of how many seconds something is known. Rows named \
        `energy_wh` are a counter in watt-hours; where a socket has one its increase counts, and \
        a fall is a reset. Values are never below zero. Hours, days and months are those of the \
        time zone; a day may have 23 or 25 hours. Times are rounded outwards to quarters of an \
        hour. `now` is the newest reading of the last 24 hours.",
    rights: "`read:DEVICE`, `command:DEVICE` or `admin`",
    roles: EVERYONE,
    query: &[
        Parameter {
            name: "from",
            schema: r#"{"type":"string"}"#,
            description: "From here on: RFC 3339 or epoch milliseconds. Default: the begin of the \
                local day of `to`.",
        },
        Parameter {
            name: "to",
            schema: r#"{"type":"string"}"#,
            description: "Until before here. Default: now.",
        },
        Parameter {
            name: "bucket",
            schema: r#"{"enum":["hour","day","month"]}"#,
            description: "What to divide the time into. Default: `hour`.",
        },
        Parameter {
            name: "tz",
            schema: r#"{"type":"string"}"#,
            description: "The time zone: a name such as `Europe/Berlin`, or an offset such as \
                `+02:00`. Default: `UTC`.",
        },
        Parameter {
            name: "compare",
            schema: r#"{"enum":["1","0"]}"#,
            description: "Also add up the time of the same length before `from`, as `previous`.",
        },
    ],
    replies: &[reply(200, "Consumption", "Buckets, and what each socket used in them.")],
    problems: &[404, 413],
    ..OPERATION
};

pub(super) async fn get(State(api): State<Arc<Api>>, call: Call) -> Answer {
    let device = call.device_for(&api, |id| Access::Read(id))?;
    let parameters = &call.parameters;
    let zone = parameters.find("tz").map_or_else(|| Ok(Zone::utc()), Zone::parse)?;
    let bucket = match parameters.find("bucket") {
        None | Some("hour") => Bucket::Hour,
        Some("day") => Bucket::Day,
        Some("month") => Bucket::Month,
        Some(_) => return Err(invalid("bucket", "must be one of hour, day, month")),
    };
    let now = api.app.consumption.clock_now();
    let to = parameters.time("to")?.unwrap_or(now);
    let from = match parameters.time("from")? {
        Some(from) => from,
        None => zone.period(to.shifted(-1), Period::Day)?.0,
    };
    let with_previous = parameters.switch("compare")?;
    let question = ConsumptionQuestion { device, from, to, bucket, zone };
    let used = api.app.consumption.get(&call.principal, &question).await?;
    let latest = api.app.consumption.now(&call.principal, &question.device).await?;
    let mut body = json!({
        "device": question.device.as_str(),
        "tz": question.zone.name(),
        "buckets": used.buckets.iter().map(|bucket| json!({
            "from": time(bucket.from),
            "to": time(bucket.to),
            "seconds": bucket.seconds,
        })).collect::<Value>(),
        "sockets": used.sockets.iter().map(|it| socket(it, &latest, now)).collect::<Value>(),
        "now": latest.iter().map(|it| reading(it, now)).collect::<Value>(),
    });
    if let Some(body) = body.as_object_mut() {
        body.extend(sum(&question, &used));
        if with_previous {
            let length = to.micros_since(from);
            let question = ConsumptionQuestion {
                from: from.shifted(-length),
                to: from,
                // Its sum is wanted alone.
                bucket: Bucket::Month,
                ..question
            };
            let used = api.app.consumption.get(&call.principal, &question).await?;
            body.insert("previous".to_owned(), Value::Object(sum(&question, &used)));
        }
    }
    Ok(json_answer(StatusCode::OK, &body))
}

fn sum(question: &ConsumptionQuestion, used: &Consumption) -> serde_json::Map<String, Value> {
    let mut sum = json!({
        "from": time(used.buckets.first().map_or(question.from, |bucket| bucket.from)),
        "to": time(used.buckets.last().map_or(question.to, |bucket| bucket.to)),
        "kwh": rounded(used.kwh()),
        "coverage": rounded(used.coverage()),
        "seconds": used.seconds,
    });
    sum.as_object_mut().map(std::mem::take).unwrap_or_default()
}

fn socket(used: &SocketUse, latest: &[Reading], now: Timestamp) -> Value {
    let newest = latest.iter().find(|it| it.socket == used.socket && it.name == used.name);
    json!({
        "socket": used.socket,
        "name": used.name,
        "source": if used.is_counted { "counter" } else { "readings" },
        "kwh": rounded(used.kwh),
        "covered_s": used.covered_s.round(),
        "gap_kwh": rounded(used.gap_kwh),
        "now": newest.map(|it| reading(it, now)),
        "values": used.values.iter().map(|value| match value.covered_s > 0.0 {
            true => json!({"kwh": rounded(value.kwh), "covered_s": value.covered_s.round()}),
            false => json!({"kwh": null, "covered_s": 0}),
        }).collect::<Value>(),
    })
}

fn reading(reading: &Reading, now: Timestamp) -> Value {
    json!({
        "socket": reading.socket,
        "name": reading.name,
        "watts": reading.watts,
        "time": time(reading.time),
        "age_s": now.micros_since(reading.time).max(0) / 1_000_000,
    })
}

/// To a millionth: a milliwatt-hour.
fn rounded(number: f64) -> f64 {
    (number * 1e6).round() / 1e6
}
