//! What sits in a device, and what sat in it before.

use axle_domain::{Component, Installation, Timestamp};
use maud::{Markup, html};

use crate::answer::encode;
use crate::console::components::status;
use crate::console::layout::empty;
use crate::console::written::{clock_time, moment};

/// The section. Newest first, what sits there now before what sat there.
pub(super) fn section(
    installed: &[(Installation, Component)],
    now: Timestamp,
    is_staff: bool,
) -> Markup {
    let (here, gone): (Vec<_>, Vec<_>) = installed.iter().rev().partition(|(it, _)| it.is_open());
    html! {
        section #components .panel aria-labelledby="components-title" {
            h2 #components-title { "Components" }
            @if installed.is_empty() {
                (empty("No component is known", html! { p { "What a plant built in appears here \
                    as soon as it has said so."
                    @if is_staff { " See " a href="/feeds" { "the plants' feeds" } "." } } }))
            } @else {
                div .scroll tabindex="0" role="group" aria-label="Table of components" {
                    table {
                        thead { tr { th { "Serial" } th { "Kind" } th { "Model" } th { "From" }
                            th { "To" } th { "Now" } } }
                        tbody { @for (it, component) in here.iter().chain(&gone) {
                            (row(it, component, now)) } }
                    }
                }
            }
        }
    }
}

fn row(installation: &Installation, component: &Component, now: Timestamp) -> Markup {
    html! {
        tr {
            td { a href={ "/components/" (encode(component.serial.as_str())) } { (component.serial) } }
            td { (component.kind) }
            td { (component.model) }
            td { (clock_time(installation.from)) " " span .quiet { (moment(installation.from, now)) } }
            td { @match installation.to { Some(to) => (clock_time(to)), None => "sits here" } }
            td { (status(component.status)) }
        }
    }
}
