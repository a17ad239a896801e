//! The contract of [`TelemetryStore`], clause by clause. Every function wants an empty store that
//! knows the built-in streams.

use std::sync::Arc;
use std::time::Duration;

use axle_domain::port::{
    Answer, AnswerFormat, Cell, History, Query, QueryLimits, Reduce, Table, TelemetryStore,
    Visibility,
};
use axle_domain::{
    DeviceId, Kind, Offset, Row, RowBatch, Schemas, StreamName, StreamSchema, TimeQuality,
    Timestamp, Value,
};

/// A moment on 2026-11-20, which most rows of the suite are near.
pub const NOON: Timestamp = Timestamp(1_795_176_000_000_000);
const DAY: i64 = 24 * 3600 * 1_000_000;

/// A built-in stream.
///
/// # Panics
/// When there is no such stream.
#[must_use]
pub fn stream(name: &str) -> Arc<StreamSchema> {
    Arc::clone(Schemas::builtin().find(name).unwrap())
}

/// One row of `energy`, trusted, that arrived a second after its time.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// The device.
    pub device: String,
    /// The socket.
    pub socket: String,
    /// Its time and claimed time.
    pub time: Timestamp,
    /// When it came.
    pub received_at: Timestamp,
    /// The value.
    pub watts: Option<f64>,
}

impl Reading {
    /// A reading of socket `s-1`.
    #[must_use]
    pub fn new(device: &str, time: Timestamp, watts: f64) -> Self {
        Self {
            device: device.to_owned(),
            socket: "s-1".to_owned(),
            time,
            received_at: time.shifted(1_000_000),
            watts: Some(watts),
        }
    }
}

/// Rows of `energy` as one batch.
#[must_use]
pub fn batch(readings: &[Reading]) -> RowBatch {
    let schema = stream("energy");
    let mut batch = RowBatch::new(Arc::clone(&schema));
    for reading in readings {
        batch.push(&Row {
            schema: &schema,
            device: &reading.device,
            time: reading.time,
            time_claimed: reading.time,
            received_at: reading.received_at,
            quality: TimeQuality::Trusted,
            keys: &[&reading.socket, "lamp"],
            values: &[reading.watts.map(Value::Float)],
            extra: None,
        });
    }
    batch
}

/// Answers SQL with cells.
///
/// # Panics
/// When the store refuses.
pub async fn ask(store: &dyn TelemetryStore, sql: &str) -> Table {
    ask_as(store, sql, Visibility::All).await
}

/// Answers SQL with cells, as someone may see them.
///
/// # Panics
/// When the store refuses.
pub async fn ask_as(store: &dyn TelemetryStore, sql: &str, visibility: Visibility) -> Table {
    let answer = store.query(question(sql, visibility)).await;
    match answer.unwrap_or_else(|error| panic!("{sql}: {}", error.chain())) {
        Answer::Table(table) => table,
        Answer::ArrowStream(..) => panic!("{sql}: asked for cells"),
    }
}

/// A question with the usual limits.
#[must_use]
pub fn question(sql: &str, visibility: Visibility) -> Query {
    let (sql, limits) = (sql.to_owned(), QueryLimits::default());
    Query { sql, visibility, limits, format: AnswerFormat::Table }
}

async fn count(store: &dyn TelemetryStore) -> Cell {
    ask(store, "SELECT count(*) FROM energy").await.rows[0][0].clone()
}

/// Clause 1.
pub async fn rows_are_visible_when_write_returns(store: &dyn TelemetryStore) {
    for number in 0..50_i32 {
        let reading = Reading::new("m-1", NOON.shifted(i64::from(number)), f64::from(number));
        store.write(vec![batch(&[reading])], Offset(number.unsigned_abs().into())).await.unwrap();
        assert_eq!(count(store).await, Cell::Int(i64::from(number) + 1));
    }
    store.flush().await.unwrap();
    assert_eq!(count(store).await, Cell::Int(50));
}

/// Clause 2.
pub async fn identical_rows_are_one_and_the_first_arrival_stays(store: &dyn TelemetryStore) {
    let mut reading = Reading::new("m-1", NOON, 5.0);
    let mut other = reading.clone();
    other.watts = Some(5.1);
    for (write, received) in [9_i64, 3, 7, 5].into_iter().enumerate() {
        reading.received_at = NOON.shifted(received);
        let batches = vec![batch(&[reading.clone(), reading.clone(), other.clone()])];
        store.write(batches, Offset(write as u64 + 1)).await.unwrap();
        let sql = "SELECT watts, received_at FROM energy ORDER BY watts";
        let first = if write == 0 { 9 } else { 3 };
        for _ in 0..2 {
            let table = ask(store, sql).await;
            assert_eq!(table.rows.len(), 2, "after write {write}");
            assert_eq!(table.rows[0][1], Cell::Time(NOON.shifted(first)), "after write {write}");
            store.flush().await.unwrap();
        }
    }
}

/// Clause 2: numbers are compared in their canonical form.
pub async fn minus_zero_is_zero(store: &dyn TelemetryStore) {
    let readings = [Reading::new("m-1", NOON, 0.0), Reading::new("m-1", NOON, -0.0)];
    store.write(vec![batch(&readings)], Offset(1)).await.unwrap();
    assert_eq!(count(store).await, Cell::Int(1));
}

/// Clause 3.
pub async fn replaying_from_the_position_restores_everything<S: TelemetryStore>(
    store: S,
    reopen: impl AsyncFn(S) -> S,
) {
    let rows = |number: u64| {
        let shift = i64::try_from(number).unwrap() * 1_000_000;
        vec![batch(&[Reading::new("m-1", NOON.shifted(shift), 1.0)])]
    };
    assert_eq!(store.position(), Offset(0));
    for record in 0..20 {
        store.write(rows(record), Offset(record + 1)).await.unwrap();
        if record == 9 {
            store.flush().await.unwrap();
            assert_eq!(store.position(), Offset(10));
        }
    }
    assert_eq!(store.position(), Offset(10), "what is in memory alone does not count");
    let store = reopen(store).await;
    let from = store.position().0;
    assert!((10..=20).contains(&from), "the position never goes back, it is {from}");
    for record in from.saturating_sub(3)..20 {
        store.write(rows(record), Offset(record + 1)).await.unwrap();
    }
    assert_eq!(count(&store).await, Cell::Int(20));
    store.flush().await.unwrap();
    assert_eq!((store.position(), count(&store).await), (Offset(20), Cell::Int(20)));
    store.write(Vec::new(), Offset(25)).await.unwrap();
    store.flush().await.unwrap();
    assert_eq!(store.position(), Offset(25), "records without rows count too");
}

/// Clause 4.
pub async fn answers_do_not_depend_on_the_order_of_arrival(store: &dyn TelemetryStore) {
    let ages = [0, 1, 400, 2, 30, 31, 29, 3000, 7, 0, 30];
    let mut expected: Vec<i64> = ages.to_vec();
    expected.sort_unstable();
    expected.dedup();
    for (write, age) in ages.into_iter().enumerate() {
        let mut reading = Reading::new("m-1", NOON.shifted(-age * DAY), 1.0);
        reading.received_at = NOON;
        store.write(vec![batch(&[reading])], Offset(write as u64 + 1)).await.unwrap();
        if write % 3 == 0 {
            store.flush().await.unwrap();
        }
    }
    let table = ask(store, "SELECT time FROM energy ORDER BY time DESC").await;
    let times: Vec<Cell> =
        expected.iter().map(|age| Cell::Time(NOON.shifted(-age * DAY))).collect();
    assert_eq!(table.rows.into_iter().flatten().collect::<Vec<_>>(), times);
}

/// Clause 5.
pub async fn refuses_what_is_not_a_pure_question(store: &dyn TelemetryStore) {
    for sql in [
        "INSERT INTO energy SELECT * FROM energy",
        "DELETE FROM energy",
        "UPDATE energy SET watts = 1",
        "DROP TABLE energy",
        "CREATE TABLE x AS SELECT 1",
        "CREATE VIEW x AS SELECT 1",
        "CREATE EXTERNAL TABLE x STORED AS PARQUET LOCATION 'x'",
        "COPY energy TO 'x.parquet'",
        "COPY (SELECT 1) TO 'x.csv'",
        "SET datafusion.execution.time_zone = 'x'",
        "TRUNCATE TABLE energy",
        "EXPLAIN COPY energy TO 'x.parquet'",
        "EXPLAIN ANALYZE INSERT INTO energy SELECT * FROM energy",
        "SELECT * INTO x FROM energy",
        "BEGIN",
    ] {
        let error = store.query(question(sql, Visibility::All)).await.unwrap_err();
        assert_eq!((error.kind, error.code), (Kind::Denied, "query.read_only"), "{sql}: {error}");
    }
}

/// Clause 6.
pub async fn nobody_sees_rows_of_others(store: &dyn TelemetryStore) {
    let mine = DeviceId::parse("m-1").unwrap();
    let readings = ["m-0", "m-1", "m-2", "m-1x"].map(|device| Reading::new(device, NOON, 2.5));
    store.write(vec![batch(&readings)], Offset(1)).await.unwrap();
    for _ in 0..2 {
        for sql in [
            "SELECT count(*) FROM energy",
            "SELECT count(DISTINCT device) FROM energy WHERE device <> 'm-9' OR 1 = 1",
            "SELECT sum(watts) / 2.5 FROM energy WHERE device IN ('m-0', 'm-1', 'm-2')",
            "SELECT count(*) FROM energy a JOIN energy b ON a.watts = b.watts",
            "WITH x AS (SELECT * FROM energy) SELECT count(*) FROM x",
            "SELECT max(n) FROM (SELECT row_number() OVER (ORDER BY device) n FROM energy)",
        ] {
            let visibility = Visibility::Devices(vec![mine.clone()]);
            let table = ask_as(store, sql, visibility).await;
            let one = [vec![vec![Cell::Int(1)]], vec![vec![Cell::Float(1.0)]]];
            assert!(one.contains(&table.rows), "{sql}: {:?}", table.rows);
        }
        let nothing = ask_as(store, "SELECT * FROM energy", Visibility::Devices(Vec::new())).await;
        assert!(nothing.rows.is_empty());
        store.flush().await.unwrap();
    }
}

/// Clause 7.
pub async fn an_answer_that_is_cut_says_so(store: &dyn TelemetryStore) {
    let readings: Vec<Reading> =
        (0..100).map(|second| Reading::new("m-1", NOON.shifted(second), 1.0)).collect();
    store.write(vec![batch(&readings)], Offset(1)).await.unwrap();
    for (rows, expected, truncated) in [(10, 10, true), (100, 100, false), (0, 0, true)] {
        let mut query = question("SELECT * FROM energy", Visibility::All);
        query.limits.rows = rows;
        let Answer::Table(table) = store.query(query).await.unwrap() else { panic!("cells") };
        assert_eq!((table.rows.len(), table.truncated), (expected, truncated), "{rows} rows");
    }
    let mut query = question("SELECT * FROM energy", Visibility::All);
    query.limits.bytes = 500;
    let Answer::Table(table) = store.query(query).await.unwrap() else { panic!("cells") };
    assert!(table.truncated && table.rows.len() < 20, "{} rows", table.rows.len());
}

/// Clause 7: a question is stopped when its time is up, and its place is free again.
pub async fn a_question_that_takes_too_long_is_stopped(store: &dyn TelemetryStore) {
    let readings: Vec<Reading> =
        (0..3000).map(|second| Reading::new("m-1", NOON.shifted(second), 1.0)).collect();
    store.write(vec![batch(&readings)], Offset(1)).await.unwrap();
    for _ in 0..6 {
        let sql = "SELECT sum(a.watts * b.watts * c.watts) FROM energy a, energy b, energy c";
        let mut query = question(sql, Visibility::All);
        query.limits.time = Duration::from_millis(50);
        let error = loop {
            let error = store.query(query.clone()).await.unwrap_err();
            // The one before may still be on its way out.
            if error.kind != Kind::Busy {
                break error;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        assert_eq!((error.kind, error.code), (Kind::TooLarge, "query.time"));
    }
}

/// The history of a device is its rows between two times, in order.
pub async fn history_is_ordered_and_bounded(store: &dyn TelemetryStore) {
    let mut readings: Vec<Reading> = (0..100)
        .rev()
        .map(|second: i32| {
            Reading::new("m-1", NOON.shifted(i64::from(second) * 1_000_000), f64::from(second))
        })
        .collect();
    readings.push(Reading::new("m-2", NOON, 1.0));
    store.write(vec![batch(&readings)], Offset(1)).await.unwrap();
    let mut history = History {
        device: DeviceId::parse("m-1").unwrap(),
        stream: StreamName::parse("energy").unwrap(),
        from: NOON.shifted(10_000_000),
        to: NOON.shifted(20_000_000),
        fields: vec!["watts".to_owned()],
        reduce: Reduce::None,
    };
    for _ in 0..2 {
        let (table, reduced) = store.history(history.clone()).await.unwrap();
        let watts: Vec<Cell> = table.rows.iter().map(|row| row[3].clone()).collect();
        let expected: Vec<Cell> = (10..20).map(|watts| Cell::Float(f64::from(watts))).collect();
        assert_eq!((watts, reduced), (expected, false));
        store.flush().await.unwrap();
    }
    history.fields = vec!["volts".to_owned()];
    let error = store.history(history).await.unwrap_err();
    assert_eq!((error.kind, error.code), (Kind::Invalid, "telemetry.field_unknown"));
}
