//! Histories made small.

use axle_domain::port::{Aggregate, Cell, History, Reduce, TelemetryStore, Usage};
use axle_domain::{DeviceId, Offset, StreamName};
use axle_testkit::conformance::telemetry_store::{NOON, Reading, batch};

use crate::open;

const SECOND: i64 = 1_000_000;

fn history(reduce: Reduce) -> History {
    History {
        device: DeviceId::parse("m-1").unwrap(),
        stream: StreamName::parse("energy").unwrap(),
        from: NOON,
        to: NOON.shifted(200_000 * SECOND),
        fields: Vec::new(),
        reduce,
    }
}

fn readings(values: &[f64]) -> Vec<Reading> {
    let seconds = (0_i64..).map(|second| NOON.shifted(second * SECOND));
    seconds.zip(values).map(|(time, watts)| Reading::new("m-1", time, *watts)).collect()
}

#[tokio::test]
async fn points_keep_the_spikes_and_the_ends() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let mut values: Vec<f64> = (0..50_000).map(|n| f64::from(n % 100)).collect();
    values[31_234] = 9_999.0;
    values[40_001] = -7_777.0;
    store.write(vec![batch(&readings(&values))], Offset(1)).await.unwrap();
    for _ in 0..2 {
        let (table, reduced) = store.history(history(Reduce::Points(400))).await.unwrap();
        assert!(reduced && (100..=420).contains(&table.rows.len()), "{}", table.rows.len());
        let watts: Vec<&Cell> = table.rows.iter().map(|row| &row[3]).collect();
        for spike in [9_999.0, -7_777.0] {
            assert!(watts.contains(&&Cell::Float(spike)), "{spike}");
        }
        assert_eq!(table.rows[0][0], Cell::Time(NOON));
        assert_eq!(table.rows.last().unwrap()[0], Cell::Time(NOON.shifted(49_999 * SECOND)));
        assert!(table.rows.is_sorted_by_key(|row| match row[0] {
            Cell::Time(time) => time,
            _ => panic!("the first column is time"),
        }));
        store.flush().await.unwrap();
    }
    let (table, reduced) = store.history(history(Reduce::Points(100_000))).await.unwrap();
    assert!(!reduced && table.truncated, "all rows, cut off at the limit of any answer");
}

async fn buckets(values: &[f64], aggregate: Aggregate) -> Vec<Cell> {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    store.write(vec![batch(&readings(values))], Offset(1)).await.unwrap();
    let reduce = Reduce::Bucket(4 * SECOND, aggregate);
    let (table, reduced) = store.history(history(reduce)).await.unwrap();
    assert!(reduced);
    table.rows.into_iter().map(|mut row| row.pop().unwrap()).collect()
}

#[tokio::test]
async fn buckets_aggregate() {
    let values = [1.0, 5.0, 3.0, 3.0, 10.0, 20.0];
    let float = |values: [f64; 2]| values.map(Cell::Float).to_vec();
    for (aggregate, expected) in [
        (Aggregate::Avg, float([3.0, 15.0])),
        (Aggregate::Min, float([1.0, 10.0])),
        (Aggregate::Max, float([5.0, 20.0])),
        (Aggregate::Sum, float([12.0, 30.0])),
        (Aggregate::First, float([1.0, 10.0])),
        (Aggregate::Last, float([3.0, 20.0])),
        (Aggregate::Count, vec![Cell::Int(4), Cell::Int(2)]),
    ] {
        assert_eq!(buckets(&values, aggregate).await, expected, "{aggregate:?}");
    }
}

#[tokio::test]
async fn the_increase_of_a_counter_is_never_negative() {
    // Grows by 2, 1, 4 | falls to 1 (a reset: grew by 1), then grows by 2 and by 0.
    let values = [10.0, 12.0, 13.0, 17.0, 1.0, 3.0, 3.0];
    let expected = vec![Cell::Float(7.0), Cell::Float(3.0)];
    assert_eq!(buckets(&values, Aggregate::Increase).await, expected);
}

#[tokio::test]
async fn usage_is_of_slots_with_their_gaps_left_open() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    // Ten minutes of 60 W, half an hour of nothing, ten minutes of 120 W; noon is a slot's start.
    let minute =
        |minute: i64, watts| Reading::new("m-1", NOON.shifted(minute * 60 * SECOND), watts);
    let mut readings: Vec<_> = (0..=10).map(|it| minute(it, 60.0)).collect();
    readings.extend((40..=50).map(|it| minute(it, 120.0)));
    store.write(vec![batch(&readings)], Offset(1)).await.unwrap();
    let usage = Usage { slot_micros: 900 * SECOND, gap_micros: 300 * SECOND };
    for _ in 0..2 {
        let (table, _) = store.history(history(Reduce::Usage(usage))).await.unwrap();
        let names: Vec<_> = table.columns.iter().map(|column| column.name.as_str()).collect();
        let rest = ["used", "grown", "grown_in_gaps", "covered", "last", "last_time"];
        assert_eq!(names, [&["time", "socket", "name"], &rest[..]].concat());
        let seen: Vec<_> = table.rows.iter().map(|row| (&row[0], &row[3], &row[6])).collect();
        let slot = |minute: i64| Cell::Time(NOON.shifted(minute * 60 * SECOND));
        let expected = [
            (&slot(0), &Cell::Float(36_000.0), &Cell::Int(600 * SECOND)),
            (&slot(30), &Cell::Float(36_000.0), &Cell::Int(300 * SECOND)),
            (&slot(45), &Cell::Float(36_000.0), &Cell::Int(300 * SECOND)),
        ];
        assert_eq!(seen, expected);
        store.flush().await.unwrap();
    }
    let wrong = Usage { slot_micros: 0, ..usage };
    assert!(store.history(history(Reduce::Usage(wrong))).await.is_err());
}

#[tokio::test]
async fn a_history_spans_days_memory_and_files() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    for hour in 0..50_i64 {
        let time = NOON.shifted(hour * 3600 * SECOND);
        store.write(vec![batch(&[Reading::new("m-1", time, 1.0)])], Offset(1)).await.unwrap();
        if hour % 7 == 0 {
            store.flush().await.unwrap();
        }
    }
    let (table, _) = store.history(history(Reduce::None)).await.unwrap();
    let times: Vec<Cell> = table.rows.into_iter().map(|row| row[0].clone()).collect();
    let hours = (0..50).map(|hour| Cell::Time(NOON.shifted(hour * 3600 * SECOND)));
    assert_eq!(times, hours.collect::<Vec<_>>());
}
