//! The store against a model that cannot be wrong: a map from identity to the first arrival.
//!
//! Rows come in any order, twice, late, with corrected clocks; flushes, merges and restarts come
//! in between. Every answer must be the model's.

use std::collections::BTreeMap;
use std::sync::Arc;

use axle_domain::port::{Cell, History, Reduce, TelemetryStore};
use axle_domain::{DeviceId, Offset, Row, RowBatch, StreamName, TimeQuality, Timestamp, Value};
use axle_store::{ColumnarStore, StoreSettings};
use axle_testkit::conformance::telemetry_store::{NOON, ask, stream};
use proptest::prelude::*;

use crate::{open_with, quiet};

/// A row of `status`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Fact {
    device: u8,
    claimed: i64,
    battery: Option<i32>,
    firmware: Option<u8>,
    extra: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Arrival {
    received: i64,
    time: i64,
    quality: u8,
}

#[derive(Clone, Debug)]
enum Step {
    Write(Vec<(Fact, Arrival)>),
    Flush,
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => proptest::collection::vec((fact(), arrival()), 1..40).prop_map(Step::Write),
        3 => Just(Step::Flush),
        1 => Just(Step::Reopen),
    ]
}

fn fact() -> impl Strategy<Value = Fact> {
    let claimed = prop_oneof![
        // Few moments, so that rows meet; around midnight, so that days do; and long ago.
        8 => (-4_i64..4).prop_map(|s| s * 1_000_000),
        2 => (-3_i64..3).prop_map(|h| h * 12 * 3_600_000_000),
        1 => (1_i64..4).prop_map(|m| -m * 31 * 24 * 3_600_000_000),
    ];
    let battery = proptest::option::of(0_i32..4);
    let firmware = proptest::option::of(0_u8..2);
    (0_u8..4, claimed, battery, firmware, proptest::bool::weighted(0.1)).prop_map(
        |(device, claimed, battery, firmware, extra)| Fact {
            device,
            claimed,
            battery,
            firmware,
            extra,
        },
    )
}

/// How long after the claim it came, and how far the clock was corrected.
fn arrival() -> impl Strategy<Value = Arrival> {
    let shift = prop_oneof![
        6 => Just(0_i64),
        1 => (-3_i64..3).prop_map(|s| s * 1_000_000),
        1 => Just(3 * 24 * 3_600_000_000_i64),
    ];
    (0_i64..5, shift).prop_map(|(received, time)| Arrival {
        received,
        time,
        quality: u8::from(time != 0),
    })
}

type Model = BTreeMap<Fact, Arrival>;

fn rows(facts: &[(Fact, Arrival)]) -> RowBatch {
    let schema = stream("status");
    let mut batch = RowBatch::new(Arc::clone(&schema));
    for (fact, arrival) in facts {
        let device = format!("b-{}", fact.device);
        let firmware = fact.firmware.map(|n| format!("1.{n}"));
        let claimed = NOON.shifted(fact.claimed);
        batch.push(&Row {
            schema: &schema,
            device: &device,
            time: claimed.shifted(arrival.time),
            time_claimed: claimed,
            received_at: claimed.shifted(arrival.received),
            quality: TimeQuality::ALL[usize::from(arrival.quality)],
            keys: &[],
            values: &[
                // 0.05 has no decimal of one digit.
                fact.battery.map(|n| Value::Float(f64::from(n) * 0.05)),
                None,
                None,
                None,
                None,
                None,
                firmware.as_deref().map(Value::Text),
            ],
            extra: fact.extra.then_some("{\"x\":1}"),
        });
    }
    batch
}

/// The rows of the model as `SELECT` below answers them.
fn expected(model: &Model, keep: impl Fn(&Fact, i64) -> bool) -> Vec<String> {
    let mut rows: Vec<String> = model
        .iter()
        .map(|(fact, arrival)| (fact, arrival, fact.claimed + arrival.time))
        .filter(|(fact, _, time)| keep(fact, *time))
        .map(|(fact, arrival, time)| {
            let claimed = NOON.shifted(fact.claimed);
            let cells = [
                Cell::Text(format!("b-{}", fact.device)),
                Cell::Time(NOON.shifted(time)),
                Cell::Time(claimed),
                Cell::Time(claimed.shifted(arrival.received)),
                Cell::Text(TimeQuality::ALL[usize::from(arrival.quality)].as_str().to_owned()),
                fact.battery.map_or(Cell::Null, |n| Cell::Float(f64::from(n) * 0.05)),
                fact.firmware.map_or(Cell::Null, |n| Cell::Text(format!("1.{n}"))),
                if fact.extra { Cell::Text("{\"x\":1}".to_owned()) } else { Cell::Null },
            ];
            format!("{cells:?}")
        })
        .collect();
    rows.sort();
    rows
}

async fn check(store: &ColumnarStore, model: &Model) {
    let columns =
        "device, time, time_claimed, received_at, time_quality, battery_pct, firmware, extra";
    let second = 1_000_000;
    type Keep = fn(&Fact, i64) -> bool;
    let cases: [(&str, Keep); 6] = [
        ("true", |_, _| true),
        ("device = 'b-1'", |fact, _| fact.device == 1),
        ("time >= '2026-11-20T12:00:00Z'", |_, time| time >= 0),
        (
            "time >= '2026-11-20T11:59:58Z' AND time < '2026-11-20T12:00:02Z' AND device <> 'b-0'",
            |fact, time| (-2_000_000..2_000_000).contains(&time) && fact.device != 0,
        ),
        ("time_claimed = '2026-11-20T12:00:01Z'", |fact, _| fact.claimed == 1_000_000),
        ("device IN ('b-2', 'b-3') AND battery_pct > 0.07", |fact, _| {
            fact.device >= 2 && fact.battery.is_some_and(|n| n >= 2)
        }),
    ];
    for (filter, keep) in cases {
        let table = ask(store, &format!("SELECT {columns} FROM status WHERE {filter}")).await;
        let mut seen: Vec<String> = table.rows.iter().map(|row| format!("{row:?}")).collect();
        seen.sort();
        assert_eq!(seen, expected(model, keep), "WHERE {filter}");
    }
    // Columns that no choice among equal rows shows are read without what would decide it.
    let table = ask(store, "SELECT count(*), count(battery_pct) FROM status").await;
    let batteries = model.keys().filter(|fact| fact.battery.is_some()).count();
    let counts = [model.len(), batteries].map(|count| Cell::Int(i64::try_from(count).unwrap()));
    assert_eq!(table.rows, [counts]);
    let history = History {
        device: DeviceId::parse("b-1").unwrap(),
        stream: StreamName::parse("status").unwrap(),
        from: NOON.shifted(-second),
        to: NOON.shifted(2 * second),
        fields: vec!["battery_pct".to_owned()],
        reduce: Reduce::None,
    };
    let (table, _) = store.history(history).await.unwrap();
    let mut seen: Vec<(Timestamp, String)> = table
        .rows
        .iter()
        .map(|row| match &row[0] {
            Cell::Time(time) => (*time, format!("{:?}", row[1])),
            other => panic!("{other:?} is no time"),
        })
        .collect();
    assert!(seen.is_sorted_by_key(|(time, _)| *time));
    seen.sort();
    let mut wanted: Vec<(Timestamp, String)> = model
        .iter()
        .map(|(fact, arrival)| (fact, fact.claimed + arrival.time))
        .filter(|(fact, time)| fact.device == 1 && (-second..2 * second).contains(time))
        .map(|(fact, time)| {
            let cell = fact.battery.map_or(Cell::Null, |n| Cell::Float(f64::from(n) * 0.05));
            (NOON.shifted(time), format!("{cell:?}"))
        })
        .collect();
    wanted.sort();
    assert_eq!(seen, wanted);
}

async fn run(steps: Vec<Step>) {
    let folder = tempfile::tempdir().unwrap();
    let settings = StoreSettings { merge_files: 2, ..quiet() };
    let mut store = open_with(folder.path(), settings.clone());
    let mut model = Model::new();
    for (record, step) in (0_u64..).zip(steps) {
        match step {
            Step::Write(facts) => {
                for (fact, arrival) in &facts {
                    let first = model.entry(fact.clone()).or_insert(*arrival);
                    *first = (*first).min(*arrival);
                }
                store.write(vec![rows(&facts)], Offset(record + 1)).await.unwrap();
            }
            Step::Flush => store.flush().await.unwrap(),
            Step::Reopen => {
                store.close().await.unwrap();
                drop(store);
                store = open_with(folder.path(), settings.clone());
            }
        }
        check(&store, &model).await;
    }
    let before = store.figures();
    store.close().await.unwrap();
    assert!(before.recent_rows + before.file_rows >= model.len() as u64);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn prop_every_answer_is_the_models(steps in proptest::collection::vec(step(), 1..12)) {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
            .block_on(run(steps));
    }
}
