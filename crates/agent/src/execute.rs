//! Executing commands, one after the other: `lock` and `unlock` must not race.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axle_domain::Error;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::agent::Shared;
use crate::program::{Outcome, Program};
use crate::queue::Order;
use crate::time_text::format_time;

/// What is kept of a program's output: as JSON text at most six times as long, and an answer may
/// have 64 KiB.
const OUTPUT_BYTES_MAX: usize = 8 * 1024;
/// A program that runs longer is said to be running.
const RUNNING_AFTER: Duration = Duration::from_secs(2);
/// How long a running program may go on when the agent is asked to stop.
const STOP_TIME_MAX: Duration = Duration::from_secs(10);
/// Longest line of stderr in an answer.
const REASON_CHARS_MAX: usize = 200;

/// Executes commands until the agent is asked to stop.
pub(crate) async fn execute(shared: Arc<Shared>, stop: CancellationToken) -> Result<(), Error> {
    loop {
        if stop.is_cancelled() {
            return Ok(());
        }
        let heard = shared.commands.notified();
        let Some(order) = shared.store.run(|queue| queue.next_order()).await? else {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = heard => continue,
            }
        };
        let reply = match decide(&shared, &order) {
            Ok(line) => perform(&shared, &order, &line, &stop).await?,
            Err(reply) => reply,
        };
        let status = reply.get("status").and_then(Value::as_str).unwrap_or_default().to_owned();
        let (device, ended) = (shared.settings.device.clone(), order.clone());
        let text = reply.to_string();
        shared.store.run(move |queue| queue.end(&device, &ended, &text)).await?;
        shared.outbox.notify_one();
        info!(command.id = %order.id, status, "command ended");
    }
}

/// The program for a command, or the answer where none is run.
fn decide(shared: &Shared, order: &Order) -> Result<String, Value> {
    let now = shared.clock.read();
    let rejected = |reason: &str| json!({ "status": "rejected", "reason": reason });
    let mut answer = if !now.is_plausible() {
        rejected("the device's clock is not set, so the deadline cannot be kept")
    } else if now.wall > order.deadline {
        rejected("it came after its deadline")
    } else {
        match shared.settings.commands.get(&order.name) {
            Some(line) if !order.is_dry_run => return Ok(line.clone()),
            Some(_) => json!({ "status": "succeeded", "result": { "would": order.name } }),
            None => {
                let known: Vec<&str> =
                    shared.settings.commands.keys().map(String::as_str).collect();
                rejected(&format!("no such command here: there are {}", known.join(", ")))
            }
        }
    };
    if let (true, Some(answer)) = (order.is_dry_run, answer.as_object_mut()) {
        answer.insert("dry_run".to_owned(), Value::Bool(true));
    }
    Err(answer)
}

/// Runs the program; that it was started is on the disk before.
async fn perform(
    shared: &Shared,
    order: &Order,
    line: &str,
    stop: &CancellationToken,
) -> Result<Value, Error> {
    let number = order.number;
    shared.store.run(move |queue| queue.start(number)).await?;
    info!(command.id = %order.id, "command started");
    let left = order.deadline.micros_since(shared.clock.read().wall);
    let deadline = format_time(order.deadline);
    let program = Program {
        line,
        environment: BTreeMap::from([
            ("AXLE_COMMAND_ID", order.id.as_str()),
            ("AXLE_COMMAND_NAME", order.name.as_str()),
            ("AXLE_PAYLOAD", order.payload.as_str()),
            ("AXLE_DEADLINE", deadline.as_str()),
        ]),
        stdin: order.payload.as_bytes(),
        time_max: Duration::from_micros(u64::try_from(left).unwrap_or(0)),
        stdout_bytes_max: OUTPUT_BYTES_MAX,
    };
    let run = program.run();
    tokio::pin!(run);
    let is_long = tokio::time::sleep(RUNNING_AFTER);
    tokio::pin!(is_long);
    let mut is_said = false;
    let stopped = async {
        stop.cancelled().await;
        tokio::time::sleep(STOP_TIME_MAX).await;
    };
    tokio::pin!(stopped);
    loop {
        tokio::select! {
            outcome = &mut run => return Ok(answer(outcome)),
            () = &mut is_long, if !is_said => {
                is_said = true;
                let topic = shared.settings.topic("c", &format!("{}/r", order.id));
                let reply = json!({ "status": "running" }).to_string();
                shared.store.run(move |queue| queue.post(&topic, &reply)).await?;
                shared.outbox.notify_one();
            }
            () = &mut stopped => {
                let reason = "interrupted; not executed again";
                return Ok(json!({ "status": "failed", "reason": reason }));
            }
        }
    }
}

fn answer(outcome: std::io::Result<Outcome>) -> Value {
    let failed = |reason: String| json!({ "status": "failed", "reason": reason });
    let outcome = match outcome {
        Ok(outcome) => outcome,
        Err(error) => return failed(format!("the program could not be run: {error}")),
    };
    let Some(status) = outcome.status else {
        return failed("not done by its deadline; the program was ended".to_owned());
    };
    let result = result(&outcome);
    let mut answer = if status.success() {
        json!({ "status": "succeeded" })
    } else {
        let last = String::from_utf8_lossy(&outcome.stderr);
        let last = last.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
        let last: String = last.trim().chars().take(REASON_CHARS_MAX).collect();
        failed(if last.is_empty() { status.to_string() } else { format!("{status}: {last}") })
    };
    if let (Some(result), Some(answer)) = (result, answer.as_object_mut()) {
        answer.insert("result".to_owned(), result);
    }
    answer
}

/// What a program printed: as JSON where it is JSON, else as text.
fn result(outcome: &Outcome) -> Option<Value> {
    let text = String::from_utf8_lossy(&outcome.stdout);
    let text = text.trim();
    if text.is_empty() {
        return None;
    }
    if outcome.is_truncated {
        return Some(json!({ "output": text, "is_truncated": true }));
    }
    Some(serde_json::from_str(text).unwrap_or_else(|_text| json!({ "output": text })))
}
