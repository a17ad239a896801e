//! Each switch does what it says, and nothing without one.

use serde_json::Value;

use super::*;

const NOW_MS: i64 = 1_781_064_000_000;

fn post(switches: Switches) -> Post {
    Post::new(DeviceId::parse("bike-1").unwrap(), Key::new(4), switches)
}

fn status(number: i64) -> Sample {
    Sample::new("status", NOW_MS + number, json!({ "battery_pct": 50.5, "speed_kmh": number }))
}

/// What arrives of so many samples.
fn sent(post: &mut Post, count: i64) -> Vec<Vec<u8>> {
    (0..count).for_each(|number| post.sample(&status(number)));
    let letters: Vec<Letter> = std::iter::from_fn(|| post.next()).collect();
    letters.iter().map(|letter| post.payload(letter)).collect()
}

fn times(payloads: &[Vec<u8>]) -> Vec<i64> {
    let json = payloads.iter().map(|payload| serde_json::from_slice::<Value>(payload).unwrap());
    json.map(|sample| sample["time"].as_i64().unwrap() - NOW_MS).collect()
}

#[test]
fn without_switches_everything_arrives_once_and_in_order() {
    let payloads = sent(&mut post(Switches::default()), 500);
    assert_eq!(times(&payloads), (0..500).collect::<Vec<i64>>());
    assert_eq!(payloads[7], br#"{"time":1781064000007,"battery_pct":50.5,"speed_kmh":7}"#);
}

#[test]
fn duplicates_arrive_twice_and_disorder_loses_nothing() {
    let twice = times(&sent(&mut post(Switches { duplicates: 0.2, ..Switches::default() }), 1000));
    assert!((1120..1280).contains(&twice.len()), "{}", twice.len());
    assert!(twice.is_sorted());
    let switches = Switches { out_of_order: 0.2, ..Switches::default() };
    let mut disorder = times(&sent(&mut post(switches), 1000));
    let swapped = disorder.windows(2).filter(|pair| pair[0] > pair[1]).count();
    assert!((100..300).contains(&swapped), "{swapped}");
    disorder.sort_unstable();
    // The last one may wait for its successor.
    assert!((999..=1000).contains(&disorder.len()) && disorder[998] == 998);
}

#[test]
fn torn_ones_are_cut_off() {
    let payloads = sent(&mut post(Switches { torn: 0.1, ..Switches::default() }), 1000);
    let torn = payloads.iter().filter(|p| serde_json::from_slice::<Value>(p).is_err()).count();
    assert!((60..150).contains(&torn) && payloads.len() == 1000, "{torn}");
}

#[test]
fn late_and_future_ones_tell_of_other_days() {
    let switches = Switches { late: 0.1, future: 0.1, ..Switches::default() };
    let times = times(&sent(&mut post(switches), 1000));
    let day = 86_400_000;
    let late = times.iter().filter(|time| **time < -day).count();
    let future = times.iter().filter(|time| (day / 3..7 * day).contains(*time)).count();
    let beyond = times.iter().filter(|time| **time > 7 * day).count();
    assert!((60..150).contains(&late) && (40..120).contains(&future), "{late} {future}");
    assert!((5..60).contains(&beyond), "{beyond}");
}

#[test]
fn a_wrong_clock_says_what_it_shows() {
    let mut post = post(Switches { wrong_clock: 1.0, ..Switches::default() });
    let ahead_ms = post.clock_ahead_ms;
    assert!((60_000..=3 * 86_400_000).contains(&ahead_ms.abs()), "{ahead_ms}");
    let payloads = sent(&mut post, 3);
    let envelope: Value = serde_json::from_slice(&payloads[2]).unwrap();
    assert_eq!(envelope["samples"][0]["time"], NOW_MS + 2 + ahead_ms);
    let sent_at = crate::clock::parse_rfc3339_micros(envelope["sent_at"].as_str().unwrap());
    assert!((sent_at.unwrap() / 1000 - ahead_ms - now_ms()).abs() < 60_000);
    let right = (0..200).filter(|device| {
        let mut dice = Dice::new(Key::new(*device));
        clock_error_ms(&mut dice, 0.3) == 0
    });
    assert!((110..170).contains(&right.count()));
}

#[test]
fn what_was_kept_without_a_connection_is_sent_with_its_own_times() {
    let mut post = post(Switches::default());
    (0..250).for_each(|number| post.store(&status(number)));
    assert!(post.next().is_none());
    post.forward();
    let letters: Vec<Letter> = std::iter::from_fn(|| post.next()).collect();
    let sizes = letters.iter().map(|letter| {
        let array: Vec<Value> = serde_json::from_slice(&post.payload(letter)).unwrap();
        (array.len(), array[0]["time"].as_i64().unwrap() - NOW_MS)
    });
    assert_eq!(sizes.collect::<Vec<_>>(), [(100, 0), (100, 100), (50, 200)]);
    assert_eq!(letters[0].topic, "v1/d/bike-1/t/status");
}
