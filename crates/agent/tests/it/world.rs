//! Agents with a data directory of their own, stopped and killed at will.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use axle_agent::{Agent, DeviceClock, MachineClock, Reading, Settings, Source};
use axle_domain::{DeviceId, Error, StreamName, Timestamp};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// A folder for an agent, and what it is told.
pub(crate) struct World {
    folder: TempDir,
    pub(crate) settings: Settings,
}

impl World {
    /// An agent that follows `values` of the folder.
    pub(crate) fn new(server: &str, stream: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings {
            device: DeviceId::parse("d-1").unwrap(),
            server: server.to_owned(),
            credential: None,
            data_dir: folder.path().join("agent"),
            stream: StreamName::parse(stream).unwrap(),
            source: Source::File(folder.path().join("values")),
            commands: BTreeMap::new(),
            send_every: Duration::from_millis(50),
            queue_bytes_max: 1 << 20,
            retry_pause: (Duration::from_millis(5), Duration::from_millis(20)),
        };
        Self { folder, settings }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Appends lines to the file that the agent follows.
    pub(crate) fn write(&self, lines: &str) {
        append(&self.path("values"), lines);
    }

    /// Starts an agent with this machine's clock.
    pub(crate) fn start(&self) -> Running {
        self.start_with(Arc::new(MachineClock::open().unwrap())).unwrap()
    }

    pub(crate) fn start_with(&self, clock: Arc<dyn DeviceClock>) -> Result<Running, Error> {
        let agent = Agent::open(self.settings.clone(), clock)?;
        let stop = CancellationToken::new();
        Ok(Running { task: tokio::spawn(agent.run(stop.clone())), stop })
    }

    /// How many rows a table of the agent's file has.
    pub(crate) fn count(&self, table: &str) -> i64 {
        let path = self.settings.data_dir.join("queue.db");
        let Ok(file) = rusqlite::Connection::open(path) else { return 0 };
        file.busy_timeout(Duration::from_secs(5)).unwrap();
        file.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap_or(0)
    }

    /// Waits until a table has a number of rows. There is no event for this: it is a look from
    /// outside into a file.
    pub(crate) async fn wait_for_count(&self, table: &str, count: i64) {
        for _ in 0..3000 {
            if self.count(table) == count {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("`{table}` has {} rows, not {count}", self.count(table));
    }
}

pub(crate) fn append(path: &Path, text: &str) {
    use std::io::Write;
    let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
    file.unwrap().write_all(text.as_bytes()).unwrap();
}

/// An agent at work.
pub(crate) struct Running {
    task: JoinHandle<Result<(), Error>>,
    stop: CancellationToken,
}

impl Running {
    /// Asks it to stop; it must end well.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap().unwrap();
    }

    /// Cuts it off where it stands.
    pub(crate) async fn kill(self) {
        self.task.abort();
        let _cut = self.task.await.is_err();
    }
}

/// A clock that a test sets.
pub(crate) struct TestClock {
    wall: AtomicI64,
    since_boot: AtomicI64,
    boot: String,
}

impl TestClock {
    /// A clock in its first second after a boot.
    pub(crate) fn new(boot: &str, wall: i64) -> Arc<Self> {
        let since_boot = AtomicI64::new(1_000_000);
        Arc::new(Self { wall: AtomicI64::new(wall), since_boot, boot: boot.to_owned() })
    }

    /// Time goes by.
    pub(crate) fn pass(&self, micros: i64) {
        self.wall.fetch_add(micros, Ordering::SeqCst);
        self.since_boot.fetch_add(micros, Ordering::SeqCst);
    }

    /// The network says what time it is.
    pub(crate) fn set(&self, wall: i64) {
        self.wall.store(wall, Ordering::SeqCst);
    }
}

impl DeviceClock for TestClock {
    fn read(&self) -> Reading {
        Reading {
            wall: Timestamp(self.wall.load(Ordering::SeqCst)),
            since_boot: self.since_boot.load(Ordering::SeqCst),
        }
    }

    fn boot(&self) -> &str {
        &self.boot
    }
}
