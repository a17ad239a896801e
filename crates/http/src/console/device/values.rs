//! The latest value of each field, with its age.

use axle_app::DeviceState;
use axle_domain::{LatestValue, OwnedValue};
use maud::{Markup, html};

use crate::console::layout::empty;
use crate::console::written::{field_name, float, moment};

/// The section.
pub(super) fn section(state: &DeviceState) -> Markup {
    html! {
        section .panel aria-labelledby="values-title" {
            h2 #values-title { "Latest values" }
            div data-part="values" { (list(state)) }
        }
    }
}

/// Latest values by stream, as they are now.
pub(super) fn list(state: &DeviceState) -> Markup {
    if state.fields.is_empty() {
        return empty(
            "No value yet",
            html! { p { "Values appear as soon as a message of this device is understood. What \
            was not understood stands in its quarantine." } },
        );
    }
    let mut streams: Vec<&str> = state.fields.iter().map(|it| split(&it.field.0).0).collect();
    streams.dedup();
    html! {
        div .values {
            @for stream in streams {
                div {
                    h3 { (stream) }
                    table {
                        thead .hidden { tr { th { "Field" } th { "Value" } th { "Age" } } }
                        tbody {
                            @for latest in &state.fields {
                                @if split(&latest.field.0).0 == stream { (row(latest, state)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn row(latest: &LatestValue, state: &DeviceState) -> Markup {
    let (_, name, key) = split(&latest.field.0);
    let (label, unit) = field_name(name);
    html! {
        tr {
            th scope="row" title=(latest.field.0) { (label) @if !key.is_empty() { " " code { (key) } } }
            td .right { (value(&latest.value)) @if !unit.is_empty() { " " span .quiet { (unit) } } }
            td .right.quiet { (moment(latest.time, state.now)) }
        }
    }
}

/// A value for people.
fn value(value: &OwnedValue) -> Markup {
    match value {
        OwnedValue::Float(number) => html! { (float(*number)) },
        OwnedValue::Bool(truth) => html! { (if *truth { "yes" } else { "no" }) },
        OwnedValue::Text(text) => html! { (text) },
    }
}

/// Stream, field and key of `energy.watts[s-1]`; the key is empty where there is none.
pub(super) fn split(field: &str) -> (&str, &str, &str) {
    let (stream, rest) = field.split_once('.').unwrap_or(("", field));
    let (name, key) = rest.split_once('[').unwrap_or((rest, ""));
    (stream, name, key.strip_suffix(']').unwrap_or(key))
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn splits_fields_into_stream_name_and_key() {
        assert_eq!(split("status.battery_pct"), ("status", "battery_pct", ""));
        assert_eq!(split("energy.watts[s-1]"), ("energy", "watts", "s-1"));
        assert_eq!(split("energy.watts[a[b]]"), ("energy", "watts", "a[b]"));
    }
}
