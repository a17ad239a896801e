//! Reads SQLite's write-ahead log as SQLite does when it recovers, and tells damage from the end
//! of a write that a crash has cut short, where SQLite silently forgets what lies behind.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, BufReader, ErrorKind, Read};
use std::path::Path;

use super::frame::{Checksum, FRAME_HEADER_BYTES, Frame, HEADER_BYTES, Header, WrongBit};

const BUFFER_BYTES: usize = 1 << 20;

/// What the log holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Survey {
    /// Frames up to the last commit.
    pub(crate) frames: u32,
    /// Pages of the file as of the last commit.
    pub(crate) page_count: u32,
    /// CRC-32C of each page that is committed here, by number.
    pub(crate) pages: BTreeMap<u32, u32>,
    /// Frames behind the last commit that belong to no finished one.
    pub(crate) unfinished: u32,
    /// What is wrong.
    pub(crate) damage: Option<Damage>,
    /// The page of the damaged frame and the CRC-32C of what stands there, where that may also be
    /// a commit of which a crash has kept the frame's header alone: SQLite writes the page after
    /// it, over what an earlier use of the file has left there.
    pub(crate) doubt: Option<(u32, u32)>,
}

/// Why what lies behind cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Damage {
    /// The header: nothing can be read.
    Header,
    /// A frame, numbered from 1.
    Frame { frame: u32, at: u64, page: u32 },
}

impl fmt::Display for Damage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header => write!(
                formatter,
                "bytes 0 to {HEADER_BYTES} of the write-ahead log are damaged: no change in it can \
                 be read"
            ),
            Self::Frame { frame, at, page } => write!(
                formatter,
                "frame {frame} of the write-ahead log (page {page}, from byte {at}) is damaged: \
                 its change and all behind it cannot be read"
            ),
        }
    }
}

/// Reads the log; one that is missing is empty.
///
/// # Errors
/// Those of reading.
pub(crate) fn survey(wal: &Path) -> io::Result<Survey> {
    let file = match File::open(wal) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Survey::default()),
        Err(error) => return Err(error),
    };
    // A header alone, whole or not, is followed by nothing that could be lost.
    if file.metadata()?.len() <= HEADER_BYTES as u64 {
        return Ok(Survey::default());
    }
    let mut reader = BufReader::with_capacity(BUFFER_BYTES, file);
    let mut bytes = [0; HEADER_BYTES];
    reader.read_exact(&mut bytes)?;
    // SQLite makes the header durable before the first frame: this is not the work of a crash.
    let Some(header) = Header::parse(&bytes) else {
        return Ok(Survey { damage: Some(Damage::Header), ..Survey::default() });
    };
    let buffer = vec![0; header.frame_bytes()];
    Surveyor { reader, header, buffer, number: 0, survey: Survey::default() }.run()
}

struct Surveyor<R> {
    reader: R,
    header: Header,
    buffer: Vec<u8>,
    /// Of the frame in the buffer.
    number: u32,
    survey: Survey,
}

impl<R: Read> Surveyor<R> {
    fn run(mut self) -> io::Result<Survey> {
        let mut before = self.header.checksum;
        let mut open = Vec::new();
        while let Some(frame) = self.next()? {
            let expected = self.header.expected(before, &self.buffer);
            if !self.is_ours(&frame) || frame.page == 0 || expected != frame.stored {
                self.survey.unfinished = u32::try_from(open.len()).unwrap_or(u32::MAX);
                self.tail(frame, expected)?;
                return Ok(self.survey);
            }
            before = frame.stored;
            let page = self.buffer.get(FRAME_HEADER_BYTES..).unwrap_or_default();
            open.push((frame.page, crc32c::crc32c(page)));
            if frame.commit > 0 {
                self.survey.frames = self.number;
                self.survey.page_count = frame.commit;
                self.survey.pages.extend(open.drain(..));
            }
        }
        self.survey.unfinished = u32::try_from(open.len()).unwrap_or(u32::MAX);
        Ok(self.survey)
    }

    /// The next whole frame, read into the buffer.
    fn next(&mut self) -> io::Result<Option<Frame>> {
        match self.reader.read_exact(&mut self.buffer) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(error),
        }
        self.number += 1;
        Ok(Some(Frame::parse(&self.buffer)))
    }

    /// Frames of an earlier use of the file stay where nothing has overwritten them yet.
    fn is_ours(&self, frame: &Frame) -> bool {
        frame.salts == self.header.salts
    }

    /// Looks behind the first frame that does not follow.
    ///
    /// A commit is synced before the next transaction writes. So a crash can spoil frames of the
    /// last transaction alone: a commit that another frame follows, by its checksum, proves that
    /// all before it was durable once. One wrong bit is known by its checksum, and tells of damage
    /// where a commit is lost by it: this frame is one, or one stands behind it.
    fn tail(&mut self, bad: Frame, expected: Checksum) -> io::Result<()> {
        let size = self.header.frame_bytes() as u64;
        let at = HEADER_BYTES as u64 + u64::from(self.number - 1) * size;
        let damage = Damage::Frame { frame: self.number, at, page: bad.page };
        let wrong_bit = self.header.wrong_bit(&bad, expected);
        let page = self.buffer.get(FRAME_HEADER_BYTES..).unwrap_or_default();
        let doubt = (bad.page, crc32c::crc32c(page));
        let mut has_commit_behind = false;
        self.survey.unfinished += u32::from(self.is_ours(&bad));
        // Whether the frame before is, or follows without a gap, a commit.
        let (mut before, mut is_behind_commit) = (bad.stored, self.is_ours(&bad) && bad.commit > 0);
        while let Some(frame) = self.next()? {
            let follows =
                self.is_ours(&frame) && self.header.expected(before, &self.buffer) == frame.stored;
            self.survey.unfinished += u32::from(self.is_ours(&frame));
            has_commit_behind |= self.is_ours(&frame) && frame.commit > 0;
            if follows && is_behind_commit {
                self.survey.damage = Some(damage);
            }
            is_behind_commit = follows && (is_behind_commit || frame.commit > 0);
            before = frame.stored;
        }
        if self.survey.damage.is_some() {
            return Ok(());
        }
        let is_lost_commit = wrong_bit == Some(WrongBit::Commit) || bad.commit > 0;
        if wrong_bit.is_some() && (has_commit_behind || is_lost_commit) {
            self.survey.damage = Some(damage);
            let is_half_written = !has_commit_behind && wrong_bit == Some(WrongBit::Elsewhere);
            self.survey.doubt = is_half_written.then_some(doubt);
        }
        Ok(())
    }
}
