//! `axle device import`: many devices from a CSV file. All of it is checked before anything is
//! changed, and what is there already stays as it is.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use axle_domain::{DeviceId, limit};
use futures_util::{StreamExt, stream};
use hyper::Method;
use serde_json::{Value, json};

use super::credentials::{self, Files};
use crate::cli::DeviceImportArgs;
use crate::client::{Call, Client, encode_segment};
use crate::failure::{Exit, Failure};
use crate::output::{ProgressLine, note, print_json};

/// Largest file that is read.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Devices that are worked on at one time: each waits for the server's disk.
const AT_ONCE: usize = 16;
/// Faults of a file that are named.
const FAULTS_MAX: usize = 20;
/// The columns that are known.
const COLUMNS: [&str; 4] = ["id", "kind", "name", "model"];

/// A line of the file that says what it should.
#[derive(Debug, PartialEq)]
struct NewDevice {
    line: usize,
    id: DeviceId,
    /// Kind, name and model.
    facts: [String; 3],
}

pub(super) async fn run(args: DeviceImportArgs) -> Result<(), Failure> {
    let size = fs::metadata(&args.file).map_err(|error| unreadable(&args.file, &error))?.len();
    if size > FILE_BYTES_MAX {
        let message = format!("a file is at most {FILE_BYTES_MAX} bytes: split it");
        return Err(Failure::new(Exit::Refused, message));
    }
    let text = fs::read_to_string(&args.file).map_err(|error| unreadable(&args.file, &error))?;
    let devices = read(&text).map_err(|faults| refused(&args.file, &faults))?;
    let client = Client::find(&args.target)?;
    let out = args.out.as_deref();
    let work = find_work(&client, &devices, &args.file, out).await?;
    let count = |wanted: fn(&Work<'_>) -> bool| work.iter().filter(|it| wanted(it)).count();
    let (made, lacking) = (count(|it| it.is_new), count(|it| !it.is_new && it.lacks_certificate));
    let barred = count(|it| it.is_barred);
    let known = devices.len() - made - lacking - barred;
    let progress = ProgressLine::default();
    let all = work.len();
    let mut running =
        stream::iter(work).map(|it| it.perform(&client, out)).buffer_unordered(AT_ONCE);
    let mut done = 0_usize;
    while let Some(result) = running.next().await {
        // What is done stays done: the next run begins with what is left.
        result.map_err(|failure| failure.with_hint("the same command again: it goes on here"))?;
        done += 1;
        progress.show(&format!("{done} of {all}"));
    }
    drop((running, progress));
    if args.json {
        return print_json(&json!({
            "registered": made,
            "certified": lacking,
            "unchanged": known,
            "barred": barred,
        }));
    }
    note(&format!("{made} registered, {known} known already"));
    if lacking > 0 {
        note(&format!("{lacking} known ones had no certificate here and have one now"));
    }
    if barred > 0 {
        note(&format!("{barred} known ones may not connect and got no certificate"));
    }
    Ok(())
}

fn unreadable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::usage(format!("cannot read {}: {error}", path.display()))
}

fn refused(path: &Path, faults: &[String]) -> Failure {
    let mut message = format!("{} is not as it should be; nothing was changed", path.display());
    for fault in faults.iter().take(FAULTS_MAX) {
        message.push_str("\n  ");
        message.push_str(fault);
    }
    if faults.len() > FAULTS_MAX {
        message.push_str(&format!("\n  and {} more", faults.len() - FAULTS_MAX));
    }
    Failure::usage(message).with_hint("a first line `id,kind,name,model` and a device a line")
}

/// What is to be done for a device.
struct Work<'a> {
    device: &'a NewDevice,
    is_new: bool,
    /// Whether a certificate is to be written and is not there.
    lacks_certificate: bool,
    /// Whether it is revoked or retired: then it gets none.
    is_barred: bool,
}

/// What the server knows of a device in the file: nothing, or its entry.
async fn find(client: &Client, device: &NewDevice) -> Result<Option<Value>, Failure> {
    let address = format!("/api/v1/devices/{}", encode_segment(device.id.as_str()));
    match client.get(&address).await {
        Ok(stored) => Ok(Some(stored)),
        Err(failure) if failure.exit == Exit::NotFound => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// What is left to do; a device that is registered with other facts is a fault of the file.
async fn find_work<'a>(
    client: &Client,
    devices: &'a [NewDevice],
    path: &Path,
    out: Option<&Path>,
) -> Result<Vec<Work<'a>>, Failure> {
    let mut found = stream::iter(devices)
        .map(|device| async move { (device, find(client, device).await) })
        .buffered(AT_ONCE);
    let (mut work, mut faults) = (Vec::new(), Vec::new());
    while let Some((device, stored)) = found.next().await {
        let is_there = |out: &Path| Files::of(&device.id, out).certificate.exists();
        let lacks_certificate = out.is_some_and(|out| !is_there(out));
        let Some(stored) = stored? else {
            work.push(Work { device, is_new: true, lacks_certificate, is_barred: false });
            continue;
        };
        for (name, said) in ["kind", "name", "model"].iter().zip(&device.facts) {
            let known = stored.get(*name).and_then(Value::as_str).unwrap_or_default();
            if !said.is_empty() && said != known {
                faults.push(format!(
                    "line {}: device `{}` is registered with the {name} `{known}`, not `{said}`",
                    device.line, device.id
                ));
            }
        }
        if lacks_certificate {
            let is_barred = stored.get("status").and_then(Value::as_str) != Some("active");
            work.push(Work { device, is_new: false, lacks_certificate: !is_barred, is_barred });
        }
    }
    match faults.is_empty() {
        true => Ok(work),
        false => Err(Failure { exit: Exit::Conflict, ..refused(path, &faults) }),
    }
}

impl Work<'_> {
    async fn perform(self, client: &Client, out: Option<&Path>) -> Result<(), Failure> {
        if self.is_new {
            register(client, self.device).await?;
        }
        match out {
            Some(out) if self.lacks_certificate => {
                credentials::issue(client, &self.device.id, out).await.map(|_issued| ())
            }
            _ => Ok(()),
        }
    }
}

async fn register(client: &Client, device: &NewDevice) -> Result<(), Failure> {
    let path = format!("/api/v1/devices/{}", encode_segment(device.id.as_str()));
    let [kind, name, model] = &device.facts;
    let body = json!({"kind": kind, "name": name, "model": model});
    let call = Call {
        method: Method::PUT,
        path: &path,
        body: Some(&body),
        is_new: true,
        ..Call::default()
    };
    client.json(call).await.map(|_device| ())
}

/// Reads a file: the first line names its columns, in any order.
fn read(text: &str) -> Result<Vec<NewDevice>, Vec<String>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut lines = text.lines().zip(1_usize..).filter(|(line, _)| !line.trim().is_empty());
    let Some((heading, _)) = lines.next() else { return Err(vec!["it is empty".to_owned()]) };
    let heading = cells(heading).map_err(|fault| vec![format!("line 1: {fault}")])?;
    let heading: Vec<String> = heading.iter().map(|name| name.trim().to_lowercase()).collect();
    let mut faults: Vec<String> = Vec::new();
    for name in heading.iter().filter(|name| !COLUMNS.contains(&name.as_str())) {
        let shown = name.escape_debug();
        faults
            .push(format!("line 1: column `{shown}` is unknown: there are {}", COLUMNS.join(", ")));
    }
    if !heading.iter().any(|name| name == "id") {
        faults.push("line 1: the column `id` is missing".to_owned());
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    let (mut devices, mut seen) = (Vec::new(), HashMap::new());
    for (line, number) in lines {
        match device(line, number, &heading) {
            Ok(device) => match seen.insert(device.id.clone(), number) {
                Some(before) => {
                    faults.push(format!("line {number}: `{}` stands in line {before}", device.id));
                }
                None => devices.push(device),
            },
            Err(fault) => faults.push(format!("line {number}: {fault}")),
        }
    }
    if faults.is_empty() { Ok(devices) } else { Err(faults) }
}

fn device(line: &str, number: usize, heading: &[String]) -> Result<NewDevice, String> {
    let cells = cells(line)?;
    if cells.len() != heading.len() {
        return Err(format!("{} cells instead of {}", cells.len(), heading.len()));
    }
    let cell = |name: &str| {
        let found = heading.iter().zip(&cells).find(|(known, _)| *known == name);
        found.map_or("", |(_, cell)| cell.trim())
    };
    let id = DeviceId::parse(cell("id")).map_err(|error| error.message)?;
    for name in ["kind", "name", "model"] {
        let most = limit::MASTER_TEXT_BYTES_MAX;
        if cell(name).len() > most || cell(name).chars().any(char::is_control) {
            return Err(format!("`{name}` has more than {most} bytes or a control character"));
        }
    }
    let facts = ["kind", "name", "model"].map(|name| cell(name).to_owned());
    Ok(NewDevice { line: number, id, facts })
}

/// The cells of a line (RFC 4180); a cell in quotes holds commas, and `""` is a quote.
fn cells(line: &str) -> Result<Vec<String>, String> {
    let (mut cells, mut cell) = (Vec::new(), String::new());
    let (mut is_quoted, mut was_quoted) = (false, false);
    let mut chars = line.chars().peekable();
    while let Some(char) = chars.next() {
        match char {
            '"' if is_quoted && chars.next_if_eq(&'"').is_some() => cell.push('"'),
            '"' if is_quoted => is_quoted = false,
            '"' if cell.is_empty() && !was_quoted => (is_quoted, was_quoted) = (true, true),
            '"' => return Err("a quote stands within a cell".to_owned()),
            ',' if !is_quoted => {
                cells.push(std::mem::take(&mut cell));
                was_quoted = false;
            }
            _ if was_quoted && !is_quoted => {
                return Err("something follows the quotes of a cell".to_owned());
            }
            char => cell.push(char),
        }
    }
    if is_quoted {
        return Err("a quote is not closed".to_owned());
    }
    cells.push(cell);
    Ok(cells)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Line, id, facts.
    type Plain<'a> = (usize, &'a str, [&'a str; 3]);

    fn check(text: &str, expected: Result<&[Plain<'_>], &[&str]>) {
        let seen = read(text);
        let seen = seen.as_ref().map(|devices| {
            let plain =
                |device: &NewDevice| (device.line, device.id.to_string(), device.facts.clone());
            devices.iter().map(plain).collect::<Vec<_>>()
        });
        let expected = expected.map(|devices| {
            let owned =
                |(line, id, facts): &Plain<'_>| (*line, (*id).to_owned(), facts.map(str::to_owned));
            devices.iter().map(owned).collect::<Vec<_>>()
        });
        match (seen, expected) {
            (Ok(seen), Ok(expected)) => assert_eq!(seen, expected, "{text}"),
            (Err(seen), Err(expected)) => assert_eq!(seen, expected, "{text}"),
            (seen, expected) => panic!("{text}: {seen:?} {expected:?}"),
        }
    }

    #[test]
    fn columns_are_found_by_their_names_and_faults_by_their_lines() {
        let good = "\u{feff}kind,ID,name\r\nbike,b-1,\"Anna's, \"\"the\"\" bike\"\r\n\r\n,b-2,\r\n";
        check(
            good,
            Ok(&[(2, "b-1", ["bike", "Anna's, \"the\" bike", ""]), (4, "b-2", ["", "", ""])]),
        );
        check("", Err(&["it is empty"]));
        check(
            "id;kind\nb-1;bike\n",
            Err(&[
                "line 1: column `id;kind` is unknown: there are id, kind, name, model",
                "line 1: the column `id` is missing",
            ]),
        );
        check(
            "id,kind\nb 1,bike\nb-2\nb-3,\"bike\nb-4,bike\nb-4,car\nb-5,\"a\"b\n",
            Err(&[
                "line 2: `b 1` is no device id: it must match [A-Za-z0-9._:-]{1,128}",
                "line 3: 1 cells instead of 2",
                "line 4: a quote is not closed",
                "line 6: `b-4` stands in line 5",
                "line 7: something follows the quotes of a cell",
            ]),
        );
    }
}
