//! The agent as a whole: opens its parts, runs them side by side, and stops them in order.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use axle_domain::{Error, Kind};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::clock::DeviceClock;
use crate::execute::execute;
use crate::link::Link;
use crate::queue::{Queue, QueueOf};
use crate::settings::Settings;
use crate::source::follow;
use crate::store::Store;

/// What the agent's tasks share.
pub(crate) struct Shared {
    pub(crate) settings: Settings,
    pub(crate) clock: Arc<dyn DeviceClock>,
    pub(crate) store: Store,
    /// Something waits to be sent.
    pub(crate) outbox: Notify,
    /// A command waits for its turn.
    pub(crate) commands: Notify,
    /// Something has left the queue.
    pub(crate) room: Notify,
    bad_lines: AtomicU64,
    is_losing: AtomicBool,
}

impl Shared {
    /// Counts a bad line; how many there were since the start.
    pub(crate) fn count_bad_line(&self) -> u64 {
        self.bad_lines.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Whether values go for the first time since the last loss was told.
    pub(crate) fn is_first_loss(&self) -> bool {
        !self.is_losing.swap(true, Ordering::Relaxed)
    }

    /// A loss was told.
    pub(crate) fn loss_told(&self) {
        self.is_losing.store(false, Ordering::Relaxed);
    }
}

/// An agent that holds its data directory.
pub struct Agent {
    shared: Arc<Shared>,
    // Held until the process ends or this is dropped.
    _lock: File,
}

impl Agent {
    /// Takes the data directory, creating it where there is none, and opens what is in it.
    /// Commands that a crash interrupted have ended now, as failed.
    ///
    /// # Errors
    /// `Conflict`, when another agent holds the directory or a newer one wrote it; `Invalid`, when
    /// the settings contradict themselves or a file they name cannot be read.
    pub fn open(settings: Settings, clock: Arc<dyn DeviceClock>) -> Result<Self, Error> {
        settings.check()?;
        std::fs::create_dir_all(&settings.data_dir).map_err(|error| {
            let shown = settings.data_dir.display();
            Error::invalid("agent.data_dir", format!("cannot create {shown}: {error}"))
        })?;
        let lock = lock(&settings.data_dir)?;
        let of = QueueOf {
            device: &settings.device,
            boot: clock.boot(),
            stream: settings.stream.as_str(),
            bytes_max: settings.queue_bytes_max,
        };
        let queue = Queue::open(&settings.data_dir.join("queue.db"), &of)?;
        // A wrong path is said at once, not at the first connection.
        crate::link::dialer(&settings)?;
        let waiting = queue.count()?;
        info!(device.id = %settings.device, server = settings.server, waiting, "agent begins");
        let shared = Shared {
            settings,
            clock,
            store: Store::new(queue),
            outbox: Notify::new(),
            commands: Notify::new(),
            room: Notify::new(),
            bad_lines: AtomicU64::new(0),
            is_losing: AtomicBool::new(false),
        };
        Ok(Self { shared: Arc::new(shared), _lock: lock })
    }

    /// Measures, sends and executes until it is asked to stop; then what is there is sent, if the
    /// server can be reached, and a program that runs has a few seconds to end.
    ///
    /// # Errors
    /// When the queue cannot be used any more, or the source never can.
    pub async fn run(self, stop: CancellationToken) -> Result<(), Error> {
        let drain = CancellationToken::new();
        let inner = stop.child_token();
        let work = async {
            let done = tokio::try_join!(
                follow(Arc::clone(&self.shared), inner.clone()),
                execute(Arc::clone(&self.shared), inner.clone()),
            );
            drain.cancel();
            done.map(|((), ())| ())
        };
        let link = async {
            let done = Link::new(Arc::clone(&self.shared)).run(drain.clone()).await;
            // Without a way out nothing else makes sense.
            inner.cancel();
            done
        };
        let (worked, linked) = tokio::join!(work, link);
        worked.and(linked)?;
        let (waiting, sent, bad) = self
            .shared
            .store
            .run(|queue| Ok((queue.count()?, queue.number("sent")?, queue.number("bad_lines")?)))
            .await?;
        info!(waiting, sent, bad_lines = bad, "agent ends");
        Ok(())
    }
}

fn lock(data_dir: &Path) -> Result<File, Error> {
    let path = data_dir.join("lock");
    let opened = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path);
    let failed = |error: std::io::Error| {
        Error::invalid("agent.data_dir", format!("cannot lock {}: {error}", path.display()))
    };
    let file = opened.map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            let shown = data_dir.display();
            let message =
                format!("another agent uses {shown}: stop it, or give another --data-dir");
            Err(Error::new(Kind::Conflict, "agent.data_dir_taken", message))
        }
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}
