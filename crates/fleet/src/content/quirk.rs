//! What goes wrong with the messages of a device on purpose, drawn from seed and sequence number
//! like everything else, so that it is known which rows must be there and which must not.

use crate::Switches;
use crate::random::Key;

/// What becomes of a message on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Nothing.
    Plain,
    /// It tells of a time weeks ago.
    Late,
    /// Its time is days ahead: stored, and marked.
    Future,
    /// Its time is beyond belief: quarantined.
    Beyond,
    /// Its end is missing: quarantined.
    Torn,
    /// It tells that a component failed, on the stream `fault`.
    Fault,
}

impl Fate {
    /// What the time of the message claims more than the truth, milliseconds. Far more than any
    /// run lasts, so that a claimed time leads back to its message.
    pub(crate) fn shift_ms(self) -> i64 {
        match self {
            Self::Plain | Self::Torn | Self::Fault => 0,
            Self::Late => -40 * DAY_MS,
            Self::Future => 4 * DAY_MS,
            Self::Beyond => 30 * DAY_MS,
        }
    }

    /// Whether the message belongs into quarantine.
    pub(crate) fn is_set_aside(self) -> bool {
        matches!(self, Self::Beyond | Self::Torn)
    }
}

const DAY_MS: i64 = 86_400_000;
/// Messages that are turned round together where the order is wrong.
const BLOCK: u64 = 8;
/// Of messages from the future, so many are beyond belief: every fourth.
const BEYOND_EVERY: u64 = 4;
/// How wrong a clock is at least and at most, milliseconds.
const CLOCK_WRONG_MS: (u64, u64) = (60_000, 3 * DAY_MS.unsigned_abs());

/// What goes wrong with the messages of one device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Quirks {
    /// Shares of messages as parts of 2^32, each on top of those before it.
    torn: u64,
    late: u64,
    future: u64,
    faults: u64,
    /// Shares as parts of 2^32.
    duplicates: u64,
    out_of_order: u64,
    /// What the device's clock shows more than ours, milliseconds.
    clock_ahead_ms: i64,
    /// Whether another connection fights for its client id.
    has_rival: bool,
}

impl Quirks {
    /// Those of a device.
    pub(crate) fn new(switches: &Switches, key: Key) -> Self {
        let key = key.named("quirks");
        let torn = parts(switches.torn);
        let late = torn + parts(switches.late);
        let future = late + parts(switches.future);
        let clock_ahead_ms = if draw(key, 1) < parts(switches.wrong_clock) {
            let wrong = CLOCK_WRONG_MS.0 + key.below(2, CLOCK_WRONG_MS.1 - CLOCK_WRONG_MS.0);
            if key.at(3) & 1 == 0 { wrong.cast_signed() } else { -wrong.cast_signed() }
        } else {
            0
        };
        Self {
            torn,
            late,
            future,
            faults: future + parts(switches.faults),
            duplicates: parts(switches.duplicates),
            out_of_order: parts(switches.out_of_order),
            clock_ahead_ms,
            has_rival: draw(key, 4) < parts(switches.double_client_ids),
        }
    }

    /// Whether anything goes wrong with its messages.
    pub(crate) fn any(&self) -> bool {
        Self { has_rival: false, ..*self } != Self::default()
    }

    /// Whether another connection fights for the device's client id.
    pub(crate) fn has_rival(&self) -> bool {
        self.has_rival
    }

    /// What the device's clock shows more than ours, milliseconds.
    pub(crate) fn clock_ahead_ms(&self) -> i64 {
        self.clock_ahead_ms
    }

    /// What becomes of a message of the device with a key.
    #[inline]
    pub(crate) fn fate(&self, key: Key, seq: u64) -> Fate {
        if self.faults == 0 {
            return Fate::Plain;
        }
        match draw(key.child(0xfa7e), seq) {
            drawn if drawn < self.torn => Fate::Torn,
            drawn if drawn < self.late => Fate::Late,
            drawn if drawn < self.future && drawn % BEYOND_EVERY == 0 => Fate::Beyond,
            drawn if drawn < self.future => Fate::Future,
            drawn if drawn < self.faults => Fate::Fault,
            _ => Fate::Plain,
        }
    }

    /// Whether a message is sent twice.
    #[inline]
    pub(crate) fn is_twice(&self, key: Key, seq: u64) -> bool {
        self.duplicates > 0 && draw(key.child(0x2), seq) < self.duplicates
    }

    /// Which message is sent at a place; and, since the same again leads back, at which place a
    /// message is sent.
    #[inline]
    pub(crate) fn place(&self, key: Key, number: u64) -> u64 {
        let (block, within) = (number / BLOCK, number % BLOCK);
        if self.out_of_order > 0 && draw(key.child(0x3), block) < self.out_of_order {
            block * BLOCK + (BLOCK - 1 - within)
        } else {
            number
        }
    }

    /// One more than the greatest number among the first `count` places.
    pub(crate) fn end(&self, count: u64) -> u64 {
        if self.out_of_order > 0 { count.next_multiple_of(BLOCK) } else { count }
    }
}

/// A share as parts of 2^32.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates")]
fn parts(share: f64) -> u64 {
    (share.clamp(0.0, 1.0) * 4_294_967_296.0) as u64
}

#[inline]
fn draw(key: Key, place: u64) -> u64 {
    key.at(place) >> 32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quirks(change: impl FnOnce(&mut Switches)) -> Quirks {
        let mut switches = Switches::default();
        change(&mut switches);
        Quirks::new(&switches, Key::new(3))
    }

    fn count(wanted: impl Fn(u64) -> bool) -> usize {
        (0..10_000).filter(|seq| wanted(*seq)).count()
    }

    #[test]
    fn without_switches_nothing_goes_wrong() {
        let quirks = quirks(|_| ());
        assert!(!quirks.any() && !quirks.has_rival());
        let key = Key::new(1);
        assert_eq!(count(|seq| quirks.fate(key, seq) != Fate::Plain), 0);
        assert_eq!(count(|seq| quirks.is_twice(key, seq) || quirks.place(key, seq) != seq), 0);
    }

    #[test]
    fn shares_are_what_they_say() {
        let quirks = quirks(|switches| {
            (switches.torn, switches.late, switches.future) = (0.1, 0.2, 0.04);
            (switches.faults, switches.duplicates) = (0.05, 0.3);
        });
        let key = Key::new(8);
        let of = |fate| count(|seq| quirks.fate(key, seq) == fate);
        for (fate, low, high) in [
            (Fate::Torn, 900, 1100),
            (Fate::Late, 1850, 2150),
            (Fate::Future, 240, 360),
            (Fate::Beyond, 60, 140),
            (Fate::Fault, 430, 570),
        ] {
            assert!((low..high).contains(&of(fate)), "{fate:?} {}", of(fate));
        }
        let twice = count(|seq| quirks.is_twice(key, seq));
        assert!((2800..3200).contains(&twice), "{twice}");
    }

    #[test]
    fn the_wrong_order_holds_every_message_once() {
        let quirks = quirks(|switches| switches.out_of_order = 0.5);
        let key = Key::new(5);
        let places: Vec<u64> = (0..800).map(|number| quirks.place(key, number)).collect();
        assert!(!places.is_sorted());
        assert!((0..800).all(|number| quirks.place(key, places[number as usize]) == number as u64));
        assert!((1..800).all(|sent| places[..sent].iter().all(|p| *p < quirks.end(sent as u64))));
    }

    #[test]
    fn some_devices_have_wrong_clocks_and_rivals() {
        let switches = Switches { wrong_clock: 0.3, double_client_ids: 0.2, ..Switches::default() };
        let all = (0..1000).map(|device| Quirks::new(&switches, Key::new(device)));
        let all: Vec<Quirks> = all.collect();
        let wrong = all.iter().filter(|quirks| quirks.clock_ahead_ms() != 0).count();
        let rivals = all.iter().filter(|quirks| quirks.has_rival()).count();
        assert!((240..360).contains(&wrong) && (150..250).contains(&rivals), "{wrong} {rivals}");
        assert!(all.iter().any(|q| q.clock_ahead_ms() < -60_000 && q.any()));
        assert!(all.iter().all(|q| q.clock_ahead_ms().abs() <= 3 * DAY_MS));
    }
}
