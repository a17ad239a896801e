//! A household's meter: thirty values a minute, days like days, counters that count.

use super::super::city::CITIES;
use super::*;

/// A Wednesday, midnight in Berlin.
const MIDNIGHT_MS: i64 = 1_781_042_400_000;

fn meter(seed: u64) -> Meter {
    Meter::new(Key::new(seed), &CITIES[0])
}

/// Name, socket, value and time of each measurement.
type Measured = (String, String, f64, i64);

fn read(container: &[u8]) -> Vec<Measured> {
    let mut rest = container;
    let mut measured = Vec::new();
    while let [0x12, length, tail @ ..] = rest {
        let (body, after) = tail.split_at(usize::from(*length));
        rest = after;
        let name_bytes = usize::from(body[1]);
        let (name, body) = body[2..].split_at(name_bytes);
        let socket_bytes = usize::from(body[1]);
        let (socket, body) = body[2..].split_at(socket_bytes);
        assert_eq!((body[0], body[9]), (0x19, 0x20));
        let value = f64::from_le_bytes(body[1..9].try_into().unwrap());
        let time = body[10..].iter().rev().fold(0, |time, byte| time << 7 | i64::from(byte & 0x7f));
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        measured.push((text(name), text(socket), value, time));
    }
    assert!(rest.is_empty());
    measured
}

fn lived(meter: &mut Meter, rounds: i64) -> Vec<Measured> {
    let mut says = Vec::new();
    (0..rounds).for_each(|round| meter.live(MIDNIGHT_MS + round * ROUND_MS, &mut says));
    let measured = says.iter().flat_map(|saying| match saying {
        Saying::Bytes("energy", container) => read(container),
        Saying::Sample(_) | Saying::Bytes(..) | Saying::Swapped(..) => panic!("{saying:?}"),
    });
    measured.collect()
}

#[test]
fn says_thirty_values_a_minute() {
    let measured = lived(&mut meter(1), 2);
    assert_eq!(measured.len(), 30);
    assert_eq!(measured.iter().filter(|(name, ..)| name == "power").count(), 20);
    assert_eq!(measured.iter().filter(|(name, ..)| name == "energy_wh").count(), 10);
    assert_eq!(measured[0].3, MIDNIGHT_MS);
    assert_eq!(lived(&mut meter(1), 200), lived(&mut meter(1), 200));
}

#[test]
fn a_day_of_a_household_is_like_a_day_of_a_household() {
    for seed in 0..20 {
        let measured = lived(&mut meter(seed), 2880);
        let of = |socket: &str| {
            let power = measured.iter().filter(|(name, at, ..)| name == "power" && at == socket);
            power.map(|(_, _, watts, _)| *watts).collect::<Vec<f64>>()
        };
        let kwh = |socket: &str| of(socket).iter().sum::<f64>() / 120.0 / 1000.0;
        assert!(measured.iter().all(|(_, _, value, _)| *value >= 0.0));
        assert!((0.4..1.6).contains(&kwh("fridge")), "{}", kwh("fridge"));
        assert!((0.15..0.35).contains(&kwh("router")), "{}", kwh("router"));
        assert!(kwh("kettle") < 1.2 && of("kettle").iter().all(|w| *w == 0.0 || *w > 1700.0));
        // A fridge runs and rests, many times.
        let starts = of("fridge").windows(2).filter(|w| w[0] < 20.0 && w[1] > 50.0).count();
        assert!((15..60).contains(&starts), "{starts}");
        let total: f64 = SOCKETS.iter().map(|socket| kwh(socket)).sum();
        assert!((1.5..14.0).contains(&total), "{total} kWh");
    }
}

#[test]
fn counters_count_what_was_taken_until_a_power_cut_begins_them_anew() {
    let (mut resets, mut steps) = (0, 0);
    for seed in 0..10 {
        let mut meter = meter(seed);
        let measured = lived(&mut meter, 2880 * 3);
        for socket in SOCKETS {
            let counts =
                measured.iter().filter(|(name, at, ..)| name == "energy_wh" && at == socket);
            let counts: Vec<f64> = counts.map(|(_, _, count, _)| *count).collect();
            for pair in counts.windows(2) {
                steps += 1;
                resets += usize::from(pair[1] < pair[0]);
                // Less than 3.6 kilowatts for a minute.
                assert!(pair[1] - pair[0] < 60.0 && (pair[1] >= pair[0] || pair[1] < 60.0));
            }
        }
    }
    assert!((1..steps / 1000).contains(&resets), "{resets} of {steps}");
}

#[test]
fn the_past_is_told_latest_day_first_and_leads_up_to_the_present() {
    let mut meter = meter(7);
    let past: Vec<Measured> =
        meter.live_past(MIDNIGHT_MS).flat_map(|container| read(&container)).collect();
    let times: Vec<i64> = past.iter().map(|(.., time)| *time).collect();
    assert_eq!(times[0], MIDNIGHT_MS - DAY_MS);
    assert_eq!(*times.iter().min().unwrap(), MIDNIGHT_MS - PAST_DAYS * DAY_MS);
    assert!(times.iter().all(|time| *time < MIDNIGHT_MS));
    let power = past.iter().filter(|(name, ..)| name == "power").count() as i64;
    assert_eq!(power, PAST_DAYS * DAY_MS / PAST_ROUND_MS * SOCKETS.len() as i64);
    // The counters of now go on from those of the last day's end.
    let (_, _, last, _) = past
        .iter()
        .filter(|(name, at, ..)| name == "energy_wh" && at == "fridge")
        .max_by_key(|(.., time)| *time)
        .unwrap();
    let now = lived(&mut meter, 1);
    let (_, _, next, _) =
        now.iter().find(|(name, at, ..)| name == "energy_wh" && at == "fridge").unwrap();
    assert!((0.0..60.0).contains(&(next - last)), "{last} {next}");
}
