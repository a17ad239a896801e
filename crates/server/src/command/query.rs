//! `axle query`: SQL over everything that devices reported.

use hyper::Method;
use serde_json::{Value, json};

use crate::cli::QueryArgs;
use crate::client::{Call, Client};
use crate::failure::Failure;
use crate::output::{TextTable, cell, note, print, print_json};

pub(super) async fn run(args: QueryArgs) -> Result<(), Failure> {
    let client = Client::find(&args.target)?;
    let question = json!({"sql": args.sql});
    if args.csv {
        let call = Call {
            method: Method::POST,
            path: "/api/v1/query",
            body: Some(&question),
            accept: "text/csv",
            ..Call::default()
        };
        let bytes = client.bytes(call).await?;
        return print(&String::from_utf8_lossy(&bytes));
    }
    let answer = client.post("/api/v1/query", &question).await?;
    if args.json {
        return print_json(&answer);
    }
    let list = |name: &str| answer.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
    let heading: Vec<String> =
        list("columns").iter().map(|column| cell(column.get("name"))).collect();
    let mut table = TextTable::new(&heading);
    let rows = list("rows");
    for row in &rows {
        let cells = row.as_array().into_iter().flatten();
        table.push(cells.map(|value| cell(Some(value))).collect());
    }
    print(&table.render())?;
    let count = rows.len();
    match answer.get("truncated").and_then(Value::as_bool) {
        Some(true) => note(&format!("{count} rows; more were cut off: add a LIMIT or a WHERE")),
        _ => note(&format!("{count} rows")),
    }
    Ok(())
}
