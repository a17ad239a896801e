//! Reading everything back: sums first, rows where the sums differ or where there are few enough.
//!
//! Per device the sums are the number of rows, the sum of each value column as integers, and the
//! same sum weighted by time, so that values that changed places are seen. `CAST(x AS BIGINT)` of
//! a time is microseconds.

mod astray;

use astray::Astray;
use axle_domain::{DeviceId, Error, Kind};
use hashbrown::HashMap;
use serde_json::Value;

use super::sent::{Known, Sent};
use super::{OnProgress, Progress, VerifyReport};
use crate::api::Api;
use crate::clock::{parse_rfc3339_micros, rfc3339};
use crate::content::{Cells, Column, ColumnKind, Profile};

/// Up to so many rows are compared one by one in any case.
const ROWS_COMPARED_MAX: u64 = 200_000;
/// Rows of one question, below the server's limit of rows and bytes.
const PAGE_ROWS: u64 = 9000;
/// Rows that one question may sum up.
const SUMMED_ROWS_MAX: u64 = 4_000_000;
/// Devices of one question; bounded by the length of the SQL.
const SUMMED_DEVICES_MAX: usize = 150;
/// Findings that are spelled out.
const EXAMPLES_MAX: usize = 20;
/// Weights of the second sum repeat after so many milliseconds.
const WEIGHTS: i64 = 1009;

/// Compares what the server shows with what was sent.
pub(crate) async fn verify(
    api: &Api,
    names: &[DeviceId],
    sent: &[Sent],
    progress: OnProgress<'_>,
) -> Result<VerifyReport, Error> {
    let mut report = VerifyReport::default();
    let rows = |sent: &Sent| sent.acked() * rows_per_message(sent);
    let total: u64 = sent.iter().map(rows).sum();
    let mut done = 0;
    let mut devices_most = SUMMED_DEVICES_MAX;
    let (astray, mut rest): (Vec<_>, Vec<_>) =
        names.iter().zip(sent).partition(|(_, sent)| sent.source.quirks().any());
    for (device, sent) in astray {
        report.unknown += sent.unknown() * rows_per_message(sent);
        Astray { api, device, sent }.compare(&mut report).await?;
        done += 1;
        progress(Progress::Verified(done, names.len()));
    }
    while !rest.is_empty() {
        let mut budget = SUMMED_ROWS_MAX;
        let fits = rest.iter().take(devices_most).take_while(|(_, sent)| {
            let before = budget;
            budget = budget.saturating_sub(rows(sent));
            before > 0
        });
        let count = fits.count().max(1);
        let sums = match ask_sums(api, rest.get(..count).unwrap_or_default()).await {
            // Too much for one question: ask for fewer, and of a single one for its rows.
            Err(error) if error.kind == Kind::TooLarge && count > 1 => {
                devices_most = count / 2;
                continue;
            }
            Err(error) if error.kind == Kind::TooLarge => HashMap::new(),
            sums => sums?,
        };
        let group: Vec<_> = rest.drain(..count).collect();
        for (device, sent) in &group {
            let acked = rows(sent);
            report.acked += acked;
            report.unknown += sent.unknown() * rows_per_message(sent);
            let is_same = sent.unknown() == 0
                && sums.get(device.as_str()) == (acked > 0).then(|| expected(sent)).as_ref();
            if is_same && total > ROWS_COMPARED_MAX {
                report.visible += acked;
            } else {
                compare_rows(api, device, sent, &mut report).await?;
            }
            done += 1;
            progress(Progress::Verified(done, names.len()));
        }
    }
    Ok(report)
}

fn rows_per_message(sent: &Sent) -> u64 {
    sent.source.profile().rows_per_message() as u64
}

/// The sums of one device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sums {
    rows: i64,
    /// Rows with a value that is no decimal of the column's places, or none at all.
    inexact: i64,
    plain: Cells,
    weighted: Cells,
}

fn weight(time_ms: i64) -> i64 {
    time_ms.rem_euclid(WEIGHTS) + 1
}

/// What the sums of a device must be.
fn expected(sent: &Sent) -> Sums {
    let mut sums = Sums::default();
    let source = &sent.source;
    for seq in (0..sent.end()).filter(|seq| sent.known(*seq) == Known::Acked) {
        let weight = weight(source.time_ms(seq));
        for row in 0..source.profile().rows_per_message() {
            let weight = weight + row as i64;
            let cells = source.cells(seq, row);
            let both = sums.plain.iter_mut().zip(&mut sums.weighted);
            for ((plain, weighted), cell) in both.zip(cells) {
                *plain += cell;
                *weighted += cell * weight;
            }
            sums.rows += 1;
        }
    }
    sums
}

/// The integer of a column, in SQL.
fn integer(column: &Column) -> String {
    let name = column.name;
    match column.kind {
        ColumnKind::Decimal(places) => {
            format!("CAST(round({name} * 1e{places}) AS BIGINT)")
        }
        ColumnKind::Switch => format!("CASE WHEN {name} THEN 1 ELSE 0 END"),
        ColumnKind::Firmware => format!("CAST(split_part({name}, '.', 3) AS BIGINT)"),
    }
}

async fn ask_sums(api: &Api, group: &[(&DeviceId, &Sent)]) -> Result<HashMap<String, Sums>, Error> {
    let Some((_, first)) = group.first() else { return Ok(HashMap::new()) };
    let profile = first.source.profile();
    let columns = profile.columns();
    let is_exact = columns.iter().map(|column| match column.kind {
        ColumnKind::Decimal(places) => {
            let name = column.name;
            format!("round({name} * 1e{places}) / 1e{places} = {name}")
        }
        ColumnKind::Switch | ColumnKind::Firmware => format!("{} IS NOT NULL", column.name),
    });
    let is_exact = is_exact.collect::<Vec<_>>().join(" AND ");
    let row = match profile {
        Profile::Meter => " + CAST(substr(socket, 10) AS BIGINT)",
        Profile::Bike | Profile::Car => "",
    };
    let weight = format!("(CAST(time AS BIGINT) / 1000 % {WEIGHTS} + 1{row})");
    let sums = columns.iter().map(|column| {
        let integer = integer(column);
        format!(", sum({integer}), sum({integer} * {weight})")
    });
    let sums: String = sums.collect();
    let devices: Vec<String> = group.iter().map(|(device, _)| format!("'{device}'")).collect();
    let sql = format!(
        "SELECT device, count(*), sum(CASE WHEN {is_exact} THEN 0 ELSE 1 END){sums} FROM {} \
         WHERE device IN ({}) GROUP BY device",
        profile.stream(),
        devices.join(",")
    );
    let rows = api.query_patiently(&sql).await?;
    Ok(rows.iter().filter_map(|row| read_sums(row, columns.len())).collect())
}

fn read_sums(row: &Value, columns: usize) -> Option<(String, Sums)> {
    let row = row.as_array()?;
    let number = |place: usize| row.get(place).and_then(Value::as_i64);
    let mut sums = Sums { rows: number(1)?, inexact: number(2)?, ..Sums::default() };
    let both = sums.plain.iter_mut().zip(&mut sums.weighted);
    for (column, (plain, weighted)) in both.take(columns).enumerate() {
        *plain = number(3 + 2 * column)?;
        *weighted = number(4 + 2 * column)?;
    }
    Some((row.first()?.as_str()?.to_owned(), sums))
}

/// Compares a device's rows one by one.
async fn compare_rows(
    api: &Api,
    device: &DeviceId,
    sent: &Sent,
    report: &mut VerifyReport,
) -> Result<(), Error> {
    let profile = sent.source.profile();
    let per_message = rows_per_message(sent);
    let mut page = (PAGE_ROWS / per_message).max(1);
    let (mut from, end) = (0, sent.end());
    while from < end {
        let to = (from + page).min(end);
        let range = (sent.source.time_ms(from), sent.source.time_ms(to));
        let rows = match api.query_patiently(&rows_sql(profile, device, range)).await {
            Err(error) if error.kind == Kind::TooLarge && page > 1 => {
                page /= 2;
                continue;
            }
            rows => rows?,
        };
        let mut seen = HashMap::new();
        for row in &rows {
            sort_in(device, sent, row, &mut seen, report);
        }
        for seq in (from..to).filter(|seq| sent.known(*seq) == Known::Acked) {
            for row in 0..profile.rows_per_message() {
                if !seen.contains_key(&(seq, row)) {
                    report.lost += 1;
                    example(report, format!("lost: {device} message {seq} row {row}"));
                }
            }
        }
        from = to;
    }
    let (begin, end) = (sent.source.time_ms(0), sent.source.time_ms(sent.end()));
    let sql = format!(
        "SELECT count(*) FROM {} WHERE device = '{device}' AND (time < '{}' OR time >= '{}')",
        profile.stream(),
        rfc3339(begin),
        rfc3339(end)
    );
    let rows = api.query_patiently(&sql).await?;
    let outside = rows.first().and_then(|row| row.get(0)?.as_u64()).unwrap_or(0);
    if outside > 0 {
        report.visible += outside;
        report.phantom += outside;
        example(report, format!("phantom: {device} has {outside} rows of other times"));
    }
    Ok(())
}

/// The question for rows: time, socket (or an empty text), values.
fn rows_sql(profile: Profile, device: &DeviceId, (from, to): (i64, i64)) -> String {
    let socket = if profile == Profile::Meter { "socket" } else { "''" };
    let columns: Vec<&str> = profile.columns().iter().map(|column| column.name).collect();
    format!(
        "SELECT time, {socket}, {} FROM {} WHERE device = '{device}' \
         AND time >= '{}' AND time < '{}'",
        columns.join(", "),
        profile.stream(),
        rfc3339(from),
        rfc3339(to)
    )
}

/// Puts one row where it belongs: there, doubled, corrupt or phantom.
fn sort_in(
    device: &DeviceId,
    sent: &Sent,
    row: &Value,
    seen: &mut HashMap<(u64, usize), ()>,
    report: &mut VerifyReport,
) {
    report.visible += 1;
    let source = &sent.source;
    let micros = row.get(0).and_then(Value::as_str).and_then(parse_rfc3339_micros);
    let seq = micros.and_then(|micros| source.seq_of_micros(micros));
    let place = match source.profile() {
        Profile::Meter => row.get(1).and_then(Value::as_str).and_then(|s| source.row_of_socket(s)),
        Profile::Bike | Profile::Car => Some(0),
    };
    let known = seq.zip(place).filter(|(seq, _)| sent.known(*seq) != Known::Never);
    let Some((seq, place)) = known else {
        report.phantom += 1;
        return example(report, format!("phantom: {device} {row}"));
    };
    if seen.insert((seq, place), ()).is_some() {
        report.doubled += 1;
        example(report, format!("doubled: {device} message {seq} row {place}"));
    }
    let cells = source.cells(seq, place);
    let values = row.as_array().map(Vec::as_slice).unwrap_or_default();
    let values = values.get(2..).unwrap_or_default();
    if !is_same(source.profile().columns(), &cells, values) {
        report.corrupt += 1;
        example(report, format!("corrupt: {device} message {seq}: {row}, sent {cells:?}"));
    }
}

/// Whether the values of a row are those that were sent, to the last bit.
pub(crate) fn is_same(columns: &[Column], cells: &Cells, values: &[Value]) -> bool {
    let same = |((column, cell), value): ((&Column, &i64), &Value)| match column.kind {
        ColumnKind::Decimal(places) => {
            // The nearest double of a decimal is the quotient of two exact ones.
            let places = i32::try_from(places).unwrap_or(0);
            value.as_f64() == Some(*cell as f64 / 10_f64.powi(places))
        }
        ColumnKind::Switch => value.as_bool() == Some(*cell != 0),
        ColumnKind::Firmware => value.as_str() == Some(format!("1.4.{cell}").as_str()),
    };
    values.len() == columns.len() && columns.iter().zip(cells).zip(values).all(same)
}

fn example(report: &mut VerifyReport, text: String) {
    if report.examples.len() < EXAMPLES_MAX {
        report.examples.push(text);
    }
}
