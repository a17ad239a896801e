//! Contents are computed, and lead back to their messages.

use super::super::ColumnKind;
use super::*;

#[test]
fn a_time_leads_back_to_its_message() {
    let source = Source::new(Profile::Bike, 1, 3, 1_790_000_000_000, 7);
    for seq in [0, 1, 99_999] {
        assert_eq!(source.seq_of_micros(source.time_ms(seq) * 1000), Some(seq));
        assert_eq!(source.seq_of_micros(source.time_ms(seq) * 1000 + 1), None);
    }
    assert_eq!(source.seq_of_micros(1_789_999_999_993_000), None);
    assert_eq!(source.seq_of_micros(i64::MIN), None);
}

#[test]
fn what_goes_wrong_leads_back_to_its_message_too() {
    let switches = Switches {
        torn: 0.1,
        late: 0.2,
        future: 0.2,
        faults: 0.1,
        wrong_clock: 0.5,
        ..Switches::default()
    };
    for (number, profile) in [Profile::Bike, Profile::Car].into_iter().cycle().take(8).enumerate() {
        let number = u32::try_from(number).unwrap();
        let source = Source::new(profile, 2, number, 1_790_000_000_000, 7).with(&switches);
        let mut torn = 0;
        for seq in 0..500 {
            let (fate, claimed_ms) = (source.fate(seq), source.claimed_ms(seq));
            assert_eq!(source.seq_of_claimed(claimed_ms * 1000, fate), Some(seq));
            let mut payload = Vec::new();
            source.write_message(seq, 1_790_000_009_000, &mut payload);
            let time = format!("{{\"time\":{claimed_ms}");
            assert_eq!(claimed_ms_of(&payload), Some(claimed_ms));
            let payload = String::from_utf8(payload).unwrap();
            assert!(payload.contains(&time), "{payload} {time}");
            let is_envelope = payload.starts_with("{\"sent_at\":");
            assert_eq!(is_envelope, source.quirks().clock_ahead_ms() != 0);
            let is_whole = serde_json::from_str::<serde_json::Value>(&payload).is_ok();
            assert_eq!(is_whole, fate != Fate::Torn, "{payload}");
            torn += usize::from(!is_whole);
        }
        assert!((20..90).contains(&torn), "{torn}");
    }
}

#[test]
fn a_torn_container_ends_within_a_measurement() {
    let switches = Switches { torn: 1.0, ..Switches::default() };
    let source = Source::new(Profile::Meter, 2, 1, 1_790_000_000_000, 7).with(&switches);
    for seq in 0..200 {
        let mut payload = Vec::new();
        source.write_message(seq, 0, &mut payload);
        assert_eq!(claimed_ms_of(&payload), Some(source.time_ms(seq)));
        assert!((77 + 10..467).contains(&payload.len()) && (payload.len() - 38) % 39 == 10);
    }
}

#[test]
fn contents_depend_on_seed_device_and_sequence_and_on_nothing_else() {
    let cells = |seed, number, seq| Source::new(Profile::Bike, seed, number, 5, 1).cells(seq, 0);
    assert_eq!(cells(1, 2, 3), Source::new(Profile::Bike, 1, 2, 9, 4).cells(3, 0));
    assert_ne!(cells(1, 2, 3), cells(2, 2, 3));
    assert_ne!(cells(1, 2, 3), cells(1, 3, 3));
    assert_ne!(cells(1, 2, 3), cells(1, 2, 4));
}

#[test]
fn every_value_is_one_that_the_schema_takes() {
    let schemas = axle_domain::Schemas::builtin();
    for profile in [Profile::Bike, Profile::Car, Profile::Meter] {
        let schema = schemas.find(profile.stream()).unwrap();
        let source = Source::new(profile, 4, 1, 0, 1);
        for (seq, row) in (0..3000).map(|seq| (seq, (seq % 11) as usize)) {
            let cells = source.cells(seq, row);
            for (column, cell) in profile.columns().iter().zip(cells) {
                let field = &schema.fields[schema.field(column.name).unwrap()];
                let (axle_domain::FieldKind::Float { min, max, .. }, ColumnKind::Decimal(p)) =
                    (field.kind, column.kind)
                else {
                    continue;
                };
                let value = cell as f64 / 10_f64.powi(p.cast_signed());
                assert!((min..=max).contains(&value), "{} {value}", column.name);
            }
        }
    }
}
