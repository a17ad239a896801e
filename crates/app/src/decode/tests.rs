//! What each payload becomes: rows, or a reason.

use axle_domain::{Envelope, Message, Offset, Schemas, Source, TimeQuality, Timestamp, Value};

use super::{Decoded, decode};

const NOW: Timestamp = Timestamp(1_790_000_000_000_000);

fn message<'a>(stream: &'a str, content_type: &'a str, payload: &'a [u8]) -> Message<'a> {
    Message {
        source: Source::Mqtt,
        device: "b-1",
        topic: stream,
        content_type,
        payload,
        received_at: NOW,
        connected_at: NOW,
        sent_at: None,
        replayed_at: None,
        origin: "",
        envelope: Envelope::default(),
    }
}

/// One line per outcome.
fn outcomes(message: &Message<'_>) -> Vec<String> {
    let mut lines = Vec::new();
    decode(&Schemas::builtin(), Offset(7), message, &mut |decoded| {
        lines.push(match decoded {
            Decoded::Row(row) => {
                let values: Vec<_> = row
                    .schema
                    .fields
                    .iter()
                    .zip(row.values)
                    .filter_map(|(field, value)| match (*value)? {
                        Value::Float(number) => Some(format!("{}={number}", field.name)),
                        Value::Bool(truth) => Some(format!("{}={truth}", field.name)),
                        Value::Text(text) => Some(format!("{}={text:?}", field.name)),
                    })
                    .collect();
                let seconds = row.time.micros_since(NOW) / 1_000_000;
                let extra = row.extra.unwrap_or("");
                let quality = row.quality.as_str();
                let keys = row.keys.join(",");
                let values = values.join(" ");
                format!("{seconds:+}s {quality} [{keys}] {values} {extra}").trim_end().to_owned()
            }
            Decoded::SetAside(aside) => format!("{} {}: {}", aside.index, aside.code, aside.detail),
            Decoded::Reply(reply) => format!("reply {} {:?}", reply.status, reply.result),
            Decoded::Opaque => "opaque".to_owned(),
        });
    });
    lines
}

fn check(stream: &str, payload: &str, expected: &[&str]) {
    let topic = format!("v1/d/b-1/t/{stream}");
    assert_eq!(outcomes(&message(&topic, "", payload.as_bytes())), expected, "{payload}");
}

#[test]
fn a_sample_an_array_and_a_batch_become_rows() {
    check("ride", r#"{"speed_kmh":21.5}"#, &["+0s unknown [] speed_kmh=21.5"]);
    check(
        "ride",
        r#" {"time":1790000000000,"lat":48.1,"lon":-11.5} "#,
        &["+0s trusted [] lat=48.1 lon=-11.5"],
    );
    check(
        "status",
        r#"[{"time":1789999999000,"locked":true},{"time":"2026-09-21T14:13:20Z","firmware":"1.\u0032"}]"#,
        &["-1s trusted [] locked=true", "+0s trusted [] firmware=\"1.2\""],
    );
    check(
        "ride",
        r#"{"samples":[{"time":1790000000000,"power_w":1}],"sent_at":1790003600000}"#,
        &["-3600s corrected [] power_w=1"],
    );
    check(
        "energy",
        r#"{"time":1790000000000,"socket":"s-1","name":"power","watts":12.5}"#,
        &["+0s trusted [s-1,power] watts=12.5"],
    );
    check("ride", r#"{"time":null,"speed_kmh":null}"#, &["+0s unknown []"]);
    check(
        "fault",
        r#"{"code":17,"message":"a \"b\""}"#,
        &[r#"+0s unknown [] code="17" message="a \"b\"""#],
    );
}

#[test]
fn unknown_fields_are_kept_with_sorted_keys() {
    check(
        "ride",
        r#"{"zeta":1,"speed_kmh":-0,"alpha":{"d":[1,2],"c":null}}"#,
        &[r#"+0s unknown [] speed_kmh=0 {"alpha":{"c":null,"d":[1,2]},"zeta":1}"#],
    );
}

#[test]
fn what_cannot_be_understood_is_set_aside_with_its_reason() {
    let deep = format!(r#"{{"x":{}1{}}}"#, "[".repeat(40), "]".repeat(40));
    let deeper = "[".repeat(100_000);
    for (payload, expected) in [
        ("", "0 payload.empty: the payload is empty"),
        ("[]", "0 payload.empty: there are no samples"),
        ("hello", "0 payload.invalid: the payload is not JSON: it must begin with { or ["),
        ("{", "0 payload.invalid: no valid JSON: it ends too early at line 1, column 1"),
        (r#"{"a":NaN}"#, "0 payload.invalid: no valid JSON: a syntax error at line 1, column 6"),
        (r#"{"a":1}x"#, "0 payload.invalid: no valid JSON: a syntax error at line 1, column 8"),
        (&deep, "0 payload.too_deep: the payload is nested deeper than 32 levels"),
        (&deeper, "0 payload.invalid: no valid JSON: it ends too early at line 1, column 100000"),
        (
            r#"{"speed_kmh":1,"speed_kmh":2}"#,
            "0 payload.duplicate_member: the member `speed_kmh` comes twice",
        ),
        (r#"{"speed_kmh":"fast"}"#, "0 field.type: `speed_kmh` must be a number, it is text"),
        (r#"{"speed_kmh":1e400}"#, "0 field.not_finite: `speed_kmh` is no finite number"),
        (r#"{"lat":91}"#, "0 field.range: `lat` must be from -90 to 90"),
        (
            r#"{"time":"yesterday"}"#,
            "0 time.format: `time` must be RFC 3339 with a time zone, or epoch milliseconds",
        ),
        (
            r#"{"time":1e300}"#,
            "0 time.format: `time` must be RFC 3339 with a time zone, or epoch milliseconds",
        ),
        (r#"{"time":1700000000}"#, "0 time.past: the time is before the year 2000"),
        (
            r#"{"time":"2085-01-01T00:00:00Z"}"#,
            "0 time.future: the time is more than 7 days ahead of the server's",
        ),
        (r#"{"samples":{}}"#, "0 payload.invalid: `samples` must be an array"),
        (
            r#"{"samples":[],"x":1}"#,
            "0 payload.member_unknown: `x` is no member of a batch: there are sent_at and samples",
        ),
        (r#"{"samples":[{}],"device":"b-2"}"#, "0 payload.mismatch: `device` must be `b-1` here"),
        (
            r#"{"x":"\ud800"}"#,
            "0 payload.invalid: no valid JSON: no object with valid text at line 1, column 8",
        ),
    ] {
        check("ride", payload, &[expected]);
    }
    let broken = outcomes(&message("v1/d/b-1/t/ride", "", b"{\"a\":\"\xff\"}"));
    assert_eq!(broken, ["0 payload.invalid: no valid UTF-8 after 6 bytes"]);
}

#[test]
fn one_bad_sample_does_not_take_the_others_with_it() {
    check(
        "ride",
        r#"{"samples":[{"speed_kmh":1},{"lat":200},5,{"speed_kmh":2}]}"#,
        &[
            "+0s unknown [] speed_kmh=1",
            "1 field.range: `lat` must be from -90 to 90",
            "2 payload.invalid: no valid JSON: no object with valid text at line 1, column 1",
            "+0s unknown [] speed_kmh=2",
        ],
    );
    let lines = b"{\"speed_kmh\":1}\r\n\n{\"lat\":200}\nnonsense\n{\"speed_kmh\":2}";
    assert_eq!(
        outcomes(&message("v1/d/b-1/t/ride", "application/x-ndjson; charset=utf-8", lines)),
        [
            "+0s unknown [] speed_kmh=1",
            "1 field.range: `lat` must be from -90 to 90",
            "2 payload.invalid: no valid JSON: a syntax error at line 1, column 2",
            "+0s unknown [] speed_kmh=2",
        ]
    );
}

#[test]
fn topics_decide_what_a_message_is_about() {
    for (topic, payload, expected) in [
        (
            "v1/d/b-1/t/nosuch",
            "{}",
            "0 stream.unknown: stream `nosuch` is not known: there are ride, status, fault, energy",
        ),
        (
            "v1/d/b-2/t/ride",
            "{}",
            "0 topic.foreign: the topic names another device than the credential",
        ),
        (
            "v1/d/b-1/t/Ride",
            "{}",
            "0 topic.invalid: the stream in the topic is no stream name: it must match [a-z][a-z0-9_]{0,47}",
        ),
        ("v1/d/b-1/e/theft", "anything", "opaque"),
        ("plant/7", "anything", "opaque"),
        (
            "v1/d/b-1/c/k1/r",
            r#"{"status":"succeeded","result":{"a":1}}"#,
            "reply succeeded Some(\"{\\\"a\\\":1}\")",
        ),
        (
            "v1/d/b-1/c/k1/r",
            r#"{"status":"done"}"#,
            "0 reply.invalid: `status` must be succeeded, failed, rejected or running",
        ),
        ("v1/d/b-1/c/k1/r", "nonsense", "0 reply.invalid: no valid answer: see line 1, column 2"),
    ] {
        assert_eq!(outcomes(&message(topic, "", payload.as_bytes())), [expected], "{topic}");
    }
}

/// `Container { token: "t", measurements: [..], seq: 5 }`, encoded by hand.
fn container(measurements: &[(&str, &str, f64, i64)]) -> Vec<u8> {
    fn varint(bytes: &mut Vec<u8>, mut value: u64) {
        while value >= 0x80 {
            bytes.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        bytes.push((value & 0x7f) as u8);
    }
    fn field(bytes: &mut Vec<u8>, tag: u8, inside: &[u8]) {
        bytes.push(tag);
        varint(bytes, inside.len() as u64);
        bytes.extend(inside);
    }
    let mut bytes = Vec::new();
    field(&mut bytes, 0x0a, b"t");
    for (name, socket, watts, ts) in measurements {
        let mut inside = Vec::new();
        field(&mut inside, 0x0a, name.as_bytes());
        field(&mut inside, 0x12, socket.as_bytes());
        inside.push(0x19);
        inside.extend(watts.to_le_bytes());
        inside.push(0x20);
        varint(&mut inside, *ts as u64);
        field(&mut bytes, 0x12, &inside);
    }
    bytes.extend([0x18, 5]);
    bytes
}

#[test]
fn a_container_becomes_a_row_per_measurement() {
    let payload = container(&[
        ("power", "s-1", 12.5, 1_790_000_000_000),
        ("power", "s-2", f64::NAN, 1_790_000_000_000),
        ("power", "s-3", 0.1, 1_790_000_001_000),
    ]);
    for content_type in ["", "application/x-protobuf"] {
        assert_eq!(
            outcomes(&message("v1/d/b-1/t/energy", content_type, &payload)),
            [
                "+0s trusted [s-1,power] watts=12.5",
                "1 field.not_finite: `watts` is no finite number",
                "+1s trusted [s-3,power] watts=0.1",
            ]
        );
    }
}

#[test]
fn a_measurement_that_was_set_aside_is_a_container_by_itself() {
    let ahead = NOW.shifted(8 * 24 * 3600 * 1_000_000).micros() / 1000;
    let payload =
        container(&[("power", "s-1", 1.0, 1_790_000_000_000), ("power", "s-2", 2.0, ahead)]);
    let mut kept = Vec::new();
    decode(
        &Schemas::builtin(),
        Offset(0),
        &message("v1/d/b-1/t/energy", "", &payload),
        &mut |decoded| {
            if let Decoded::SetAside(aside) = decoded {
                kept = aside.payload.to_vec();
            }
        },
    );
    let replayed_at = Some(NOW.shifted(9 * 24 * 3600 * 1_000_000));
    let replay =
        Message { replayed_at, ..message("v1/d/b-1/t/energy", "application/x-protobuf", &kept) };
    assert_eq!(outcomes(&replay), ["+691200s trusted [s-2,power] watts=2"]);
}

#[test]
fn a_broken_container_is_set_aside_whole() {
    let good = container(&[("power", "s-1", 12.5, 1_790_000_000_000)]);
    for cut in 1..good.len() - 2 {
        let lines = outcomes(&message("v1/d/b-1/t/energy", "application/protobuf", &good[..cut]));
        assert_eq!(lines.len(), 1, "cut at {cut}: {lines:?}");
        assert!(lines[0].starts_with("0 payload."), "cut at {cut}: {lines:?}");
    }
    for (payload, detail) in [
        (&[0x12, 0xff, 0xff, 0xff, 0xff, 0x7f][..], "a length points beyond the end"),
        (
            &[0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1],
            "a varint is longer than 64 bits",
        ),
        (&[0x03, 0x00], "a field number is out of range"),
        (&[0x0b, 0x0b, 0x0b], "groups are not accepted"),
        (&[0x10, 0x05], "a field has the wrong wire type"),
    ] {
        let lines = outcomes(&message("v1/d/b-1/t/energy", "application/protobuf", payload));
        assert_eq!(lines, [format!("0 payload.invalid: no valid protobuf container: {detail}")]);
    }
}

#[test]
fn a_declared_type_without_a_decoder_is_set_aside() {
    let lines = outcomes(&message("v1/d/b-1/t/ride", "application/cbor", b"{}"));
    assert_eq!(
        lines,
        ["0 payload.type_unknown: stream `ride` has no decoder for the declared content type"]
    );
}

#[test]
fn quality_is_late_or_future_where_the_clock_says_so() {
    for (seconds, quality) in
        [(-90_000, TimeQuality::Late), (600, TimeQuality::Future), (-60, TimeQuality::Trusted)]
    {
        let time = NOW.micros() / 1000 + seconds * 1000;
        let expected = format!("{seconds:+}s {} [] speed_kmh=1", quality.as_str());
        check("ride", &format!(r#"{{"time":{time},"speed_kmh":1}}"#), &[&expected]);
    }
}

mod props {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn no_payload_panics_and_each_has_an_outcome(
            stream in "ride|status|fault|energy",
            content_type in "|application/json|application/x-ndjson|application/protobuf",
            payload in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let topic = format!("v1/d/b-1/t/{stream}");
            let lines = outcomes(&message(&topic, &content_type, &payload));
            prop_assert!(!lines.is_empty());
        }

        #[test]
        fn no_json_panics(text in "[\\[\\]{}\",:a-z0-9.eE+\\\\ -]{0,80}") {
            check_any(text.as_bytes());
        }

        #[test]
        fn numbers_come_through_exactly(number in -500.0f64..1000.0) {
            let payload = format!(r#"{{"speed_kmh":{number:?}}}"#);
            let topic = "v1/d/b-1/t/ride";
            let lines = outcomes(&message(topic, "", payload.as_bytes()));
            prop_assert_eq!(lines, vec![format!("+0s unknown [] speed_kmh={number}")]);
        }
    }

    fn check_any(payload: &[u8]) {
        outcomes(&message("v1/d/b-1/t/ride", "application/json", payload));
    }
}
