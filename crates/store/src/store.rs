//! The store: recent rows in memory, files on disk, and the threads that move one to the other.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use async_trait::async_trait;
use axle_domain::port::{Answer, History, Query, StoreFigures, Table, TelemetryStore};
use axle_domain::{Error, Offset, RowBatch, Schemas};
use tokio::sync::{Notify, watch};

use crate::chunk::Chunk;
use crate::data_file::DataFile;
use crate::layout::Layout;
use crate::manifest::{Manifest, WriteError};
use crate::plan::Snapshot;
use crate::query::Queries;
use crate::settings::StoreSettings;
use crate::{flush, merging, open};

/// The telemetry store in a folder of this machine.
pub struct ColumnarStore {
    shared: Arc<Shared>,
    queries: Queries,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// What the store's threads share.
pub(crate) struct Shared {
    pub(crate) folder: PathBuf,
    pub(crate) settings: StoreSettings,
    pub(crate) layouts: BTreeMap<String, Arc<Layout>>,
    state: Mutex<State>,
    /// Wakes the threads; goes with `state`.
    pub(crate) wake: Condvar,
    /// Wakes writers that wait for room.
    room: Notify,
    /// Counts finished flushes; carries the failure of the last.
    flushed: watch::Sender<Flushed>,
    /// Held while files change; never together with `state` for longer than a swap.
    pub(crate) commit: Mutex<Manifest>,
    /// Keeps other processes out.
    _lock: std::fs::File,
}

/// How far flushes have come.
#[derive(Clone, Debug, Default)]
struct Flushed {
    count: u64,
    failure: Option<String>,
}

/// What changes.
#[derive(Default)]
pub(crate) struct State {
    /// Per stream.
    pub(crate) streams: BTreeMap<String, StreamState>,
    /// One past the last record that was written.
    pub(crate) through: u64,
    /// One past the last record whose rows are in files.
    pub(crate) position: u64,
    /// See [`StoreFigures::collapsed_rows`].
    pub(crate) collapsed: u64,
    /// Flushes that were asked for.
    pub(crate) asked: u64,
    /// Flushes that are finished.
    pub(crate) done: u64,
    /// Says why nothing can be committed any more.
    pub(crate) poison: Option<String>,
    /// Whether the threads should end.
    pub(crate) is_closed: bool,
}

/// The rows of one stream.
#[derive(Default)]
pub(crate) struct StreamState {
    /// Rows that no flush has taken.
    pub(crate) active: Vec<Arc<Chunk>>,
    /// Rows that a flush is writing.
    pub(crate) flushing: Vec<Arc<Chunk>>,
    /// Files.
    pub(crate) files: Vec<Arc<DataFile>>,
}

impl State {
    /// Rows and bytes in memory.
    pub(crate) fn recent(&self) -> (usize, usize) {
        let chunks = self.streams.values().flat_map(|s| s.active.iter().chain(&s.flushing));
        chunks.fold((0, 0), |(rows, bytes), chunk| (rows + chunk.rows(), bytes + chunk.bytes))
    }

    fn active(&self) -> (usize, usize) {
        let chunks = self.streams.values().flat_map(|stream| &stream.active);
        chunks.fold((0, 0), |(rows, bytes), chunk| (rows + chunk.rows(), bytes + chunk.bytes))
    }

    /// Whether enough rows wait for a flush.
    pub(crate) fn is_flush_due(&self, settings: &StoreSettings) -> bool {
        let (rows, bytes) = self.active();
        let rows_due = settings.flush_rows.min(settings.memory_rows_max);
        rows >= rows_due || bytes >= settings.memory_bytes
    }
}

impl Shared {
    /// The state; a panic elsewhere leaves it whole, since it changes in single steps.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All rows of a stream as they are now.
    pub(crate) fn snapshot(&self, stream: &str) -> Option<Snapshot> {
        let layout = Arc::clone(self.layouts.get(stream)?);
        let state = self.state();
        let (mut chunks, mut files) = (Vec::new(), Vec::new());
        if let Some(stream) = state.streams.get(stream) {
            chunks.extend(stream.flushing.iter().chain(&stream.active).cloned());
            files.clone_from(&stream.files);
        }
        Some(Snapshot { layout, chunks, files })
    }

    /// What becomes of a manifest that was not replaced: where nobody can tell which one is there,
    /// nothing is committed any more until the store is opened anew.
    pub(crate) fn give_up_if_open(&self, error: WriteError) -> Error {
        match error {
            WriteError::Unchanged(error) => error,
            WriteError::Open(error) => {
                self.state().poison = Some(error.message.clone());
                error
            }
        }
    }

    /// Tells those who wait that a flush ended.
    pub(crate) fn announce(&self, count: u64, failure: Option<String>) {
        self.flushed.send_replace(Flushed { count, failure });
        self.room.notify_waiters();
    }

    fn ask_for_flush(&self) -> u64 {
        let mut state = self.state();
        state.asked += 1;
        self.wake.notify_all();
        state.asked
    }
}

impl ColumnarStore {
    /// Opens the store of a folder, which is created if absent.
    ///
    /// # Errors
    /// `Unavailable` where the disk refuses or another process has the folder open; `Corrupt`
    /// where the manifest is damaged or a file that it names is missing.
    pub fn open(
        folder: &Path,
        schemas: Schemas,
        settings: StoreSettings,
    ) -> Result<Arc<Self>, Error> {
        let layouts: BTreeMap<String, Arc<Layout>> = schemas
            .iter()
            .map(|schema| {
                (schema.name.as_str().to_owned(), Arc::new(Layout::new(Arc::clone(schema))))
            })
            .collect();
        let lock = open::lock(folder)?;
        let (manifest, streams) = open::open(folder, &layouts)?;
        let state = State {
            streams,
            through: manifest.position,
            position: manifest.position,
            collapsed: manifest.collapsed_rows,
            ..State::default()
        };
        let shared = Arc::new(Shared {
            folder: folder.to_owned(),
            layouts,
            state: Mutex::new(state),
            wake: Condvar::new(),
            room: Notify::new(),
            flushed: watch::Sender::new(Flushed::default()),
            commit: Mutex::new(manifest),
            _lock: lock,
            settings,
        });
        let queries = Queries::new(&shared)?;
        let threads = vec![
            spawn("axle-flush", &shared, flush::run)?,
            spawn("axle-merge", &shared, merging::run)?,
        ];
        Ok(Arc::new(Self { shared, queries, threads: Mutex::new(threads) }))
    }

    /// Takes a batch into memory, unless memory is full.
    fn admit(
        &self,
        chunks: &mut Vec<(String, Arc<Chunk>)>,
        through: Offset,
    ) -> Result<bool, Error> {
        let settings = &self.shared.settings;
        let mut state = self.shared.state();
        if state.is_closed {
            return Err(closed());
        }
        let (rows, bytes) = state.recent();
        let is_full = rows >= settings.memory_rows_max || bytes >= 2 * settings.memory_bytes;
        if is_full {
            if let Some(reason) = &state.poison {
                return Err(poisoned(reason));
            }
            return Ok(false);
        }
        for (stream, chunk) in chunks.drain(..) {
            let Some(layout) = self.shared.layouts.get(&stream) else { continue };
            let active = &mut state.streams.entry(stream).or_default().active;
            active.push(chunk);
            put_together(layout, active)?;
        }
        state.through = state.through.max(through.0);
        if state.is_flush_due(settings) {
            self.shared.wake.notify_all();
        }
        Ok(true)
    }
}

/// Most chunks of one size that lie side by side.
const CHUNKS_ALIKE_MAX: usize = 16;
/// Chunks from this size on are left as they are.
const CHUNK_ROWS: usize = 16 * 1024;

/// Puts small chunks together, so that there are few however small the writes are. A row is
/// copied once per sixteenfold growth.
fn put_together(layout: &Layout, chunks: &mut Vec<Arc<Chunk>>) -> Result<(), Error> {
    loop {
        let Some(rows) = chunks.last().map(|chunk| chunk.rows()).filter(|rows| *rows < CHUNK_ROWS)
        else {
            return Ok(());
        };
        let alike = |chunk: &&Arc<Chunk>| chunk.rows() < (rows * CHUNKS_ALIKE_MAX).min(CHUNK_ROWS);
        let count = chunks.iter().rev().take_while(alike).count();
        if count < CHUNKS_ALIKE_MAX {
            return Ok(());
        }
        let tail = chunks.split_off(chunks.len() - count);
        chunks.push(Arc::new(Chunk::concat(layout, &tail)?));
    }
}

fn spawn(name: &str, shared: &Arc<Shared>, run: fn(&Shared)) -> Result<JoinHandle<()>, Error> {
    let shared = Arc::clone(shared);
    let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || run(&shared));
    thread.map_err(|error| crate::failure::io("start a thread of the store", error))
}

fn closed() -> Error {
    Error::unavailable("store.closed", "the telemetry store is closed")
}

pub(crate) fn poisoned(reason: &str) -> Error {
    Error::unavailable(
        "store.failed",
        format!("the telemetry store takes no more rows until a restart: {reason}"),
    )
}

#[async_trait]
impl TelemetryStore for ColumnarStore {
    async fn write(&self, batches: Vec<RowBatch>, through: Offset) -> Result<(), Error> {
        let mut chunks = Vec::with_capacity(batches.len());
        for batch in batches.into_iter().filter(|batch| !batch.is_empty()) {
            let name = batch.schema.name.as_str().to_owned();
            let layout = self.shared.layouts.get(&name).ok_or_else(|| {
                Error::internal("store.stream_unknown", format!("the store has no stream `{name}`"))
            })?;
            chunks.push((name, Arc::new(Chunk::new(layout, batch)?)));
        }
        loop {
            let room = self.shared.room.notified();
            tokio::pin!(room);
            room.as_mut().enable();
            if self.admit(&mut chunks, through)? {
                return Ok(());
            }
            // Memory is full, so a flush is due or under way; it wakes us however it ends.
            room.await;
        }
    }

    fn position(&self) -> Offset {
        Offset(self.shared.state().position)
    }

    async fn flush(&self) -> Result<(), Error> {
        let mut flushed = self.shared.flushed.subscribe();
        if self.shared.state().is_closed {
            return Err(closed());
        }
        let ticket = self.shared.ask_for_flush();
        let done = flushed.wait_for(|flushed| flushed.count >= ticket).await;
        let failure = done.map_err(|_closed| closed())?.failure.clone();
        match failure {
            None => Ok(()),
            Some(reason) => Err(Error::unavailable("store.flush_failed", reason)),
        }
    }

    async fn query(&self, query: Query) -> Result<Answer, Error> {
        self.queries.answer(query).await
    }

    async fn history(&self, history: History) -> Result<(Table, bool), Error> {
        self.queries.history(history).await
    }

    fn figures(&self) -> StoreFigures {
        let state = self.shared.state();
        let mut figures = StoreFigures {
            recent_rows: state.recent().0 as u64,
            collapsed_rows: state.collapsed,
            ..StoreFigures::default()
        };
        for file in state.streams.values().flat_map(|stream| &stream.files) {
            figures.files += 1;
            figures.file_rows += file.entry.range.rows;
            figures.file_bytes += file.entry.bytes;
        }
        figures
    }

    async fn close(&self) -> Result<(), Error> {
        let result = if self.shared.state().is_closed { Ok(()) } else { self.flush().await };
        self.stop();
        let threads: Vec<_> =
            self.threads.lock().unwrap_or_else(PoisonError::into_inner).drain(..).collect();
        let join = move || threads.into_iter().for_each(|thread| drop(thread.join()));
        tokio::task::spawn_blocking(join)
            .await
            .map_err(|error| crate::failure::internal("store.close", error))?;
        result
    }
}

impl ColumnarStore {
    fn stop(&self) {
        self.shared.state().is_closed = true;
        self.shared.wake.notify_all();
        self.shared.room.notify_waiters();
    }
}

impl Drop for ColumnarStore {
    fn drop(&mut self) {
        self.stop();
    }
}
