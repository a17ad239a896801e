//! How good the data is, by stream and day: what the store's SQL says, asked once for all who
//! look, and what the state knows of quarantine and silence.

mod advice;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axle_domain::port::{
    Answer, AnswerFormat, Cell, Clock, Query, QueryLimits, ReportedState, SilentDevice,
    TelemetryStore, Visibility,
};
use axle_domain::{
    Error, FieldKind, QuarantineFilter, QuarantineId, QuarantineState, Schemas, StreamSchema,
    Timestamp,
};
use tokio::sync::watch;

use crate::app::Ports;

pub use advice::quarantine_advice;

/// How long an answer is given again at least.
const KEPT_FOR: Duration = Duration::from_secs(15);
/// An answer that cost much is given again for so many times what it took: looking on must not
/// keep the store busy.
const KEPT_TIMES: u32 = 10;
/// How long who asks waits for an answer that is complete and new.
const PATIENCE: Duration = Duration::from_millis(700);
/// Devices of each list.
const DEVICES_MAX: usize = 10;
const DAY: i64 = 24 * 3600 * 1_000_000;

/// Rows of one stream on one day, by how far their time can be trusted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DayQuality {
    /// The stream.
    pub stream: String,
    /// Midnight, UTC.
    pub day: Timestamp,
    /// Rows.
    pub rows: u64,
    /// Of these by the word of their quality.
    pub by_quality: BTreeMap<String, u64>,
}

/// What was set aside for one reason.
#[derive(Clone, Debug, PartialEq)]
pub struct CodeQuality {
    /// The reason.
    pub code: String,
    /// Items that wait for a person.
    pub waiting: u64,
    /// Items that were replayed.
    pub replayed: u64,
    /// What to do about it.
    pub advice: &'static str,
    /// The newest item that waits, and why it does.
    pub example: Option<(QuarantineId, String)>,
}

/// A device whose clock is off.
#[derive(Clone, Debug, PartialEq)]
pub struct ClockQuality {
    /// The device.
    pub device: String,
    /// Its rows.
    pub rows: u64,
    /// Share of rows whose time was corrected, lies ahead or is unknown.
    pub doubtful_share: f64,
    /// About half of its rows came further than so many seconds from the time they claim.
    pub median_off_s: f64,
}

/// How often a field was there, and what it held.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldQuality {
    /// The stream.
    pub stream: String,
    /// The field.
    pub field: &'static str,
    /// Rows of the stream.
    pub rows: u64,
    /// Rows without the field.
    pub missing: u64,
    /// The least and the greatest number; `None` for other kinds and where there was none.
    pub range: Option<(f64, f64)>,
    /// What is possible; beyond is quarantined as `field.range`.
    pub allowed: Option<(f64, f64)>,
}

/// How good the data is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct QualityReport {
    /// When this was found out.
    pub at: Timestamp,
    /// Days that were looked at, today included.
    pub days: u32,
    /// Streams and days that have rows, the newest first.
    pub streams: Vec<DayQuality>,
    /// Rows that merged into an equal one, of all streams since the beginning.
    pub collapsed_rows: u64,
    /// What was set aside, the most frequent first.
    pub quarantine: Vec<CodeQuality>,
    /// Devices with the worst clocks, the worst first.
    pub clocks: Vec<ClockQuality>,
    /// Fields that are missing from some rows, the most often missing first.
    pub fields: Vec<FieldQuality>,
    /// Devices that were not heard of for a day, and how many.
    pub silent_day: (Vec<SilentDevice>, u64),
    /// How many of them were not heard of for seven days.
    pub silent_week: u64,
    /// What could not be found out, and why.
    pub unknown: Vec<String>,
    /// A newer report is being made: streams that are counted for it, of how many. Until it is
    /// complete the older one is given, or, where there is none, what is known so far.
    pub progress: Option<(usize, usize)>,
    /// What it took to find out.
    pub took: Duration,
}

impl QualityReport {
    fn is_fresh(&self, now: Timestamp) -> bool {
        self.at <= now && now < self.at.after(KEPT_FOR.max(self.took * KEPT_TIMES))
    }
}

/// The desk that knows how good the data is.
pub struct Quality {
    inquiry: Arc<Inquiry>,
    /// The newest report by its days; one count at a time each, for all who look.
    kept: Mutex<BTreeMap<u32, watch::Receiver<Arc<QualityReport>>>>,
}

impl Quality {
    pub(crate) fn new(ports: &Ports, schemas: Arc<Schemas>) -> Self {
        let Ports { store, reported, clock, .. } = ports.clone();
        let inquiry = Arc::new(Inquiry { store, reported, clock, schemas });
        Self { inquiry, kept: Mutex::default() }
    }

    /// The report on the last days; what cannot be answered just now is named in it. Where
    /// counting takes long, it is the last one, or the part that is known, and says so in
    /// [`QualityReport::progress`]. The caller has asked for [`axle_domain::Access::ReadAll`].
    pub async fn report(&self, days: u32) -> Arc<QualityReport> {
        let mut newest = self.newest(days);
        let complete = newest.wait_for(|report| report.progress.is_none());
        // Out of patience, or the count has ended half way: then what there is.
        tokio::time::timeout(PATIENCE, complete).await.ok();
        let report = newest.borrow();
        Arc::clone(&report)
    }

    /// The newest report, and a count on its way where that is old.
    fn newest(&self, days: u32) -> watch::Receiver<Arc<QualityReport>> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.inquiry.clock.now();
        let before = kept.get(&days).filter(|newest| {
            let is_counting = newest.borrow().progress.is_some() && newest.has_changed().is_ok();
            is_counting || newest.borrow().is_fresh(now)
        });
        if let Some(newest) = before {
            return newest.clone();
        }
        let old = kept.get(&days).map(|newest| Arc::clone(&newest.borrow()));
        let old = old.filter(|it| it.progress.is_none());
        let of = self.inquiry.schemas.iter().count();
        let first = QualityReport { at: now, days, ..QualityReport::default() };
        let shown = old.as_deref().cloned().unwrap_or(first);
        let shown = QualityReport { progress: Some((0, of)), ..shown };
        let (tell, newest) = watch::channel(Arc::new(shown));
        let inquiry = Arc::clone(&self.inquiry);
        tokio::spawn(async move { inquiry.count(days, now, old, &tell).await });
        kept.insert(days, newest.clone());
        newest
    }
}

/// What it takes to find out.
struct Inquiry {
    store: Arc<dyn TelemetryStore>,
    reported: Arc<dyn ReportedState>,
    clock: Arc<dyn Clock>,
    schemas: Arc<Schemas>,
}

impl Inquiry {
    /// Counts, and tells of each step: with the old report as long as there is one.
    async fn count(
        &self,
        days: u32,
        now: Timestamp,
        old: Option<Arc<QualityReport>>,
        tell: &watch::Sender<Arc<QualityReport>>,
    ) {
        let started = Instant::now();
        let today = Timestamp(now.0.div_euclid(DAY) * DAY);
        let from = today.shifted(-DAY * i64::from(days.saturating_sub(1)));
        let collapsed_rows = self.store.figures().collapsed_rows;
        let mut report = QualityReport { at: now, days, collapsed_rows, ..Default::default() };
        if let Err(error) = self.ask_state(&mut report).await {
            report.unknown.push(error.message);
        }
        let of = self.schemas.iter().count();
        for (done, schema) in self.schemas.iter().enumerate() {
            let shown = old.as_deref().unwrap_or(&report);
            let step = QualityReport { progress: Some((done, of)), ..shown.clone() };
            tell.send_replace(Arc::new(step));
            let asked = self.ask_stream(schema, from, &mut report).await;
            if let Err(error) = asked {
                let reason = format!("stream {}: {}", schema.name, error.message);
                report.unknown.push(reason);
            }
            sort(&mut report);
        }
        report.took = started.elapsed();
        tell.send_replace(Arc::new(report));
    }

    async fn ask_state(&self, report: &mut QualityReport) -> Result<(), Error> {
        let now = report.at;
        report.quarantine = self.codes().await?;
        report.silent_day = self.reported.list_silent(now.shifted(-DAY), DEVICES_MAX).await?;
        report.silent_week = self.reported.list_silent(now.shifted(-7 * DAY), 0).await?.1;
        Ok(())
    }

    async fn ask_stream(
        &self,
        schema: &StreamSchema,
        from: Timestamp,
        report: &mut QualityReport,
    ) -> Result<(), Error> {
        let stream = schema.name.as_str();
        let since = format!("\"time\" >= to_timestamp_micros({})", from.0);
        let by_day = format!(
            "SELECT date_trunc('day', \"time\"), time_quality, count(*) FROM {stream} \
             WHERE {since} GROUP BY 1, 2"
        );
        let days = self.ask(by_day).await?;
        if days.is_empty() {
            return Ok(());
        }
        report.streams.extend(day_qualities(stream, days));
        let clocks = format!(
            "SELECT device, n, share, off / 1000000.0 FROM (SELECT device, count(*) AS n, \
             avg(CASE WHEN time_quality IN ('corrected', 'future', 'unknown') THEN 1.0 ELSE 0.0 END) \
             AS share, \
             approx_median(abs(CAST(received_at AS BIGINT) - CAST(time_claimed AS BIGINT))) AS off \
             FROM {stream} WHERE {since} GROUP BY device) AS clocks \
             ORDER BY share DESC, off DESC LIMIT {DEVICES_MAX}"
        );
        report.clocks.extend(self.ask(clocks).await?.iter().filter_map(|row| clock_quality(row)));
        let fields = schema.fields.iter().map(|field| {
            let name = field.name;
            let (least, greatest) = match field.kind {
                FieldKind::Float { .. } => (format!("min(\"{name}\")"), format!("max(\"{name}\")")),
                FieldKind::Bool | FieldKind::Text => ("NULL".to_owned(), "NULL".to_owned()),
            };
            // Each with a name of its own: two columns of one name are refused.
            format!(
                "count(\"{name}\") AS \"{name}_count\", {least} AS \"{name}_least\", \
                 {greatest} AS \"{name}_greatest\""
            )
        });
        let fields: Vec<_> = fields.collect();
        let sql = format!("SELECT count(*), {} FROM {stream} WHERE {since}", fields.join(", "));
        if let Some(row) = self.ask(sql).await?.first() {
            report.fields.extend(field_qualities(schema, row));
        }
        Ok(())
    }

    async fn ask(&self, sql: String) -> Result<Vec<Vec<Cell>>, Error> {
        let limits = QueryLimits::default();
        let (visibility, format) = (Visibility::All, AnswerFormat::Table);
        match self.store.query(Query { sql, visibility, limits, format }).await? {
            Answer::Table(table) => Ok(table.rows),
            Answer::ArrowStream(..) => {
                Err(Error::internal("quality.answer", "the store gave no table"))
            }
        }
    }

    async fn codes(&self) -> Result<Vec<CodeQuality>, Error> {
        let mut codes = Vec::new();
        for count in self.reported.count_quarantined().await? {
            let filter = QuarantineFilter {
                code: Some(count.code.clone()),
                state: Some(QuarantineState::Waiting),
                limit: 1,
                ..QuarantineFilter::default()
            };
            let newest = self.reported.list_quarantined(filter).await?.pop();
            codes.push(CodeQuality {
                advice: quarantine_advice(&count.code),
                code: count.code,
                waiting: count.waiting,
                replayed: count.replayed,
                example: newest.map(|item| (item.id, item.detail)),
            });
        }
        codes.sort_by_key(|it| std::cmp::Reverse((it.waiting, it.replayed)));
        Ok(codes)
    }
}

fn sort(report: &mut QualityReport) {
    report.streams.sort_by(|a, b| (b.day, &a.stream).cmp(&(a.day, &b.stream)));
    report.clocks.sort_by(|a, b| {
        let badness = |it: &ClockQuality| (it.doubtful_share, it.median_off_s);
        badness(b).partial_cmp(&badness(a)).unwrap_or(std::cmp::Ordering::Equal)
    });
    report.clocks.truncate(DEVICES_MAX);
    report.fields.sort_by(|a, b| {
        let share = |it: &FieldQuality| it.missing as f64 / it.rows.max(1) as f64;
        share(b).total_cmp(&share(a))
    });
}

fn day_qualities(stream: &str, rows: Vec<Vec<Cell>>) -> Vec<DayQuality> {
    let mut days: BTreeMap<Timestamp, DayQuality> = BTreeMap::new();
    for row in rows {
        let [Cell::Time(day), Cell::Text(quality), count] = row.as_slice() else { continue };
        let known = days.entry(*day).or_insert_with(|| DayQuality {
            stream: stream.to_owned(),
            day: *day,
            ..DayQuality::default()
        });
        let count = whole(count);
        known.rows += count;
        *known.by_quality.entry(quality.clone()).or_default() += count;
    }
    days.into_values().collect()
}

fn clock_quality(row: &[Cell]) -> Option<ClockQuality> {
    let [Cell::Text(device), rows, share, off] = row else { return None };
    let (doubtful_share, median_off_s) = (number(share)?, number(off)?);
    let rows = whole(rows);
    // What a network needs is no fault of a clock.
    (doubtful_share > 0.0 || median_off_s > 5.0).then(|| ClockQuality {
        device: device.clone(),
        rows,
        doubtful_share,
        median_off_s,
    })
}

fn field_qualities(schema: &StreamSchema, row: &[Cell]) -> Vec<FieldQuality> {
    let Some((rows, cells)) = row.split_first() else { return Vec::new() };
    let rows = whole(rows);
    let mut fields = Vec::new();
    for (field, cells) in schema.fields.iter().zip(cells.chunks(3)) {
        let [count, least, greatest] = cells else { continue };
        let allowed = match field.kind {
            FieldKind::Float { min, max, .. } => Some((min, max)),
            FieldKind::Bool | FieldKind::Text => None,
        };
        fields.push(FieldQuality {
            stream: schema.name.as_str().to_owned(),
            field: field.name,
            rows,
            missing: rows.saturating_sub(whole(count)),
            range: number(least).zip(number(greatest)),
            allowed,
        });
    }
    fields
}

fn whole(cell: &Cell) -> u64 {
    if let Cell::Int(number) = cell { u64::try_from(*number).unwrap_or(0) } else { 0 }
}

fn number(cell: &Cell) -> Option<f64> {
    match cell {
        Cell::Int(number) => Some(*number as f64),
        Cell::Float(number) => Some(*number),
        Cell::Null | Cell::Bool(_) | Cell::Time(_) | Cell::Text(_) => None,
    }
}
