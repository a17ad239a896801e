//! Broken questions: each gets rows or a reason, never a panic, a hang, an error of ours, or a row
//! of a device that whoever asks may not see.

use std::time::Duration;

use axle_domain::port::{Answer, Cell, TelemetryStore, Visibility};
use axle_domain::{DeviceId, Kind, Offset};
use axle_testkit::conformance::telemetry_store::{NOON, Reading, ask, batch, question};
use axle_testkit::mutation::run_cases;

use crate::open;

/// What is stored of a device that nobody here may see.
const HIDDEN_DEVICE: &str = "hidden-0815";
const HIDDEN_WATTS: f64 = 424_242.125;

const QUESTIONS: [&str; 16] = [
    "SELECT * FROM energy WHERE device = 'm-1' ORDER BY time DESC LIMIT 5",
    "SELECT device, max(watts), count(*) FROM energy GROUP BY device HAVING count(*) > 1",
    "SELECT max(watts) OVER (PARTITION BY device ORDER BY time ROWS 2 PRECEDING) FROM energy",
    "WITH a AS (SELECT watts AS w FROM energy) SELECT w FROM a UNION ALL SELECT -w FROM a",
    "SELECT a.device, b.watts FROM energy a LEFT JOIN energy b ON a.time = b.time",
    "SELECT CASE WHEN watts > 1e3 THEN 'x' ELSE NULL END, CAST(watts AS TEXT) FROM energy",
    "SELECT date_trunc('hour', time), time + INTERVAL '1 day' FROM energy WHERE time < now()",
    "SELECT * FROM energy WHERE device IN (SELECT device FROM fault) OR watts BETWEEN 0 AND 1",
    "SELECT array_agg(watts), string_agg(device, ',') FROM energy",
    "VALUES (1, 'a', NULL), (-9223372036854775808, U&'\\0041', TRUE)",
    "EXPLAIN SELECT count(DISTINCT device) FROM energy /* a -- b */",
    "SELECT \"watts\", watts::int % 0, 1/0, 9223372036854775807 + 1 FROM energy",
    "SELECT * FROM information_schema.columns; DROP TABLE energy",
    "COPY energy TO '/tmp/x.parquet'",
    "SELECT regexp_replace(device, '(a+)+$', '') LIKE '%\\_' ESCAPE '\\' FROM energy",
    "SELECT $1, ?, @x, x'00ff', 'it''s', E'\\n', * EXCLUDE (time) FROM energy TABLESAMPLE (1)",
];

fn is_hidden(cell: &Cell) -> bool {
    match cell {
        Cell::Text(text) => text.contains(HIDDEN_DEVICE) || text.contains("424242"),
        Cell::Float(number) => (HIDDEN_WATTS..HIDDEN_WATTS + 100.0).contains(number),
        _ => false,
    }
}

#[test]
fn questions() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let store = runtime.block_on(async {
        let store = open(folder.path());
        let seen = (0..10).map(|n| Reading::new("m-1", NOON.shifted(n * 1_000_000), 0.5));
        let hidden = Reading::new(HIDDEN_DEVICE, NOON, HIDDEN_WATTS);
        let readings: Vec<_> = seen.chain([hidden]).collect();
        store.write(vec![batch(&readings)], Offset(1)).await.unwrap();
        let all = ask(&*store, "SELECT * FROM energy").await;
        assert!(all.rows.iter().flatten().any(is_hidden), "whoever may see all sees it");
        store
    });
    let seeds = QUESTIONS.map(str::as_bytes);
    run_cases("questions", &seeds, 3_000, |sql| {
        let of_one = Visibility::Devices(vec![DeviceId::parse("m-1").unwrap()]);
        let mut query = question(&String::from_utf8_lossy(sql), of_one);
        query.limits.time = Duration::from_secs(2);
        match runtime.block_on(store.query(query)) {
            Ok(Answer::Table(table)) => {
                assert!(!table.rows.iter().flatten().any(is_hidden), "{:?}", table.rows);
            }
            Ok(Answer::ArrowStream(..)) => panic!("a table was asked for"),
            Err(error) => assert_ne!(error.kind, Kind::Internal, "{}", error.chain()),
        }
        0
    });
}
