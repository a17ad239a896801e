//! How the instance is.

use std::sync::Arc;
use std::time::Duration;

use axle_app::{
    DoorRates, FileSystem, FollowerSigns, Holder, PartGrowth, ProjectionSigns, Quantiles,
    VitalSigns,
};
use axle_domain::Access;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::answer::{json_answer, optional_time, time};
use crate::api::Api;
use crate::call::{Answer, Call};
use crate::operation::{OPERATION, OPERATORS, Operation, reply};
use crate::vitals::Signs;

pub(super) static GET: Operation = Operation {
    id: "getSystem",
    path: "/api/v1/system",
    tag: "Instance",
    summary: "Read how the instance is",
    description: "Rates at the door, latencies of the last five minutes, the lag of each \
        projection, what log, store and state take of their disks and when these are full, the \
        process, and certificates that end soon. Taken every two seconds; the rates of the last \
        hour are in `history`, one each ten seconds.",
    rights: "`admin`",
    roles: OPERATORS,
    replies: &[reply(200, "System", "The figures.")],
    problems: &[403],
    ..OPERATION
};

pub(super) async fn get(State(api): State<Arc<Api>>, call: Call) -> Answer {
    call.require(Access::Operate)?;
    let signs = Arc::clone(&api.vitals.borrow());
    let mut body = wire(&signs);
    if let Some(log) = body.get_mut("log").and_then(Value::as_object_mut) {
        log.insert("held".to_owned(), held(&api.app.consumers.holder()));
    }
    std::future::ready(Ok(json_answer(StatusCode::OK, &body))).await
}

/// Who keeps the log from forgetting.
fn held(holder: &Holder) -> Value {
    json!({
        "by": holder.follower.to_string(),
        "is_consumer": holder.follower.consumer().is_some(),
        "position": holder.position.0,
        "bytes": holder.bytes,
    })
}

fn follower(signs: &FollowerSigns) -> Value {
    json!({
        "name": signs.follower.to_string(),
        "is_consumer": signs.follower.consumer().is_some(),
        "position": signs.position.0,
        "lag_records": signs.lag_records,
        "bytes": signs.bytes,
        "is_holding": signs.is_holding,
        "moved_at": optional_time(signs.moved_at),
    })
}

fn wire(signs: &Signs) -> Value {
    let vitals = &signs.vitals;
    let requests = signs.requests.iter().map(|(class, it)| (class.as_str().to_owned(), took(it)));
    json!({
        "at": time(vitals.at),
        "rates": rates(&vitals.rates),
        "history": vitals.history.iter().map(rates).collect::<Vec<_>>(),
        "counters": {
            "received": vitals.counters.received(),
            "stored": vitals.counters.stored,
            "quarantined": vitals.counters.quarantined,
            "rejected": vitals.counters.rejected,
            "shed": vitals.counters.shed,
        },
        "latencies": {
            "commit": took(&vitals.commits),
            "requests": requests.collect::<serde_json::Map<_, _>>(),
        },
        "projections": vitals.projections.iter().map(projection).collect::<Vec<_>>(),
        "is_stuck": vitals.is_stuck,
        "log": {
            "first_offset": vitals.log.first.0,
            "first_at": optional_time(vitals.log_first_at),
            "durable_offset": vitals.log.durable.0,
            "appended_offset": vitals.log.appended.0,
            "bytes": vitals.log.bytes,
            "segments": vitals.log_segments,
            "follower_count": vitals.follower_count,
            "followers": vitals.followers.iter().map(follower).collect::<Vec<_>>(),
        },
        "store": {
            "recent_rows": vitals.store.recent_rows,
            "file_rows": vitals.store.file_rows,
            "files": vitals.store.files,
            "bytes": vitals.store.file_bytes,
            "collapsed_rows": vitals.store.collapsed_rows,
        },
        "devices": vitals.devices,
        "connections": vitals.connections,
        "disk": disk(vitals),
        "process": process(vitals),
        "listeners": vitals.machine.listeners.iter()
            .map(|(name, address)| json!({"name": name, "address": address}))
            .collect::<Vec<_>>(),
        "certificates": certificates(vitals),
    })
}

fn rates(rates: &DoorRates) -> Value {
    json!({
        "at": time(rates.at),
        "received_per_s": rounded(rates.received),
        "stored_per_s": rounded(rates.stored),
        "quarantined_per_s": rounded(rates.quarantined),
        "rejected_per_s": rounded(rates.rejected),
        "shed_per_s": rounded(rates.shed),
    })
}

fn took(quantiles: &Quantiles) -> Value {
    let millis = |it: Option<Duration>| it.map(|it| rounded(it.as_secs_f64() * 1e3));
    json!({
        "count": quantiles.count,
        "p50_ms": millis(quantiles.p50),
        "p99_ms": millis(quantiles.p99),
    })
}

fn projection(signs: &ProjectionSigns) -> Value {
    json!({
        "name": signs.name,
        "position": signs.position,
        "lag_records": signs.lag_records,
        "lag_s": rounded(signs.age.as_secs_f64()),
        "shown_after": took(&signs.shown_after),
    })
}

fn disk(vitals: &VitalSigns) -> Value {
    let part = |it: &PartGrowth| {
        json!({
            "part": it.part,
            "path": it.path,
            "bytes": it.bytes,
            "bytes_per_day": it.bytes_per_day.map(f64::round),
        })
    };
    let file_system = |it: &FileSystem| {
        json!({
            "parts": it.parts,
            "free_bytes": it.free_bytes,
            "total_bytes": it.total_bytes,
            "bytes_per_day": it.bytes_per_day.map(f64::round),
            "full_in_days": it.full_in.map(|it| rounded(it.as_secs_f64() / 86_400.0)),
        })
    };
    json!({
        "measured_over_s": vitals.grown_over.map(|over| over.as_secs()),
        "parts": vitals.parts.iter().map(part).collect::<Vec<_>>(),
        "file_systems": vitals.file_systems.iter().map(file_system).collect::<Vec<_>>(),
    })
}

fn process(vitals: &VitalSigns) -> Value {
    let (machine, process) = (&vitals.machine, &vitals.machine.process);
    json!({
        "version": machine.version,
        "system": machine.system,
        "started_at": time(machine.started_at),
        "uptime_s": vitals.at.micros_since(machine.started_at).max(0) / 1_000_000,
        "memory_bytes": process.memory_bytes,
        "machine_memory_bytes": process.machine_memory_bytes,
        "processors_used": rounded(vitals.processors_used),
        "processors": process.processors,
        "threads": process.threads,
        "open_files": process.open_files,
        "open_files_max": process.open_files_max,
    })
}

fn certificates(vitals: &VitalSigns) -> Value {
    let own = vitals.machine.identity.ends.iter();
    let ending = vitals.ending.iter().map(|it| {
        json!({
            "device": it.device.as_str(),
            "fingerprint": it.fingerprint.to_string(),
            "not_after": time(it.not_after),
        })
    });
    json!({
        "own": own.map(|it| json!({"name": it.name, "not_after": time(it.ends)}))
            .collect::<Vec<_>>(),
        "warnings": vitals.machine.identity.warnings(vitals.at),
        "ending_within_30_days": vitals.ending_count,
        "ending": ending.collect::<Vec<_>>(),
    })
}

/// To a thousandth.
fn rounded(number: f64) -> f64 {
    (number * 1e3).round() / 1e3
}
