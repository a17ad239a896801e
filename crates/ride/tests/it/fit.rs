//! FIT files that are whole.

use axle_ride::{Format, Ride, read};

use crate::build::{Fit, RECORD, START, START_MICROS, ride};

fn good(fit: Fit) -> Ride {
    let ride = read(&fit.file()).unwrap();
    assert_eq!(ride.findings, []);
    assert_eq!(ride.good_bytes, ride.bytes);
    ride
}

fn values(ride: &Ride, index: usize) -> Vec<(&str, f64)> {
    ride.samples[index].values.iter().map(|(name, value)| (name.as_str(), *value)).collect()
}

#[test]
fn a_record_becomes_a_sample_in_the_words_of_the_stream() {
    let ride = good(ride(3));
    assert_eq!(ride.format, Format::Fit);
    assert_eq!(ride.samples.len(), 3);
    assert_eq!(ride.samples[2].time.micros(), START_MICROS + 2_000_000);
    let expected = [
        ("lat", 48.028_305_2),
        ("lon", 11.483_207_3),
        ("speed_kmh", 19.8),
        ("heart_rate_bpm", 140.0),
    ];
    assert_eq!(values(&ride, 0), expected);
    assert!((0.01..0.05).contains(&ride.track_km()), "{}", ride.track_km());
}

#[test]
fn both_byte_orders_and_the_better_of_two_sources_are_read() {
    let fields =
        [(253, 4, 0x86), (2, 2, 0x84), (78, 4, 0x86), (6, 2, 0x84), (73, 4, 0x86), (13, 1, 0x01)];
    let fit = Fit::default().define_all(3, (20, true), &fields, &[]).data(
        3,
        &[
            &START.to_be_bytes(),
            &2600_u16.to_be_bytes(),
            &2605_u32.to_be_bytes(),
            &1000_u16.to_be_bytes(),
            &2000_u32.to_be_bytes(),
            &[0xFE],
        ],
    );
    let expected = [("speed_kmh", 7.2), ("altitude_m", 21.0), ("temperature_c", -2.0)];
    assert_eq!(values(&good(fit), 0), expected);
}

#[test]
fn invalid_values_are_absent_and_unknown_fields_keep_their_number() {
    let fields =
        [(253, 4, 0x86), (3, 1, 0x02), (7, 2, 0x84), (5, 4, 0x86), (200, 2, 0x83), (201, 3, 0x0D)];
    let fit = Fit::default().define(0, 20, &fields).data(
        0,
        &[
            &START.to_le_bytes(),
            &[0xFF],
            &0xFFFF_u16.to_le_bytes(),
            &123_456_u32.to_le_bytes(),
            &(-7_i16).to_le_bytes(),
            &[1, 2, 3],
        ],
    );
    assert_eq!(values(&good(fit), 0), [("distance_km", 1.23456), ("fit_200", -7.0)]);
}

#[test]
fn developer_fields_are_read_by_their_description() {
    let name = b"Tire Press\0\0";
    let description =
        [(0, 1, 0x02), (1, 1, 0x02), (2, 1, 0x02), (3, name.len() as u8, 0x07), (6, 1, 0x02)];
    let fit = Fit::default()
        .define(1, 206, &description)
        .data(1, &[&[0], &[9], &[0x84], name, &[10]])
        .define_all(0, (20, false), &[(253, 4, 0x86)], &[(9, 2, 0), (8, 1, 0)])
        .data(0, &[&START.to_le_bytes(), &25_u16.to_le_bytes(), &[1]]);
    assert_eq!(values(&good(fit), 0), [("dev_tire_press", 2.5)]);
}

#[test]
fn compressed_times_count_from_the_last_and_roll_over() {
    let fit = Fit::default()
        .define(0, 20, &[(253, 4, 0x86), (3, 1, 0x02)])
        .data(0, &[&START.to_le_bytes(), &[100]])
        .define(1, 20, &[(3, 1, 0x02)]);
    let low = START as u8 & 0x1F;
    let header = |seconds: u8| 0x80 | 1 << 5 | (low + seconds) & 0x1F;
    let fit =
        fit.data(header(1), &[&[101]]).data(header(31), &[&[102]]).data(header(33), &[&[103]]);
    let ride = good(fit);
    let seconds = |index: usize| (ride.samples[index].time.micros() - START_MICROS) / 1_000_000;
    assert_eq!((0..4).map(seconds).collect::<Vec<_>>(), [0, 1, 31, 33]);
    assert_eq!(values(&ride, 3), [("heart_rate_bpm", 103.0)]);
}

#[test]
fn records_without_a_date_are_counted_and_left_out() {
    let fields = [(253, 4, 0x86), (3, 1, 0x02)];
    let fit = Fit::default()
        .define(0, 20, &fields)
        .data(0, &[&77_u32.to_le_bytes(), &[100]])
        .data(0, &[&u32::MAX.to_le_bytes(), &[100]])
        .data(0, &[&START.to_le_bytes(), &[0xFF]])
        .data(0, &[&START.to_le_bytes(), &[100]]);
    let ride = good(fit);
    assert_eq!((ride.samples.len(), ride.without_time), (1, 2));
}

#[test]
fn a_second_file_may_follow_the_first() {
    let mut bytes = ride(2).file();
    bytes.extend(ride(3).file());
    let ride = read(&bytes).unwrap();
    assert!(ride.is_whole());
    assert_eq!(ride.samples.len(), 5);
}

#[test]
fn a_whole_file_is_what_its_device_wrote_however_strange_its_times() {
    let fit = Fit::default().define(0, 20, &RECORD);
    let record = |fit: Fit, time: u32| {
        let place = 573_000_000_i32.to_le_bytes();
        fit.data(0, &[&time.to_le_bytes(), &place, &place, &[0, 0], &[90]])
    };
    let fit = [0x2000_0000, START, START - 900].into_iter().fold(fit, record);
    assert_eq!(good(fit).samples.len(), 3);
}
