//! Reads recorded rides: FIT files of bike computers and phones, GPX tracks.
//!
//! [`read`] takes a file's bytes to samples in the words of the stream `ride`. It does no I/O,
//! never panics, and allocates by what is there, never by what a header claims. A damaged file
//! yields its good part and the byte where it breaks; whether the good part is wanted is the
//! caller's choice.
//!
//! What it is not: a library of the whole FIT profile. It reads `record` messages, and of the
//! others only what is needed to understand them.
//!
//! Reading order: `sample.rs`, `fit.rs`, `gpx.rs`, `plausible.rs`.

mod fit;
mod gpx;
mod plausible;
mod sample;

pub use sample::{Finding, Format, Name, Ride, Sample};

/// Most bytes of a file that is read: a day of one record a second in the wordiest GPX.
pub const RIDE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Most samples of one file: more than five days of one a second.
pub const RIDE_SAMPLES_MAX: usize = 500_000;
/// Most values of one sample; a record that has more keeps the first.
pub const SAMPLE_VALUES_MAX: usize = 64;

/// Reads a ride.
///
/// # Errors
/// A [`Finding`] when the bytes are neither FIT nor GPX, or more than [`RIDE_BYTES_MAX`]. A file
/// that begins well and breaks later is a [`Ride`] with findings.
pub fn read(bytes: &[u8]) -> Result<Ride, Finding> {
    if bytes.len() > RIDE_BYTES_MAX {
        let what = format!(
            "the file has {} bytes: at most {RIDE_BYTES_MAX} are read; split it",
            bytes.len()
        );
        return Err(Finding::new(RIDE_BYTES_MAX, what));
    }
    if fit::is_fit(bytes) {
        return Ok(fit::read(bytes));
    }
    match gpx::text_of(bytes) {
        Some(text) => Ok(gpx::read(text, bytes.len())),
        None if bytes.is_empty() => Err(Finding::new(0, "the file is empty")),
        None => {
            let what = "neither FIT nor GPX: expected `.FIT` at byte 8, or `<` at the beginning";
            Err(Finding::new(if bytes.len() < 12 { bytes.len() } else { 8 }, what))
        }
    }
}
