//! `/devices/{id}`: all that is known of one device, a section a file.

pub(super) mod charts;
pub(super) mod commands;
mod components;
pub(super) mod live;
mod payload;
pub(super) mod quarantine;
mod ride;
pub(super) mod tail;
mod title;
mod values;

use std::sync::Arc;

use axle_domain::{Access, Device, DeviceId};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use maud::html;

use crate::answer::encode;
use crate::api::Api;
use crate::console::connections;
use crate::console::layout::{Nav, page};
use crate::console::viewer::Viewer;
use crate::problem::Problem;

/// The page.
pub(super) async fn get(
    State(api): State<Arc<Api>>,
    viewer: Viewer,
    Path(id): Path<String>,
    query: Result<Query<charts::Ask>, QueryRejection>,
) -> Result<Response, Problem> {
    let ask = query.map(|query| query.0).unwrap_or_default();
    let device = find(&api, &viewer, &id).await?;
    let state = api.app.queries.state(&viewer.principal, &device.id).await?;
    let charts = charts::section(&api, &viewer, (&device.id, &state), &ask).await?;
    let ride = api.app.rides.find_last(&viewer.principal, &device.id).await?;
    let installed = api.app.components.in_device(&device.id).await?;
    let is_staff = viewer.principal.allows(Access::ReadAll);
    let commands = commands::read(&api, &device.id).await?;
    let items = quarantine::read(&api, &device.id).await?;
    let lines = tail::recent(&api, &device.id).await;
    let connections = connections::section(&api, &device.id).await?;
    let sections = [
        values::section(&state),
        charts,
        ride.as_ref().map(ride::section).unwrap_or_default(),
        connections,
        commands::section(&viewer, &device.id, &commands),
        components::section(&installed, state.now, is_staff),
        tail::section(&device.id, &lines),
        quarantine::section(&viewer, &items),
    ];
    let body = html! {
        div data-live={ "/live/devices/" (encode(device.id.as_str())) } {
            (title::head(&device, &state))
            @for section in sections { (section) }
        }
    };
    Ok(page(&viewer, Nav::Devices, device.id.as_str(), body))
}

/// The device of a path, if the viewer may see it.
pub(super) async fn find(api: &Api, viewer: &Viewer, id: &str) -> Result<Device, Problem> {
    let id = DeviceId::parse(id)?;
    viewer.principal.require(Access::Read(&id))?;
    Ok(api.app.devices.get(&id).await?)
}
