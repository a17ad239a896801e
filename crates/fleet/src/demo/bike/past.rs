//! What a bike has lived through before anyone looked.

use super::super::life::{Sample, Saying};
use super::{Bike, RESERVE_PCT, RIDE_S};

/// How far back its past begins.
pub(in super::super) const PAST_DAYS: i64 = 21;
/// How a parked bike's past is told: an hour between two of its status messages.
const STATUS_EVERY_MS: i64 = 3_600_000;
/// How long someone who parks looks at once, milliseconds.
const GLANCE_MS: i64 = 600_000;
/// The live fleet is ridden more than a real one, since someone is looking; its past is not.
const RIDDEN_LESS: f64 = 0.28;

/// A piece of a bike's past, in the order in which it happened.
#[derive(Debug)]
pub(in super::super) enum Past {
    /// A ride: the bike as it was when the ride began, to ride it again, and when.
    Ride(Box<Bike>, i64),
    /// Something it would have said.
    Said(Saying),
}

impl Bike {
    /// Lives the weeks before `now_ms` and tells of them.
    pub(in super::super) fn live_past(&mut self, now_ms: i64, tell: &mut dyn FnMut(Past)) {
        let mut time_ms = now_ms - PAST_DAYS * 24 * 3_600_000;
        let mut told_ms = time_ms;
        // Until a moment before now: the rest is lived live.
        while time_ms + GLANCE_MS < now_ms {
            let share = self.city.local(time_ms).riding_share() * RIDDEN_LESS;
            let chance = share / (1.0 - share) / RIDE_S * (GLANCE_MS as f64 / 1000.0);
            if self.battery_pct() > RESERVE_PCT && self.dice.chance(chance) {
                self.set_out();
                let before = Box::new(self.clone());
                let (mut says, from_ms) = (Vec::new(), time_ms);
                // A ride that would reach into the present is cut short by parking.
                while self.is_riding && time_ms < now_ms - 1000 {
                    time_ms += 1000;
                    self.record_second(time_ms, &mut says);
                }
                if self.is_riding {
                    self.park();
                }
                tell(Past::Ride(before, from_ms));
                self.repair(time_ms, &mut says);
                says.into_iter().for_each(|said| tell(Past::Said(said)));
                tell(Past::Said(Saying::Sample(self.status(time_ms))));
                told_ms = time_ms;
            }
            for _second in 0..GLANCE_MS / 60_000 {
                self.wait(60.0);
            }
            time_ms += GLANCE_MS;
            if time_ms - told_ms >= STATUS_EVERY_MS {
                tell(Past::Said(Saying::Sample(self.status(time_ms))));
                told_ms = time_ms;
            }
        }
        self.blind_s = 0.0;
    }

    fn record_second(&mut self, time_ms: i64, says: &mut Vec<Saying>) {
        self.step(time_ms, 1.0);
        self.fail(time_ms, 1.0, says);
    }

    /// Rides a ride of the past again and records it, a sample a second.
    pub(in super::super) fn ride_again(mut self, from_ms: i64, samples_max: usize) -> Vec<Sample> {
        let (mut samples, mut time_ms) = (Vec::new(), from_ms);
        while self.is_riding && samples.len() < samples_max {
            time_ms += 1000;
            self.step(time_ms, 1.0);
            samples.push(self.record(time_ms));
        }
        samples
    }
}
