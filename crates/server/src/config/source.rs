//! Where settings come from: the file, the environment, the command line. Each value keeps its
//! origin, so that every complaint can name it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};
use toml::{Table, Value};

use super::nearest::nearest;

/// No configuration of ours comes near this.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody said anything.
    Default,
    /// A file, with line and column.
    File(PathBuf, usize, usize),
    /// An environment variable.
    Variable(String),
    /// The command line.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path, line, column) => write!(f, "{}:{line}:{column}", path.display()),
            Self::Variable(name) => f.write_str(name),
            Self::Flag(flag) => f.write_str(flag),
        }
    }
}

/// A section and a key.
pub(super) type Key = (String, String);

/// A value and where it comes from.
#[derive(Clone, Debug)]
pub(super) struct Setting {
    pub(super) value: Value,
    pub(super) origin: Origin,
}

/// Values that someone has set, the strongest origin of each.
pub(super) struct Settings<'a> {
    /// All sections and keys that there are, with their defaults.
    pub(super) known: &'a Table,
    pub(super) set: BTreeMap<Key, Setting>,
    pub(super) faults: Vec<String>,
}

impl Settings<'_> {
    fn keys_of(&self, section: &str) -> Option<&Table> {
        self.known.get(section).and_then(Value::as_table)
    }

    /// Takes a value whose section and key must be known.
    fn put(&mut self, section: &str, key: &str, value: Value, origin: Origin) {
        match self.keys_of(section) {
            Some(keys) if keys.contains_key(key) => {
                self.set.insert((section.to_owned(), key.to_owned()), Setting { value, origin });
            }
            Some(keys) => {
                let near = nearest(key, keys.keys().map(String::as_str));
                let is_variable = matches!(origin, Origin::Variable(_));
                let near = near.map(|near| match is_variable {
                    true => variable(section, near),
                    false => format!("{section}.{near}"),
                });
                let all = keys.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
                self.unknown(
                    &origin,
                    &format!("key `{section}.{}`", key.escape_debug()),
                    near,
                    &all,
                );
            }
            None => self.unknown_section(section, &origin),
        }
    }

    fn unknown_section(&mut self, section: &str, origin: &Origin) {
        let near = nearest(section, self.known.keys().map(String::as_str)).map(str::to_owned);
        let all = self.known.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        self.unknown(origin, &format!("section `{}`", section.escape_debug()), near, &all);
    }

    fn unknown(&mut self, origin: &Origin, what: &str, near: Option<String>, all: &str) {
        let hint = match near {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("there are {all}"),
        };
        self.faults.push(format!("{origin}: unknown {what}: {hint}"));
    }

    /// Takes what a TOML file says.
    pub(super) fn read_file(&mut self, path: &Path) {
        let text = match read(path) {
            Ok(text) => text,
            Err(reason) => return self.faults.push(format!("{}: {reason}", path.display())),
        };
        self.read_text(path, &text);
    }

    pub(super) fn read_text(&mut self, path: &Path, text: &str) {
        let at = |byte: usize| {
            let before = text.get(..byte).unwrap_or(text);
            let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
            let column = before.get(line_start..).unwrap_or("").chars().count() + 1;
            Origin::File(path.to_owned(), before.matches('\n').count() + 1, column)
        };
        let document = match DeTable::parse(text) {
            Ok(document) => document.into_inner(),
            Err(error) => {
                let origin = at(error.span().map_or(0, |span| span.start));
                let message = error.message().replace('\n', ", ");
                return self.faults.push(format!("{origin}: {message}"));
            }
        };
        for (section, body) in document {
            let (origin, name) = (at(section.span().start), section.get_ref());
            let DeValue::Table(keys) = body.into_inner() else {
                self.faults.push(format!(
                    "{origin}: `{}` stands outside of a section: write `[section]` above it, or \
                     `section.key = value`",
                    name.escape_debug()
                ));
                continue;
            };
            if !self.known.contains_key(name.as_ref()) {
                self.unknown_section(name, &origin);
                continue;
            }
            for (key, value) in keys {
                let (origin, key) = (at(key.span().start), key.into_inner());
                match to_value(value.into_inner()) {
                    Some(value) => self.put(name, &key, value, origin),
                    None => self.faults.push(format!(
                        "{origin}: the value of `{name}.{}` is too large or of a kind that no \
                         setting has",
                        key.escape_debug()
                    )),
                }
            }
        }
    }

    /// Takes `AXLE_SECTION__KEY` from the environment.
    pub(super) fn read_environment(
        &mut self,
        variables: impl Iterator<Item = (OsString, OsString)>,
    ) {
        for (name, text) in variables {
            let Some(name) = name.to_str().map(str::to_owned) else { continue };
            let Some(rest) = name.strip_prefix("AXLE_") else { continue };
            let Some((section, key)) = rest.split_once("__") else {
                self.check_underscores(&name, rest);
                continue;
            };
            let (section, key) = (section.to_lowercase(), key.to_lowercase());
            let Some(text) = text.to_str() else {
                self.faults.push(format!("{name}: the value is not UTF-8"));
                continue;
            };
            let default = self.keys_of(&section).and_then(|keys| keys.get(&key));
            let value = from_text(text, default);
            self.put(&section, &key, value, Origin::Variable(name));
        }
    }

    /// `AXLE_MQTT_LISTEN` is nothing, and surely meant to be something.
    fn check_underscores(&mut self, name: &str, rest: &str) {
        let found = self.known.iter().find_map(|(section, keys)| {
            let key = rest.to_lowercase();
            let key = key.strip_prefix(section.as_str())?.strip_prefix('_')?;
            keys.as_table()?.contains_key(key).then(|| variable(section, key))
        });
        if let Some(meant) = found {
            self.faults.push(format!("{name}: unknown variable: did you mean `{meant}`?"));
        }
    }

    /// Takes `section.key=value` from the command line.
    pub(super) fn read_flag(&mut self, text: &str) {
        let parts = text.split_once('=').and_then(|(path, value)| {
            let (section, key) = path.trim().split_once('.')?;
            Some((section, key, value.trim()))
        });
        let Some((section, key, value)) = parts else {
            let shown = text.escape_debug();
            return self.faults.push(format!("--set {shown}: expected SECTION.KEY=VALUE"));
        };
        let default = self.keys_of(section).and_then(|keys| keys.get(key));
        let value = from_text(value, default);
        self.put(section, key, value, Origin::Flag(format!("--set {section}.{key}")));
    }

    /// Sets a key of every section that has it.
    pub(super) fn set_everywhere(&mut self, key: &str, value: &Value, flag: &str) {
        for (section, keys) in self.known {
            if keys.get(key).is_some() {
                let origin = Origin::Flag(flag.to_owned());
                let setting = Setting { value: value.clone(), origin };
                self.set.insert((section.clone(), key.to_owned()), setting);
            }
        }
    }
}

/// The environment variable of a setting.
pub(super) fn variable(section: &str, key: &str) -> String {
    format!("AXLE_{}__{}", section.to_uppercase(), key.to_uppercase())
}

fn read(path: &Path) -> Result<String, String> {
    let metadata = std::fs::metadata(path).map_err(|error| error.to_string())?;
    if !metadata.is_file() {
        return Err("it is not a file".to_owned());
    }
    if metadata.len() > FILE_BYTES_MAX {
        return Err(format!(
            "it is {} bytes long; a configuration is at most {FILE_BYTES_MAX}",
            metadata.len()
        ));
    }
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(FILE_BYTES_MAX).read_to_end(&mut bytes))
        .map_err(|error| error.to_string())?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let before = error.as_bytes().get(..valid).unwrap_or_default();
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        format!("line {line} is not UTF-8")
    })?;
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

/// A value without its places in the file; nothing for a number that does not fit.
fn to_value(value: DeValue<'_>) -> Option<Value> {
    Some(match value {
        DeValue::String(text) => Value::String(text.into_owned()),
        DeValue::Integer(number) => {
            Value::Integer(i64::from_str_radix(number.as_str(), number.radix()).ok()?)
        }
        DeValue::Float(number) => Value::Float(number.as_str().parse().ok()?),
        DeValue::Boolean(truth) => Value::Boolean(truth),
        DeValue::Array(items) => {
            let items = items.into_iter().map(|item| to_value(item.into_inner()));
            Value::Array(items.collect::<Option<_>>()?)
        }
        DeValue::Datetime(_) | DeValue::Table(_) => return None,
    })
}

/// Text as the kind of value that the default is; text that is none stays text, and is complained
/// about like any value of a wrong type.
fn from_text(text: &str, default: Option<&Value>) -> Value {
    let parsed = match default {
        Some(Value::Integer(_)) => text.trim().parse().ok().map(Value::Integer),
        Some(Value::Float(_)) => text.trim().parse().ok().map(Value::Float),
        Some(Value::Boolean(_)) => text.trim().parse().ok().map(Value::Boolean),
        Some(Value::Array(_)) => {
            let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
            Some(Value::Array(items.map(|item| Value::String(item.to_owned())).collect()))
        }
        _ => None,
    };
    parsed.unwrap_or_else(|| Value::String(text.to_owned()))
}
