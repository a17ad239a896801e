//! Where values come from: a program that is run again and again, or a file that grows.

mod file;
mod pipe;

use std::collections::BTreeMap;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axle_domain::Error;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::agent::Shared;
use crate::program::Program;
use crate::queue::Position;
use crate::settings::Source;
use crate::value::{LineReader, Sample};

/// What is read of a program at one time.
const OUTPUT_BYTES_MAX: usize = 1024 * 1024;
/// A program may run at least so long.
const RUN_TIME_MIN: Duration = Duration::from_secs(5);
/// Values that are kept in one go.
const STRETCH_MAX: usize = 1000;
/// Stamps that run further ahead of the clock are waited for, in microseconds.
const AHEAD_MAX: i64 = 1_000_000;
/// Pause before something that failed is tried again.
const RETRY_PAUSE: Duration = Duration::from_secs(5);
/// Bad lines that are told one by one; later ones by their count.
const BAD_LINES_TOLD: u64 = 10;

/// Reads values until the agent is asked to stop.
pub(crate) async fn follow(shared: Arc<Shared>, stop: CancellationToken) -> Result<(), Error> {
    let keeper = Keeper { shared: Arc::clone(&shared), stop: stop.clone() };
    match &shared.settings.source {
        Source::None => stop.cancelled().await,
        Source::Command { line, every } => repeat(&keeper, line, *every).await?,
        Source::File(path) if is_pipe(path) => pipe::follow(&keeper, path).await?,
        Source::File(path) => file::follow(&keeper, path).await?,
    }
    Ok(())
}

fn is_pipe(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|metadata| metadata.file_type().is_fifo())
}

async fn repeat(keeper: &Keeper, line: &str, every: Duration) -> Result<(), Error> {
    let mut moments = tokio::time::interval(every);
    moments.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let program = Program {
        line,
        environment: BTreeMap::new(),
        stdin: b"",
        time_max: every.max(RUN_TIME_MIN),
        stdout_bytes_max: OUTPUT_BYTES_MAX,
    };
    loop {
        tokio::select! {
            () = keeper.stop.cancelled() => return Ok(()),
            _moment = moments.tick() => {}
        }
        let outcome = tokio::select! {
            () = keeper.stop.cancelled() => return Ok(()),
            outcome = program.run() => outcome,
        };
        match outcome {
            Err(error) => warn!(%error, "the program of read-command could not be run"),
            Ok(outcome) => {
                match outcome.status {
                    None => warn!("the program of read-command took too long and was ended"),
                    Some(status) if !status.success() => {
                        let said = String::from_utf8_lossy(&outcome.stderr);
                        let last = said.lines().last().unwrap_or_default();
                        warn!(%status, said = last, "the program of read-command failed");
                    }
                    Some(_) => {}
                }
                let text = String::from_utf8_lossy(&outcome.stdout);
                keeper.keep_lines(text.lines()).await?;
            }
        }
    }
}

/// Takes what the sources read.
pub(crate) struct Keeper {
    pub(crate) shared: Arc<Shared>,
    pub(crate) stop: CancellationToken,
}

impl Keeper {
    /// A reader for the stream.
    pub(crate) fn reader(&self) -> LineReader {
        LineReader::new(self.shared.settings.stream.as_str())
    }

    /// Reads lines and keeps their values; the oldest that wait make room.
    pub(crate) async fn keep_lines<'a>(
        &self,
        lines: impl Iterator<Item = &'a str>,
    ) -> Result<(), Error> {
        let reader = self.reader();
        let (mut samples, mut bad) = (Vec::new(), 0);
        for line in lines {
            match reader.read(line) {
                Ok(sample) => samples.extend(sample),
                Err(reason) => {
                    bad += 1;
                    self.tell_bad(&reason);
                }
            }
        }
        self.keep(samples, bad, None).await
    }

    /// Says what is wrong with a line: the first few, and then ever more rarely.
    pub(crate) fn tell_bad(&self, reason: &str) {
        let count = self.shared.count_bad_line();
        if count <= BAD_LINES_TOLD || count.is_power_of_two() {
            warn!(reason, bad_lines = count, "a line is no value and was left out");
        }
    }

    /// Keeps values, and with them how far their file was read.
    pub(crate) async fn keep(
        &self,
        samples: Vec<Sample>,
        bad: i64,
        position: Option<Position>,
    ) -> Result<(), Error> {
        let shared = &self.shared;
        let mut rest = samples;
        let mut position = position;
        loop {
            let later = rest.split_off(rest.len().min(STRETCH_MAX));
            // How far the file was read holds once all of it is kept.
            let reached = if later.is_empty() { position.take() } else { None };
            let is_last = later.is_empty();
            let now = shared.clock.read();
            let count = if is_last { bad } else { 0 };
            let stretch = std::mem::replace(&mut rest, later);
            let kept = shared
                .store
                .run(move |queue| {
                    if count > 0 {
                        queue.add("bad_lines", count)?;
                    }
                    if stretch.is_empty() && reached.is_none() {
                        return Ok(None);
                    }
                    queue.keep(&stretch, reached.as_ref(), now).map(Some)
                })
                .await?;
            if let Some(kept) = kept {
                shared.outbox.notify_one();
                if kept.dropped > 0 && shared.is_first_loss() {
                    warn!("the queue is full: the oldest values go, and are counted");
                }
                self.wait_for_clock(kept.ahead).await;
            }
            if is_last {
                return Ok(());
            }
        }
    }

    /// Equal values that come faster than stamps can tell them apart wait.
    async fn wait_for_clock(&self, ahead: i64) {
        if ahead > AHEAD_MAX {
            let pause = Duration::from_micros(u64::try_from(ahead - AHEAD_MAX).unwrap_or(0));
            self.pause(pause).await;
        }
    }

    /// Waits; less long when the agent is asked to stop.
    pub(crate) async fn pause(&self, pause: Duration) {
        let _stopped = tokio::time::timeout(pause, self.stop.cancelled()).await.is_ok();
    }
}
