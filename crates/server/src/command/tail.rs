//! `axle tail`: live events, one a line.

use http_body_util::BodyExt;
use serde_json::Value;
use tokio::signal;

use crate::cli::TailArgs;
use crate::client::{Call, Client, encode_value};
use crate::failure::{Exit, Failure};
use crate::output::{cell, note, print_line};

/// Longest event that is shown.
const EVENT_BYTES_MAX: usize = 1024 * 1024;

pub(super) async fn run(args: TailArgs) -> Result<(), Failure> {
    let client = Client::find(&args.target)?;
    let mut path = format!("/api/v1/events?raw={}", u8::from(args.raw));
    if let Some(device) = &args.device {
        axle_domain::DeviceId::parse(device)?;
        path.push_str(&format!("&device={}", encode_value(device)));
    }
    let response =
        client.open(Call { path: &path, accept: "text/event-stream", ..Call::default() }).await?;
    note("live events; Ctrl-C ends");
    let mut body = response.into_body();
    let mut events = Events::default();
    loop {
        let frame = tokio::select! {
            frame = body.frame() => frame,
            interrupted = signal::ctrl_c() => {
                return interrupted.map_err(|error| Failure::new(Exit::Internal, error.to_string()));
            }
        };
        let Some(frame) = frame else {
            return Err(Failure::new(Exit::Unreachable, "the server ended the stream")
                .with_hint("`axle tail` again"));
        };
        let frame = frame.map_err(|error| {
            Failure::new(Exit::Unreachable, format!("the stream broke off: {error}"))
        })?;
        let Some(data) = frame.data_ref() else { continue };
        for event in events.feed(data) {
            let line = if args.raw { event } else { describe(&event) };
            if !print_line(&line)? {
                return Ok(());
            }
        }
    }
}

/// Takes Server-Sent Events apart.
#[derive(Default)]
struct Events {
    line: Vec<u8>,
    data: String,
}

impl Events {
    fn feed(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut complete = Vec::new();
        for &byte in bytes {
            if byte != b'\n' {
                if self.line.len() < EVENT_BYTES_MAX {
                    self.line.push(byte);
                }
                continue;
            }
            let line = String::from_utf8_lossy(&self.line).into_owned();
            self.line.clear();
            let line = line.strip_suffix('\r').unwrap_or(&line);
            if let Some(data) = line.strip_prefix("data:") {
                if !self.data.is_empty() {
                    self.data.push('\n');
                }
                if self.data.len() < EVENT_BYTES_MAX {
                    self.data.push_str(data.strip_prefix(' ').unwrap_or(data));
                }
            } else if line.is_empty() && !self.data.is_empty() {
                complete.push(std::mem::take(&mut self.data));
            }
        }
        complete
    }
}

/// A CloudEvent as one line.
fn describe(event: &str) -> String {
    let Ok(event) = serde_json::from_str::<Value>(event) else {
        return event.escape_debug().to_string();
    };
    let kind = cell(event.get("type"));
    let subject = cell(event.get("subject"));
    let data = event.get("data").map_or_else(|| "(no text)".to_owned(), Value::to_string);
    let line = format!("{}  {kind}  {subject}  {data}", cell(event.get("time")));
    match line.contains(char::is_control) {
        true => line.escape_debug().to_string(),
        false => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_whole_however_the_bytes_come() {
        let mut events = Events::default();
        let text = b": hello\n\nid: 1\r\ndata: {\"a\":1}\r\n\r\ndata:x\ndata: y\n\n";
        let mut seen = Vec::new();
        for byte in text.chunks(1) {
            seen.extend(events.feed(byte));
        }
        assert_eq!(seen, ["{\"a\":1}", "x\ny"]);
    }
}
