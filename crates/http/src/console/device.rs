//! `/devices/{id}`: all that is known of one device, a section a file.

mod values;

use std::sync::Arc;

use axle_app::DeviceState;
use axle_domain::{Access, Device, DeviceId};
use axum::extract::{Path, State};
use axum::response::Response;
use maud::{Markup, html};

use crate::api::Api;
use crate::console::devices::presence;
use crate::console::layout::{Nav, heading, page};
use crate::console::viewer::Viewer;
use crate::console::written::{clock_time, moment};
use crate::problem::Problem;

/// The page.
pub(super) async fn get(
    State(api): State<Arc<Api>>,
    viewer: Viewer,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let device = find(&api, &viewer, &id).await?;
    let state = api.app.queries.state(&viewer.principal, &device.id).await?;
    let body = html! {
        (title(&device, &state))
        (values::section(&state))
    };
    Ok(page(&viewer, Nav::Devices, device.id.as_str(), body))
}

/// The device of a path, if the viewer may see it.
pub(super) async fn find(api: &Api, viewer: &Viewer, id: &str) -> Result<Device, Problem> {
    let id = DeviceId::parse(id)?;
    viewer.principal.require(Access::Read(&id))?;
    Ok(api.app.devices.get(&id).await?)
}

fn title(device: &Device, state: &DeviceState) -> Markup {
    heading(
        device.id.as_str(),
        html! {
            @if !device.name.is_empty() { strong { (device.name) } }
            @if !device.kind.is_empty() { span .pill { (device.kind) } }
            (presence(device, state.is_online))
            span { "last message "
                @match state.last_seen { Some(time) => (moment(time, state.now)), None => "never" } }
            span { "registered " (clock_time(device.created_at)) }
        },
    )
}
