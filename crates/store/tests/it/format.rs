//! What is on disk stays readable: fixtures of version 1, which are never edited.
//!
//! `AXLE_WRITE_FIXTURES=1 cargo test -p axle-store format` writes them where there are none.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Decimal32Type, Float64Type, TimeUnit, TimestampMicrosecondType};
use axle_domain::port::{Cell, TelemetryStore};
use axle_domain::{Offset, Row, RowBatch, Schemas, TimeQuality, Value};
use axle_testkit::conformance::telemetry_store::{NOON, ask, stream};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::open;

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/fixtures/store-v1")
}

fn rows() -> RowBatch {
    let schema = stream("status");
    let mut batch = RowBatch::new(Arc::clone(&schema));
    let mut push = |device: &str, shift: i64, speed: f64, firmware: Option<&str>, extra| {
        batch.push(&Row {
            schema: &schema,
            device,
            time: NOON.shifted(shift),
            time_claimed: NOON,
            received_at: NOON.shifted(1_000_000),
            quality: if shift == 0 { TimeQuality::Trusted } else { TimeQuality::Corrected },
            keys: &[],
            values: &[
                Some(Value::Float(81.0)),
                None,
                Some(Value::Float(52.520_008)),
                Some(Value::Float(13.404_954_1)),
                Some(Value::Float(speed)),
                Some(Value::Bool(true)),
                firmware.map(Value::Text),
            ],
            extra,
        });
    };
    push("b-1", 0, 24.5, Some("1.2.3"), None);
    push("b-2", 7_000_000, 1.0 / 3.0, None, Some("{\"a\":1}"));
    batch
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

async fn write_fixture(folder: &Path) {
    let store = open(folder);
    store.write(vec![rows()], Offset(4711)).await.unwrap();
    store.close().await.unwrap();
    std::fs::remove_file(folder.join("lock")).unwrap();
}

#[tokio::test]
async fn reads_a_store_of_version_1() {
    if !fixture().exists() && std::env::var_os("AXLE_WRITE_FIXTURES").is_some() {
        write_fixture(&fixture()).await;
    }
    let report = axle_store::verify(&fixture(), &Schemas::builtin()).unwrap();
    assert_eq!((report.files, report.rows, report.position), (1, 2, 4711));
    assert_eq!(report.problems, Vec::<String>::new());

    let folder = tempfile::tempdir().unwrap();
    copy(&fixture(), folder.path());
    let store = open(folder.path());
    assert_eq!(store.position(), Offset(4711));
    let sql = "SELECT device, time, lat, lon, speed_kmh, firmware, time_claimed, time_quality, extra FROM status ORDER BY device";
    let text = |text: &str| Cell::Text(text.to_owned());
    let expected = vec![
        vec![
            text("b-1"),
            Cell::Time(NOON),
            Cell::Float(52.520_008),
            Cell::Float(13.404_954_1),
            Cell::Float(24.5),
            text("1.2.3"),
            Cell::Time(NOON),
            text("trusted"),
            Cell::Null,
        ],
        vec![
            text("b-2"),
            Cell::Time(NOON.shifted(7_000_000)),
            Cell::Float(52.520_008),
            Cell::Float(13.404_954_1),
            Cell::Float(1.0 / 3.0),
            Cell::Null,
            Cell::Time(NOON),
            text("corrected"),
            text("{\"a\":1}"),
        ],
    ];
    assert_eq!(ask(&*store, sql).await.rows, expected);
}

fn read(path: &Path) -> RecordBatch {
    let file = std::fs::File::open(path).unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap();
    reader.map(Result::unwrap).next().unwrap()
}

/// As a reader sees the file that knows nothing of axle.
#[tokio::test]
async fn a_file_has_the_documented_columns_for_any_reader() {
    let path = fixture().join("status/day=2026-11-20/flush-1.parquet");
    let batch = read(&path);
    let columns: Vec<String> =
        batch.schema().fields().iter().map(|field| field.name().clone()).collect();
    assert_eq!(
        columns,
        [
            "device",
            "time",
            "battery_pct",
            "odometer_km",
            "lat",
            "lon",
            "speed_kmh",
            "locked",
            "firmware",
            "time_claimed",
            "received_at",
            "time_quality",
            "extra",
            "battery_pct__exact",
            "odometer_km__exact",
            "lat__exact",
            "lon__exact",
            "speed_kmh__exact",
        ]
    );
    let moment = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    assert_eq!(batch.column(1).data_type(), &moment);
    let decimals = |column: usize| batch.column(column).as_primitive::<Decimal32Type>();
    assert_eq!((decimals(4).precision(), decimals(4).scale()), (9, 6));
    assert_eq!(decimals(4).values().to_vec(), [52_520_008, 52_520_008]);
    assert_eq!(decimals(5).null_count(), 2, "seven digits do not fit into six");
    assert_eq!(decimals(6).iter().collect::<Vec<_>>(), [Some(2450), None]);
    let exact = batch.column(17).as_primitive::<Float64Type>();
    assert_eq!(exact.iter().collect::<Vec<_>>(), [None, Some(1.0 / 3.0)]);
    let claimed = batch.column(9).as_primitive::<TimestampMicrosecondType>();
    assert_eq!(claimed.iter().collect::<Vec<_>>(), [None, Some(NOON.0)]);
}

/// The same rows written today make the same manifest but for the bytes of the file.
#[tokio::test]
async fn the_manifest_is_written_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    write_fixture(folder.path()).await;
    let shape = |folder: &Path| {
        let text = std::fs::read_to_string(folder.join("manifest.json")).unwrap();
        let (head, body) = text.split_once(",\"manifest\":").unwrap();
        assert_eq!(head.len(), "{\"sha256\":\"\"".len() + 64);
        body.split_once("\"bytes\"").unwrap().0.to_owned()
    };
    let golden = "{\"version\":1,\"position\":4711,\"collapsed_rows\":0,\"next_file\":2,\"files\":[{\
        \"path\":\"status/day=2026-11-20/flush-1.parquet\",\"stream\":\"status\",\
        \"tier\":\"recent\",\"period\":\"2026-11-20\",\"range\":{\"rows\":2,\
        \"device\":[\"b-1\",\"b-2\"],\"time\":[1795176000000000,1795176007000000],\
        \"claimed\":[1795176000000000,1795176000000000],\"shift\":[0,7000000]},";
    assert_eq!(shape(folder.path()), golden);
    assert_eq!(shape(&fixture()), golden);
}
