//! `/query`: SQL, and its answer as a table, a chart or a map.
//!
//! Without scripts the form is sent here and answered as a page; the module asks the API instead,
//! so that a question can be taken back and its answer drawn.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axle_app::format_time;
use axle_domain::port::{Answer, AnswerFormat, Cell, Table};
use axle_domain::{Access, Error, FieldKind, StreamSchema, limit};
use axum::extract::State;
use axum::http::header::CONTENT_DISPOSITION;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use maud::{Markup, html};

use crate::answer::body_answer;
use crate::api::Api;
use crate::console::form::Form;
use crate::console::layout::{Nav, document, heading, html_answer, module};
use crate::console::viewer::Viewer;
use crate::console::written::{float, grouped};
use crate::problem::Problem;
use crate::route::csv;

/// Rows that a page shows; the answer may have more.
const ROWS_SHOWN: usize = 500;
const FIRST: &str =
    "SELECT device, time, speed_kmh, battery_pct FROM ride ORDER BY time DESC LIMIT 50";
/// Questions to begin with.
const EXAMPLES: [(&str, &str); 6] = [
    ("Newest rows of rides", FIRST),
    (
        "One ride on the map",
        "SELECT device, time, lat, lon, speed_kmh FROM ride\nWHERE device = (SELECT device FROM \
         ride ORDER BY time DESC LIMIT 1)\nORDER BY time DESC LIMIT 2000",
    ),
    (
        "Rows an hour, last day",
        "SELECT date_trunc('hour', time) AS hour, count(*) AS rows, count(DISTINCT device) AS \
         devices\nFROM ride WHERE time > now() - INTERVAL '1 day'\nGROUP BY hour ORDER BY hour",
    ),
    (
        "Devices with the lowest battery",
        "SELECT device, max(time) AS time, last_value(battery_pct ORDER BY time) AS battery_pct\n\
         FROM status GROUP BY device ORDER BY battery_pct LIMIT 20",
    ),
    (
        "How far times can be trusted",
        "SELECT time_quality, count(*) AS rows FROM ride GROUP BY time_quality ORDER BY rows DESC",
    ),
    (
        "Power of sockets, last hour",
        "SELECT date_trunc('minute', time) AS minute, socket, avg(watts) AS watts FROM energy\n\
         WHERE name = 'power' AND time > now() - INTERVAL '1 hour'\nGROUP BY minute, socket ORDER \
         BY minute, socket",
    ),
];

/// `GET /query`: the editor.
pub(super) async fn get(State(api): State<Arc<Api>>, viewer: Viewer) -> Result<Response, Problem> {
    viewer.principal.require(Access::Query)?;
    let page = editor(&api, &viewer, FIRST, html! {});
    std::future::ready(Ok(html_answer(StatusCode::OK, page))).await
}

/// `POST /query`: the editor with the answer, or with what is wrong.
pub(super) async fn post(
    State(api): State<Arc<Api>>,
    viewer: Viewer,
    form: Form,
) -> Result<Response, Problem> {
    viewer.principal.require(Access::Query)?;
    let sql = form.text("sql");
    let started = Instant::now();
    let (status, result) = match ask(&api, &viewer, sql).await {
        Ok(rows) => (StatusCode::OK, answer(&rows, started.elapsed())),
        Err(error) => {
            let problem = Problem::from(error);
            (problem.status(), fault(&problem))
        }
    };
    Ok(html_answer(status, editor(&api, &viewer, sql, result)))
}

/// `POST /query/csv`: the answer as a file.
pub(super) async fn download(
    State(api): State<Arc<Api>>,
    viewer: Viewer,
    form: Form,
) -> Result<Response, Problem> {
    viewer.principal.require(Access::Query)?;
    let rows = ask(&api, &viewer, form.text("sql")).await?;
    let mut response = body_answer(StatusCode::OK, "text/csv; charset=utf-8", csv(&rows));
    let name = HeaderValue::from_static("attachment; filename=\"axle-query.csv\"");
    response.headers_mut().insert(CONTENT_DISPOSITION, name);
    Ok(response)
}

async fn ask(api: &Api, viewer: &Viewer, sql: &str) -> Result<Table, Error> {
    match api.app.queries.sql(&viewer.principal, sql, AnswerFormat::Table).await? {
        Answer::Table(rows) => Ok(rows),
        Answer::ArrowStream(..) => {
            Err(Error::internal("query.form", "the store answered in another form than asked for"))
        }
    }
}

fn editor(api: &Api, viewer: &Viewer, sql: &str, result: Markup) -> Markup {
    let body = html! {
        (heading("Query", html! {
            span { "At most " (grouped(limit::QUERY_ROWS_MAX as u64)) " rows, "
                (limit::QUERY_BYTES_MAX / 1024 / 1024) " MiB and "
                (limit::QUERY_TIME_MAX.as_secs()) " s; nothing is changed." }
        }))
        div .query {
            div .query-main {
                form #query action="/query" method="post" .panel {
                    div .field {
                        label for="sql" { "SQL" }
                        textarea .code #sql name="sql" rows="8" spellcheck="false" required
                            maxlength=(limit::SQL_BYTES_MAX) aria-describedby="query-hint query-fault" { (sql) }
                    }
                    div .buttons {
                        button .primary #run type="submit" { "Run" }
                        button #cancel type="button" hidden { "Cancel" }
                        button #csv type="submit" formaction="/query/csv" { "Download CSV" }
                        span .meta #query-hint { "Ctrl+Enter runs. Times are UTC." }
                        span .meta #query-clock role="status" {}
                    }
                }
                div #query-result { (result) }
            }
            aside .query-side aria-label="Tables and examples" {
                section .panel {
                    h2 { "Examples" }
                    ul .examples {
                        @for (label, example) in EXAMPLES {
                            li {
                                details {
                                    summary { (label) }
                                    pre tabindex="0" data-example { (example) }
                                }
                            }
                        }
                    }
                }
                section .panel {
                    h2 { "Tables" }
                    @for schema in api.app.schemas.iter() { (columns(schema)) }
                }
            }
        }
        link rel="stylesheet" href=(crate::console::asset::address("vendor/maplibre-gl.css"));
        link rel="stylesheet" href=(crate::console::asset::address("map.css"));
        (module("query.js"))
    };
    document(Some(viewer), Nav::Query, "Query", body)
}

/// A table with its columns.
fn columns(schema: &StreamSchema) -> Markup {
    let keys = schema.keys.iter().map(|key| (*key, "text"));
    let fields = schema.fields.iter().map(|field| {
        let kind = match field.kind {
            FieldKind::Float { .. } => "double",
            FieldKind::Bool => "boolean",
            FieldKind::Text => "text",
        };
        (field.name, kind)
    });
    let first = [
        ("device", "text"),
        ("time", "timestamp"),
        ("time_claimed", "timestamp"),
        ("received_at", "timestamp"),
        ("time_quality", "text"),
    ];
    let all = first.into_iter().chain(keys).chain(fields).chain([("extra", "text, JSON")]);
    html! {
        details .columns-of {
            summary { code { (schema.name) } }
            dl .facts {
                @for (name, kind) in all { dt { code { (name) } } dd { (kind) } }
            }
        }
    }
}

/// What is wrong, at the editor.
fn fault(problem: &Problem) -> Markup {
    html! {
        div .notice.is-bad #query-fault role="alert" {
            p { strong { (problem.detail()) } }
            p .meta { "Code " code { (problem.code()) } }
        }
    }
}

fn answer(rows: &Table, took: Duration) -> Markup {
    let count = rows.rows.len();
    html! {
        section .panel aria-labelledby="answer-title" {
            div .bar {
                h2 #answer-title { (grouped(count as u64)) @if count == 1 { " row" } @else { " rows" } }
                span .quiet { "in " (took.as_millis()) " ms" }
                @if rows.truncated { span .pill.is-warn { "cut at the limit" } }
                @if count > ROWS_SHOWN { span .quiet { "the first " (ROWS_SHOWN) " are shown" } }
            }
            div .scroll tabindex="0" role="group" aria-labelledby="answer-title" {
                table {
                    thead { tr { @for column in &rows.columns { th { (column.name) } } } }
                    tbody {
                        @for row in rows.rows.iter().take(ROWS_SHOWN) {
                            tr { @for cell in row { (shown(cell)) } }
                        }
                    }
                }
            }
        }
    }
}

fn shown(cell: &Cell) -> Markup {
    match cell {
        Cell::Null => html! { td .quiet { "null" } },
        Cell::Bool(truth) => html! { td { (truth) } },
        Cell::Int(number) => html! { td .right { (number) } },
        Cell::Float(number) => html! { td .right { (float(*number)) } },
        Cell::Time(time) => html! { td { (format_time(*time)) } },
        Cell::Text(text) => html! { td { (text) } },
    }
}
