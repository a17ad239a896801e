//! SQL as people write it, and as they should not.

use axle_domain::port::{Answer, AnswerFormat, Cell, TelemetryStore, Visibility};
use axle_domain::{Kind, Offset, Row, RowBatch, TimeQuality, Value};
use axle_testkit::conformance::telemetry_store::{NOON, Reading, ask, batch, question, stream};

use crate::open;

async fn filled(store: &dyn TelemetryStore) {
    let readings: Vec<Reading> = (0..10)
        .map(|n: i32| {
            Reading::new("m-1", NOON.shifted(i64::from(n) * 1_000_000), f64::from(n) / 10.0)
        })
        .collect();
    store.write(vec![batch(&readings)], Offset(1)).await.unwrap();
}

#[tokio::test]
async fn a_table_has_the_documented_columns_and_types() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let schema = stream("status");
    let mut rows = RowBatch::new(schema.clone());
    rows.push(&Row {
        schema: &schema,
        device: "b-1",
        time: NOON.shifted(5),
        time_claimed: NOON,
        received_at: NOON.shifted(9),
        quality: TimeQuality::Corrected,
        keys: &[],
        values: &[
            Some(Value::Float(81.0)),
            None,
            None,
            None,
            Some(Value::Float(0.123_456)),
            Some(Value::Bool(true)),
            Some(Value::Text("1.2.3")),
        ],
        extra: Some("{\"a\":1}"),
    });
    store.write(vec![rows], Offset(1)).await.unwrap();
    for _ in 0..2 {
        let table = ask(&*store, "SELECT * FROM status").await;
        let columns: Vec<(&str, &str)> =
            table.columns.iter().map(|c| (c.name.as_str(), c.kind.as_str())).collect();
        assert_eq!(
            columns,
            [
                ("device", "text"),
                ("time", "timestamp"),
                ("battery_pct", "double"),
                ("odometer_km", "double"),
                ("lat", "double"),
                ("lon", "double"),
                ("speed_kmh", "double"),
                ("locked", "boolean"),
                ("firmware", "text"),
                ("time_claimed", "timestamp"),
                ("received_at", "timestamp"),
                ("time_quality", "text"),
                ("extra", "text"),
            ]
        );
        let text = |text: &str| Cell::Text(text.to_owned());
        let expected = vec![
            text("b-1"),
            Cell::Time(NOON.shifted(5)),
            Cell::Float(81.0),
            Cell::Null,
            Cell::Null,
            Cell::Null,
            Cell::Float(0.123_456),
            Cell::Bool(true),
            text("1.2.3"),
            Cell::Time(NOON),
            Cell::Time(NOON.shifted(9)),
            text("corrected"),
            text("{\"a\":1}"),
        ];
        assert_eq!(table.rows, [expected]);
        store.flush().await.unwrap();
    }
}

#[tokio::test]
async fn filters_on_time_take_text_in_utc() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    filled(&*store).await;
    for _ in 0..2 {
        for (filter, expected) in [
            ("time >= '2026-11-20T12:00:05Z'", 5),
            ("time > TIMESTAMP '2026-11-20 12:00:05' AND device = 'm-1'", 4),
            ("time BETWEEN '2026-11-20T12:00:01Z' AND '2026-11-20T12:00:03Z'", 3),
            ("time < '2026-11-20T13:00:02+01:00'", 2),
            ("device IN ('m-1', 'm-7') AND watts >= 0.5", 5),
            ("device = 'm-1' OR device = 'x'", 10),
            ("NOT device = 'm-1'", 0),
            ("time_claimed = '2026-11-20T12:00:05Z'", 1),
            ("'2026-11-20T12:00:08Z' <= time", 2),
            ("time < now() + INTERVAL '100 years'", 10),
            ("time > now() + INTERVAL '100 years'", 0),
        ] {
            let sql = format!("SELECT count(*) FROM energy WHERE {filter}");
            assert_eq!(ask(&*store, &sql).await.rows, [[Cell::Int(expected)]], "{filter}");
        }
        store.flush().await.unwrap();
    }
}

#[tokio::test]
async fn says_what_is_wrong_with_a_question() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let deep = format!("SELECT {}1{}", "(".repeat(70), ")".repeat(70));
    let long = format!("SELECT 1{}", " + 1".repeat(1500));
    let huge = format!("SELECT '{}'", "x".repeat(20_000));
    let not = format!("SELECT {} true", "NOT ".repeat(1900));
    for (sql, kind, code, word) in [
        ("", Kind::Invalid, "query.syntax", "empty"),
        ("SELEC 1", Kind::Invalid, "query.syntax", "SELEC"),
        ("SELECT 1 FROM", Kind::Invalid, "query.syntax", "malformed"),
        ("SELECT 'abc", Kind::Invalid, "query.syntax", "Line: 1"),
        ("SELECT 1; SELECT 2", Kind::Invalid, "query.syntax", "one statement"),
        (
            "SELECT * FROM rides",
            Kind::Invalid,
            "query.unknown",
            "energy, fault, presence, ride, status",
        ),
        ("SELECT * FROM pg_catalog.pg_class", Kind::Invalid, "query.unknown", "pg_class"),
        ("SELECT * FROM information_schema.tables", Kind::Invalid, "query.unknown", "energy"),
        ("SELECT wats FROM energy", Kind::Invalid, "query.unknown", "watts"),
        ("SELECT nope(1)", Kind::Invalid, "query.failed", "nope"),
        ("SELECT repeat('x', 1000000000)", Kind::Invalid, "query.failed", "repeat"),
        ("SELECT * FROM generate_series(1, 10)", Kind::Denied, "query.read_only", "refused"),
        ("SELECT * FROM 'x.parquet'", Kind::Invalid, "query.unknown", "x.parquet"),
        (&deep, Kind::Invalid, "query.too_complex", "64"),
        (&long, Kind::Invalid, "query.too_complex", "2000"),
        (&not, Kind::Invalid, "query.syntax", "malformed"),
        (&huge, Kind::TooLarge, "query.too_long", "16384"),
    ] {
        let error = store.query(question(sql, Visibility::All)).await.unwrap_err();
        let shown: String = sql.chars().take(60).collect();
        assert_eq!((error.kind, error.code), (kind, code), "{shown}: {}", error.chain());
        assert!(error.message.contains(word), "{shown}: {}", error.message);
    }
}

#[tokio::test]
async fn a_question_may_be_as_deep_as_its_length_allows() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    filled(&*store).await;
    let sum = format!("SELECT watts{} FROM energy LIMIT 1", " + watts".repeat(900));
    let union = vec!["SELECT watts FROM energy"; 300].join(" UNION ALL ");
    let case = format!("SELECT {}1{}", "CASE WHEN true THEN ".repeat(40), " END".repeat(40));
    for sql in [sum, union, case] {
        if let Err(error) = store.query(question(&sql, Visibility::All)).await {
            let shown: String = sql.chars().take(60).collect();
            assert_ne!(error.kind, Kind::Internal, "{shown}: {}", error.chain());
        }
    }
}

#[tokio::test]
async fn an_explained_plan_tells_nothing_of_what_is_stored() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let sql = "EXPLAIN SELECT * FROM energy WHERE device = 'm-1'";
    let before = ask(&*store, sql).await;
    filled(&*store).await;
    store.flush().await.unwrap();
    assert_eq!(ask(&*store, sql).await, before);
}

#[tokio::test]
async fn an_arrow_answer_is_an_arrow_stream_within_the_same_limits() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    filled(&*store).await;
    for (rows, expected) in [(100, 10), (4, 4)] {
        let mut query = question("SELECT * FROM energy ORDER BY time", Visibility::All);
        query.format = AnswerFormat::ArrowStream;
        query.limits.rows = rows;
        let Answer::ArrowStream(bytes, truncated) = store.query(query).await.unwrap() else {
            panic!("asked for a stream")
        };
        let reader = arrow::ipc::reader::StreamReader::try_new(&bytes[..], None).unwrap();
        let read: usize = reader.map(|batch| batch.unwrap().num_rows()).sum();
        assert_eq!((read, truncated), (expected, expected < 10));
    }
}

#[tokio::test]
async fn a_question_that_needs_too_much_memory_is_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let device = |n: i32| format!("{}-{n}", "m".repeat(100));
    let readings: Vec<Reading> = (0..2000).map(|n| Reading::new(&device(n), NOON, 1.0)).collect();
    store.write(vec![batch(&readings)], Offset(1)).await.unwrap();
    let sql = "SELECT a.device || b.device || a.device AS x FROM energy a, energy b ORDER BY x";
    let mut query = question(sql, Visibility::All);
    query.limits.time = std::time::Duration::from_secs(120);
    let error = store.query(query).await.unwrap_err();
    assert_eq!((error.kind, error.code), (Kind::TooLarge, "query.memory"), "{}", error.chain());
}

#[tokio::test]
async fn text_does_not_grow_without_bound() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    filled(&*store).await;
    let doubled = |how: &str| {
        let mut sql = "SELECT device AS x FROM energy".to_owned();
        for _ in 0..40 {
            sql = format!("SELECT {how} AS x FROM ({sql})");
        }
        sql
    };
    let constant =
        format!("SELECT {}'x'{}", "replace(".repeat(9), ", 'x', 'xxxxxxxxxx')".repeat(9));
    for sql in [doubled("x || x"), doubled("concat(x, x)"), doubled("replace(x, 'm', x)"), constant]
    {
        let error = store.query(question(&sql, Visibility::All)).await.unwrap_err();
        let shown: String = sql.chars().take(60).collect();
        assert_eq!((error.kind, error.code), (Kind::TooLarge, "query.memory"), "{shown}: {error}");
    }
    let table = ask(&*store, "SELECT device || '/' || 7 || NULL, concat(device, NULL, '!'), device || watts FROM energy ORDER BY time LIMIT 1").await;
    let text = |text: &str| Cell::Text(text.to_owned());
    assert_eq!(table.rows, [[Cell::Null, text("m-1!"), text("m-10.0")]]);
}

#[tokio::test]
async fn a_window_over_everything_counts_as_memory() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let device = |n: i32| format!("{}-{n}", "m".repeat(100));
    let readings: Vec<Reading> = (0..2000).map(|n| Reading::new(&device(n), NOON, 1.0)).collect();
    store.write(vec![batch(&readings)], Offset(1)).await.unwrap();
    let small = "SELECT max(total) FROM (SELECT sum(watts) OVER () AS total FROM energy)";
    assert_eq!(ask(&*store, small).await.rows, [[Cell::Float(2000.0)]]);
    let sql = "SELECT max(n) FROM (SELECT a.device || b.device AS x, count(*) OVER () AS n FROM energy a, energy b) WHERE length(x) > 1";
    let mut query = question(sql, Visibility::All);
    query.limits.time = std::time::Duration::from_secs(120);
    let error = store.query(query).await.unwrap_err();
    assert_eq!((error.kind, error.code), (Kind::TooLarge, "query.memory"), "{}", error.chain());
}

/// DataFusion 55.2 drops one of two equal projections that stand on each other
/// (apache/datafusion pull request 24686); named, they differ.
#[tokio::test]
async fn equal_layers_of_a_question_all_count() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    filled(&*store).await;
    let mut sql = "SELECT max(watts) AS x FROM energy".to_owned();
    for _ in 0..6 {
        sql = format!("SELECT x + 1 AS x FROM ({sql})");
    }
    assert_eq!(ask(&*store, &sql).await.rows, [[Cell::Float(6.9)]]);
    let sql = "WITH a AS (SELECT watts + 1 AS watts FROM energy), b AS (SELECT watts + 1 AS watts FROM a) SELECT max(watts) FROM b";
    assert_eq!(ask(&*store, sql).await.rows, [[Cell::Float(2.9)]]);
}
