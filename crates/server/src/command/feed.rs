//! `axle feed`: what a plant hands in, checked before and after, and what of it waits.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use axle_app::{FeedForm, read_batch};
use axle_domain::limit;
use axle_domain::port::BatchRecord;
use hyper::Method;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::cli::{
    FeedAcceptArgs, FeedCheckArgs, FeedCommand, FeedRejectArgs, FeedReviewArgs, FeedReviewCommand,
    FeedSubmitArgs,
};
use crate::client::{Call, Client, encode_segment, encode_value};
use crate::failure::{Exit, Failure};
use crate::output::{TextTable, items, note, print, print_json};

/// Largest file that is read.
const FILE_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// What a batch takes beside its records.
const FRAME_BYTES: usize = 64;

pub(super) async fn run(command: FeedCommand) -> Result<(), Failure> {
    match command {
        FeedCommand::Check(args) => check(args).await,
        FeedCommand::Submit(args) => submit(args).await,
        FeedCommand::Review(FeedReviewCommand::List(args)) => list(args).await,
        FeedCommand::Review(FeedReviewCommand::Accept(args)) => accept(args).await,
        FeedCommand::Review(FeedReviewCommand::Reject(args)) => reject(args).await,
    }
}

/// Checks the form of each record here, and with a plant what the server would make of it.
async fn check(args: FeedCheckArgs) -> Result<(), Failure> {
    let records = read(&args.file)?;
    let faulty = records
        .iter()
        .zip(1_usize..)
        .filter_map(|(record, number)| record.record.as_ref().err().map(|reason| (number, reason)));
    let faulty: Vec<_> = faulty.collect();
    if !faulty.is_empty() || args.plant.is_none() {
        let mut table = TextTable::new(&["RECORD", "CODE", "DETAIL"]);
        for (number, reason) in &faulty {
            table.push(vec![number.to_string(), reason.code.to_owned(), reason.detail.clone()]);
        }
        if args.json {
            let list = faulty.iter().map(|(number, reason)| {
                json!({"record": number, "code": reason.code, "detail": reason.detail})
            });
            print_json(&json!({"records": records.len(), "faulty": list.collect::<Vec<_>>()}))?;
        } else if !faulty.is_empty() {
            print(&table.render())?;
        }
    }
    if !faulty.is_empty() {
        let message = format!("{} of {} records are of bad form", faulty.len(), records.len());
        return Err(Failure::new(Exit::Refused, message).with_hint("mend them at the plant"));
    }
    note(&format!("{} records are of good form", records.len()));
    match &args.plant {
        Some(plant) => {
            let client = Client::find(&args.target)?;
            let total = send(&client, plant, &records, true).await?;
            report(&total, args.json)
        }
        None => Ok(()),
    }
}

async fn submit(args: FeedSubmitArgs) -> Result<(), Failure> {
    let records = read(&args.file)?;
    let client = Client::find(&args.target)?;
    let total = send(&client, &args.plant, &records, args.dry_run).await?;
    report(&total, args.json)
}

/// What became of a file.
#[derive(Default)]
struct Total {
    accepted: u64,
    unchanged: u64,
    /// As the server lists them, with the number of the record in the file.
    review: Vec<Value>,
}

/// Hands a file in, as many batches as it takes. A file that comes again makes the same batches
/// with the same keys.
async fn send(
    client: &Client,
    plant: &str,
    records: &[BatchRecord],
    is_dry_run: bool,
) -> Result<Total, Failure> {
    let mut total = Total::default();
    let mut sent = 0;
    while sent < records.len() {
        let batch = next_batch(records.get(sent..).unwrap_or_default());
        let texts = batch.iter().map(|record| raw(&record.original));
        let body = json!({"records": texts.collect::<Result<Vec<_>, _>>()?});
        let digest = Sha256::digest(body.to_string().as_bytes());
        let key: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        let dry_run = if is_dry_run { "?dry_run=true" } else { "" };
        let path = format!("/api/v1/feeds/{}/batches{dry_run}", encode_segment(plant));
        let call = Call {
            method: Method::POST,
            path: &path,
            body: Some(&body),
            idempotency_key: (!is_dry_run).then_some(key.as_str()),
            ..Call::default()
        };
        let answer = client.json(call).await?;
        let count = |name: &str| answer.get(name).and_then(Value::as_u64).unwrap_or_default();
        total.accepted += count("accepted");
        total.unchanged += count("unchanged");
        let listed = answer.get("records").and_then(Value::as_array);
        for aside in listed.map(Vec::as_slice).unwrap_or_default() {
            let index = aside.get("index").and_then(Value::as_u64).unwrap_or_default();
            let mut aside = aside.clone();
            if let Some(fields) = aside.as_object_mut() {
                fields.insert("record".to_owned(), json!(sent as u64 + index + 1));
                fields.remove("index");
            }
            total.review.push(aside);
        }
        sent += batch.len();
    }
    Ok(total)
}

/// As many records as a batch may hold.
fn next_batch(records: &[BatchRecord]) -> &[BatchRecord] {
    let mut bytes = FRAME_BYTES;
    let fits = |record: &&BatchRecord| {
        bytes += record.original.len() + 1;
        bytes <= limit::FEED_BYTES_MAX
    };
    let count = records.iter().take(limit::FEED_RECORDS_MAX).take_while(fits).count();
    records.get(..count.max(1)).unwrap_or_default()
}

/// A record as it stands in the file; what is no JSON goes as a text, to be looked at.
fn raw(original: &str) -> Result<Value, Failure> {
    let value = serde_json::from_str(original);
    Ok(value.unwrap_or_else(|_error| Value::String(original.to_owned())))
}

fn report(total: &Total, is_json: bool) -> Result<(), Failure> {
    if is_json {
        return print_json(&json!({
            "accepted": total.accepted,
            "unchanged": total.unchanged,
            "review": total.review.len(),
            "records": total.review,
        }));
    }
    if !total.review.is_empty() {
        let mut table = TextTable::new(&["RECORD", "CODE", "REVIEW", "DETAIL"]);
        for aside in &total.review {
            table.push_fields(aside, &["record", "code", "review", "detail"]);
        }
        print(&table.render())?;
    }
    note(&format!(
        "{} accepted, {} unchanged, {} to review",
        total.accepted,
        total.unchanged,
        total.review.len()
    ));
    Ok(())
}

/// The records of a file: a batch as JSON, or one record a line.
fn read(path: &Path) -> Result<Vec<BatchRecord>, Failure> {
    let mut text = String::new();
    let read = if path == Path::new("-") {
        std::io::stdin().lock().take(FILE_BYTES_MAX + 1).read_to_string(&mut text)
    } else {
        File::open(path).and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text))
    };
    let bytes =
        read.map_err(|error| Failure::usage(format!("cannot read {}: {error}", path.display())))?;
    if bytes as u64 > FILE_BYTES_MAX {
        let message = format!("a file is at most {FILE_BYTES_MAX} bytes: split it");
        return Err(Failure::new(Exit::Refused, message));
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    records(text)
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Batch<'a> {
    #[serde(borrow)]
    records: Vec<&'a RawValue>,
}

/// A file may be larger than a batch: it is cut into lines here, and read batch by batch.
fn records(text: &str) -> Result<Vec<BatchRecord>, Failure> {
    let lines: Vec<String> = match serde_json::from_str::<Batch<'_>>(text) {
        // A record may stand on several lines of a JSON file.
        Ok(batch) => {
            batch.records.iter().map(|record| record.get().replace(['\n', '\r'], " ")).collect()
        }
        Err(_) => text.lines().filter(|it| !it.trim().is_empty()).map(str::to_owned).collect(),
    };
    let mut records = Vec::with_capacity(lines.len());
    for chunk in lines.chunks(limit::FEED_RECORDS_MAX) {
        records.extend(read_batch(FeedForm::Ndjson, chunk.join("\n").as_bytes())?);
    }
    Ok(records)
}

async fn list(args: FeedReviewArgs) -> Result<(), Failure> {
    let mut path = format!("/api/v1/feeds/review?limit=1000&status={}", encode_value(&args.status));
    if let Some(plant) = &args.plant {
        path.push_str(&format!("&plant={}", encode_value(plant)));
    }
    let answer = Client::find(&args.target)?.get(&path).await?;
    if args.json {
        return print_json(&answer);
    }
    let mut table = TextTable::new(&["ID", "PLANT", "CODE", "RECEIVED", "STATUS", "DETAIL"]);
    for item in items(&answer) {
        table.push_fields(item, &["id", "plant", "code", "received_at", "status", "detail"]);
    }
    print(&table.render())?;
    if answer.get("next").is_some_and(|next| !next.is_null()) {
        note("there are more; the API pages through them");
    }
    Ok(())
}

async fn accept(args: FeedAcceptArgs) -> Result<(), Failure> {
    let path = format!("/api/v1/feeds/review/{}", encode_segment(&args.id));
    let body = json!({
        "decision": "accept",
        "note": args.note,
        "close_other_at": args.close_other_at,
    });
    print_json(&Client::find(&args.target)?.post(&path, &body).await?)
}

async fn reject(args: FeedRejectArgs) -> Result<(), Failure> {
    let path = format!("/api/v1/feeds/review/{}", encode_segment(&args.id));
    let body = json!({"decision": "reject", "note": args.note});
    print_json(&Client::find(&args.target)?.post(&path, &body).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_a_file_hold_the_same_records() {
        let json = "{\"records\":[\n{\"type\":\"device\",\n\"id\":\"b-1\",\"kind\":\"bike\"},17]}";
        let lines = "{\"type\":\"device\",\"id\":\"b-1\",\"kind\":\"bike\"}\r\n\n17\n";
        for text in [json, lines] {
            let records = records(text).unwrap();
            let seen: Vec<_> = records.iter().map(|record| record.record.is_ok()).collect();
            assert_eq!(seen, [true, false], "{text}");
        }
    }

    #[test]
    fn a_file_is_cut_into_batches_that_the_server_takes() {
        let record = "{\"type\":\"device\",\"id\":\"b-1\",\"kind\":\"bike\"}\n";
        let many = records(&record.repeat(limit::FEED_RECORDS_MAX + 1)).unwrap();
        assert_eq!(next_batch(&many).len(), limit::FEED_RECORDS_MAX);
        let long = format!("\"{}\"\n", "x".repeat(limit::FEED_RECORD_BYTES_MAX - 2));
        let many = records(&long.repeat(limit::FEED_RECORDS_MAX)).unwrap();
        let taken = next_batch(&many).len();
        assert!(taken > 1 && taken * long.len() <= limit::FEED_BYTES_MAX);
    }
}
