//! `axle verify`: whether everything that was acknowledged is there and whole.

mod replay;

use axle_domain::{Kind, Schemas};
use serde_json::{Value, json};

use crate::cli::VerifyArgs;
use crate::failure::{Exit, Failure};
use crate::output::{note, print, print_json};

/// What one part has to say.
struct Part {
    name: &'static str,
    summary: String,
    figures: Value,
    findings: Vec<String>,
}

pub(super) fn run(args: &VerifyArgs) -> Result<(), Failure> {
    let dir = &args.dir.data_dir;
    if !dir.is_dir() {
        let message = format!("{} is no data directory", dir.display());
        return Err(Failure::new(Exit::NotFound, message).with_hint("`--data-dir DIR`"));
    }
    let is_running = crate::data_dir::is_in_use(dir)?;
    if is_running {
        note(
            "a server runs on it: what it writes meanwhile may look torn, and its \
             projections are compared with the log only once it has stopped",
        );
    }
    let mut parts = vec![
        part("log", axle_log::verify(&dir.join("log")), log),
        part("store", axle_store::verify(&dir.join("store"), &Schemas::builtin()), store),
        part("state", axle_state::verify(&dir.join("state.db")), state),
    ];
    if !is_running {
        parts.push(part("replay", replay::compare(dir), compared));
    }
    let findings: usize = parts.iter().map(|part| part.findings.len()).sum();
    if args.json {
        let parts = parts.iter().map(|part| {
            (part.name.to_owned(), json!({"figures": part.figures, "findings": part.findings}))
        });
        print_json(&json!({"clean": findings == 0, "parts": parts.collect::<Value>()}))?;
    } else {
        for part in &parts {
            print(&format!("{}: {}\n", part.name, part.summary))?;
            for finding in &part.findings {
                print(&format!("  {finding}\n"))?;
            }
        }
    }
    if findings == 0 {
        note("everything is whole");
        return Ok(());
    }
    let message = format!("{findings} findings in {}", dir.display());
    let hint = "stop the server, keep a copy of the directory, and restore it from a backup";
    Err(Failure::new(Exit::Refused, message).with_hint(hint))
}

fn part<R>(
    name: &'static str,
    report: Result<R, axle_domain::Error>,
    read: fn(R) -> (String, Value, Vec<String>),
) -> Part {
    let (summary, figures, findings) = match report {
        Ok(report) => read(report),
        Err(error) if error.kind == Kind::NotFound => {
            ("nothing there yet".to_owned(), Value::Null, Vec::new())
        }
        Err(error) => ("cannot be read".to_owned(), Value::Null, vec![error.chain()]),
    };
    Part { name, summary, figures, findings }
}

fn log(report: axle_log::VerifyReport) -> (String, Value, Vec<String>) {
    let axle_log::VerifyReport { segments, records, first, next, bytes, damaged, torn_bytes } =
        report;
    let summary = format!(
        "{records} records (offsets {first} to before {next}) in {segments} segments, \
         {bytes} bytes; {torn_bytes} bytes of an unfinished write"
    );
    let figures = json!({
        "segments": segments, "records": records, "first": first.0, "next": next.0,
        "bytes": bytes, "torn_bytes": torn_bytes,
    });
    let findings = damaged.iter().map(|range| {
        format!(
            "{}: bytes {} to {} cannot be read: offsets {} to before {} are lost",
            range.file.display(),
            range.from_byte,
            range.to_byte,
            range.from,
            range.next_good
        )
    });
    (summary, figures, findings.collect())
}

fn compared(report: replay::Compared) -> (String, Value, Vec<String>) {
    let replay::Compared { records, rows, is_whole, findings } = report;
    let reach = if is_whole { "from the beginning" } else { "from the oldest that is kept" };
    let equal = if findings.is_empty() { "as" } else { "not as" };
    let summary = format!(
        "store and state are {equal} {records} records of the log ({reach}) say, {rows} rows"
    );
    (summary, json!({"records": records, "rows": rows, "is_whole": is_whole}), findings)
}

fn store(report: axle_store::VerifyReport) -> (String, Value, Vec<String>) {
    let axle_store::VerifyReport { files, rows, bytes, position, problems } = report;
    let summary = format!("{rows} rows in {files} files, {bytes} bytes, up to offset {position}");
    let figures = json!({"files": files, "rows": rows, "bytes": bytes, "position": position});
    (summary, figures, problems)
}

fn state(report: axle_state::Verification) -> (String, Value, Vec<String>) {
    let axle_state::Verification { version, position, pages, unfinished_frames, findings } = report;
    let summary = format!(
        "layout {version}, up to offset {position}, {pages} pages as their checksums say; \
         {unfinished_frames} frames of an unfinished change"
    );
    let figures = json!({
        "version": version, "position": position.0, "pages": pages,
        "unfinished_frames": unfinished_frames,
    });
    (summary, figures, findings)
}
