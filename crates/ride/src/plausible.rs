//! Which samples of a damaged file can be trusted.
//!
//! Bytes that were lost shift everything behind them, and for a while shifted bytes may still
//! read like records. A ride gives them away: its times go forward by seconds, its positions move
//! at the speed of vehicles. A file that is whole is not judged here: what its device wrote is
//! what it wrote.

use axle_domain::Timestamp;

use crate::sample::{Finding, Sample, distance_km};

const SECOND: i64 = 1_000_000;
/// A longer pause within a ride is none.
const PAUSE_MAX: i64 = 24 * 3600 * SECOND;
/// Clocks are set back by a second or two when satellites are found.
const BACKWARD_MAX: i64 = 5 * SECOND;
/// Faster than any vehicle on the ground, with room for a bad fix.
const SPEED_KMH_MAX: f64 = 1000.0;
/// A fix may be this wrong without any damage.
const FIX_ERROR_KM: f64 = 1.0;

/// Finds the first sample that cannot belong to the ride with those before it: its index and what
/// is wrong. Where the second contradicts the first nobody knows which is right, so both go.
pub(crate) fn find_implausible(samples: &[Sample]) -> Option<(usize, Finding)> {
    let mut before: Option<Timestamp> = None;
    let mut place: Option<(Timestamp, (f64, f64))> = None;
    for (index, sample) in samples.iter().enumerate() {
        let what = wrong_time(sample.time, before).or_else(|| wrong_place(sample, place));
        if let Some(what) = what {
            let index = if index == 1 { 0 } else { index };
            let at_byte = samples.get(index).map_or(sample.at_byte, |first| first.at_byte);
            return Some((index, Finding::new(at_byte, what)));
        }
        before = Some(sample.time);
        place = sample.position().map(|position| (sample.time, position)).or(place);
    }
    None
}

fn wrong_time(time: Timestamp, before: Option<Timestamp>) -> Option<String> {
    let before = before?;
    if (-BACKWARD_MAX..=PAUSE_MAX).contains(&time.micros_since(before)) {
        return None;
    }
    let (time, before) = (shown(time), shown(before));
    Some(format!("the record claims {time} after {before}: expected times that go on"))
}

fn shown(time: Timestamp) -> String {
    chrono::DateTime::from_timestamp_micros(time.micros())
        .map_or_else(|| time.to_string(), |moment| moment.format("%FT%TZ").to_string())
}

fn wrong_place(sample: &Sample, last: Option<(Timestamp, (f64, f64))>) -> Option<String> {
    let here = sample.position()?;
    let (lat, lon) = here;
    if !(-90.0..=90.0).contains(&lat) || !(-180.0..=180.0).contains(&lon) {
        return Some("the record's position is not on earth: expected degrees".to_owned());
    }
    let (time, there) = last?;
    let hours = (sample.time.micros_since(time).max(SECOND) as f64) / (3600.0 * SECOND as f64);
    let way = distance_km(there, here);
    (way > FIX_ERROR_KM && way / hours > SPEED_KMH_MAX).then(|| {
        let seconds = hours * 3600.0;
        format!("the record is {way:.0} km away after {seconds:.0} s: expected a place nearby")
    })
}
