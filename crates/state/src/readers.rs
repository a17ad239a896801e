//! The connections that read: a few, opened when they are first needed, each used by one blocking
//! task at a time.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use axle_domain::Error;
use rusqlite::Connection;
use tokio::sync::Semaphore;

use crate::database;
use crate::failure::{Failure, unavailable};

/// Reads that run at one time; the others wait.
const READERS_MAX: usize = 4;

/// The pool.
pub(crate) struct Readers {
    idle: Arc<Idle>,
    permits: Arc<Semaphore>,
}

struct Idle {
    path: PathBuf,
    connections: Mutex<Vec<Connection>>,
}

impl Readers {
    pub(crate) fn new(path: &Path) -> Self {
        let idle = Idle { path: path.to_owned(), connections: Mutex::new(Vec::new()) };
        Self { idle: Arc::new(idle), permits: Arc::new(Semaphore::new(READERS_MAX)) }
    }

    /// Runs a read on a thread that may block. All its statements see one state of the file.
    pub(crate) async fn read<T, F>(&self, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, Failure> + Send + 'static,
    {
        let permits = Arc::clone(&self.permits);
        let permit = permits.acquire_owned().await.map_err(|error| stopped().with_source(error))?;
        let idle = Arc::clone(&self.idle);
        let task = tokio::task::spawn_blocking(move || {
            let answer = idle.read(work);
            drop(permit);
            answer
        });
        task.await.map_err(|error| stopped().with_source(error))?
    }
}

impl Idle {
    fn read<T>(&self, work: impl FnOnce(&Connection) -> Result<T, Failure>) -> Result<T, Error> {
        let idle = self.connections().pop();
        let connection = match idle {
            Some(connection) => connection,
            None => database::open_reader(&self.path)?,
        };
        let answer = snapshot(&connection, work);
        self.connections().push(connection);
        answer.map_err(Error::from)
    }

    fn connections(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        // A list of connections cannot be half changed, whatever became of the last holder.
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn snapshot<T>(
    connection: &Connection,
    work: impl FnOnce(&Connection) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let transaction = connection.unchecked_transaction()?;
    let answer = work(&transaction)?;
    transaction.commit()?;
    Ok(answer)
}

fn stopped() -> Error {
    unavailable("the state is closing: try again later")
}
