//! Who waits for what to become durable, and what is durable.
//!
//! A waiter is woken when its own record is durable and not before, so that a commit costs as many
//! wakes as it has waiters, however many wait for later ones.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};

use axle_domain::Error;

/// Why the log has stopped for good.
#[derive(Clone, Debug)]
pub(crate) struct Stop {
    code: &'static str,
    message: String,
}

impl Stop {
    /// It was closed.
    pub(crate) fn closed() -> Self {
        Self { code: "log.closed", message: "the log is closed".to_owned() }
    }

    /// The disk can no longer be trusted.
    pub(crate) fn failed(why: &str) -> Self {
        let message = format!(
            "the log has stopped after {why}; nothing after that is durable until axle is restarted"
        );
        Self { code: "log.failed", message }
    }

    /// As an error for a caller.
    pub(crate) fn error(&self) -> Error {
        Error::unavailable(self.code, self.message.clone())
    }
}

/// The durable end of the log and those who wait for it to move.
#[derive(Default)]
pub(crate) struct Waiters {
    durable: AtomicU64,
    stop: OnceLock<Stop>,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    /// By the offset that must be durable, then by ticket.
    wakers: BTreeMap<(u64, u64), Waker>,
    ticket: u64,
}

impl Waiters {
    /// Nobody waits, and everything before `durable` is durable.
    pub(crate) fn new(durable: u64) -> Self {
        Self { durable: AtomicU64::new(durable), ..Self::default() }
    }

    /// One past the last durable record.
    pub(crate) fn durable(&self) -> u64 {
        self.durable.load(Ordering::Acquire)
    }

    /// Why the log has stopped, if it has.
    pub(crate) fn stop_reason(&self) -> Option<&Stop> {
        self.stop.get()
    }

    /// Everything before `durable` is durable now.
    pub(crate) fn advance(&self, durable: u64) {
        self.durable.store(durable, Ordering::Release);
        let done = {
            let mut waiting = self.lock();
            let later = waiting.wakers.split_off(&(durable, 0));
            std::mem::replace(&mut waiting.wakers, later)
        };
        done.into_values().for_each(Waker::wake);
    }

    /// Nothing more will become durable. The first reason stays.
    pub(crate) fn stop(&self, reason: Stop) {
        drop(self.stop.set(reason));
        let all = std::mem::take(&mut self.lock().wakers);
        all.into_values().for_each(Waker::wake);
    }

    /// Waits until the record of an offset is durable or the log has stopped.
    pub(crate) fn wait(&self, offset: u64) -> Wait<'_> {
        Wait { waiters: self, offset, ticket: None }
    }

    fn outcome(&self, offset: u64) -> Option<Result<(), Error>> {
        if offset < self.durable() {
            return Some(Ok(()));
        }
        self.stop_reason().map(|reason| Err(reason.error()))
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A wait for one record. Dropping it leaves nothing behind.
pub(crate) struct Wait<'a> {
    waiters: &'a Waiters,
    offset: u64,
    ticket: Option<u64>,
}

impl Future for Wait<'_> {
    type Output = Result<(), Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(outcome) = self.waiters.outcome(self.offset) {
            return Poll::Ready(outcome);
        }
        let mut waiting = self.waiters.lock();
        // Both ends move before they take the lock, so what is not seen here will wake us.
        if let Some(outcome) = self.waiters.outcome(self.offset) {
            return Poll::Ready(outcome);
        }
        let ticket = self.ticket.unwrap_or_else(|| {
            waiting.ticket += 1;
            waiting.ticket
        });
        let waker = waiting.wakers.entry((self.offset, ticket));
        waker
            .and_modify(|waker| waker.clone_from(context.waker()))
            .or_insert_with(|| context.waker().clone());
        drop(waiting);
        self.ticket = Some(ticket);
        Poll::Pending
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            self.waiters.lock().wakers.remove(&(self.offset, ticket));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;
    use std::task::Wake;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn a_commit_wakes_those_whose_record_is_in_it_and_nobody_else() {
        let waiters = Waiters::new(0);
        let counts: Vec<Arc<Count>> = (0..4).map(|_| Arc::default()).collect();
        let mut waits: Vec<_> = (0..4).map(|offset| Box::pin(waiters.wait(offset))).collect();
        for (wait, count) in waits.iter_mut().zip(&counts) {
            let waker = Waker::from(Arc::clone(count));
            assert!(wait.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        }
        waiters.advance(2);
        let woken: Vec<usize> = counts.iter().map(|count| count.0.load(Ordering::SeqCst)).collect();
        assert_eq!(woken, [1, 1, 0, 0]);
        drop(waits);
        assert!(waiters.lock().wakers.is_empty(), "a dropped wait leaves nothing behind");
    }
}
