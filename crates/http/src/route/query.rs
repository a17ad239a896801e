//! `/query`: SQL.

use std::sync::Arc;

use axle_app::format_time;
use axle_domain::port::{Answer as Rows, AnswerFormat, Cell, Table};
use axle_domain::{Error, limit};
use axum::extract::State;
use axum::http::header::{ACCEPT, HeaderMap, HeaderName};
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use serde_json::json;
use tokio::task::JoinError;

use crate::answer::{body_answer, table};
use crate::api::Api;
use crate::call::{Answer, Call};
use crate::field::Fields;
use crate::operation::{JSON, OPERATION, Operation, Reply, json_body};
use crate::problem::{Problem, not_acceptable};

const ARROW: &str = "application/vnd.apache.arrow.stream";
const CSV: &str = "text/csv";
const TRUNCATED: HeaderName = HeaderName::from_static("axle-truncated");

pub(super) static RUN: Operation = Operation {
    id: "runQuery",
    method: "POST",
    path: "/api/v1/query",
    tag: "Query",
    summary: "Ask in SQL",
    description: "One pure question over the streams, which are tables; rows of devices that the \
        token may not read do not exist for it. An answer is cut at 10,000 rows and 5 MiB, and \
        says so (`truncated`, or the header `Axle-Truncated`). `Accept` chooses the form; cells \
        of CSV that a spreadsheet would take for a formula begin with an apostrophe.",
    rights: "`admin`, or `read:DEVICE` for its rows",
    body: json_body("Query"),
    replies: &[Reply {
        status: 200,
        description: "Rows.",
        schema: Some("QueryAnswer"),
        media: &["application/json", CSV, ARROW],
    }],
    problems: &[403, 406, 413, 415, 422],
    ..OPERATION
};

#[derive(Clone, Copy, PartialEq, Debug)]
enum Form {
    Json,
    Csv,
    Arrow,
}

pub(super) async fn run(State(api): State<Arc<Api>>, mut call: Call) -> Answer {
    let form = form(&call.headers)?;
    let body = call.json(JSON, limit::REQUEST_BYTES_MAX).await?;
    let mut fields = Fields::read(&body)?;
    let sql = fields.text("sql");
    fields.finish()?;
    let format = match form {
        Form::Json | Form::Csv => AnswerFormat::Table,
        Form::Arrow => AnswerFormat::ArrowStream,
    };
    let rows = api.app.queries.sql(&call.principal, &sql, format).await?;
    // Megabytes of rows take milliseconds to write.
    let response = tokio::task::spawn_blocking(move || match (rows, form) {
        (Rows::ArrowStream(bytes, is_truncated), _) => {
            marked(body_answer(StatusCode::OK, ARROW, bytes), is_truncated)
        }
        (Rows::Table(rows), Form::Csv) => {
            let is_truncated = rows.truncated;
            marked(body_answer(StatusCode::OK, "text/csv; charset=utf-8", csv(&rows)), is_truncated)
        }
        (Rows::Table(rows), Form::Json | Form::Arrow) => {
            let is_truncated = rows.truncated;
            let (columns, rows) = table(rows);
            let body = json!({"columns": columns, "rows": rows, "truncated": is_truncated});
            body_answer(StatusCode::OK, "application/json", body.to_string())
        }
    });
    Ok(response.await.map_err(panicked)?)
}

/// A task that computed an answer has panicked.
pub(super) fn panicked(error: JoinError) -> Error {
    Error::internal("answer.panic", "the answer could not be written").with_source(error)
}

fn marked(mut response: Response, is_truncated: bool) -> Response {
    if is_truncated {
        response.headers_mut().insert(TRUNCATED, HeaderValue::from_static("true"));
    }
    response
}

/// The form that the client likes best.
fn form(headers: &HeaderMap) -> Result<Form, Problem> {
    let mut best: Option<(f32, Form)> = None;
    let mut is_there = false;
    for line in headers.get_all(ACCEPT) {
        is_there = true;
        for range in line.to_str().unwrap_or_default().split(',') {
            let mut parts = range.split(';').map(str::trim);
            let form = match parts.next().unwrap_or_default().to_ascii_lowercase().as_str() {
                "*/*" | "application/*" | "application/json" => Form::Json,
                "text/*" | CSV => Form::Csv,
                ARROW => Form::Arrow,
                _ => continue,
            };
            let quality = parts.find_map(|it| it.strip_prefix("q=")).unwrap_or("1");
            let quality = quality.parse::<f32>().unwrap_or(0.0);
            if quality > best.map_or(0.0, |(quality, _)| quality) {
                best = Some((quality, form));
            }
        }
    }
    match best {
        Some((_, form)) => Ok(form),
        None if !is_there => Ok(Form::Json),
        None => Err(not_acceptable(&format!("application/json, {CSV}, {ARROW}"))),
    }
}

/// RFC 4180, with formulas disarmed.
pub(crate) fn csv(table: &Table) -> String {
    let mut text = String::new();
    for (index, column) in table.columns.iter().enumerate() {
        text.push_str(if index > 0 { "," } else { "" });
        push_text(&mut text, &column.name);
    }
    text.push_str("\r\n");
    for row in &table.rows {
        for (index, cell) in row.iter().enumerate() {
            text.push_str(if index > 0 { "," } else { "" });
            match cell {
                Cell::Null => {}
                Cell::Bool(value) => text.push_str(if *value { "true" } else { "false" }),
                Cell::Int(number) => text.push_str(&number.to_string()),
                Cell::Float(number) => text.push_str(&number.to_string()),
                Cell::Time(time) => text.push_str(&format_time(*time)),
                Cell::Text(value) => push_text(&mut text, value),
            }
        }
        text.push_str("\r\n");
    }
    text
}

fn push_text(out: &mut String, text: &str) {
    let is_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    if !is_formula && !text.contains(['"', ',', '\r', '\n']) {
        out.push_str(text);
        return;
    }
    out.push('"');
    out.push_str(if is_formula { "'" } else { "" });
    out.push_str(&text.replace('"', "\"\""));
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use axle_domain::port::ColumnInfo;

    #[test]
    fn cells_cannot_become_formulas() {
        let texts = ["=1+1", "+1", "-1", "@x", "a\"b", "a,b", "plain", ""];
        let table = Table {
            columns: vec![ColumnInfo { name: "=c".to_owned(), kind: "text".to_owned() }],
            rows: texts.iter().map(|text| vec![Cell::Text((*text).to_owned())]).collect(),
            truncated: false,
        };
        let lines = csv(&table);
        let lines: Vec<_> = lines.split("\r\n").collect();
        assert_eq!(
            lines,
            [
                "\"'=c\"",
                "\"'=1+1\"",
                "\"'+1\"",
                "\"'-1\"",
                "\"'@x\"",
                "\"a\"\"b\"",
                "\"a,b\"",
                "plain",
                "",
                ""
            ]
        );
    }

    #[test]
    fn chooses_the_form_that_is_liked_best() {
        for (accept, expected) in [
            ("*/*", Some(Form::Json)),
            ("text/csv", Some(Form::Csv)),
            ("text/csv;q=0.5, application/json", Some(Form::Json)),
            ("application/vnd.apache.arrow.stream", Some(Form::Arrow)),
            ("application/xml", None),
            ("application/json;q=0", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, accept.parse().unwrap());
            assert_eq!(form(&headers).ok(), expected, "{accept}");
        }
        assert_eq!(form(&HeaderMap::new()).ok(), Some(Form::Json));
    }
}
