//! `/docs`: the contract to read, without a script and without the network.

use maud::{DOCTYPE, Markup, html};
use serde_json::Value;

use crate::console::head;
use crate::openapi::{path_meaning, path_variables, problem_meaning};
use crate::operation::{Operation, Parameter};

/// Writes the page.
pub(crate) fn write(introduction: &str, operations: &[&Operation], schemas: &Value) -> String {
    let mut tags: Vec<&str> = Vec::new();
    for operation in operations {
        if !tags.contains(&operation.tag) {
            tags.push(operation.tag);
        }
    }
    html! {
        (DOCTYPE)
        html lang="en" {
            (head("axle API"))
            body .docs {
                header { h1 { "axle API" } p { (text(introduction)) }
                    p { a href="/openapi.json" { "openapi.json" } " · " a href="/" { "console" } } }
                nav aria-label="Chapters" { @for tag in &tags { a href={ "#" (tag) } { (tag) } " " }
                    a href="#schemas" { "Schemas" } }
                main {
                    @for tag in &tags {
                        section id=(tag) {
                            h2 { (tag) }
                            @for operation in operations.iter().filter(|it| it.tag == *tag) {
                                (describe(operation))
                            }
                        }
                    }
                    section id="schemas" {
                        h2 { "Schemas" }
                        @for (name, schema) in schemas.as_object().into_iter().flatten() {
                            h3 id={ "schema-" (name) } { (name) }
                            pre tabindex="0" { (serde_json::to_string_pretty(schema).unwrap_or_default()) }
                        }
                    }
                }
            }
        }
    }
    .into_string()
}

fn describe(operation: &Operation) -> Markup {
    html! {
        article id=(operation.id) {
            h3 { code { b { (operation.method) } " " (operation.path) } }
            p { b { (operation.summary) ". " } (text(operation.description)) }
            p { "Rights: " (text(operation.rights)) }
            @let variables: Vec<_> = path_variables(operation.path).collect();
            @if !variables.is_empty() || !operation.query.is_empty() || !operation.headers.is_empty() {
                table {
                    thead { tr { th { "Parameter" } th { "In" } th { "Meaning" } } }
                    tbody {
                        @for name in &variables {
                            tr { td { code { (name) } } td { "path" }
                                td { (text(path_meaning(operation.path, name))) } }
                        }
                        @for parameter in operation.query { (row(parameter, "query")) }
                        @for parameter in operation.headers { (row(parameter, "header")) }
                    }
                }
            }
            @if let Some(body) = &operation.body {
                p { "Body: " (reference(body.schema)) " as " (body.media.join(", ")) }
            }
            table {
                thead { tr { th { "Status" } th { "Meaning" } } }
                tbody {
                    @for reply in operation.replies {
                        tr { td { (reply.status) } td { (text(reply.description))
                            @if let Some(schema) = reply.schema {
                                " " (reference(schema)) " as " (reply.media.join(", "))
                            } } }
                    }
                    @for status in operation.problems {
                        tr { td { (status) } td { (text(problem_meaning(*status))) } }
                    }
                }
            }
        }
    }
}

fn row(parameter: &Parameter, place: &str) -> Markup {
    html! {
        tr { td { code { (parameter.name) } } td { (place) } td { (text(parameter.description)) } }
    }
}

fn reference(schema: &str) -> Markup {
    html! { a href={ "#schema-" (schema) } { (schema) } }
}

/// Text whose words in backticks are code.
fn text(source: &str) -> Markup {
    html! {
        @for (index, part) in source.split('`').enumerate() {
            @if index % 2 == 1 { code { (part) } } @else { (part) }
        }
    }
}
