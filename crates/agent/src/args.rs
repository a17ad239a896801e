//! The agent's command line and its file: what stands on the command line wins.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use axle_domain::{DeviceId, Error, StreamName};
use clap::Args;
use serde::Deserialize;

use crate::quantity::{ByteSize, Span};
use crate::settings::{Credential, Settings, Source};

const SEND_EVERY: Duration = Duration::from_secs(60);
const READ_EVERY: Duration = Duration::from_secs(10);
const QUEUE_BYTES: u64 = 256 * 1024 * 1024;
const RETRY_PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(120));

/// What an agent is started with. `--config` names a TOML file with the same names (`read_command`
/// for `--read-command`, a table `[on_command]`); a flag overrides it.
#[derive(Clone, Debug, Default, Args, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AgentArgs {
    /// Settings, TOML; its names are those of the flags with `_` for `-`.
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    pub config: Option<PathBuf>,
    /// Which device this is, as the registry knows it. Example: --device home-1
    #[arg(long, value_name = "ID")]
    pub device: Option<String>,
    /// The device's certificate, PEM. Example: --certificate home-1.crt
    #[arg(long, value_name = "FILE")]
    pub certificate: Option<PathBuf>,
    /// Its private key, PEM. Example: --key home-1.key
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// The server's device authority, PEM. Example: --ca ca.crt
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// The server's MQTT listener. Example: --server axle.example.com:8883
    #[arg(long, value_name = "HOST:PORT")]
    pub server: Option<String>,
    /// Speak without TLS to a server on this machine (its `mqtt.plain_listen`).
    #[arg(long, conflicts_with_all = ["certificate", "key", "ca"])]
    pub plain: bool,
    /// Where values and commands are kept; created on first start [default: ./axle-agent]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// The stream of the values: energy, ride, status, … [default: energy]
    #[arg(long, value_name = "STREAM")]
    pub stream: Option<String>,
    /// Run this again and again and read values from its output, a line each.
    /// Example: --read-command '/usr/local/bin/read-meter' --every 10s
    #[arg(long, value_name = "CMD", conflicts_with = "read_file")]
    pub read_command: Option<String>,
    /// How often to run it [default: 10s]
    #[arg(long, value_name = "TIME", requires = "read_command")]
    pub every: Option<Span>,
    /// Follow this file as it grows, or this named pipe; a line each: JSON, name=value pairs, or
    /// CSV with a header line where the name ends in .csv. Example: --read-file values.ndjson
    #[arg(long, value_name = "FILE")]
    pub read_file: Option<PathBuf>,
    /// Which program executes a command; several times for several. The payload comes on stdin
    /// and as $AXLE_PAYLOAD. Example: --on-command relay='/usr/local/bin/relay'
    #[arg(long = "on-command", value_name = "NAME=CMD", value_parser = read_pair)]
    #[serde(skip)]
    pub on_commands: Vec<(String, String)>,
    /// The same as a table of the file.
    #[arg(skip)]
    pub on_command: BTreeMap<String, String>,
    /// How often values are sent [default: 60s]
    #[arg(long, value_name = "TIME")]
    pub send_every: Option<Span>,
    /// How much may wait while there is no network; then the oldest go [default: 256MiB]
    #[arg(long, value_name = "SIZE")]
    pub queue_bytes_max: Option<ByteSize>,
}

fn read_pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, line)) if !name.is_empty() && !line.is_empty() => {
            Ok((name.to_owned(), line.to_owned()))
        }
        _ => Err("expected NAME=CMD".to_owned()),
    }
}

impl AgentArgs {
    /// What the command line and the file say together.
    ///
    /// # Errors
    /// `Invalid`, naming what is missing or wrong.
    pub fn settings(&self) -> Result<Settings, Error> {
        let file = self.config.as_deref().map(read_file).transpose()?.unwrap_or_default();
        let merged = self.clone().over(file);
        let device = DeviceId::parse(&needed(merged.device.as_deref(), "device")?)?;
        let stream = StreamName::parse(merged.stream.as_deref().unwrap_or("energy"))?;
        let source = match (&merged.read_command, &merged.read_file) {
            (Some(_), Some(_)) => {
                return Err(wrong("read-command and read-file exclude each other"));
            }
            (Some(line), None) => {
                let every = merged.every.map_or(READ_EVERY, |every| every.0);
                Source::Command { line: line.clone(), every: every.max(Duration::from_millis(10)) }
            }
            (None, Some(path)) => Source::File(path.clone()),
            (None, None) => Source::None,
        };
        let path = |path: &Option<PathBuf>, name| {
            path.clone().ok_or_else(|| wrong(&format!("`{name}` is missing")))
        };
        let credential = match merged.plain {
            true => None,
            false => Some(Credential {
                certificate: path(&merged.certificate, "certificate")?,
                key: path(&merged.key, "key")?,
                ca: path(&merged.ca, "ca")?,
            }),
        };
        let settings = Settings {
            device,
            server: needed(merged.server.as_deref(), "server")?,
            credential,
            data_dir: merged.data_dir.unwrap_or_else(|| PathBuf::from("./axle-agent")),
            stream,
            source,
            commands: merged.on_command,
            send_every: merged.send_every.map_or(SEND_EVERY, |every| every.0),
            queue_bytes_max: merged.queue_bytes_max.map_or(QUEUE_BYTES, |size| size.0),
            retry_pause: RETRY_PAUSE,
        };
        settings.check()?;
        Ok(settings)
    }

    /// These over those.
    fn over(mut self, file: Self) -> Self {
        // A source of the command line replaces a source of the file.
        let has_source = self.read_command.is_some() || self.read_file.is_some();
        let mut on_command = file.on_command;
        on_command.extend(std::mem::take(&mut self.on_commands));
        Self {
            config: None,
            device: self.device.or(file.device),
            certificate: self.certificate.or(file.certificate),
            key: self.key.or(file.key),
            ca: self.ca.or(file.ca),
            server: self.server.or(file.server),
            plain: self.plain || file.plain,
            data_dir: self.data_dir.or(file.data_dir),
            stream: self.stream.or(file.stream),
            read_command: self.read_command.or(file.read_command.filter(|_| !has_source)),
            every: self.every.or(file.every),
            read_file: self.read_file.or(file.read_file.filter(|_| !has_source)),
            on_commands: Vec::new(),
            on_command,
            send_every: self.send_every.or(file.send_every),
            queue_bytes_max: self.queue_bytes_max.or(file.queue_bytes_max),
        }
    }
}

fn read_file(path: &Path) -> Result<AgentArgs, Error> {
    let shown = path.display();
    let text = std::fs::read_to_string(path)
        .map_err(|error| wrong(&format!("the settings {shown} cannot be read: {error}")))?;
    toml::from_str(&text).map_err(|error| wrong(&format!("the settings {shown}: {error}")))
}

fn needed(value: Option<&str>, name: &str) -> Result<String, Error> {
    value.map(str::to_owned).ok_or_else(|| wrong(&format!("`{name}` is missing")))
}

fn wrong(message: &str) -> Error {
    Error::invalid("agent.settings_invalid", message)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: AgentArgs,
    }

    fn args(line: &str) -> AgentArgs {
        Line::try_parse_from(std::iter::once("agent").chain(line.split(' '))).unwrap().args
    }

    #[test]
    fn a_flag_overrides_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("agent.toml");
        let text = "device = \"home-1\"\ncertificate = \"a\"\nkey = \"b\"\nca = \"c\"\n\
            server = \"localhost:8883\"\nread_command = \"meter\"\nsend_every = \"5m\"\n\
            [on_command]\nrelay = \"on\"\nlamp = \"lamp\"\n";
        std::fs::write(&path, text).unwrap();
        let line = format!("--config {} --read-file v.csv --on-command relay=off", path.display());
        let settings = args(&line).settings().unwrap();
        assert_eq!(settings.source, Source::File(PathBuf::from("v.csv")));
        assert_eq!(settings.send_every, Duration::from_secs(300));
        assert_eq!(settings.commands["relay"], "off");
        assert_eq!(settings.commands["lamp"], "lamp");
        assert_eq!(settings.stream.as_str(), "energy");
        std::fs::write(&path, "devise = \"home-1\"\n").unwrap();
        let error = args(&line).settings().unwrap_err();
        assert!(error.message.contains("unknown field `devise`"), "{error}");
    }

    #[test]
    fn what_is_missing_is_named() {
        for (line, part) in [
            ("--plain", "`device` is missing"),
            ("--device d --plain", "`server` is missing"),
            ("--device d --server localhost:1", "`certificate` is missing"),
            ("--device d --server localhost:1 --plain", "nothing to do"),
            ("--device d --server localhost --plain --read-file f", "HOST:PORT"),
            ("--device d --server 192.0.2.1:1 --plain --read-file f", "not this machine"),
            ("--device a/b --server localhost:1 --plain --read-file f", "no device id"),
            ("--device d --server localhost:1 --plain --on-command a/b=x", "command's name"),
        ] {
            let error = args(line).settings().unwrap_err();
            assert!(error.message.contains(part), "{line}: {error}");
        }
    }
}
