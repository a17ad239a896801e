//! A bike's life obeys the laws of its world.

use super::super::city::CITIES;
use super::super::past::History;
use super::*;

/// A Wednesday in June, 6:00 in Berlin.
const MORNING_MS: i64 = 1_781_064_000_000;

fn habits(faults: f64) -> Habits {
    Habits { faults, tempo: 1.0 }
}

fn bike(seed: u64) -> Bike {
    Bike::new(Key::new(seed), City::of(usize::try_from(seed).unwrap()), habits(0.3))
}

/// So many seconds of a bike's life.
fn lived(bike: &mut Bike, from_ms: i64, seconds: i64) -> Vec<Saying> {
    let mut says = Vec::new();
    (0..seconds).for_each(|second| bike.live(from_ms + second * 1000, &mut says));
    says
}

fn samples<'a>(says: &'a [Saying], stream: &str) -> Vec<&'a Sample> {
    let of_stream = says.iter().filter_map(|saying| match saying {
        Saying::Sample(sample) if sample.stream == stream => Some(sample),
        Saying::Sample(_) | Saying::Bytes(..) | Saying::Swapped(..) => None,
    });
    of_stream.collect()
}

fn field(sample: &Sample, name: &str) -> f64 {
    sample.fields[name].as_f64().unwrap()
}

fn distance_m(from: &Sample, to: &Sample) -> f64 {
    let (lat, lon) = (field(from, "lat"), field(from, "lon"));
    let north = (field(to, "lat") - lat) * 111_200.0;
    let east = (field(to, "lon") - lon) * 111_200.0 * lat.to_radians().cos();
    north.hypot(east)
}

#[test]
fn the_same_seed_lives_the_same_life() {
    let life = |seed| lived(&mut bike(seed), MORNING_MS, 20_000);
    assert_eq!(life(3), life(3));
    assert_ne!(life(3), life(10));
    let past = |seed| format!("{:?}", History::of(&mut bike(seed), MORNING_MS));
    assert_eq!(past(3), past(3));
}

#[test]
fn speeds_are_those_of_the_way_from_sample_to_sample() {
    for seed in 0..3 {
        let says = lived(&mut bike(seed), MORNING_MS, 30_000);
        let rides = samples(&says, "ride");
        assert!(rides.len() > 2000, "{}", rides.len());
        let (mut straight_m, mut counted_m, mut climbed) = (0.0, 0.0, 0.0_f64);
        for pair in rides.windows(2).filter(|pair| pair[1].time_ms - pair[0].time_ms == 1000) {
            let meters = distance_m(pair[0], pair[1]);
            let fastest = field(pair[0], "speed_kmh").max(field(pair[1], "speed_kmh")) / 3.6;
            assert!(meters <= fastest + 0.3, "{meters} m in a second at {fastest} m/s");
            let change = field(pair[1], "speed_kmh") - field(pair[0], "speed_kmh");
            assert!(change.abs() / 3.6 < 3.5, "{change} km/h in a second");
            straight_m += meters;
            counted_m += 1000.0 * (field(pair[1], "odometer_km") - field(pair[0], "odometer_km"));
            climbed =
                climbed.max((field(pair[1], "altitude_m") - field(pair[0], "altitude_m")).abs());
        }
        assert!((0.97..1.02).contains(&(straight_m / counted_m)), "{straight_m} {counted_m}");
        assert!(climbed < 2.0, "{climbed}");
    }
}

#[test]
fn batteries_fall_while_ridden_and_rise_while_charged_alone() {
    for seed in 0..3 {
        let mut bike = bike(seed);
        let mut before = (bike.battery_wh, bike.odometer_km);
        let mut says = Vec::new();
        for second in 0..60_000 {
            let (was_charging, was_parked) = (bike.is_charging, !bike.is_riding);
            says.clear();
            bike.live(MORNING_MS + second * 1000, &mut says);
            let is_repaired = says.iter().any(|saying| matches!(saying, Saying::Swapped(..)));
            let (gain_wh, km) = (bike.battery_wh - before.0, bike.odometer_km - before.1);
            before = (bike.battery_wh, bike.odometer_km);
            assert!((0.0..=CAPACITY_WH).contains(&bike.battery_wh));
            if is_repaired {
                continue;
            }
            assert!(gain_wh <= 0.0 || (was_parked && (was_charging || bike.is_charging)));
            assert!(gain_wh <= CHARGER_W / 3600.0 + 1e-9 && gain_wh > -0.2, "{gain_wh}");
            assert!((0.0..0.012).contains(&km), "{km} km in a second");
            assert!(km == 0.0 || bike.is_riding || !was_parked, "moved while parked");
        }
    }
}

#[test]
fn what_fails_is_told_and_what_fails_gravely_is_put_in_anew() {
    let (mut faults, mut swaps, mut resets) = (0, 0, 0);
    for seed in 0..16 {
        let mut bike = Bike::new(Key::new(seed), &CITIES[0], habits(1.0));
        let mut odometer_km = bike.odometer_km;
        let says = lived(&mut bike, MORNING_MS, 20_000);
        for saying in &says {
            match saying {
                Saying::Sample(sample) if sample.stream == "fault" => faults += 1,
                Saying::Sample(sample) => {
                    let shown = field(sample, "odometer_km");
                    assert!(shown >= odometer_km - 0.001 || odometer_km == 0.0, "{shown}");
                    odometer_km = shown;
                }
                Saying::Swapped(component, _) => {
                    swaps += 1;
                    if *component == "controller" {
                        (odometer_km, resets) = (0.0, resets + 1);
                    }
                }
                Saying::Bytes(..) => panic!("{saying:?}"),
            }
        }
    }
    assert!(faults > 50 && swaps > 5 && swaps < faults && resets > 0, "{faults} {swaps} {resets}");
    let mut healthy = Bike::new(Key::new(1), &CITIES[0], habits(0.0));
    assert!(samples(&lived(&mut healthy, MORNING_MS, 20_000), "fault").is_empty());
}

#[test]
fn every_value_is_one_that_the_schema_takes() {
    let schemas = axle_domain::Schemas::builtin();
    let says: Vec<Saying> =
        (0..7).flat_map(|seed| lived(&mut bike(seed), MORNING_MS, 10_000)).collect();
    for sample in samples(&says, "ride").into_iter().chain(samples(&says, "status")) {
        let schema = schemas.find(sample.stream).unwrap();
        for (name, value) in sample.fields.as_object().unwrap() {
            let field = &schema.fields[schema.field(name).unwrap()];
            let axle_domain::FieldKind::Float { min, max, .. } = field.kind else { continue };
            assert!((min..=max).contains(&value.as_f64().unwrap()), "{name} {value}");
        }
    }
    let rides = samples(&says, "ride");
    let mean = |name: &str| rides.iter().map(|s| field(s, name)).sum::<f64>() / rides.len() as f64;
    assert!((9.0..22.0).contains(&mean("speed_kmh")), "{}", mean("speed_kmh"));
    assert!((25.0..160.0).contains(&mean("power_w")), "{}", mean("power_w"));
    assert!((85.0..150.0).contains(&mean("heart_rate_bpm")), "{}", mean("heart_rate_bpm"));
}

#[test]
fn there_are_tunnels_and_basements_without_network() {
    let mut bike = bike(2);
    let mut says = Vec::new();
    let blind = (0..40_000).filter(|second| {
        bike.live(MORNING_MS + second * 1000, &mut says);
        bike.is_blind()
    });
    let blind = blind.count();
    assert!((100..12_000).contains(&blind), "{blind} of 40,000 seconds");
}

#[test]
fn who_unlocks_a_bike_rides_it_and_nobody_locks_one_that_is_ridden() {
    let mut bike = bike(1);
    while bike.is_riding || bike.battery_pct() < 50.0 {
        lived(&mut bike, MORNING_MS, 600);
    }
    assert_eq!(bike.execute("unlock").1, Verdict::Succeeded(json!({ "locked": false })));
    let mut seconds = 0;
    while !bike.is_riding {
        bike.live(MORNING_MS + 700_000 + 1000 * seconds, &mut vec![]);
        seconds += 1;
        assert!(seconds < 30);
    }
    assert!(matches!(bike.execute("lock").1, Verdict::Rejected(_)));
    assert!(matches!(bike.execute("fly").1, Verdict::Rejected(_)));
}

#[test]
fn the_past_leads_up_to_the_present_without_a_jump() {
    let mut bike = Bike::new(Key::new(5), &CITIES[1], habits(0.0));
    let history = History::of(&mut bike, MORNING_MS);
    assert!((15..200).contains(&history.rides.len()), "{}", history.rides.len());
    assert!(history.status.len() > 21 * 20, "{}", history.status.len());
    assert!(history.status.is_sorted_by_key(|sample| sample.time_ms));
    assert!(history.status.is_sorted_by(|l, r| field(l, "odometer_km") <= field(r, "odometer_km")));
    let (last, next) = (history.status.last().unwrap(), bike.status(MORNING_MS));
    assert!(last.time_ms <= MORNING_MS && distance_m(last, &next) < 1.0);
    // A ride that is ridden again is the ride that was ridden.
    for (start, from_ms) in history.rides {
        let ride = Bike::ride_again(*start, from_ms, 10_000);
        let end = ride.last().unwrap();
        let told = history.status.iter().find(|sample| sample.time_ms == end.time_ms).unwrap();
        assert_eq!(field(told, "odometer_km"), field(end, "odometer_km"));
        assert!(ride.len() > 60 && distance_m(told, end) < 1.0);
    }
}

#[test]
fn rides_of_the_past_are_more_on_summer_days_than_on_winter_nights() {
    let rides = |now_ms: i64| {
        let hours = (0..10).flat_map(|seed| {
            let mut bike = Bike::new(Key::new(seed), &CITIES[0], habits(0.0));
            let history = History::of(&mut bike, now_ms);
            history.rides.into_iter().map(|(_, from_ms)| CITIES[0].local(from_ms).hour)
        });
        hours.collect::<Vec<f64>>()
    };
    let (summer, winter) = (rides(MORNING_MS), rides(MORNING_MS - 150 * 86_400_000));
    assert!(summer.len() as f64 > 1.3 * winter.len() as f64, "{} {}", summer.len(), winter.len());
    let night = summer.iter().filter(|hour| (1.0..5.0).contains(*hour)).count();
    let evening = summer.iter().filter(|hour| (15.5..19.5).contains(*hour)).count();
    assert!(evening > 4 * night, "{evening} {night}");
}
