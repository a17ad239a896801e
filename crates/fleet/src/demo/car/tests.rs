//! A car's life obeys the laws of its world.

use super::super::city::CITIES;
use super::*;

const NOON_MS: i64 = 1_781_085_600_000;

fn car(seed: u64) -> Car {
    Car::new(Key::new(seed), &CITIES[1], Habits { faults: 0.2, tempo: 1.0 })
}

fn lived(car: &mut Car, moments: i64) -> Vec<Sample> {
    let mut says = Vec::new();
    (0..moments).for_each(|moment| car.live(NOON_MS + moment * 5000, &mut says));
    let samples = says.into_iter().filter_map(|saying| match saying {
        Saying::Sample(sample) => Some(sample),
        Saying::Bytes(..) | Saying::Swapped(..) => None,
    });
    samples.collect()
}

#[test]
fn obeys_mostly_and_says_so() {
    let mut car = car(3);
    let verdicts: Vec<Verdict> = (0..500).map(|_| car.execute("unlock").1).collect();
    let done = Verdict::Succeeded(json!({ "locked": false }));
    let succeeded = verdicts.iter().filter(|verdict| **verdict == done).count();
    assert!((450..500).contains(&succeeded), "{succeeded}");
    assert!(matches!(car.execute("fly").1, Verdict::Rejected(_)));
    let (time, _) = car.execute("flash");
    assert!((Duration::from_millis(500)..Duration::from_secs(3)).contains(&time));
}

#[test]
fn the_same_seed_lives_the_same_life() {
    assert_eq!(lived(&mut car(4), 3000), lived(&mut car(4), 3000));
    assert_ne!(lived(&mut car(4), 3000), lived(&mut car(5), 3000));
}

#[test]
fn drives_with_the_ignition_on_and_never_backwards_in_kilometers() {
    let (mut drives, mut fastest) = (0, 0.0_f64);
    for seed in 0..4 {
        let mut car = car(seed);
        let says = lived(&mut car, 12_000);
        let says: Vec<&Sample> = says.iter().filter(|sample| sample.stream == "status").collect();
        for pair in says.windows(2) {
            let field = |sample: &Sample, name: &str| sample.fields[name].as_f64().unwrap();
            let km = field(pair[1], "odometer_km") - field(pair[0], "odometer_km");
            let hours = (pair[1].time_ms - pair[0].time_ms) as f64 / 3_600_000.0;
            assert!(km >= 0.0 && km <= 100.0 * hours + 0.01, "{km} km in {hours} h");
            let (was_on, is_on) = (&pair[0].fields["ignition"], &pair[1].fields["ignition"]);
            assert!(km == 0.0 || was_on == true || is_on == true, "{km} km without ignition");
            drives += usize::from(was_on == false && is_on == true);
            assert!((0.0..=100.0).contains(&field(pair[1], "battery_pct")));
            fastest = fastest.max(field(pair[1], "speed_kmh"));
            if pair[1].fields["ignition"] == false {
                assert_eq!(field(pair[1], "speed_kmh"), 0.0);
            }
        }
    }
    assert!(drives > 20 && (50.0..100.0).contains(&fastest), "{drives} {fastest}");
}
