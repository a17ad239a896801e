//! `/devices/{id}/state` and `/devices/{id}/telemetry/{stream}`: what a device has said.

use std::sync::Arc;
use std::time::Duration;

use axle_domain::port::{Aggregate, History, Reduce};
use axle_domain::{Access, LatestValue, OwnedValue, StreamName, StreamSchema, Timestamp, limit};
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Map, Value, json};

use crate::answer::{json_answer, optional_time, table, time};
use crate::api::Api;
use crate::call::{Answer, Call};
use crate::operation::{EVERYONE, OPERATION, Operation, Parameter, reply};
use crate::parameter::{Parameters, invalid, nearest};
use crate::problem::Problem;

const TAG: &str = "Telemetry";
const RIGHTS: &str = "`read:DEVICE`, `command:DEVICE` or `admin`";
/// What a history shows unless it is told otherwise.
const DEFAULT_SPAN: Duration = Duration::from_secs(24 * 3600);
/// Most points of a reduced history.
const POINTS_MAX: usize = limit::QUERY_ROWS_MAX;
/// Longest bucket.
const BUCKET_SECONDS_MAX: i64 = 366 * 24 * 3600;

pub(super) static STATE: Operation = Operation {
    id: "getDeviceState",
    path: "/api/v1/devices/{id}/state",
    tag: TAG,
    summary: "Read the latest value of each field",
    description: "A field of a stream with keys stands as `energy.watts[s-1]`. Values whose time \
        lies in the future never become latest.",
    rights: RIGHTS,
    replies: &[reply(200, "DeviceState", "The latest values, each with its time and its age.")],
    problems: &[404],
    roles: EVERYONE,
    ..OPERATION
};

pub(super) async fn state(State(api): State<Arc<Api>>, call: Call) -> Answer {
    let device = call.device_for(&api, |id| Access::Read(id))?;
    let state = api.app.queries.state(&call.principal, &device).await?;
    let fields: Map<_, _> = state
        .fields
        .iter()
        .map(|latest| (latest.field.0.clone(), latest_value(latest, state.now)))
        .collect();
    let body = json!({
        "device": device.as_str(),
        "online": state.is_online,
        "last_seen": optional_time(state.last_seen),
        "fields": fields,
    });
    Ok(json_answer(StatusCode::OK, &body))
}

fn latest_value(latest: &LatestValue, now: Timestamp) -> Value {
    let value = match &latest.value {
        OwnedValue::Float(number) => json!(number),
        OwnedValue::Bool(truth) => json!(truth),
        OwnedValue::Text(text) => json!(text),
    };
    let age = now.micros_since(latest.time).max(0) / 1_000_000;
    json!({
        "value": value,
        "time": time(latest.time),
        "received_at": time(latest.received_at),
        "age_s": age,
    })
}

pub(super) static HISTORY: Operation = Operation {
    id: "getTelemetry",
    path: "/api/v1/devices/{id}/telemetry/{stream}",
    tag: TAG,
    summary: "Read the history of a stream of a device",
    description: "Every row up to the limits of a query; or reduced for drawing with \
        `max_points` (first, least, greatest and last of each slice stay, so that no spike is \
        lost); or aggregated with `bucket` and `agg` (`increase` knows counters that restart).",
    rights: RIGHTS,
    query: &[
        Parameter {
            name: "from",
            schema: r#"{"type":"string"}"#,
            description: "From this event time on: RFC 3339 or epoch milliseconds. Default: 24 \
                hours before `to`.",
        },
        Parameter {
            name: "to",
            schema: r#"{"type":"string"}"#,
            description: "Until before this event time. Default: now.",
        },
        Parameter {
            name: "fields",
            schema: r#"{"type":"string"}"#,
            description: "Names of fields, separated by commas. Default: all.",
        },
        Parameter {
            name: "max_points",
            schema: r#"{"type":"integer","minimum":1,"maximum":10000}"#,
            description: "Reduce to about so many rows.",
        },
        Parameter {
            name: "bucket",
            schema: r#"{"type":"string","pattern":"^[0-9]+(ms|s|m|h|d)$"}"#,
            description: "Aggregate by buckets of this length, such as `10s`, `5m`, `1h`, `1d`.",
        },
        Parameter {
            name: "agg",
            schema: r#"{"enum":["avg","min","max","sum","count","first","last","increase"]}"#,
            description: "How to aggregate a bucket. Default: `avg`.",
        },
    ],
    replies: &[reply(200, "History", "Rows by time.")],
    problems: &[404, 413],
    roles: EVERYONE,
    ..OPERATION
};

pub(super) async fn history(State(api): State<Arc<Api>>, call: Call) -> Answer {
    let device = call.device_for(&api, |id| Access::Read(id))?;
    let stream = StreamName::parse(call.segment("stream"))?;
    let parameters = &call.parameters;
    let to = parameters.time("to")?;
    let to = to.unwrap_or_else(|| api.app.ports.clock.now().after(Duration::from_secs(1)));
    let span = i64::try_from(DEFAULT_SPAN.as_micros()).unwrap_or(i64::MAX);
    let from = parameters.time("from")?.unwrap_or_else(|| to.shifted(-span));
    let fields = match api.app.schemas.find(stream.as_str()) {
        Some(schema) => fields(parameters, schema)?,
        None => Vec::new(),
    };
    let reduce = reduce(parameters)?;
    let history =
        History { device: device.clone(), stream: stream.clone(), from, to, fields, reduce };
    let (rows, is_reduced) = api.app.queries.history(&call.principal, history).await?;
    let body = tokio::task::spawn_blocking(move || {
        let is_truncated = rows.truncated;
        let (columns, rows) = table(rows);
        json!({
            "device": device.as_str(),
            "stream": stream.as_str(),
            "columns": columns,
            "rows": rows,
            "reduced": is_reduced,
            "truncated": is_truncated,
        })
    });
    let body = body.await.map_err(super::query::panicked)?;
    Ok(json_answer(StatusCode::OK, &body))
}

fn fields(parameters: &Parameters, schema: &StreamSchema) -> Result<Vec<String>, Problem> {
    let Some(text) = parameters.find("fields") else { return Ok(Vec::new()) };
    let known: Vec<_> = schema.fields.iter().map(|field| field.name).collect();
    let mut fields = Vec::new();
    for name in text.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        if !known.contains(&name) {
            let shown: String = name.chars().take(64).collect();
            let hint = match nearest(name, &known) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("there are {}", known.join(", ")),
            };
            let shown = shown.escape_debug();
            return Err(invalid("fields", &format!("names the unknown field `{shown}`: {hint}")));
        }
        if !fields.iter().any(|field| field == name) {
            fields.push(name.to_owned());
        }
    }
    Ok(fields)
}

fn reduce(parameters: &Parameters) -> Result<Reduce, Problem> {
    let aggregate = parameters.find("agg").map(aggregate).transpose()?;
    match (parameters.find("bucket"), parameters.find("max_points")) {
        (Some(_), Some(_)) => Err(invalid("max_points", "does not go with `bucket`")),
        (Some(text), None) => {
            Ok(Reduce::Bucket(bucket(text)?, aggregate.unwrap_or(Aggregate::Avg)))
        }
        (None, _) if aggregate.is_some() => Err(invalid("agg", "needs `bucket`")),
        (None, Some(_)) => Ok(Reduce::Points(parameters.count("max_points", 1, POINTS_MAX)?)),
        (None, None) => Ok(Reduce::None),
    }
}

fn aggregate(text: &str) -> Result<Aggregate, Problem> {
    Ok(match text {
        "avg" => Aggregate::Avg,
        "min" => Aggregate::Min,
        "max" => Aggregate::Max,
        "sum" => Aggregate::Sum,
        "count" => Aggregate::Count,
        "first" => Aggregate::First,
        "last" => Aggregate::Last,
        "increase" => Aggregate::Increase,
        _ => {
            let rule = "must be one of avg, min, max, sum, count, first, last, increase";
            return Err(invalid("agg", rule));
        }
    })
}

/// Microseconds of `500ms`, `10s`, `5m`, `1h`, `1d`.
fn bucket(text: &str) -> Result<i64, Problem> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits).unwrap_or_default();
    let unit = match unit {
        "ms" => 1_000,
        "s" => 1_000_000,
        "m" => 60_000_000,
        "h" => 3_600_000_000,
        "d" => 86_400_000_000_i64,
        _ => 0,
    };
    let micros = number.parse::<i64>().ok().and_then(|number| number.checked_mul(unit));
    match micros {
        Some(micros) if (1..=BUCKET_SECONDS_MAX * 1_000_000).contains(&micros) => Ok(micros),
        _ => Err(invalid("bucket", "must be a length such as 500ms, 10s, 5m, 1h or 1d")),
    }
}

#[cfg(test)]
mod tests {
    use super::bucket;

    #[test]
    fn reads_lengths() {
        for (text, expected) in [
            ("10s", Some(10_000_000)),
            ("5m", Some(300_000_000)),
            ("1d", Some(86_400_000_000)),
            ("500ms", Some(500_000)),
            ("", None),
            ("0s", None),
            ("-1s", None),
            ("s", None),
            ("10", None),
            ("10y", None),
            ("9999999999999999999d", None),
            ("1ä", None),
        ] {
            assert_eq!(bucket(text).ok(), expected, "{text}");
        }
    }
}
