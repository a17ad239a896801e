//! `axle log dump`: the records of a data directory, readable.

use axle_app::{format_time, parse_time};
use axle_domain::port::Record;
use axle_domain::{Offset, Source, Timestamp, TopicFilter, Turned};
use axle_log::{Entry, LogFolder, SegmentInfo};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::cli::{LogDumpArgs, LogSource};
use crate::failure::{Exit, Failure};
use crate::output::{note, print_line};

pub(super) fn dump(args: &LogDumpArgs) -> Result<(), Failure> {
    let wanted = Wanted::read(args)?;
    let dir = args.dir.data_dir.join("log");
    let folder = LogFolder::open(&dir)?;
    if args.segments {
        for segment in folder.segments() {
            if !print_line(&segment_line(&segment, args.json))? {
                return Ok(());
            }
        }
        return Ok(());
    }
    let (mut printed, mut damaged) = (0, 0_u64);
    let most = args.limit.unwrap_or(u64::MAX);
    for entry in folder.entries(wanted.from.offset.unwrap_or_default()) {
        if printed >= most {
            break;
        }
        match entry? {
            Entry::Record(record, _bytes) if wanted.is_past(record.offset) => break,
            Entry::Record(record, bytes) => {
                if !wanted.takes(&record) {
                    continue;
                }
                printed += 1;
                let line = if args.json { json_line(&record, bytes) } else { line(&record, bytes) };
                if !print_line(&line)? {
                    return Ok(());
                }
            }
            Entry::Damaged(range) if wanted.is_past(range.from) => break,
            Entry::Damaged(range) => {
                damaged += 1;
                note(&format!(
                    "{}: bytes {} to {} cannot be read: offsets {} to before {} are lost",
                    range.file.display(),
                    range.from_byte,
                    range.to_byte,
                    range.from,
                    range.next_good
                ));
            }
            Entry::Torn(bytes) => {
                note(&format!("{bytes} bytes of an unfinished write are at the end"));
            }
        }
    }
    if damaged == 0 {
        return Ok(());
    }
    let message = format!("{damaged} places of {} are damaged", dir.display());
    Err(Failure::new(Exit::Refused, message).with_hint("`axle verify`"))
}

/// One end of the range: an offset or a moment.
#[derive(Clone, Copy, Default)]
struct Bound {
    offset: Option<Offset>,
    time: Option<Timestamp>,
}

impl Bound {
    fn read(name: &str, text: Option<&str>) -> Result<Self, Failure> {
        let Some(text) = text else { return Ok(Self::default()) };
        if let Ok(offset) = text.parse() {
            return Ok(Self { offset: Some(Offset(offset)), time: None });
        }
        match parse_time(text) {
            Some(time) => Ok(Self { offset: None, time: Some(time) }),
            None => {
                let message = format!("`{name} {text}` is neither an offset nor a moment");
                let hint = "`--from 4711` or `--from 2026-11-20T10:00:00Z`";
                Err(Failure::new(Exit::Usage, message).with_hint(hint))
            }
        }
    }
}

/// What of the log is printed.
struct Wanted {
    from: Bound,
    to: Bound,
    topic: Option<TopicFilter>,
    device: Option<String>,
    source: Option<Source>,
}

impl Wanted {
    fn read(args: &LogDumpArgs) -> Result<Self, Failure> {
        Ok(Self {
            from: Bound::read("--from", args.from.as_deref())?,
            to: Bound::read("--to", args.to.as_deref())?,
            topic: args.topic.as_deref().map(TopicFilter::parse).transpose()?,
            device: args.device.clone(),
            source: args.source.map(|source| match source {
                LogSource::Mqtt => Source::Mqtt,
                LogSource::Upload => Source::Upload,
                LogSource::Replay => Source::Replay,
                LogSource::Service => Source::Service,
                LogSource::Door => Source::Door,
                LogSource::Presence => Source::Presence,
            }),
        })
    }

    /// Whether nothing from here on is wanted. A moment ends nothing: clocks go back.
    fn is_past(&self, offset: Offset) -> bool {
        self.to.offset.is_some_and(|to| offset >= to)
    }

    fn takes(&self, record: &Record) -> bool {
        let message = record.message();
        self.from.time.is_none_or(|from| message.received_at >= from)
            && self.to.time.is_none_or(|to| message.received_at < to)
            && self.source.is_none_or(|source| message.source == source)
            && self.device.as_deref().is_none_or(|device| message.device == device)
            && self.topic.as_ref().is_none_or(|filter| filter.contains(message.topic))
    }
}

/// What the door has counted, where the record is one of its own.
fn turned(record: &Record) -> Option<Turned> {
    let is_door = record.source == Source::Door;
    is_door.then(|| Turned::from_payload(&record.payload)).flatten()
}

/// Offset, arrival, door, device, topic, bytes, payload, separated by tabs.
fn line(record: &Record, bytes: usize) -> String {
    let message = record.message();
    let payload = match (turned(record), std::str::from_utf8(message.payload)) {
        (Some(turned), _) => format!("rejected={} shed={}", turned.rejected, turned.shed),
        (None, Ok(text)) => plain(text),
        (None, Err(_)) => format!("base64:{}", STANDARD.encode(message.payload)),
    };
    let envelope = &message.envelope;
    let retain = if envelope.is_retained { "r" } else { "" };
    format!(
        "{}\t{}\t{}\t{}\t{}\tq{}{retain}\t{bytes}\t{payload}",
        record.offset,
        format_time(message.received_at),
        message.source.as_str(),
        or_dash(message.device),
        or_dash(message.topic),
        envelope.qos,
    )
}

/// What a device sent cannot move the cursor of whoever looks at it.
fn plain(text: &str) -> String {
    match text.contains(char::is_control) {
        true => text.escape_debug().to_string(),
        false => text.to_owned(),
    }
}

fn or_dash(text: &str) -> String {
    if text.is_empty() { "-".to_owned() } else { plain(text) }
}

/// Everything that a record says.
fn json_line(record: &Record, bytes: usize) -> String {
    let message = record.message();
    let time = |time: Option<Timestamp>| time.map(format_time);
    let mut object = json!({
        "offset": record.offset.0,
        "received_at": format_time(message.received_at),
        "connected_at": format_time(message.connected_at),
        "sent_at": time(message.sent_at),
        "replayed_at": time(message.replayed_at),
        "source": message.source.as_str(),
        "device": message.device,
        "topic": message.topic,
        "content_type": message.content_type,
        "origin": message.origin,
        "qos": message.envelope.qos,
        "is_retained": message.envelope.is_retained,
        "properties_base64": STANDARD.encode(message.envelope.properties),
        "bytes": bytes,
    });
    let mut put = |name: &str, value: Value| {
        if let Some(object) = object.as_object_mut() {
            object.insert(name.to_owned(), value);
        }
    };
    match (turned(record), std::str::from_utf8(message.payload)) {
        (Some(turned), _) => {
            put("rejected", json!(turned.rejected));
            put("shed", json!(turned.shed));
        }
        (None, Ok(text)) => put("payload", json!(text)),
        (None, Err(_)) => put("payload_base64", json!(STANDARD.encode(message.payload))),
    }
    object.to_string()
}

fn segment_line(segment: &SegmentInfo, is_json: bool) -> String {
    let SegmentInfo { path, version, id, base, bytes } = segment;
    if is_json {
        return json!({
            "path": path.display().to_string(), "version": version, "id": format!("{id:016x}"),
            "base": base.0, "bytes": bytes,
        })
        .to_string();
    }
    format!("{base}\t{bytes}\tv{version}\t{id:016x}\t{}", path.display())
}
