//! The configuration: flag before environment variable before file before default.
//!
//! Each part of axle owns its section and its defaults; this module only lists them, reads the
//! values with their origins, and checks what concerns several at once. A setting never opens
//! anything.

mod check;
mod nearest;
mod presence;
mod section;
mod source;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use axle_http::{ConsoleSettings, HttpSettings, OpsSettings};
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

pub use axle_agent::{ByteSize, SignedSpan, Span};
pub use presence::{PresenceSection, SilentRule};
pub use section::{
    DeviceHttpsSection, LayoutRule, LogSection, MqttSection, PlainAccess, ServerSection,
    StoreSection,
};
pub use source::Origin;

use crate::failure::Failure;
use source::{Key, Setting, Settings};

/// Everything that can be set, by section.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The listener for people and the API.
    pub http: HttpSettings,
    /// The listener for operators.
    pub ops: OpsSettings,
    /// What people see.
    pub console: ConsoleSettings,
    /// The device gateway.
    pub mqtt: MqttSection,
    /// The listener for devices that speak HTTPS.
    pub device_https: DeviceHttpsSection,
    /// The log.
    pub log: LogSection,
    /// What is told of devices that come, go, or fall silent.
    pub presence: PresenceSection,
    /// The telemetry store.
    pub store: StoreSection,
    /// The instance as a whole.
    pub server: ServerSection,
}

/// What the command line and the environment say about the configuration.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// A TOML file.
    pub file: Option<PathBuf>,
    /// The environment.
    pub variables: Vec<(OsString, OsString)>,
    /// `section.key=value` of the command line.
    pub flags: Vec<String>,
    /// Whether unprotected listeners beyond loopback are allowed.
    pub allow_insecure: bool,
}

/// A valid configuration, and where each of its values comes from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The values.
    pub config: Config,
    /// What was set, by section and key; whatever is missing here is a default.
    origins: BTreeMap<Key, Origin>,
}

impl Loaded {
    /// Reads and checks everything.
    ///
    /// # Errors
    /// One failure that names every fault, each with the file, line and column, the environment
    /// variable or the flag that it comes from.
    pub fn read(sources: &Sources) -> Result<Self, Failure> {
        let known = Config::defaults();
        let mut settings = Settings { known: &known, set: BTreeMap::new(), faults: Vec::new() };
        if let Some(path) = &sources.file {
            settings.read_file(path);
        }
        settings.read_environment(sources.variables.iter().cloned());
        for flag in &sources.flags {
            settings.read_flag(flag);
        }
        if sources.allow_insecure {
            let yes = Value::Boolean(true);
            settings.set_everywhere("allow_insecure", &yes, "--allow-insecure");
        }
        let Settings { set, mut faults, .. } = settings;
        for ((section, key), setting) in &set {
            faults.extend(check::value(&known, section, key, setting));
        }
        if faults.is_empty() {
            let config = build(known, &set)?;
            let origins = set.into_iter().map(|(key, setting)| (key, setting.origin)).collect();
            let loaded = Self { config, origins };
            faults = check::together(&loaded);
            if faults.is_empty() {
                return Ok(loaded);
            }
        }
        let hint = "`axle config print` shows the effective values and where they come from; \
                    docs/reference/config.md lists all";
        Err(Failure::usage(faults.join("\n")).with_hint(hint))
    }

    /// Where a value comes from.
    #[must_use]
    pub fn origin(&self, section: &str, key: &str) -> Origin {
        let key = (section.to_owned(), key.to_owned());
        self.origins.get(&key).cloned().unwrap_or(Origin::Default)
    }

    /// The effective configuration as TOML, each value with its origin behind it.
    #[must_use]
    pub fn print(&self) -> String {
        let mut text = String::new();
        for (section, keys) in self.config.to_table() {
            if !text.is_empty() {
                text.push('\n');
            }
            text.push_str(&format!("[{section}]\n"));
            for (key, value) in keys.as_table().into_iter().flatten() {
                let origin = self.origin(&section, key);
                text.push_str(&format!("{key} = {value} # {origin}\n"));
            }
        }
        text
    }
}

impl Config {
    /// All sections and keys with their defaults.
    #[must_use]
    pub fn defaults() -> Table {
        Self::default().to_table()
    }

    /// Listeners without TLS that others can reach: path of the setting, and host.
    #[must_use]
    pub fn exposed(&self) -> Vec<(String, String)> {
        check::exposed(self)
    }

    fn to_table(&self) -> Table {
        // Plain data with string keys always has a table; a test reads every default.
        Table::try_from(self).unwrap_or_default()
    }
}

fn build(mut table: Table, set: &BTreeMap<Key, Setting>) -> Result<Config, Failure> {
    for ((section, key), setting) in set {
        if let Some(keys) = table.get_mut(section).and_then(Value::as_table_mut) {
            keys.insert(key.clone(), setting.value.clone());
        }
    }
    Config::deserialize(table).map_err(|error| Failure::usage(error.to_string()))
}
