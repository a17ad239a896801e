//! What a person or a script sees: data on stdout, everything else on stderr.

use std::io::{ErrorKind, IsTerminal, Write};

use serde_json::Value;

use crate::failure::{Exit, Failure};

/// Writes data to stdout. A reader that has gone (`| head`) is no failure.
///
/// # Errors
/// When stdout cannot be written.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::new(Exit::Internal, format!("cannot write to stdout: {error}")))
        }
        _written => Ok(()),
    }
}

/// Writes a line of data to stdout; says whether someone still reads.
///
/// # Errors
/// When stdout cannot be written.
pub(crate) fn print_line(text: &str) -> Result<bool, Failure> {
    let mut stdout = std::io::stdout().lock();
    match writeln!(stdout, "{text}").and_then(|()| stdout.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failure::new(Exit::Internal, format!("cannot write to stdout: {error}"))),
    }
}

/// Writes JSON to stdout.
///
/// # Errors
/// When stdout cannot be written.
pub(crate) fn print_json(value: &Value) -> Result<(), Failure> {
    print(&format!("{value:#}\n"))
}

/// Says something to the person at the terminal. Nothing depends on it being read.
pub(crate) fn note(text: &str) {
    let _unread = writeln!(std::io::stderr().lock(), "{text}").is_err();
}

/// A line on stderr that replaces itself, where stderr is a terminal.
#[derive(Debug)]
pub(crate) struct ProgressLine {
    is_shown: bool,
}

impl Default for ProgressLine {
    fn default() -> Self {
        let is_dumb = std::env::var("TERM").is_ok_and(|term| term == "dumb");
        Self { is_shown: std::io::stderr().is_terminal() && !is_dumb }
    }
}

impl ProgressLine {
    /// Shows where the work is.
    pub(crate) fn show(&self, text: &str) {
        if self.is_shown {
            // CSI K clears what a longer line left behind; it is no color.
            let _unread = write!(std::io::stderr().lock(), "\r{text}\x1b[K").is_err();
        }
    }
}

impl Drop for ProgressLine {
    fn drop(&mut self) {
        self.show("");
        if self.is_shown {
            let _unread = write!(std::io::stderr().lock(), "\r").is_err();
        }
    }
}

/// Columns that line up.
#[derive(Debug, Default)]
pub(crate) struct TextTable {
    rows: Vec<Vec<String>>,
}

impl TextTable {
    /// A table with its heading.
    #[must_use]
    pub(crate) fn new<S: AsRef<str>>(heading: &[S]) -> Self {
        let mut table = Self::default();
        table.push(heading.iter().map(|name| name.as_ref().to_owned()).collect());
        table
    }

    /// Adds a row. What a device sent cannot move the cursor of whoever looks at it.
    pub(crate) fn push(&mut self, row: Vec<String>) {
        let plain = |cell: String| match cell.contains(char::is_control) {
            true => cell.escape_debug().to_string(),
            false => cell,
        };
        self.rows.push(row.into_iter().map(plain).collect());
    }

    /// Adds a row of the named fields of a JSON object.
    pub(crate) fn push_fields(&mut self, object: &Value, fields: &[&str]) {
        self.push(fields.iter().map(|name| cell(object.get(name))).collect());
    }

    /// The text, one line a row.
    #[must_use]
    pub(crate) fn render(&self) -> String {
        let mut widths: Vec<usize> = Vec::new();
        for row in &self.rows {
            widths.resize(widths.len().max(row.len()), 0);
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let mut text = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                line.push_str(&format!("{cell:<width$}  "));
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// A JSON value as a person reads it.
#[must_use]
pub(crate) fn cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(items)) if items.iter().all(Value::is_string) => {
            items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" ")
        }
        Some(other) => other.to_string(),
    }
}

/// The list under `items`, or under a name of its own.
#[must_use]
pub(crate) fn items(answer: &Value) -> &[Value] {
    let list = answer.get("items").unwrap_or(answer);
    list.as_array().map(Vec::as_slice).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_escapes_are_shown_not_obeyed() {
        let mut table = TextTable::new(&["id", "name"]);
        table.push(vec!["b-1".to_owned(), "\x1b[2Jred".to_owned()]);
        table.push_fields(&serde_json::json!({"id": 7, "name": null}), &["id", "name"]);
        assert_eq!(table.render(), "id   name\nb-1  \\u{1b}[2Jred\n7\n");
    }
}
