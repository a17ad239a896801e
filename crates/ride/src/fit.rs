//! FIT: a file of messages, each of a type that a definition message before it describes.
//!
//! ```text
//! file    header(12 or 14) · data(size from the header) · checksum(2), and perhaps another file
//! header  size u8 · protocol u8 · profile u16 · data size u32 · ".FIT" · [checksum u16]
//! message header u8 · definition or data
//! ```
//! Numbers are little-endian, except in messages whose definition says otherwise.

mod cursor;
mod definition;
mod developer;
mod record;
mod value;

use axle_domain::Timestamp;

use crate::plausible::find_implausible;
use crate::sample::{Finding, Format, Ride, Sample};
use crate::{RIDE_SAMPLES_MAX, SAMPLE_VALUES_MAX};
use cursor::Cursor;
use definition::Definition;
use developer::Descriptions;
pub(crate) use developer::plain;

/// Seconds from 1970 to 1989-12-31T00:00:00Z, where FIT begins to count.
const EPOCH_S: i64 = 631_065_600;
/// Less than this is a count of seconds since the device was switched on, not a date.
const DATE_MIN: u32 = 0x1000_0000;
/// The field of every message that says when.
const TIMESTAMP: u8 = 253;
const RECORD: u16 = 20;
const FIELD_DESCRIPTION: u16 = 206;
const MAGIC: &[u8; 4] = b".FIT";

/// Whether the bytes begin like a FIT file.
pub(crate) fn is_fit(bytes: &[u8]) -> bool {
    bytes.get(8..12) == Some(MAGIC)
}

/// Reads a file, and the files that are chained to it.
pub(crate) fn read(bytes: &[u8]) -> Ride {
    let mut reader = Reader {
        cursor: Cursor::new(bytes),
        samples: Vec::new(),
        without_time: 0,
        findings: Vec::new(),
    };
    let mut end = End::Whole;
    while matches!(end, End::Whole) && !reader.cursor.is_at_end() {
        end = reader.file();
    }
    reader.finish(end, bytes.len())
}

/// How the reading of a file ended.
enum End {
    /// As it must.
    Whole,
    /// At a byte from which on nothing can be understood; what stands before it is as it was
    /// written.
    Torn(usize),
    /// At a byte that no longer fits to those before: some before it may be shifted already.
    OutOfStep(usize),
}

/// What a header says.
struct Header {
    /// How many bytes of messages; `None` where its device never came to fill it in.
    data_bytes: Option<usize>,
}

struct Reader<'a> {
    cursor: Cursor<'a>,
    samples: Vec<Sample>,
    without_time: usize,
    findings: Vec<Finding>,
}

/// What the messages of one file share.
#[derive(Default)]
struct Context {
    definitions: [Option<Definition>; 16],
    descriptions: Descriptions,
    /// The last time that any message gave; compressed headers count from it.
    last: Option<u32>,
}

impl Reader<'_> {
    fn find(&mut self, at_byte: usize, what: impl Into<String>) {
        self.findings.push(Finding::new(at_byte, what));
    }

    /// One file of the chain.
    fn file(&mut self) -> End {
        let begin = self.cursor.position();
        let header = match self.header() {
            Ok(header) => header,
            Err(finding) => {
                self.findings.push(finding);
                return End::Torn(begin);
            }
        };
        let (start, whole) = (self.cursor.position(), self.cursor.len());
        let end = header.data_bytes.map_or(whole, |bytes| start.saturating_add(bytes));
        let mut context = Context::default();
        while self.cursor.position() < end {
            let at = self.cursor.position();
            if self.samples.len() >= RIDE_SAMPLES_MAX {
                self.find(
                    at,
                    format!("at most {RIDE_SAMPLES_MAX} records are read: split the file"),
                );
                return End::Torn(at);
            }
            let mut result = self.message(&mut context);
            if result.is_ok() && self.cursor.position() > end {
                self.samples.pop_if(|last| last.at_byte == at);
                result = Err(Fault::Ends);
            }
            if let Err(fault) = result {
                return self.broken(at, fault, header.data_bytes.map(|_| end));
            }
        }
        if header.data_bytes.is_none() {
            return End::Torn(end);
        }
        self.checksum(begin, end)
    }

    /// A message that cannot be read, in a file whose messages should end at a byte.
    fn broken(&mut self, at: usize, fault: Fault, end: Option<usize>) -> End {
        let actual = self.cursor.len();
        let is_short = end.is_none_or(|end| end.saturating_add(2) > actual);
        match fault {
            Fault::Ends if is_short => {
                self.ends_early(end);
                End::Torn(at)
            }
            Fault::Ends => {
                self.find(at, "a message that does not end where the header ends the messages");
                End::OutOfStep(at)
            }
            Fault::Wrong(what) => {
                self.find(at, what);
                if is_short {
                    self.ends_early(end);
                }
                End::OutOfStep(at)
            }
        }
    }

    fn ends_early(&mut self, end: Option<usize>) {
        let what = match end {
            Some(end) => {
                format!("the file ends here: its header promises {} bytes", end.saturating_add(2))
            }
            None => "the file ends here: expected a checksum of 2 bytes".to_owned(),
        };
        self.find(self.cursor.len(), what);
    }

    fn header(&mut self) -> Result<Header, Finding> {
        let begin = self.cursor.position();
        let ends = |cursor: &Cursor<'_>| {
            Finding::new(cursor.len(), "the file ends within its header: expected 12 or 14 bytes")
        };
        let Some(size) = self.cursor.u8() else { return Err(ends(&self.cursor)) };
        let Some(rest) = self.cursor.take(11) else { return Err(ends(&self.cursor)) };
        let magic = rest.get(7..11).unwrap_or_default();
        if magic != MAGIC {
            let what = format!("`{}` in a header: expected `.FIT`", magic.escape_ascii());
            return Err(Finding::new(begin.saturating_add(8), what));
        }
        if size < 12 {
            let what = format!("a header of {size} bytes: expected 12 or 14");
            return Err(Finding::new(begin, what));
        }
        let Some(more) = self.cursor.take(usize::from(size) - 12) else {
            return Err(ends(&self.cursor));
        };
        let at = begin.saturating_add(12);
        if let Some(stored) = more.first_chunk::<2>().map(|bytes| u16::from_le_bytes(*bytes))
            && stored != 0
        {
            let actual = checksum(self.cursor.between(begin, at));
            if actual != stored {
                self.find(
                    at,
                    format!("the header's checksum is {actual:#06x}: expected {stored:#06x}"),
                );
            }
        }
        let bytes = rest.get(3..7).and_then(|bytes| bytes.first_chunk::<4>());
        let data_bytes = bytes.map_or(0, |bytes| u32::from_le_bytes(*bytes));
        let data_bytes = usize::try_from(data_bytes).unwrap_or(usize::MAX);
        let is_last = self.cursor.position() < self.cursor.len();
        if data_bytes == 0 && is_last {
            let what = "the header says 0 bytes: expected its device to fill in how many";
            self.find(begin.saturating_add(4), what);
            return Ok(Header { data_bytes: None });
        }
        Ok(Header { data_bytes: Some(data_bytes) })
    }

    fn checksum(&mut self, begin: usize, end: usize) -> End {
        let Some(stored) = self.cursor.take(2).and_then(|bytes| bytes.first_chunk::<2>()) else {
            self.ends_early(Some(end));
            return End::Torn(end);
        };
        let stored = u16::from_le_bytes(*stored);
        let actual = checksum(self.cursor.between(begin, end));
        if actual == stored {
            return End::Whole;
        }
        let what = format!(
            "the checksum of bytes {begin} to {end} is {actual:#06x}: expected {stored:#06x}, some \
             byte between them is wrong"
        );
        self.find(end, what);
        End::Torn(end)
    }

    /// One message: a definition, or data of a type that was defined.
    fn message(&mut self, context: &mut Context) -> Result<(), Fault> {
        let at = self.cursor.position();
        let header = self.cursor.u8().ok_or(Fault::Ends)?;
        let (local, seconds) = match header & 0x80 {
            0 => (header & 0x0F, None),
            _ => (header >> 5 & 0x03, Some(header & 0x1F)),
        };
        let Some(slot) = context.definitions.get_mut(usize::from(local)) else {
            return Err(Fault::Wrong(format!("message header {header:#04x}: expected a type")));
        };
        if seconds.is_none() && header & 0x10 != 0 {
            let what = format!("message header {header:#04x}: expected its reserved bit to be 0");
            return Err(Fault::Wrong(what));
        }
        if seconds.is_none() && header & 0x40 != 0 {
            *slot = Some(Definition::read(&mut self.cursor, header & 0x20 != 0)?);
            return Ok(());
        }
        let Some(definition) = slot.as_ref() else {
            let what = format!("data of message type {local}: expected a type that was defined");
            return Err(Fault::Wrong(what));
        };
        let data = self.cursor.take(definition.data_bytes).ok_or(Fault::Ends)?;
        let mut last = definition.timestamp(data).or(context.last);
        if let (Some(seconds), Some(time)) = (seconds, context.last) {
            last = time.checked_add((u32::from(seconds).wrapping_sub(time)) & 0x1F);
        }
        context.last = last;
        match definition.message {
            FIELD_DESCRIPTION => context.descriptions.learn(definition, data),
            RECORD => {
                let has_time = seconds.is_some() || definition.timestamp(data).is_some();
                let time = last.filter(|time| has_time && *time >= DATE_MIN);
                let values = record::values(definition, data, &context.descriptions);
                self.record(at, time, values);
            }
            _ => {}
        }
        Ok(())
    }

    fn record(&mut self, at_byte: usize, time: Option<u32>, mut values: record::Values) {
        values.truncate(SAMPLE_VALUES_MAX);
        match time {
            _ if values.is_empty() => {}
            None => self.without_time += 1,
            Some(time) => {
                let time = Timestamp((EPOCH_S + i64::from(time)) * 1_000_000);
                self.samples.push(Sample { at_byte, time, values });
            }
        }
    }

    /// Keeps what can be trusted.
    fn finish(mut self, end: End, bytes: usize) -> Ride {
        let mut good_bytes = match end {
            End::Whole => bytes,
            End::Torn(at) | End::OutOfStep(at) => at,
        };
        if !matches!(end, End::Whole) {
            if let Some((index, finding)) = find_implausible(&self.samples) {
                good_bytes = finding.at_byte;
                self.samples.truncate(index);
                self.findings.push(finding);
            } else if matches!(end, End::OutOfStep(_)) {
                // Bytes that are missing within a record are missed only where the next begins.
                good_bytes = self.samples.pop().map_or(good_bytes, |last| last.at_byte);
            }
        }
        self.findings.sort_by_key(|finding| finding.at_byte);
        Ride {
            format: Format::Fit,
            samples: self.samples,
            without_time: self.without_time,
            good_bytes: good_bytes.min(bytes),
            bytes,
            findings: self.findings,
        }
    }
}

/// Why a message cannot be read.
enum Fault {
    /// The bytes end within it.
    Ends,
    /// It is not what can stand here.
    Wrong(String),
}

/// The checksum of FIT: CRC-16 with the polynomial 0x8005, bits reversed, from 0.
fn checksum(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0_u16, |mut sum, byte| {
        sum ^= u16::from(*byte);
        for _ in 0..8 {
            sum = if sum & 1 == 1 { sum >> 1 ^ 0xA001 } else { sum >> 1 };
        }
        sum
    })
}
