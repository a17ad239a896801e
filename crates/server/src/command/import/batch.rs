//! Cuts a ride into uploads that the door takes.

use axle_app::format_time;
use axle_domain::{DeviceId, Timestamp, limit};
use axle_ride::Sample;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

/// Samples of one upload: half an hour of one a second.
const BATCH_SAMPLES_MAX: usize = 2000;
/// Bytes of their JSON; the rest of the body is far less than what is left.
const BATCH_BYTES_MAX: usize = limit::UPLOAD_ENCODED_BYTES_MAX / 2;

const _: () = assert!(BATCH_SAMPLES_MAX <= limit::UPLOAD_RECORDS_MAX);

/// The samples of one upload.
pub(super) struct Batch {
    samples: Vec<Value>,
    /// When the ride began to be played, where it is: each play is a ride of its own.
    pub(super) play: Option<Timestamp>,
}

/// The batches of a ride in its order, with the times that `time` makes of the recorded ones.
pub(super) fn batches(
    samples: &[Sample],
    time: impl Fn(Timestamp) -> Timestamp,
) -> impl Iterator<Item = Batch> {
    let mut rest = samples.iter().map(move |sample| value(sample, time(sample.time))).peekable();
    std::iter::from_fn(move || {
        let (mut samples, mut bytes) = (Vec::new(), 0);
        while let Some((_, size)) = rest.peek() {
            let is_full = samples.len() >= BATCH_SAMPLES_MAX || bytes + size > BATCH_BYTES_MAX;
            if is_full && !samples.is_empty() {
                break;
            }
            let Some((sample, size)) = rest.next() else { break };
            samples.push(sample);
            bytes += size;
        }
        (!samples.is_empty()).then_some(Batch { samples, play: None })
    })
}

/// A sample as the door takes it, and how long that is.
fn value(sample: &Sample, time: Timestamp) -> (Value, usize) {
    let mut object = Map::new();
    for (name, number) in &sample.values {
        object.insert(name.as_str().to_owned(), json!(number));
    }
    object.insert("time".to_owned(), json!(format_time(time)));
    let value = Value::Object(object);
    let size = value.to_string().len() + 1;
    (value, size)
}

impl Batch {
    pub(super) fn len(&self) -> usize {
        self.samples.len()
    }

    /// The body of its upload.
    pub(super) fn body(&self, device: &DeviceId, sent_at: Option<Timestamp>) -> Value {
        let mut body = json!({
            "device": device.as_str(),
            "stream": "ride",
            "samples": self.samples,
        });
        if let (Some(sent_at), Some(body)) = (sent_at, body.as_object_mut()) {
            body.insert("sent_at".to_owned(), json!(format_time(sent_at)));
        }
        body
    }

    /// What makes the same samples for the same device the same upload, whenever it is sent.
    pub(super) fn key(&self, device: &DeviceId, offset: i64) -> String {
        let mut hash = Sha256::new();
        let play = self.play.map_or(i64::MIN, Timestamp::micros);
        for part in [device.as_str().as_bytes(), &offset.to_le_bytes(), &play.to_le_bytes()] {
            hash.update(part);
            hash.update([0]);
        }
        for sample in &self.samples {
            hash.update(sample.to_string().as_bytes());
            hash.update([0]);
        }
        let hash: String =
            hash.finalize().iter().take(20).map(|byte| format!("{byte:02x}")).collect();
        format!("import-{hash}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axle_ride::Name;

    fn samples(count: i64, values: usize) -> Vec<Sample> {
        let values: Vec<_> = (0..values)
            .map(|number| (Name::Given(format!("fit_{number}").into()), 0.123_456_789))
            .collect();
        let at = |second| Timestamp(1_790_000_000_000_000 + second * 1_000_000);
        let sample = |second| Sample { at_byte: 0, time: at(second), values: values.clone() };
        (0..count).map(sample).collect()
    }

    #[test]
    fn batches_keep_to_the_limits_of_the_door_and_lose_nothing() {
        let device = DeviceId::parse("b-1").unwrap();
        for (count, values) in [(0, 1), (1, 1), (4001, 2), (5000, 60)] {
            let samples = samples(count, values);
            let made: Vec<_> = batches(&samples, |time| time).collect();
            assert_eq!(made.iter().map(Batch::len).sum::<usize>(), samples.len());
            for batch in &made {
                assert!(batch.len() <= BATCH_SAMPLES_MAX);
                let bytes = batch.body(&device, Some(Timestamp(0))).to_string().len();
                assert!(bytes <= limit::UPLOAD_ENCODED_BYTES_MAX, "{bytes}");
            }
        }
    }

    #[test]
    fn a_key_is_of_the_samples_the_device_and_the_clock() {
        let samples = samples(3, 1);
        let device = DeviceId::parse("b-1").unwrap();
        let made = |shift: i64| batches(&samples, move |time| time.shifted(shift)).next().unwrap();
        let key = made(0).key(&device, 0);
        assert_eq!(made(0).key(&device, 0), key);
        assert_ne!(made(1).key(&device, 0), key);
        assert_ne!(made(0).key(&device, 1), key);
        assert_ne!(made(0).key(&DeviceId::parse("b-2").unwrap(), 0), key);
        let play = Batch { play: Some(Timestamp(1)), ..made(0) };
        assert_ne!(play.key(&device, 0), key);
    }
}
