//! `axle import`: recorded rides through the upload door, as a phone would send them.

mod batch;
mod report;
mod upload;

use std::io::Read;
use std::path::Path;
use std::time::Duration;

use axle_domain::port::Clock;
use axle_domain::{DeviceId, Timestamp};
use axle_ride::{RIDE_BYTES_MAX, Ride};

use crate::cli::ImportArgs;
use crate::client::Client;
use crate::clock::SystemClock;
use crate::failure::{Exit, Failure};
use crate::output::{ProgressLine, note, print_json};
use batch::{Batch, batches};
use report::Report;
use upload::Door;

/// How often a ride that is played sends what has come due; well under the door's rate.
const PLAY_INTERVAL: Duration = Duration::from_secs(1);
/// Faster than this a ride is better sent at once.
const SPEED_MAX: f64 = 10_000.0;

pub(super) async fn run(args: ImportArgs) -> Result<(), Failure> {
    let device = DeviceId::parse(&args.device)?;
    if let Some(speed) = args.speed
        && !(speed > 0.0 && speed <= SPEED_MAX)
    {
        let message = format!("--speed is {speed}: expected more than 0, up to {SPEED_MAX}");
        return Err(Failure::usage(message));
    }
    let client = if args.dry_run { None } else { Some(Client::find(&args.target)?) };
    let door = client.map(|client| Door { client, device });
    let mut reports = Vec::new();
    for path in &args.files {
        let mut report = Report::new(path);
        if let Err(failure) = import(&args, path, door.as_ref(), &mut report).await {
            let is_gone = failure.exit == Exit::Unreachable;
            report.failure = Some(failure);
            reports.push(report);
            if is_gone {
                break;
            }
            continue;
        }
        reports.push(report);
    }
    if args.json {
        print_json(&report::json(&reports, args.dry_run))?;
    } else {
        report::print_table(&reports)?;
    }
    report::verdict(reports, args.files.len())
}

/// Imports one file. What was done before a failure stands in the report.
async fn import(
    args: &ImportArgs,
    path: &Path,
    door: Option<&Door>,
    report: &mut Report,
) -> Result<(), Failure> {
    let ride = open(path)?;
    report.describe(&ride);
    if let (Some(first), false) = (ride.findings.first(), args.salvage) {
        let lines: Vec<_> = ride.findings.iter().map(report::line).collect();
        let message = format!(
            "{} is damaged, nothing of it was stored: {}",
            path.display(),
            lines.join("; ")
        );
        let hint = match ride.samples.len() {
            0 => "get the file from its device again".to_owned(),
            good => format!(
                "`--salvage` stores the {good} records before byte {}",
                ride.good_bytes.min(first.at_byte)
            ),
        };
        return Err(Failure::new(Exit::Refused, message).with_hint(hint));
    }
    if ride.samples.is_empty() {
        let message = format!("{} holds no record with a time and a value", path.display());
        return Err(Failure::new(Exit::Refused, message).with_hint("a file of a recorded ride"));
    }
    for finding in &ride.findings {
        note(&format!("{}: {}", path.display(), report::line(finding)));
    }
    let Some(door) = door else { return Ok(()) };
    let progress = ProgressLine::default();
    let offset = args.clock_offset.unwrap_or_default().micros;
    match args.speed {
        Some(speed) => play(&ride, speed, offset, (door, report, &progress)).await,
        None => {
            for batch in batches(&ride.samples, |time| time.shifted(offset)) {
                send(door, &batch, offset, report).await?;
                show(&progress, report);
            }
            Ok(())
        }
    }
}

/// Reads a file whole: nothing is sent of what cannot be read to its end.
fn open(path: &Path) -> Result<Ride, Failure> {
    let unread = |error: &std::io::Error| {
        let is_missing = error.kind() == std::io::ErrorKind::NotFound;
        let exit = if is_missing { Exit::NotFound } else { Exit::Usage };
        Failure::new(exit, format!("cannot read {}: {error}", path.display()))
    };
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(|error| unread(&error))?;
    // One byte more, to tell a file that is too long from one that just fits.
    let most = u64::try_from(RIDE_BYTES_MAX).unwrap_or(u64::MAX).saturating_add(1);
    file.take(most).read_to_end(&mut bytes).map_err(|error| unread(&error))?;
    axle_ride::read(&bytes).map_err(|finding| {
        let message = format!("{}, nothing was stored: {}", path.display(), report::line(&finding));
        Failure::new(Exit::Refused, message).with_hint("a FIT or GPX file of a recorded ride")
    })
}

async fn send(door: &Door, batch: &Batch, offset: i64, report: &mut Report) -> Result<(), Failure> {
    // A clock that is right says nothing: what was recorded by satellites needs no correction by
    // the clock of whoever imports it.
    let sent_at = (offset != 0).then(|| SystemClock.now().shifted(offset));
    let receipt = door.send(batch, sent_at, offset).await.map_err(|failure| {
        if failure.exit == Exit::Usage || report.is_untouched() {
            return failure;
        }
        failure.with_hint("the same command again: what is stored is not stored twice")
    })?;
    report.add(&receipt, batch.len());
    Ok(())
}

/// Sends each sample when it comes due, `speed` times as fast as the ride was.
async fn play(
    ride: &Ride,
    speed: f64,
    offset: i64,
    (door, report, progress): (&Door, &mut Report, &ProgressLine),
) -> Result<(), Failure> {
    let begin = SystemClock.now();
    let first = ride.samples.first().map(|sample| sample.time).unwrap_or_default();
    let due = |time: Timestamp| {
        let since = time.micros_since(first) as f64 / speed;
        #[expect(clippy::cast_possible_truncation, reason = "a float cast saturates")]
        let since = since as i64;
        begin.shifted(since)
    };
    let mut rest = ride.samples.as_slice();
    while !rest.is_empty() {
        let now = SystemClock.now();
        let count = rest.iter().take_while(|sample| due(sample.time) <= now).count();
        let (ready, later) = rest.split_at(count);
        for mut batch in batches(ready, |time| due(time).shifted(offset)) {
            batch.play = Some(begin);
            send(door, &batch, offset, report).await?;
        }
        show(progress, report);
        rest = later;
        let wait = rest.first().map_or(0, |next| due(next.time).micros_since(SystemClock.now()));
        let wait = Duration::from_micros(u64::try_from(wait).unwrap_or(0));
        if !rest.is_empty() {
            tokio::time::sleep(wait.max(PLAY_INTERVAL)).await;
        }
    }
    Ok(())
}

fn show(progress: &ProgressLine, report: &Report) {
    let (sent, all) = (report.sent(), report.samples());
    let done = sent.saturating_mul(20).checked_div(all).unwrap_or(20).min(20);
    let bar = format!("{}{}", "#".repeat(done), ".".repeat(20 - done));
    progress.show(&format!("{} [{bar}] {sent} of {all} records", report.file()));
}
