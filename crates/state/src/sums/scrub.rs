//! Compares the pages of an open state with their sums, a piece at a time, for as long as it is
//! open.

use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use axle_domain::Error;

use super::compare::{pieces, sums_of};
use super::kept::Kept;
use crate::failure::unavailable;

/// How long one round over all pages takes.
const ROUND_TIME: Duration = Duration::from_secs(3600);
/// The shortest pause between two pieces, whatever the size of the file.
const PAUSE_TIME_MIN: Duration = Duration::from_millis(50);
/// Damaged pages that are told of one by one.
const TOLD_MAX: u32 = 100;

/// The thread; it ends when this is dropped.
pub(crate) struct Scrub {
    stop: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
    kept: Arc<Kept>,
}

impl Scrub {
    pub(crate) fn start(kept: Arc<Kept>) -> Result<Self, Error> {
        let (stop, stopped) = sync_channel(1);
        let of_thread = Arc::clone(&kept);
        let run = move || {
            let mut round = Round::default();
            while stopped.recv_timeout(pause(&of_thread)) == Err(RecvTimeoutError::Timeout) {
                round.piece(&of_thread);
            }
        };
        let thread = std::thread::Builder::new()
            .name("axle-state-scrub".to_owned())
            .spawn(run)
            .map_err(|error| {
                unavailable("the thread that checks the state cannot start").with_source(error)
            })?;
        Ok(Self { stop: Some(stop), thread: Some(thread), kept })
    }

    /// What was found damaged, here or when the log was folded.
    pub(crate) fn damage(&self) -> Option<String> {
        self.kept.damage()
    }
}

impl Drop for Scrub {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that checks the state has panicked");
        }
    }
}

/// Until the next piece.
fn pause(kept: &Kept) -> Duration {
    let settled = kept.settled();
    let pages = u32::try_from(settled.sums.pages.len()).unwrap_or(u32::MAX);
    let count = pieces(settled.sums.page_bytes, pages).count();
    (ROUND_TIME / u32::try_from(count).unwrap_or(u32::MAX).max(1)).max(PAUSE_TIME_MIN)
}

/// How far it has come.
#[derive(Default)]
pub(crate) struct Round {
    /// Pages of this round that were looked at.
    behind: u32,
    told: u32,
}

impl Round {
    /// Looks at one piece, the first again behind the last.
    pub(crate) fn piece(&mut self, kept: &Kept) {
        // No checkpoint begins while this is held.
        let settled = kept.settled();
        let (sums, size) = (&settled.sums, settled.sums.page_bytes);
        let count = u32::try_from(sums.pages.len()).unwrap_or(u32::MAX);
        if self.behind >= count {
            self.behind = 0;
        }
        let behind = self.behind;
        let Some(piece) = pieces(size, count).find(|piece| piece.end > behind + 1) else { return };
        let piece = behind + 1..piece.end;
        self.behind = piece.end - 1;
        let actual = match sums_of(&kept.file, size, piece.clone()) {
            Ok(actual) => actual,
            Err(error) => {
                tracing::error!(%error, page = piece.start, "the state cannot be read here");
                kept.accuse(format!("page {} cannot be read", piece.start));
                return;
            }
        };
        for (page, actual) in piece.zip(actual) {
            if sums.of(page) != Some(actual) && !settled.unsettled.contains(&page) {
                kept.accuse(format!("page {page} is not what was written there"));
                if self.told < TOLD_MAX {
                    self.told += 1;
                    tracing::error!(page, "the state is damaged here: run `axle verify`");
                }
            }
        }
    }
}
