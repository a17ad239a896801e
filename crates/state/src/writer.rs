//! The one thread that writes: it takes all changes that wait, runs them in one transaction and
//! commits them with one sync, then answers each.
//!
//! ```text
//!   write ──▶ bounded queue ──▶ BEGIN · job · job · … · COMMIT (one sync) ──▶ answers
//! ```
//!
//! Each job runs in a savepoint, so that one which fails changes nothing and the others stand. A
//! commit that fails fails all its jobs and is never tried again. After one that could not reach
//! the disk nobody knows what the disk holds: then the thread refuses everything until the state
//! is opened anew.

use std::sync::Arc;
use std::thread::JoinHandle;

use axle_domain::Error;
use rusqlite::{Connection, ffi};
use tokio::sync::{mpsc, oneshot};

use crate::failure::{Failure, is_disk_failure, unavailable};
use crate::keys::Keys;
use crate::sums::fold::Fold;

/// Changes that may wait for the thread; beyond, callers wait for room.
const QUEUE_JOBS_MAX: usize = 1024;
/// Most changes of one commit.
const GROUP_JOBS_MAX: usize = 512;

/// The handle of the thread.
pub(crate) struct Writer {
    jobs: Option<mpsc::Sender<Box<dyn Job>>>,
    thread: Option<JoinHandle<()>>,
}

/// What a job may use.
pub(crate) struct Writing<'a> {
    /// The connection, within the transaction.
    pub(crate) connection: &'a Connection,
    /// The numbers of devices and fields.
    pub(crate) keys: &'a mut Keys,
}

impl Writer {
    pub(crate) fn start(connection: Connection, fold: Fold) -> Result<Self, Error> {
        let (jobs, waiting) = mpsc::channel(QUEUE_JOBS_MAX);
        let thread = std::thread::Builder::new()
            .name("axle-state".to_owned())
            .spawn(move || {
                Loop { connection, fold, keys: Keys::default(), stopped: None }.run(waiting)
            })
            .map_err(|error| {
                unavailable("the thread of the state cannot start").with_source(error)
            })?;
        Ok(Self { jobs: Some(jobs), thread: Some(thread) })
    }

    /// Runs a change and returns when it is durable.
    pub(crate) async fn write<T, F>(&self, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&mut Writing<'_>) -> Result<T, Failure> + Send + 'static,
    {
        let closed = || unavailable("the state is closed: start the server again");
        let (answer, answered) = oneshot::channel();
        let job = Box::new(Change { work: Some(work), outcome: None, answer });
        let jobs = self.jobs.as_ref().ok_or_else(closed)?;
        jobs.send(job).await.map_err(|_job| closed())?;
        answered.await.map_err(|error| closed().with_source(error))?
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread of the state has panicked");
        }
    }
}

/// A change as the thread sees it.
trait Job: Send {
    /// Runs the change; says whether it worked.
    fn run(&mut self, writing: &mut Writing<'_>) -> bool;

    /// Answers: with the outcome, or, where it was not committed, with the reason.
    fn finish(self: Box<Self>, lost: Option<&Arc<rusqlite::Error>>);
}

struct Change<T, F> {
    work: Option<F>,
    outcome: Option<Result<T, Error>>,
    answer: oneshot::Sender<Result<T, Error>>,
}

impl<T, F> Job for Change<T, F>
where
    T: Send,
    F: FnOnce(&mut Writing<'_>) -> Result<T, Failure> + Send,
{
    fn run(&mut self, writing: &mut Writing<'_>) -> bool {
        let Some(work) = self.work.take() else { return false };
        let outcome = work(writing).map_err(Error::from);
        let worked = outcome.is_ok();
        self.outcome = Some(outcome);
        worked
    }

    fn finish(self: Box<Self>, lost: Option<&Arc<rusqlite::Error>>) {
        let outcome =
            match (self.outcome, lost) {
                // Its own error says more than the fate of the group.
                (Some(Err(error)), _) => Err(error),
                (_, Some(reason)) => Err(unavailable("the change could not be made durable")
                    .with_source(Arc::clone(reason))),
                (Some(outcome), None) => outcome,
                (None, None) => Err(Error::internal("state.unanswered", "the change was not run")),
            };
        // Whoever asked may be gone.
        self.answer.send(outcome).ok();
    }
}

struct Loop {
    // Before `fold`, whose file closes after SQLite's.
    connection: Connection,
    fold: Fold,
    keys: Keys,
    /// The failure after which nothing is written any more.
    stopped: Option<Arc<rusqlite::Error>>,
}

impl Loop {
    fn run(mut self, mut waiting: mpsc::Receiver<Box<dyn Job>>) {
        let mut group = Vec::new();
        while waiting.blocking_recv_many(&mut group, GROUP_JOBS_MAX) > 0 {
            let lost = self.commit(&mut group).err();
            for job in group.drain(..) {
                job.finish(lost.as_ref());
            }
            if self.stopped.is_none()
                && let Err(error) = self.fold.after_commit(&self.connection)
            {
                tracing::error!(%error, "the state stops writing: its log cannot be folded");
                self.stopped = Some(Arc::new(error));
            }
        }
        if self.stopped.is_none() {
            self.fold.close(&self.connection);
        }
    }

    fn commit(&mut self, group: &mut [Box<dyn Job>]) -> Result<(), Arc<rusqlite::Error>> {
        if let Some(reason) = &self.stopped {
            return Err(Arc::clone(reason));
        }
        let Err(error) = self.transact(group) else { return Ok(()) };
        self.keys.clear();
        if !self.connection.is_autocommit()
            && let Err(error) = self.connection.execute_batch("ROLLBACK")
        {
            tracing::error!(%error, "the state could not roll back");
        }
        let error = Arc::new(error);
        if is_disk_failure(&error) {
            tracing::error!(%error, "the state stops writing: the disk failed");
            self.stopped = Some(Arc::clone(&error));
        } else {
            tracing::warn!(%error, jobs = group.len(), "the state lost a commit");
        }
        Err(error)
    }

    fn transact(&mut self, group: &mut [Box<dyn Job>]) -> rusqlite::Result<()> {
        let connection = &self.connection;
        let run = |sql| connection.prepare_cached(sql)?.execute([]).map(|_count| ());
        run("BEGIN IMMEDIATE")?;
        let alone = group.len() == 1;
        for job in group {
            if !alone {
                run("SAVEPOINT job")?;
            }
            let worked = job.run(&mut Writing { connection, keys: &mut self.keys });
            if connection.is_autocommit() {
                // SQLite has given up the whole transaction, with the jobs before this one.
                let aborted = ffi::Error::new(ffi::SQLITE_ABORT_ROLLBACK);
                return Err(rusqlite::Error::SqliteFailure(aborted, None));
            }
            if !worked {
                self.keys.clear();
                run(if alone { "ROLLBACK" } else { "ROLLBACK TO job" })?;
            }
            if !alone {
                run("RELEASE job")?;
            }
        }
        if connection.is_autocommit() { Ok(()) } else { run("COMMIT") }
    }
}

#[cfg(test)]
mod tests;
