//! How vehicles move along a street: they gather speed, slow down for corners, stop at lights.

use super::life::Dice;
use super::street::Walk;

/// How a kind of vehicle moves.
#[derive(Debug)]
pub(super) struct Manner {
    /// Meters per second, per second.
    pub(super) gathers: f64,
    /// Meters per second lost per second.
    pub(super) brakes: f64,
    /// Speed in a corner, meters per second.
    pub(super) corner: f64,
    /// How many crossings have a red light.
    pub(super) lights: f64,
}

/// A vehicle's motion.
#[derive(Clone, Debug, Default)]
pub(super) struct Motion {
    /// Meters per second.
    pub(super) speed: f64,
    /// Meters per second gained per second, in the last step.
    pub(super) gain: f64,
    waits_s: f64,
    stops: bool,
}

/// Speed at which the last meter to a light is rolled.
const ROLLS: f64 = 0.8;

impl Motion {
    /// Moves on for a time of at most a second or so; the meters.
    pub(super) fn step(
        &mut self,
        walk: &mut Walk,
        dice: &mut Dice,
        (manner, cruise): (&Manner, f64),
        seconds: f64,
    ) -> f64 {
        if self.waits_s > 0.0 {
            self.waits_s -= seconds;
            (self.speed, self.gain) = (0.0, 0.0);
            return 0.0;
        }
        let remaining = walk.remaining_m();
        let halts = self.stops || walk.ends();
        let at_end = if halts {
            0.0
        } else if walk.bends() {
            manner.corner.min(cruise)
        } else {
            cruise
        };
        // After this step there must be room to brake: meters of the step, and of braking to the
        // speed at the end, are what remains.
        let brakes = manner.brakes;
        let room = remaining + at_end * at_end / (2.0 * brakes) - self.speed * seconds / 2.0;
        let half = seconds / 2.0;
        let allowed = brakes * ((half * half + 2.0 / brakes * room.max(0.0)).sqrt() - half);
        let change = cruise.min(allowed) - self.speed;
        let change = change.clamp(-1.3 * brakes * seconds, manner.gathers * seconds);
        let mut speed = (self.speed + change).max(ROLLS);
        let mut meters = (self.speed + speed) / 2.0 * seconds;
        if meters >= remaining {
            if halts {
                (speed, meters) = (0.0, remaining);
                self.waits_s = dice.between(4.0, 38.0);
            }
            self.stops = dice.chance(manner.lights);
        }
        if seconds > 0.0 {
            self.gain = (speed - self.speed) / seconds;
        }
        self.speed = speed;
        walk.advance(meters, dice);
        meters
    }

    /// Stands still from now on, as one who has arrived.
    pub(super) fn rest(&mut self) {
        *self = Self::default();
    }
}
