//! Who rides: how fast, with what effort, and what the motor adds.

use super::super::life::Dice;
use super::super::motion::Motion;

/// Rider, bike and luggage, kilograms: the bike's part.
const BIKE_KG: f64 = 24.0;
/// Rolling resistance.
const ROLLING: f64 = 0.009;
/// Half the air's density times the drag area.
const DRAG: f64 = 0.5 * 1.2 * 0.6;
/// Gravity.
const G: f64 = 9.81;
/// The motor helps up to this speed, meters per second, and with at most so many watts.
const ASSIST: (f64, f64) = (25.0 / 3.6, 250.0);
/// Seconds in which a heart follows the legs.
const HEART_S: f64 = 35.0;

/// A rider and what is felt at the pedals.
#[derive(Clone, Debug)]
pub(super) struct Rider {
    kg: f64,
    /// Speed on the flat, meters per second.
    pace: f64,
    rest_bpm: f64,
    /// Beats per minute and watt.
    bpm_per_w: f64,
    /// How much of the power the motor gives.
    assist: f64,
    power_w: f64,
    motor_w: f64,
    cadence_rpm: f64,
    heart_bpm: f64,
    warmth_c: f64,
}

impl Rider {
    /// Anyone.
    pub(super) fn new(dice: &mut Dice) -> Self {
        let rest_bpm = dice.between(62.0, 84.0);
        Self {
            kg: dice.between(52.0, 98.0),
            pace: dice.between(15.5, 25.0) / 3.6,
            rest_bpm,
            bpm_per_w: dice.between(0.38, 0.75),
            assist: dice.between(0.4, 0.7),
            power_w: 0.0,
            motor_w: 0.0,
            cadence_rpm: 0.0,
            heart_bpm: rest_bpm + 8.0,
            warmth_c: 0.0,
        }
    }

    /// The speed that this rider wants on a slope, meters per second.
    pub(super) fn cruise(&self, slope: f64, has_motor: bool) -> f64 {
        let by_slope = if slope > 0.0 { 1.0 - 6.5 * slope } else { 1.0 - 4.0 * slope };
        let by_motor = if has_motor { 1.0 } else { 0.72 };
        (self.pace * by_slope * by_motor).clamp(2.4, 9.4)
    }

    /// Pedals through a step of the motion.
    pub(super) fn pedal(&mut self, motion: &Motion, slope: f64, seconds: f64, drift_c: f64) {
        let (v, kg) = (motion.speed, self.kg + BIKE_KG);
        let force = kg * G * (slope + ROLLING) + DRAG * v * v + kg * motion.gain;
        let needed = (force * v).clamp(0.0, 900.0);
        let assist = if v < ASSIST.0 { self.assist } else { 0.0 };
        self.motor_w = (needed * assist).min(ASSIST.1);
        self.power_w = (needed - self.motor_w).min(6.5 * self.kg);
        let turns = if needed > 8.0 { 48.0 + 3.6 * v * 1.35 } else { 0.0 };
        self.cadence_rpm += (turns - self.cadence_rpm) * (seconds / 1.5).min(1.0);
        if self.cadence_rpm < 8.0 {
            self.cadence_rpm = 0.0;
        }
        let wanted = (self.rest_bpm + 10.0 + self.bpm_per_w * self.power_w).min(186.0);
        self.heart_bpm += (wanted - self.heart_bpm) * (seconds / HEART_S).min(1.0);
        self.warmth_c = (self.warmth_c + drift_c * seconds).clamp(-1.5, 2.5);
    }

    /// What the motor gives, watts.
    pub(super) fn motor_w(&self) -> f64 {
        self.motor_w
    }

    /// What the rider gives, watts.
    pub(super) fn power_w(&self) -> f64 {
        self.power_w
    }

    /// Turns of the cranks per minute.
    pub(super) fn cadence_rpm(&self) -> f64 {
        self.cadence_rpm
    }

    /// Beats per minute.
    pub(super) fn heart_bpm(&self) -> f64 {
        self.heart_bpm
    }

    /// How much warmer it is at the handlebar than in the shade, degrees.
    pub(super) fn warmth_c(&self) -> f64 {
        self.warmth_c
    }
}
