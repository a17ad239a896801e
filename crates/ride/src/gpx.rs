//! GPX: tracks as XML. Points of tracks are samples; routes and waypoints are plans, not rides.
//!
//! The text is read once, from front to back. Entities other than characters are never expanded,
//! and a document type, which GPX does not have, ends the reading.

use axle_domain::Timestamp;
use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use crate::fit::plain;
use crate::plausible::find_implausible;
use crate::sample::{Finding, Format, Name, Ride, Sample};
use crate::{RIDE_SAMPLES_MAX, SAMPLE_VALUES_MAX};

/// Most attributes of an element that are looked at.
const ATTRIBUTES_MAX: usize = 32;
/// Longest number or time.
const LEAF_BYTES_MAX: usize = 64;
const BOM: &[u8] = b"\xEF\xBB\xBF";

/// The text of a file that may be GPX, and where in the file it begins and breaks off.
pub(crate) struct Text<'a> {
    text: &'a str,
    begin: usize,
    is_cut: bool,
}

/// The text, if the bytes begin like XML.
pub(crate) fn text_of(bytes: &[u8]) -> Option<Text<'_>> {
    let begin = if bytes.starts_with(BOM) { BOM.len() } else { 0 };
    let rest = bytes.get(begin..)?;
    if rest.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'<') {
        return None;
    }
    match std::str::from_utf8(rest) {
        Ok(text) => Some(Text { text, begin, is_cut: false }),
        Err(error) => {
            let good = rest.get(..error.valid_up_to())?;
            Some(Text { text: std::str::from_utf8(good).ok()?, begin, is_cut: true })
        }
    }
}

/// Reads a track.
pub(crate) fn read(source: Text<'_>, bytes: usize) -> Ride {
    let mut reader = Reader::from_str(source.text);
    let mut track = Track::default();
    let finding = loop {
        let at = position(reader.buffer_position());
        let event = match reader.read_event() {
            Ok(event) => event,
            Err(_) if source.is_cut => break Some(cut(source.text.len())),
            Err(error) => {
                let what = format!("{error}: expected well-formed XML");
                break Some(Finding::new(position(reader.error_position()), what));
            }
        };
        if matches!(event, Event::Eof) {
            break if source.is_cut { Some(cut(source.text.len())) } else { track.end(at) };
        }
        if let Err(what) = track.take(at, &event) {
            break Some(Finding::new(at, what));
        }
    };
    let mut findings: Vec<_> = finding.into_iter().collect();
    let mut good_bytes = findings.first().map_or(source.text.len(), |finding| finding.at_byte);
    if let (false, Some((index, finding))) = (findings.is_empty(), find_implausible(&track.samples))
    {
        good_bytes = finding.at_byte;
        track.samples.truncate(index);
        findings.insert(0, finding);
    }
    for place in findings.iter_mut().map(|finding| &mut finding.at_byte) {
        *place = place.saturating_add(source.begin);
    }
    for sample in &mut track.samples {
        sample.at_byte = sample.at_byte.saturating_add(source.begin);
    }
    Ride {
        format: Format::Gpx,
        samples: track.samples,
        without_time: track.without_time,
        good_bytes: good_bytes.saturating_add(source.begin).min(bytes),
        bytes,
        findings,
    }
}

fn position(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}

fn cut(at_byte: usize) -> Finding {
    Finding::new(at_byte, "a byte that is no UTF-8: expected text")
}

/// A point of a track, while its element is open.
#[derive(Default)]
struct Point {
    at_byte: usize,
    time: Option<Timestamp>,
    values: Vec<(Name, f64)>,
}

/// What was read so far.
#[derive(Default)]
struct Track {
    /// How many elements are open.
    depth: usize,
    has_root: bool,
    /// The point that is open, and at which depth.
    point: Option<(Point, usize)>,
    /// The text since the last tag, if the element may be a number or a time.
    leaf: String,
    samples: Vec<Sample>,
    without_time: usize,
}

impl Track {
    fn take(&mut self, at: usize, event: &Event<'_>) -> Result<(), String> {
        match event {
            Event::Start(tag) => {
                self.open(at, tag)?;
                self.depth += 1;
                Ok(())
            }
            Event::Empty(tag) => {
                self.open(at, tag)?;
                self.leaf.clear();
                self.close(tag.local_name().into_inner())
            }
            Event::End(tag) => {
                self.depth = self.depth.saturating_sub(1);
                self.close(tag.local_name().into_inner())
            }
            Event::Text(text) => self.text(text),
            Event::CData(text) => self.text(text),
            Event::GeneralRef(_) => self.text("&"),
            Event::DocType(_) => Err("a document type: GPX has none".to_owned()),
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::Eof => Ok(()),
        }
    }

    fn text(&mut self, text: &str) -> Result<(), String> {
        if self.point.is_none() {
            if self.depth == 0 && text.contains(|letter: char| !letter.is_whitespace()) {
                return Err("text outside of <gpx>: expected nothing".to_owned());
            }
            return Ok(());
        }
        if self.leaf.len() + text.len() <= LEAF_BYTES_MAX {
            self.leaf.push_str(text);
        } else {
            // Longer than any number: what it becomes is none either.
            self.leaf = "too long".to_owned();
        }
        Ok(())
    }

    fn open(&mut self, at_byte: usize, tag: &BytesStart<'_>) -> Result<(), String> {
        let local = tag.local_name();
        let name = local.into_inner();
        self.leaf.clear();
        if self.depth == 0 {
            if self.has_root || name != "gpx" {
                return Err(format!("<{}>: expected <gpx>, once", name.escape_debug()));
            }
            self.has_root = true;
        }
        if name != "trkpt" {
            return Ok(());
        }
        if self.point.is_some() {
            return Err("<trkpt> within another: expected </trkpt> first".to_owned());
        }
        if self.samples.len() >= RIDE_SAMPLES_MAX {
            return Err(format!("at most {RIDE_SAMPLES_MAX} points are read: split the file"));
        }
        let values = vec![
            (Name::Known("lat"), degrees(tag, "lat", 90.0)?),
            (Name::Known("lon"), degrees(tag, "lon", 180.0)?),
        ];
        self.point = Some((Point { at_byte, time: None, values }, self.depth));
        Ok(())
    }

    fn close(&mut self, name: &str) -> Result<(), String> {
        let leaf = std::mem::take(&mut self.leaf);
        let Some((point, depth)) = &mut self.point else { return Ok(()) };
        if self.depth > *depth {
            return point.leaf(name, leaf.trim());
        }
        let Some((Point { at_byte, time, values }, _)) = self.point.take() else { return Ok(()) };
        match time {
            Some(time) => self.samples.push(Sample { at_byte, time, values }),
            None => self.without_time += 1,
        }
        Ok(())
    }

    /// What is wrong with an end here.
    fn end(&self, at_byte: usize) -> Option<Finding> {
        let missing = match (self.has_root, self.depth) {
            (true, 0) => return None,
            (false, _) => "expected <gpx>".to_owned(),
            (true, open) => format!("{open} elements are open, expected </gpx> at the end"),
        };
        Some(Finding::new(at_byte, format!("the file ends here: {missing}")))
    }
}

impl Point {
    /// Takes what stands in an element without children.
    fn leaf(&mut self, name: &str, text: &str) -> Result<(), String> {
        let (known, factor) = match name {
            _ if text.is_empty() => return Ok(()),
            "time" => {
                let time = read_time(text);
                let wrong =
                    || format!("<time> of {:?}: expected such as 2026-11-20T10:00:00Z", text);
                self.time = Some(time.ok_or_else(wrong)?);
                return Ok(());
            }
            "ele" => ("altitude_m", 1.0),
            "speed" => ("speed_kmh", 3.6),
            "hr" => ("heart_rate_bpm", 1.0),
            "cad" => ("cadence_rpm", 1.0),
            "atemp" => ("temperature_c", 1.0),
            "power" | "PowerInWatts" => ("power_w", 1.0),
            other => {
                if let Some(value) = number(text) {
                    self.push(Name::Given(plain("gpx_", other)), value);
                }
                return Ok(());
            }
        };
        let Some(value) = number(text) else {
            return Err(format!("<{name}> of {text:?}: expected a number"));
        };
        // To a hundred-thousandth: 3.6 leaves dust behind it.
        let value = if factor == 1.0 { value } else { (value * factor * 1e5).round() / 1e5 };
        self.push(Name::Known(known), value);
        Ok(())
    }

    fn push(&mut self, name: Name, value: f64) {
        let is_new = self.values.iter().all(|(it, _)| *it != name);
        if is_new && value.is_finite() && self.values.len() < SAMPLE_VALUES_MAX {
            self.values.push((name, value));
        }
    }
}

fn number(text: &str) -> Option<f64> {
    text.parse().ok().filter(|number: &f64| number.is_finite())
}

fn degrees(tag: &BytesStart<'_>, name: &str, most: f64) -> Result<f64, String> {
    let mut attributes = tag.attributes();
    // Whether a name comes twice is not worth comparing all with all.
    let found = attributes
        .with_checks(false)
        .take(ATTRIBUTES_MAX)
        .filter_map(Result::ok)
        .find(|attribute| attribute.key.as_ref() == name);
    let Some(found) = found else {
        return Err(format!("<trkpt> without `{name}`: expected degrees"));
    };
    match number(found.value.trim()) {
        Some(value) if value.abs() <= most => Ok(value),
        _ => {
            let shown: String = found.value.chars().take(LEAF_BYTES_MAX).collect();
            Err(format!("<trkpt> with `{name}` of {shown:?}: expected degrees up to {most}"))
        }
    }
}

/// RFC 3339; without a time zone it is UTC, as GPX says.
fn read_time(text: &str) -> Option<Timestamp> {
    let moment = chrono::DateTime::parse_from_rfc3339(text)
        .or_else(|_| chrono::DateTime::parse_from_rfc3339(&format!("{text}Z")))
        .ok()?;
    Some(Timestamp(moment.timestamp_micros()))
}
