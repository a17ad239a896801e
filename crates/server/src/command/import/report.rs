//! What became of each file.

use std::path::Path;

use axle_app::format_time;
use axle_ride::{Finding, Ride};
use serde_json::{Value, json};

use super::upload::Receipt;
use crate::failure::{Exit, Failure};
use crate::output::{TextTable, note, print};

/// One file.
pub(super) struct Report {
    file: String,
    format: &'static str,
    samples: usize,
    without_time: usize,
    from: Option<String>,
    to: Option<String>,
    track_km: f64,
    bytes: usize,
    good_bytes: usize,
    findings: Vec<Finding>,
    sent: usize,
    repeated: usize,
    receipt: Receipt,
    pub(super) failure: Option<Failure>,
}

impl Report {
    pub(super) fn new(path: &Path) -> Self {
        Self {
            file: path.display().to_string(),
            format: "",
            samples: 0,
            without_time: 0,
            from: None,
            to: None,
            track_km: 0.0,
            bytes: 0,
            good_bytes: 0,
            findings: Vec::new(),
            sent: 0,
            repeated: 0,
            receipt: Receipt::default(),
            failure: None,
        }
    }

    pub(super) fn describe(&mut self, ride: &Ride) {
        self.format = ride.format.as_str();
        self.samples = ride.samples.len();
        self.without_time = ride.without_time;
        let span = ride.span();
        self.from = span.map(|(from, _)| format_time(from));
        self.to = span.map(|(_, to)| format_time(to));
        self.track_km = (ride.track_km() * 1000.0).round() / 1000.0;
        self.bytes = ride.bytes;
        self.good_bytes = ride.good_bytes;
        self.findings.clone_from(&ride.findings);
    }

    pub(super) fn add(&mut self, receipt: &Receipt, samples: usize) {
        self.sent += samples;
        if receipt.is_repeated {
            self.repeated += samples;
            return;
        }
        self.receipt.stored += receipt.stored;
        self.receipt.duplicate += receipt.duplicate;
        self.receipt.quarantined += receipt.quarantined;
        for code in &receipt.codes {
            if !self.receipt.codes.contains(code) {
                self.receipt.codes.push(code.clone());
            }
        }
    }

    pub(super) fn file(&self) -> &str {
        &self.file
    }

    pub(super) fn sent(&self) -> usize {
        self.sent
    }

    pub(super) fn samples(&self) -> usize {
        self.samples
    }

    /// Whether nothing of the file was sent yet.
    pub(super) fn is_untouched(&self) -> bool {
        self.sent == 0
    }

    /// What a person reads in the last column.
    fn words(&self) -> String {
        let mut words = Vec::new();
        if self.failure.is_some() {
            words.push("not imported".to_owned());
        }
        if let (Some(finding), None) = (self.findings.first(), &self.failure) {
            let lost = self.bytes.saturating_sub(self.good_bytes);
            let at = finding.at_byte;
            words.push(format!(
                "breaks at byte {at}; good to {}, {lost} bytes lost",
                self.good_bytes
            ));
        }
        if self.repeated > 0 {
            words.push(format!("{} were here before", self.repeated));
        }
        if self.without_time > 0 {
            words.push(format!("{} without a time left out", self.without_time));
        }
        if !self.receipt.codes.is_empty() {
            words.push(self.receipt.codes.join(", "));
        }
        words.join("; ")
    }

    fn json(&self, is_dry: bool) -> Value {
        let findings: Vec<_> = self
            .findings
            .iter()
            .map(|finding| json!({"at_byte": finding.at_byte, "what": finding.what}))
            .collect();
        json!({
            "file": self.file,
            "format": self.format,
            "records": self.samples,
            "without_time": self.without_time,
            "from": self.from,
            "to": self.to,
            "track_km": self.track_km,
            "bytes": self.bytes,
            "good_bytes": self.good_bytes,
            "findings": findings,
            "dry_run": is_dry,
            "sent": self.sent,
            "repeated": self.repeated,
            "stored": self.receipt.stored,
            "duplicate": self.receipt.duplicate,
            "quarantined": self.receipt.quarantined,
            "codes": self.receipt.codes,
            "error": self.failure.as_ref().map(|failure| failure.message.clone()),
        })
    }
}

/// A finding in one line.
pub(super) fn line(finding: &Finding) -> String {
    format!("byte {}: {}", finding.at_byte, finding.what)
}

/// All files for a program.
pub(super) fn json(reports: &[Report], is_dry: bool) -> Value {
    json!({"files": reports.iter().map(|report| report.json(is_dry)).collect::<Vec<_>>()})
}

/// All files for a person.
pub(super) fn print_table(reports: &[Report]) -> Result<(), Failure> {
    let mut table = TextTable::new(&[
        "FILE",
        "FORMAT",
        "FROM",
        "TO",
        "KM",
        "RECORDS",
        "STORED",
        "TWICE",
        "SET ASIDE",
        "",
    ]);
    for report in reports {
        table.push(vec![
            report.file.clone(),
            report.format.to_owned(),
            report.from.clone().unwrap_or_default(),
            report.to.clone().unwrap_or_default(),
            report.track_km.to_string(),
            report.samples.to_string(),
            report.receipt.stored.to_string(),
            report.receipt.duplicate.to_string(),
            report.receipt.quarantined.to_string(),
            report.words(),
        ]);
    }
    print(&table.render())
}

/// The end of the command: the worst that happened to any file.
pub(super) fn verdict(reports: Vec<Report>, wanted: usize) -> Result<(), Failure> {
    let quarantined: u64 = reports.iter().map(|report| report.receipt.quarantined).sum();
    // After a server has gone the files that were left are not even looked at.
    let good = reports.iter().filter(|report| report.failure.is_none()).count();
    let failed: Vec<Failure> = reports.into_iter().filter_map(|report| report.failure).collect();
    let (count, worst) = (wanted - good, failed.iter().map(|it| it.exit as u8).max());
    let Some(worst) = worst else {
        if quarantined == 0 {
            return Ok(());
        }
        let message = format!("{quarantined} records were set aside: they cannot be true");
        return Err(Failure::new(Exit::Refused, message)
            .with_hint("`axle quarantine list` shows why, `axle quarantine replay` mends them"));
    };
    if let (1, [_]) = (wanted, failed.as_slice()) {
        return failed.into_iter().next().map_or(Ok(()), Err);
    }
    let mut exit = Exit::Refused;
    for failure in &failed {
        note(&format!("error: {failure}"));
        if failure.exit as u8 == worst {
            exit = failure.exit;
        }
    }
    Err(Failure::new(exit, format!("{count} of {wanted} files were not imported")))
}
