//! The messages of one device: what each says, what becomes of it, and which bytes that makes.

use super::quirk::{Fate, Quirks};
use super::{CELLS_MAX, Cells, MEASUREMENTS, Profile, container, sample};
use crate::Switches;
use crate::clock::rfc3339;
use crate::fault::{self, Failure};
use crate::random::Key;

/// The messages of one device on one stream.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Source {
    profile: Profile,
    key: Key,
    number: u32,
    base_ms: i64,
    step_ms: i64,
    quirks: Quirks,
}

impl Source {
    /// The messages of the device with a number; message `seq` has the time
    /// `base_ms + seq * step_ms`.
    pub(crate) fn new(
        profile: Profile,
        seed: u64,
        number: u32,
        base_ms: i64,
        step_ms: i64,
    ) -> Self {
        let key = Key::new(seed).named(profile.as_str()).child(u64::from(number));
        let (step_ms, quirks) = (step_ms.max(1), Quirks::default());
        Self { profile, key, number, base_ms, step_ms, quirks }
    }

    /// The same messages, some of which go wrong.
    pub(crate) fn with(self, switches: &Switches) -> Self {
        Self { quirks: Quirks::new(switches, self.key), ..self }
    }

    /// What goes wrong.
    pub(crate) fn quirks(&self) -> &Quirks {
        &self.quirks
    }

    /// What becomes of a message on purpose.
    #[inline]
    pub(crate) fn fate(&self, seq: u64) -> Fate {
        self.quirks.fate(self.key, seq)
    }

    /// Whether a message is sent twice.
    #[inline]
    pub(crate) fn is_twice(&self, seq: u64) -> bool {
        self.quirks.is_twice(self.key, seq)
    }

    /// Which message is sent at a place of the order, and the other way round.
    #[inline]
    pub(crate) fn place(&self, number: u64) -> u64 {
        self.quirks.place(self.key, number)
    }

    /// The time that a message claims.
    pub(crate) fn claimed_ms(&self, seq: u64) -> i64 {
        self.time_ms(seq) + self.fate(seq).shift_ms() + self.quirks.clock_ahead_ms()
    }

    /// The message of a claimed time in microseconds, given its fate; `None` for a time that no
    /// message of that fate claims.
    pub(crate) fn seq_of_claimed(&self, micros: i64, fate: Fate) -> Option<u64> {
        let shift_ms = fate.shift_ms() + self.quirks.clock_ahead_ms();
        let seq = self.seq_of_micros(micros.checked_sub(shift_ms.checked_mul(1000)?)?)?;
        Some(seq).filter(|seq| self.fate(*seq).shift_ms() == fate.shift_ms())
    }

    /// What a message of the fate `Fault` tells of.
    pub(crate) fn failure(&self, seq: u64) -> Option<&'static Failure> {
        fault::of_bike(self.key.child(0xfa17).share(seq))
    }

    /// The kind of device.
    pub(crate) fn profile(&self) -> Profile {
        self.profile
    }

    /// The time of a message, milliseconds since the epoch.
    #[inline]
    pub(crate) fn time_ms(&self, seq: u64) -> i64 {
        self.base_ms.saturating_add(self.step_ms.saturating_mul(seq.cast_signed()))
    }

    /// The message of a time in microseconds; `None` for a time that no message has.
    pub(crate) fn seq_of_micros(&self, micros: i64) -> Option<u64> {
        let since = micros.checked_sub(self.base_ms.checked_mul(1000)?)?;
        let step = self.step_ms.checked_mul(1000)?;
        if since < 0 || since % step != 0 { None } else { u64::try_from(since / step).ok() }
    }

    /// The key of a row: which socket; 0 for streams without key columns.
    pub(crate) fn socket(&self, row: usize) -> String {
        container::socket(self.number, row)
    }

    /// The row of a socket.
    pub(crate) fn row_of_socket(&self, socket: &str) -> Option<usize> {
        (0..MEASUREMENTS).find(|row| self.socket(*row) == socket)
    }

    /// The values of a row of a message.
    #[inline]
    pub(crate) fn cells(&self, seq: u64, row: usize) -> Cells {
        match self.profile {
            Profile::Bike => sample::ride(self.key, seq),
            Profile::Car => sample::status(self.key, seq),
            Profile::Meter => {
                let mut cells = [0; CELLS_MAX];
                cells[0] = container::watts(self.key, seq, row);
                cells
            }
        }
    }

    /// Writes the payload of a message as it would be if nothing went wrong.
    pub(crate) fn write_payload(&self, seq: u64, out: &mut Vec<u8>) {
        self.write_at(seq, self.time_ms(seq), out);
    }

    fn write_at(&self, seq: u64, time_ms: i64, out: &mut Vec<u8>) {
        match self.profile {
            Profile::Bike | Profile::Car => {
                sample::write(self.profile.columns(), &self.cells(seq, 0), time_ms, out);
            }
            Profile::Meter => container::write(self.number, time_ms, self.key, seq, out),
        }
    }

    /// Writes the payload of a message that is sent now, with what goes wrong; a device whose
    /// clock is wrong says what it shows.
    pub(crate) fn write_message(&self, seq: u64, now_ms: i64, out: &mut Vec<u8>) {
        let (fate, time_ms) = (self.fate(seq), self.claimed_ms(seq));
        let ahead_ms = self.quirks.clock_ahead_ms();
        let is_json = self.profile != Profile::Meter || fate == Fate::Fault;
        let begin = out.len();
        if ahead_ms != 0 && is_json {
            out.extend_from_slice(b"{\"sent_at\":\"");
            out.extend_from_slice(rfc3339(now_ms + ahead_ms).as_bytes());
            out.extend_from_slice(b"\",\"samples\":[");
        }
        // As much of a torn message arrives as tells which one it is.
        let least = out.len() + br#"{"time":"#.len() + 14;
        match self.failure(seq).filter(|_| fate == Fate::Fault) {
            Some(failure) => sample::write_failure(failure, time_ms, out),
            None => self.write_at(seq, time_ms, out),
        }
        if ahead_ms != 0 && is_json {
            out.extend_from_slice(b"]}");
        }
        if fate == Fate::Torn {
            let drawn = self.key.child(0x7042);
            let kept = if is_json {
                let more = out.len().saturating_sub(least + 1) as u64;
                least + usize::try_from(drawn.below(seq, more)).unwrap_or(0)
            } else {
                begin + container::torn_at(drawn.below(seq, MEASUREMENTS as u64 - 1))
            };
            out.truncate(kept);
        }
    }

    /// A payload of the same length for every message, to be patched by [`Source::patch`]; `None`
    /// where lengths differ.
    pub(crate) fn template(&self) -> Option<Vec<u8>> {
        if self.profile != Profile::Meter || self.quirks.any() {
            return None;
        }
        let mut template = Vec::with_capacity(512);
        self.write_payload(0, &mut template);
        Some(template)
    }

    /// Makes the payload of a template that of a message.
    #[inline]
    pub(crate) fn patch(&self, seq: u64, template: &mut [u8]) {
        container::patch(self.time_ms(seq), self.key, seq, template);
    }
}

/// The time that a payload claims, as far as it has arrived, milliseconds.
pub(crate) fn claimed_ms_of(payload: &[u8]) -> Option<i64> {
    if !payload.starts_with(b"{") {
        return container::time_ms_of(payload);
    }
    let name = br#""time":"#;
    let at = payload.windows(name.len()).position(|window| window == name)?;
    let digits = payload.get(at + name.len()..)?;
    let end = digits.iter().position(|b| !b.is_ascii_digit() && *b != b'-');
    let digits = digits.get(..end.unwrap_or(digits.len()))?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests;
