//! The queue as the agent's tasks share it: each piece of work on a thread that may wait for the
//! disk, one at a time.

use std::sync::{Arc, Mutex, PoisonError};

use axle_domain::Error;

use crate::queue::Queue;

/// A shared queue.
#[derive(Clone)]
pub(crate) struct Store(Arc<Mutex<Queue>>);

impl Store {
    /// Shares a queue.
    pub(crate) fn new(queue: Queue) -> Self {
        Self(Arc::new(Mutex::new(queue)))
    }

    /// Does a piece of work. What was begun is done, even when the caller is dropped.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Queue) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let queue = Arc::clone(&self.0);
        let done = tokio::task::spawn_blocking(move || {
            // A transaction that a panic cut off was rolled back: the queue is as before.
            work(&mut queue.lock().unwrap_or_else(PoisonError::into_inner))
        });
        done.await.map_err(|error| {
            Error::internal("agent.stopped", "work on the queue was cut off").with_source(error)
        })?
    }
}
