//! `record` messages in the words of the stream `ride`.

use super::TIMESTAMP;
use super::definition::Definition;
use super::developer::Descriptions;
use super::value::number;
use crate::sample::Name;

/// Names and values.
pub(super) type Values = Vec<(Name, f64)>;

/// A field of the profile: number, name here, how to come from the stored number to ours
/// (`stored * factor + summand`), and the decimal places that this can have.
struct Known(u8, &'static str, f64, f64, i32);

/// 2^31 semicircles are 180 degrees.
const DEGREES: f64 = 180.0 / 2_147_483_648.0;

/// What is known, the better of two sources of a value first. The distance of a ride is no
/// odometer, and so has a name of its own.
const PROFILE: [Known; 31] = [
    Known(0, "lat", DEGREES, 0.0, 7),
    Known(1, "lon", DEGREES, 0.0, 7),
    Known(73, "speed_kmh", 0.0036, 0.0, 4),
    Known(6, "speed_kmh", 0.0036, 0.0, 4),
    Known(78, "altitude_m", 0.2, -500.0, 1),
    Known(2, "altitude_m", 0.2, -500.0, 1),
    Known(7, "power_w", 1.0, 0.0, 0),
    Known(4, "cadence_rpm", 1.0, 0.0, 0),
    Known(3, "heart_rate_bpm", 1.0, 0.0, 0),
    Known(13, "temperature_c", 1.0, 0.0, 0),
    Known(118, "battery_pct", 1.0, 0.0, 0),
    Known(81, "battery_pct", 0.5, 0.0, 1),
    Known(5, "distance_km", 0.00001, 0.0, 5),
    Known(9, "grade_pct", 0.01, 0.0, 2),
    Known(10, "resistance", 1.0, 0.0, 0),
    Known(11, "time_from_course_s", 0.001, 0.0, 3),
    Known(18, "cycles", 1.0, 0.0, 0),
    Known(19, "total_cycles", 1.0, 0.0, 0),
    Known(29, "accumulated_power_w", 1.0, 0.0, 0),
    Known(30, "left_right_balance", 1.0, 0.0, 0),
    Known(31, "gps_accuracy_m", 1.0, 0.0, 0),
    Known(32, "vertical_speed_mps", 0.001, 0.0, 3),
    Known(33, "calories_kcal", 1.0, 0.0, 0),
    Known(43, "left_torque_effectiveness_pct", 0.5, 0.0, 1),
    Known(44, "right_torque_effectiveness_pct", 0.5, 0.0, 1),
    Known(45, "left_pedal_smoothness_pct", 0.5, 0.0, 1),
    Known(46, "right_pedal_smoothness_pct", 0.5, 0.0, 1),
    Known(82, "motor_power_w", 1.0, 0.0, 0),
    Known(117, "ebike_range_km", 1.0, 0.0, 0),
    Known(119, "ebike_assist_mode", 1.0, 0.0, 0),
    Known(120, "ebike_assist_pct", 1.0, 0.0, 0),
];
/// Parts of a revolution, in 1/128, to be added to the cadence.
const FRACTIONAL_CADENCE: u8 = 53;

/// The values of a record. What the profile does not name here keeps its number as `fit_N`.
pub(super) fn values(definition: &Definition, data: &[u8], descriptions: &Descriptions) -> Values {
    let mut values = Values::new();
    for Known(field, name, factor, summand, places) in &PROFILE {
        if values.iter().any(|(it, _)| it.as_str() == *name) {
            continue;
        }
        let Some(stored) = definition.number(data, *field) else { continue };
        let mut value = stored * factor + summand;
        let mut places = *places;
        if *name == "cadence_rpm"
            && let Some(part) = definition.number(data, FRACTIONAL_CADENCE)
        {
            (value, places) = (value + part / 128.0, 2);
        }
        values.push((Name::Known(name), rounded(value, places)));
    }
    for (field, bytes) in definition.fields(data) {
        let is_known = PROFILE.iter().any(|known| known.0 == field.number);
        if is_known || matches!(field.number, TIMESTAMP | FRACTIONAL_CADENCE) {
            continue;
        }
        let name = || Name::Given(format!("fit_{}", field.number).into());
        if let Some(value) = number(field.kind, bytes, definition.order) {
            push(&mut values, name(), value);
        }
    }
    for (field, bytes) in definition.developer_fields(data) {
        let key = (field.kind, field.number);
        if let Some((name, value)) = descriptions.value(key, bytes, definition.order) {
            push(&mut values, Name::Given(name), value);
        }
    }
    values
}

fn push(values: &mut Values, name: Name, value: f64) {
    if values.iter().all(|(it, _)| *it != name) {
        values.push((name, value));
    }
}

/// Factors such as 0.0036 leave dust behind the last place that can be true.
fn rounded(value: f64, places: i32) -> f64 {
    let unit = 10_f64.powi(places);
    (value * unit).round() / unit
}
