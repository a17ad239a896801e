//! What was appended and is not durable yet: one buffer per segment that it goes to.

use std::collections::VecDeque;
use std::time::Instant;

use axle_domain::{Error, Kind, Message, Offset, limit};
use bytes::BytesMut;

use crate::record;
use crate::segment::{HEADER_BYTES, Header, MARK_EVERY_BYTES, VERSION};
use crate::settings::LogSettings;

/// A run of records for one segment, written by one write and made durable by one sync.
pub(crate) struct Piece {
    /// The segment.
    pub(crate) header: Header,
    /// Where the run begins in the file.
    pub(crate) position: u64,
    /// Offset of its first record.
    pub(crate) base: u64,
    /// One past its last record.
    pub(crate) next: u64,
    /// Its bytes.
    pub(crate) buffer: BytesMut,
    /// Where some of its records stand in the file.
    pub(crate) marks: Vec<(u64, u64)>,
    /// When its first record came, and when its last, microseconds since 1970.
    pub(crate) received: (i64, i64),
}

impl Piece {
    /// Where the run ends in the file.
    pub(crate) fn end(&self) -> u64 {
        self.position + self.buffer.len() as u64
    }
}

/// The queue before the writer, and where the next record will stand.
pub(crate) struct Pending {
    pieces: VecDeque<Piece>,
    /// Bytes that were appended and are not durable.
    pub(crate) waiting: usize,
    /// When the first of the pieces here was begun, and the first of those that are written now.
    begun: [Option<Instant>; 2],
    /// Offset of the next record.
    pub(crate) next: u64,
    header: Header,
    position: u64,
    spare: Option<BytesMut>,
    /// The writer sleeps and wants to be woken.
    pub(crate) is_idle: bool,
    /// No more is accepted; what is here shall be written.
    pub(crate) is_closing: bool,
    /// The disk is full; nothing is lost, nothing is accepted.
    pub(crate) is_full: bool,
    /// Somebody asked to look whether segments can be deleted.
    pub(crate) is_released: bool,
}

impl Pending {
    /// Nothing waits; the next record goes to that segment and place.
    pub(crate) fn new(header: Header, position: u64, next: u64) -> Self {
        Self {
            pieces: VecDeque::new(),
            waiting: 0,
            begun: [None, None],
            next,
            header,
            position,
            spare: None,
            is_idle: false,
            is_closing: false,
            is_full: false,
            is_released: false,
        }
    }

    /// Takes a message.
    ///
    /// # Errors
    /// `TooLarge`, `Busy`, and `Unavailable` with `log.disk_full`; nothing has changed then.
    pub(crate) fn push(
        &mut self,
        message: &Message<'_>,
        settings: &LogSettings,
    ) -> Result<Offset, Error> {
        let size = record::size(message)?;
        if self.is_full {
            return Err(disk_full());
        }
        if self.waiting + size > limit::COMMIT_BUFFER_BYTES_MAX {
            return Err(busy(self.waiting + size));
        }
        let is_begun = self.position > HEADER_BYTES as u64;
        let is_older = self.header.version < VERSION;
        let is_full = self.position + size as u64 > settings.segment_bytes;
        if is_begun && (is_full || is_older) {
            self.begin_segment((settings.segment_id)(self.next));
        }
        let (header, position, offset) = (self.header, self.position, self.next);
        let at = message.received_at.0;
        let open = self.pieces.back_mut().filter(|piece| piece.header.base == header.base);
        let piece = match open {
            Some(piece) => piece,
            None => {
                let buffer = self.spare.take().unwrap_or_default();
                self.begun[0].get_or_insert_with(Instant::now);
                let received = (at, at);
                let marks = Vec::new();
                let base = offset;
                let piece = Piece { header, position, base, next: base, buffer, marks, received };
                self.pieces.push_back_mut(piece)
            }
        };
        record::encode(&mut piece.buffer, message, offset, size, header.seed());
        piece.next = offset + 1;
        piece.received.1 = at;
        if position / MARK_EVERY_BYTES != (position + size as u64) / MARK_EVERY_BYTES {
            piece.marks.push((offset, position));
        }
        self.next += 1;
        self.position += size as u64;
        self.waiting += size;
        Ok(Offset(offset))
    }

    fn begin_segment(&mut self, id: u64) {
        let Header { id: previous_id, base: previous_base, .. } = self.header;
        let version = VERSION;
        self.header = Header { version, id, base: self.next, previous_id, previous_base };
        self.position = HEADER_BYTES as u64;
    }

    /// Whether the writer has something to write.
    pub(crate) fn has_pieces(&self) -> bool {
        !self.pieces.is_empty()
    }

    /// Takes everything for one commit.
    pub(crate) fn take(&mut self) -> VecDeque<Piece> {
        let [here, writing] = &mut self.begun;
        *writing = here.take();
        std::mem::take(&mut self.pieces)
    }

    /// Some bytes are no longer waiting: the disk had room. Perhaps with a buffer to use again.
    pub(crate) fn finish(&mut self, bytes: usize, spare: Option<BytesMut>) {
        self.waiting = self.waiting.saturating_sub(bytes);
        self.is_full = false;
        if self.waiting == 0 || !self.pieces.is_empty() {
            // Of a commit of several pieces the rest is younger.
            self.begun[1] = None;
        }
        if let Some(mut spare) = spare {
            spare.clear();
            self.spare = Some(spare);
        }
    }

    /// Bytes that wait for a sync.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting
    }

    /// Since when the oldest of them wait.
    pub(crate) fn waiting_since(&self) -> Option<Instant> {
        let [here, writing] = self.begun;
        writing.or(here)
    }

    /// Whether an append of any size has a chance.
    pub(crate) fn has_room(&self) -> bool {
        !self.is_full && self.waiting <= limit::COMMIT_BUFFER_BYTES_MAX / 2
    }
}

fn busy(waiting: usize) -> Error {
    let text = format!(
        "{} bytes wait for the log's sync, the limit is {}; try again shortly",
        waiting,
        limit::COMMIT_BUFFER_BYTES_MAX
    );
    Error::new(Kind::Busy, "log.busy", text)
        .with_limit(limit::COMMIT_BUFFER_BYTES_MAX as u64, waiting as u64)
}

fn disk_full() -> Error {
    let text = "the disk of the log is full; what was acknowledged is safe, more is accepted as \
                soon as there is room";
    Error::unavailable("log.disk_full", text).with_retry_after(crate::writer::FULL_RETRY)
}
