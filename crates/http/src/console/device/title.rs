//! The head of a device's page: what it is, whether it is there.

use axle_app::DeviceState;
use axle_domain::Device;
use maud::{Markup, html};

use crate::answer::encode;
use crate::console::devices;
use crate::console::layout::heading;
use crate::console::written::{clock_time, moment};

/// The head.
pub(super) fn head(device: &Device, state: &DeviceState) -> Markup {
    heading(
        device.id.as_str(),
        html! {
            @if !device.name.is_empty() { strong { (device.name) } }
            @if !device.kind.is_empty() { span .pill { (device.kind) } }
            span data-part="presence" { (presence(device, state)) }
            span .quiet { "registered " (clock_time(device.created_at)) }
            @if state.fields.iter().any(|latest| latest.field.0.starts_with("energy.")) {
                a href={ "/energy/" (encode(device.id.as_str())) } { "Energy of this household" }
            }
            span #connection .pill.is-calm role="status" { "as of loading" }
        },
    )
}

/// Whether it is there, and when it was heard of.
pub(super) fn presence(device: &Device, state: &DeviceState) -> Markup {
    html! {
        (devices::presence(device, state.is_online)) " last message "
        @match state.last_seen { Some(time) => (moment(time, state.now)), None => "never" }
    }
}
