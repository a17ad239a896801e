//! One part of axle under load by itself, in this process: what it can do without the others.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axle_app::decode::{Decoded, decode};
use axle_domain::port::{EventLog, TelemetryStore};
use axle_domain::{Envelope, Error, Message, Offset, RowBatch, Schemas, Source, Timestamp};
use axle_log::{EmbeddedLog, LogSettings};
use axle_store::{ColumnarStore, StoreSettings};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::remove_folder;
use crate::cli::{LoadStage, LoadTestArgs};
use crate::failure::{Exit, Failure};
use crate::output::{TextTable, note, print, print_json};

/// Connections that append at the same time, each waiting for its window.
const TASKS: u64 = 64;
/// Messages that one of them appends before it waits for the sync.
const WINDOW: u64 = 32;
/// Messages that are understood and written at once.
const BATCH_MESSAGES: u64 = 2000;
/// Fields of a sample.
const VALUES: u64 = 10;

pub(super) async fn test(args: &LoadTestArgs) -> Result<(), Failure> {
    let folder = super::temporary_folder();
    let figures = match args.stage {
        LoadStage::Store => store(&folder, args).await,
        LoadStage::Log | LoadStage::All | LoadStage::Gateway => log(&folder, args.duration.0).await,
    };
    remove_folder(&folder);
    let figures = figures?;
    if args.json {
        return print_json(&figures);
    }
    let mut table = TextTable::default();
    for (name, value) in figures.as_object().into_iter().flatten() {
        table.push(vec![name.clone(), crate::output::cell(Some(value))]);
    }
    print(&table.render())
}

/// Appends at saturation and waits for the sync of each window.
async fn log(folder: &Path, duration: Duration) -> Result<Value, Failure> {
    note(&format!("the log alone: {TASKS} writers, windows of {WINDOW} messages"));
    let log = Arc::new(EmbeddedLog::open(folder, LogSettings::default())?.0);
    let (begin, messages) = (Instant::now(), Arc::new(AtomicU64::new(0)));
    let mut writers = JoinSet::new();
    for writer in 0..TASKS {
        let (log, messages) = (Arc::clone(&log), Arc::clone(&messages));
        writers.spawn(async move {
            let mut sample = 0;
            while begin.elapsed() < duration {
                let mut last = Offset(0);
                for _ in 0..WINDOW {
                    last = append(&log, writer, sample).await?;
                    sample += 1;
                }
                log.durable(last).await?;
                messages.fetch_add(WINDOW, Ordering::Relaxed);
            }
            Ok::<_, Error>(())
        });
    }
    while let Some(ended) = writers.join_next().await {
        ended.map_err(|error| Failure::new(Exit::Internal, error.to_string()))??;
    }
    let figures = rates("log", messages.load(Ordering::Relaxed), begin.elapsed());
    log.close().await;
    Ok(figures)
}

async fn append(log: &EmbeddedLog, device: u64, sample: u64) -> Result<Offset, Error> {
    let (topic, payload) = message(device, sample);
    let name = format!("load-{device}");
    loop {
        match log.append(&message_of(&name, &topic, &payload)) {
            Err(error) if error.kind.is_retryable() => log.room().await,
            appended => return appended,
        }
    }
}

/// Understands messages and writes their rows at saturation.
async fn store(folder: &Path, args: &LoadTestArgs) -> Result<Value, Failure> {
    note("the store alone: messages are understood and written, then brought to files");
    let schemas = Schemas::builtin();
    let store = ColumnarStore::open(folder, Schemas::builtin(), StoreSettings::default())?;
    let (begin, mut messages) = (Instant::now(), 0);
    let devices = u64::from(args.devices.max(1));
    while begin.elapsed() < args.duration.0 {
        let mut batches: Vec<RowBatch> = Vec::new();
        for index in messages..messages + BATCH_MESSAGES {
            let (device, sample) = (index % devices, index / devices);
            let (topic, payload) = message(device, sample);
            let name = format!("load-{device}");
            let message = message_of(&name, &topic, &payload);
            decode(&schemas, Offset(index), &message, &mut |decoded| {
                let Decoded::Row(row) = decoded else { return };
                if batches.last().is_none_or(RowBatch::is_full) {
                    batches.extend(schemas.find("ride").cloned().map(RowBatch::new));
                }
                if let Some(batch) = batches.last_mut() {
                    batch.push(row);
                }
            });
        }
        messages += BATCH_MESSAGES;
        store.write(batches, Offset(messages)).await?;
    }
    let mut figures = rates("store", messages, begin.elapsed());
    let flush = Instant::now();
    store.flush().await?;
    let files = store.figures();
    if let Some(figures) = figures.as_object_mut() {
        figures.insert("flush_s".to_owned(), json!(flush.elapsed().as_secs_f64()));
        figures.insert("files".to_owned(), json!(files.files));
    }
    store.close().await?;
    Ok(figures)
}

fn rates(stage: &str, messages: u64, elapsed: Duration) -> Value {
    let per_second = messages as f64 / elapsed.as_secs_f64();
    json!({
        "stage": stage,
        "messages": messages,
        "seconds": elapsed.as_secs_f64(),
        "messages_per_s": per_second.round(),
        "values_per_s": (per_second * VALUES as f64).round(),
    })
}

fn message_of<'a>(device: &'a str, topic: &'a str, payload: &'a str) -> Message<'a> {
    Message {
        source: Source::Mqtt,
        device,
        topic,
        content_type: "",
        payload: payload.as_bytes(),
        received_at: NOW,
        connected_at: NOW,
        sent_at: None,
        replayed_at: None,
        origin: "",
        envelope: Envelope::default(),
    }
}

/// A moment that does not matter, in 2026: no real clock decides what is written.
const NOW: Timestamp = Timestamp(1_767_225_600_000_000);

/// A ride's sample once a second, with values that move like a ride's.
fn message(device: u64, sample: u64) -> (String, String) {
    let phase = sample as f64 / 40.0;
    let time = NOW.micros() / 1000 - 3_600_000 + i64::try_from(sample % 3_600).unwrap_or(0) * 1000;
    let payload = format!(
        "{{\"time\":{time},\"lat\":{:.6},\"lon\":{:.6},\"speed_kmh\":{:.1},\"altitude_m\":{:.1},\
         \"battery_pct\":{},\"power_w\":{:.0},\"cadence_rpm\":{:.0},\"heart_rate_bpm\":{:.0},\
         \"odometer_km\":{:.2},\"temperature_c\":{:.1}}}",
        48.1 + phase.sin() / 100.0 + device as f64 / 1e5,
        11.5 + phase.cos() / 100.0,
        21.0 + 4.0 * phase.sin(),
        520.0 + 20.0 * (phase / 3.0).sin(),
        90 - sample / 120 % 80,
        180.0 + 60.0 * phase.cos(),
        74.0 + 8.0 * phase.sin(),
        132.0 + 12.0 * (phase / 2.0).sin(),
        1000.0 + sample as f64 * 0.006,
        19.5 + (phase / 9.0).sin(),
    );
    (format!("v1/d/load-{device}/t/ride"), payload)
}
