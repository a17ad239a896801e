//! A file that grows, and may be rotated: how far it was read is kept with what was read, so that
//! each line is taken once whatever happens. While the queue is full it is read no further: the
//! file itself keeps the rest.

use std::io::SeekFrom;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use axle_domain::{Error, Kind};
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tracing::{info, warn};

use super::{Keeper, RETRY_PAUSE, STRETCH_MAX};
use crate::queue::{Position, sample_bytes};
use crate::value::{LINE_BYTES_MAX, LineReader, Sample};

/// How often a file is looked at that does not grow.
const LOOK_PAUSE: Duration = Duration::from_millis(200);
/// What is read at one time.
const READ_BYTES: usize = 64 * 1024;
/// First bytes by which a file is known again.
const HEAD_BYTES: usize = 64;

/// Reads lines until the agent is asked to stop.
pub(super) async fn follow(keeper: &Keeper, path: &Path) -> Result<(), Error> {
    let name = path.display().to_string();
    let mut is_told = false;
    while !keeper.stop.is_cancelled() {
        match File::open(path).await {
            Ok(file) => {
                is_told = false;
                let mut followed = match Followed::open(keeper, file, &name).await {
                    Ok(followed) => followed,
                    Err(error) => return Err(unreadable(&name, &error)),
                };
                if let Err(error) = followed.follow(keeper, path).await? {
                    warn!(path = name, %error, "the file cannot be read on");
                    keeper.pause(RETRY_PAUSE).await;
                }
            }
            Err(error) => {
                if !is_told {
                    info!(path = name, %error, "waiting for the file");
                }
                is_told = true;
                keeper.pause(LOOK_PAUSE * 5).await;
            }
        }
    }
    Ok(())
}

fn unreadable(name: &str, error: &std::io::Error) -> Error {
    Error::new(Kind::Invalid, "agent.source", format!("the file {name} cannot be read: {error}"))
}

/// A file that is open.
struct Followed {
    file: File,
    position: Position,
    /// Up to where that is on the disk.
    kept: u64,
    reader: LineReader,
    is_csv: bool,
    /// Bytes after the last whole line.
    rest: Vec<u8>,
    /// Whether the rest of a line is being left out that was too long.
    is_skipping: bool,
}

impl Followed {
    async fn open(keeper: &Keeper, mut file: File, name: &str) -> std::io::Result<Self> {
        let metadata = file.metadata().await?;
        let (device, inode) = (metadata.dev(), metadata.ino());
        let path = name.to_owned();
        let found = keeper.shared.store.run(move |queue| queue.find_position(&path)).await;
        let found = found.map_err(std::io::Error::other)?;
        let mut position = Position { path: name.to_owned(), device, inode, ..Position::default() };
        if let Some(found) = found.filter(|found| (found.device, found.inode) == (device, inode)) {
            let mut head = vec![0; found.head.len()];
            let is_same = metadata.len() >= found.offset
                && file.read_exact(&mut head).await.is_ok()
                && head == found.head;
            if is_same {
                position = found;
            }
        }
        let is_csv = Path::new(name).extension().is_some_and(|extension| extension == "csv");
        let mut reader = keeper.reader();
        if is_csv && position.offset > 0 {
            file.rewind().await?;
            reader.set_header(&first_line(&mut file).await?);
        }
        file.seek(SeekFrom::Start(position.offset)).await?;
        let kept = position.offset;
        Ok(Self { file, position, kept, reader, is_csv, rest: Vec::new(), is_skipping: false })
    }

    /// Reads until the file was replaced; `Ok(Err(…))` when it cannot be read any more.
    async fn follow(&mut self, keeper: &Keeper, path: &Path) -> Result<std::io::Result<()>, Error> {
        loop {
            if keeper.stop.is_cancelled() {
                return Ok(Ok(()));
            }
            let mut buffer = vec![0; READ_BYTES];
            let count = match self.file.read(&mut buffer).await {
                Ok(count) => count,
                Err(error) => return Ok(Err(error)),
            };
            if count > 0 {
                self.rest.extend(buffer.iter().take(count));
                self.take(keeper, false).await?;
                continue;
            }
            match self.was_replaced(path).await {
                Ok(false) => keeper.pause(LOOK_PAUSE).await,
                Ok(true) => {
                    // What a writer that still had the old file open wrote meanwhile.
                    let mut last = Vec::new();
                    if self.file.read_to_end(&mut last).await.is_ok() {
                        self.rest.extend(last);
                    }
                    self.take(keeper, true).await?;
                    return Ok(Ok(()));
                }
                Err(error) => return Ok(Err(error)),
            }
        }
    }

    /// Whether another file stands at the path, or this one was cut.
    async fn was_replaced(&self, path: &Path) -> std::io::Result<bool> {
        let own = self.file.metadata().await?;
        if own.len() < self.position.offset {
            return Ok(true);
        }
        // Between two files there may be none for a moment.
        let Ok(there) = tokio::fs::metadata(path).await else { return Ok(false) };
        Ok((there.dev(), there.ino()) != (own.dev(), own.ino()))
    }

    /// Keeps the values of whole lines; of the last line too when the file `is_over`.
    async fn take(&mut self, keeper: &Keeper, is_over: bool) -> Result<(), Error> {
        let (mut samples, mut bad, mut body_bytes) = (Vec::new(), 0, 0_i64);
        let bytes = std::mem::take(&mut self.rest);
        // A stretch must find room in the queue without pushing out what waits there.
        let stretch_bytes =
            i64::try_from(keeper.shared.settings.queue_bytes_max / 8).unwrap_or(i64::MAX);
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let end = rest.iter().position(|byte| *byte == b'\n');
            let Some((line, after)) = end
                .and_then(|end| rest.split_at_checked(end + 1))
                .or(is_over.then_some((rest, &[])))
            else {
                break;
            };
            self.pass(line);
            rest = after;
            match self.read(line) {
                Ok(Some(sample)) => {
                    body_bytes += sample_bytes(&sample);
                    samples.push(sample);
                }
                Ok(None) => {}
                Err(reason) => {
                    bad += 1;
                    keeper.tell_bad(&reason);
                }
            }
            if samples.len() >= STRETCH_MAX || body_bytes >= stretch_bytes {
                self.keep(keeper, std::mem::take(&mut samples), (bad, body_bytes)).await?;
                (bad, body_bytes) = (0, 0);
                if keeper.stop.is_cancelled() {
                    return Ok(());
                }
            }
        }
        if rest.len() > LINE_BYTES_MAX {
            self.pass(rest);
            if !self.is_skipping {
                bad += 1;
                keeper.tell_bad("a line is too long");
            }
            self.is_skipping = true;
            rest = &[];
        }
        self.rest = rest.to_vec();
        self.keep(keeper, samples, (bad, body_bytes)).await
    }

    /// Reads a line that is whole.
    fn read(&mut self, line: &[u8]) -> Result<Option<Sample>, String> {
        if std::mem::take(&mut self.is_skipping) {
            return Ok(None);
        }
        let line = String::from_utf8_lossy(line);
        if self.is_csv && !self.reader.has_header() {
            self.reader.set_header(&line);
            return Ok(None);
        }
        self.reader.read(&line)
    }

    /// Moves on by some bytes.
    fn pass(&mut self, bytes: &[u8]) {
        let room = HEAD_BYTES.saturating_sub(self.position.head.len());
        if self.position.head.len() as u64 == self.position.offset {
            self.position.head.extend(bytes.iter().take(room));
        }
        self.position.offset += bytes.len() as u64;
    }

    async fn keep(
        &mut self,
        keeper: &Keeper,
        samples: Vec<Sample>,
        (bad, bytes): (i64, i64),
    ) -> Result<(), Error> {
        if self.position.offset == self.kept {
            return Ok(());
        }
        let shared = &keeper.shared;
        loop {
            let room = shared.room.notified();
            let is_full = shared.store.run(move |queue| Ok(queue.is_full(bytes))).await?;
            if bytes == 0 || !is_full {
                break;
            }
            tokio::select! {
                // What was not kept is read again at the next start.
                () = keeper.stop.cancelled() => return Ok(()),
                () = room => {}
            }
        }
        self.kept = self.position.offset;
        keeper.keep(samples, bad, Some(self.position.clone())).await
    }
}

async fn first_line(file: &mut File) -> std::io::Result<String> {
    let mut head = Vec::new();
    file.take(LINE_BYTES_MAX as u64).read_to_end(&mut head).await?;
    let line = head.split(|byte| *byte == b'\n').next().unwrap_or_default();
    Ok(String::from_utf8_lossy(line).into_owned())
}
