//! Devices whose messages go wrong on purpose: rows that must be there with the right mark, rows
//! that must not, and a quarantine that holds exactly what belongs into it.

use std::collections::BTreeMap;

use axle_domain::{DeviceId, Error, Kind};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::{StreamExt, stream};
use hashbrown::HashMap;
use serde_json::Value;

use super::super::VerifyReport;
use super::super::sent::{Known, Sent};
use super::{PAGE_ROWS, example, is_same};
use crate::api::{Api, Call};
use crate::clock::{parse_rfc3339_micros, rfc3339};
use crate::content::{FAULT, Fate, Profile, Source, claimed_ms_of};

/// Items of the quarantine that are read at one time.
const ITEMS_AT_ONCE: usize = 8;
/// How far a corrected time may be from the truth: what the way took, either clock's tick.
const CORRECTED_WITHIN_MICROS: std::ops::RangeInclusive<i64> = -5_000_000..=180_000_000;

/// A device and what was sent for it.
pub(super) struct Astray<'a> {
    pub(super) api: &'a Api,
    pub(super) device: &'a DeviceId,
    pub(super) sent: &'a Sent,
}

/// A stream of the device: its name, its key and value columns, and which messages go there.
struct Table {
    stream: &'static str,
    columns: String,
    is_fault: bool,
}

impl Astray<'_> {
    /// Compares everything.
    pub(super) async fn compare(&self, report: &mut VerifyReport) -> Result<(), Error> {
        let profile = self.sent.source.profile();
        let socket = if profile == Profile::Meter { "socket" } else { "''" };
        let names: Vec<&str> = profile.columns().iter().map(|column| column.name).collect();
        let columns = format!("{socket}, {}", names.join(", "));
        let rows = Table { stream: profile.stream(), columns, is_fault: false };
        self.compare_table(&rows, report).await?;
        let columns = format!("'', {}", FAULT.join(", "));
        self.compare_table(&Table { stream: "fault", columns, is_fault: true }, report).await?;
        self.compare_quarantine(report).await
    }

    fn is_expected(&self, table: &Table, seq: u64) -> bool {
        let fate = self.sent.source.fate(seq);
        !fate.is_set_aside() && (fate == Fate::Fault) == table.is_fault
    }

    fn rows_of(&self, table: &Table) -> u64 {
        if table.is_fault { 1 } else { self.sent.source.profile().rows_per_message() as u64 }
    }

    async fn compare_table(&self, table: &Table, report: &mut VerifyReport) -> Result<(), Error> {
        let per_message = self.rows_of(table);
        let mut page = (PAGE_ROWS / per_message).max(1);
        let (mut from, end) = (0, self.sent.end());
        while from < end {
            let to = (from + page).min(end);
            let sql = self.page_sql(table, (from, to));
            let rows = match self.api.query_patiently(&sql).await {
                Err(error) if error.kind == Kind::TooLarge && page > 1 => {
                    page /= 2;
                    continue;
                }
                rows => rows?,
            };
            let mut seen = HashMap::new();
            for row in &rows {
                self.sort_in(table, row, &mut seen, report);
            }
            let acked = |seq: &u64| self.sent.known(*seq) == Known::Acked;
            for seq in (from..to).filter(acked).filter(|seq| self.is_expected(table, *seq)) {
                report.acked += per_message;
                for row in 0..usize::try_from(per_message).unwrap_or(1) {
                    if !seen.contains_key(&(seq, row)) {
                        report.lost += 1;
                        let fate = self.sent.source.fate(seq);
                        let text =
                            format!("lost: {} message {seq} row {row} ({fate:?})", self.device);
                        example(report, text);
                    }
                }
            }
            from = to;
        }
        let sql = format!(
            "SELECT count(*) FROM {} WHERE device = '{}' AND NOT ({})",
            table.stream,
            self.device,
            self.ranges((0, end))
        );
        let rows = self.api.query_patiently(&sql).await?;
        let outside = rows.first().and_then(|row| row.get(0)?.as_u64()).unwrap_or(0);
        if outside > 0 {
            report.visible += outside;
            report.phantom += outside;
            let text = format!("phantom: {} has {outside} rows of other times", self.device);
            example(report, text);
        }
        Ok(())
    }

    fn page_sql(&self, table: &Table, range: (u64, u64)) -> String {
        format!(
            "SELECT time_claimed, {}, time, time_quality FROM {} WHERE device = '{}' AND ({})",
            table.columns,
            table.stream,
            self.device,
            self.ranges(range)
        )
    }

    /// The claimed times of messages, in SQL.
    fn ranges(&self, (from, to): (u64, u64)) -> String {
        let source = &self.sent.source;
        let ahead_ms = source.quirks().clock_ahead_ms();
        let range = |fate: Fate| {
            let at = |seq| rfc3339(source.time_ms(seq) + fate.shift_ms() + ahead_ms);
            format!("(time_claimed >= '{}' AND time_claimed < '{}')", at(from), at(to))
        };
        [Fate::Plain, Fate::Late, Fate::Future].map(range).join(" OR ")
    }

    /// Puts one row where it belongs: there, doubled, corrupt, misjudged or phantom.
    fn sort_in(
        &self,
        table: &Table,
        row: &Value,
        seen: &mut HashMap<(u64, usize), ()>,
        report: &mut VerifyReport,
    ) {
        report.visible += 1;
        let source = &self.sent.source;
        let cells = row.as_array().map(Vec::as_slice).unwrap_or_default();
        let claimed = cells.first().and_then(Value::as_str).and_then(parse_rfc3339_micros);
        let seq = claimed.and_then(|claimed| self.seq_of(claimed));
        let place = match (source.profile(), table.is_fault) {
            (Profile::Meter, false) => {
                cells.get(1).and_then(Value::as_str).and_then(|s| source.row_of_socket(s))
            }
            _ => Some(0),
        };
        let known = seq.zip(place).zip(claimed).filter(|((seq, _), _)| {
            self.sent.known(*seq) != Known::Never && self.is_expected(table, *seq)
        });
        let Some(((seq, place), claimed)) = known else {
            report.phantom += 1;
            return example(report, format!("phantom: {} {row}", self.device));
        };
        if seen.insert((seq, place), ()).is_some() {
            report.doubled += 1;
            example(report, format!("doubled: {} message {seq} row {place}", self.device));
        }
        let end = cells.len().saturating_sub(2);
        let values = cells.get(2..end).unwrap_or_default();
        let is_right = if table.is_fault {
            let told = source.failure(seq).map(|failure| failure.values());
            told.is_some_and(|told| values.iter().map(Value::as_str).eq(told.map(Some)))
        } else {
            is_same(source.profile().columns(), &source.cells(seq, place), values)
        };
        if !is_right {
            report.corrupt += 1;
            example(report, format!("corrupt: {} message {seq}: {row}", self.device));
        }
        if !is_judged_right(source, seq, claimed, cells.get(end..).unwrap_or_default()) {
            report.misjudged += 1;
            let fate = source.fate(seq);
            example(report, format!("misjudged: {} message {seq} ({fate:?}): {row}", self.device));
        }
    }

    /// The message of a claimed time that was sent.
    fn seq_of(&self, claimed: i64) -> Option<u64> {
        let fates = [Fate::Plain, Fate::Late, Fate::Future, Fate::Beyond].into_iter();
        let mut seqs = fates.filter_map(|fate| self.sent.source.seq_of_claimed(claimed, fate));
        seqs.find(|seq| self.sent.known(*seq) != Known::Never)
    }

    async fn compare_quarantine(&self, report: &mut VerifyReport) -> Result<(), Error> {
        let source = &self.sent.source;
        let mut found: BTreeMap<u64, u64> = BTreeMap::new();
        let ids = self.items().await?;
        let items = stream::iter(ids).map(|(id, code)| async move {
            let path = format!("/api/v1/quarantine/{id}");
            Ok::<_, Error>((code, self.api.call(&Call::get(&path)).await?.into_json()?))
        });
        let mut items = items.buffer_unordered(ITEMS_AT_ONCE);
        while let Some(item) = items.next().await {
            let (code, item) = item?;
            let claimed = payload_of(&item).and_then(|payload| claimed_ms_of(&payload));
            let seq = claimed.and_then(|ms| self.seq_of(ms.checked_mul(1000)?));
            match seq.filter(|seq| is_reason(source.fate(*seq), &code)) {
                Some(seq) => *found.entry(seq).or_default() += 1,
                None => {
                    report.quarantined_wrongly += 1;
                    let text = format!("wrongly in quarantine: {} {code}: {item}", self.device);
                    example(report, text.chars().take(400).collect());
                }
            }
        }
        for seq in (0..self.sent.end()).filter(|seq| source.fate(*seq).is_set_aside()) {
            // Rows beyond belief are set aside one by one, a torn message as a whole.
            let rows = source.profile().rows_per_message() as u64;
            let wanted = if source.fate(seq) == Fate::Beyond { rows } else { 1 };
            let items = found.get(&seq).copied().unwrap_or(0);
            // A message that was sent again before it was acknowledged is there again.
            report.quarantined += items.min(wanted);
            if self.sent.known(seq) == Known::Acked && items < wanted {
                report.not_quarantined += wanted - items;
                let fate = source.fate(seq);
                let text = format!("not in quarantine: {} message {seq} ({fate:?})", self.device);
                example(report, text);
            }
        }
        Ok(())
    }

    /// Ids and codes of the device's items.
    async fn items(&self) -> Result<Vec<(String, String)>, Error> {
        let mut items = Vec::new();
        let mut path = format!("/api/v1/quarantine?device={}&limit=1000", self.device);
        loop {
            let page = self.api.call(&Call::get(&path)).await?.into_json()?;
            for item in page.get("items").and_then(Value::as_array).into_iter().flatten() {
                let text = |name: &str| {
                    item.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
                };
                items.push((text("id"), text("code")));
            }
            let Some(next) = page.get("next").and_then(Value::as_str) else { return Ok(items) };
            path = format!("/api/v1/quarantine?device={}&limit=1000&before={next}", self.device);
        }
    }
}

/// Whether time and mark of a row are those of its message.
fn is_judged_right(source: &Source, seq: u64, claimed: i64, judged: &[Value]) -> bool {
    let ahead = source.quirks().clock_ahead_ms();
    let expected = match source.fate(seq) {
        Fate::Future => "future",
        _ if ahead != 0 => "corrected",
        Fate::Late => "late",
        Fate::Plain | Fate::Beyond | Fate::Torn | Fate::Fault => "trusted",
    };
    let [time, quality] = judged else { return false };
    let time = time.as_str().and_then(parse_rfc3339_micros).unwrap_or(i64::MIN);
    let off = time.saturating_sub(claimed - ahead * 1000);
    let is_near = if ahead == 0 { off == 0 } else { CORRECTED_WITHIN_MICROS.contains(&off) };
    quality.as_str() == Some(expected) && is_near
}

/// Whether a message of that fate is set aside for that reason.
fn is_reason(fate: Fate, code: &str) -> bool {
    match fate {
        Fate::Torn => code.starts_with("payload."),
        Fate::Beyond => code == "time.future",
        Fate::Plain | Fate::Late | Fate::Future | Fate::Fault => false,
    }
}

fn payload_of(item: &Value) -> Option<Vec<u8>> {
    if let Some(text) = item.get("payload").and_then(Value::as_str) {
        return Some(text.as_bytes().to_vec());
    }
    STANDARD.decode(item.get("payload_base64")?.as_str()?).ok()
}
