//! The parts of a device's page that live, read once a second while someone looks.

use std::sync::Arc;
use std::time::Duration;

use axle_app::DeviceState;
use axle_domain::{Device, Error};
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use futures_util::stream;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::{commands, quarantine, title, values};
use crate::api::Api;
use crate::console::feed::{self, Part};
use crate::console::viewer::Viewer;
use crate::problem::Problem;

/// `GET /live/devices/{id}`.
pub(in crate::console) async fn get(
    State(api): State<Arc<Api>>,
    viewer: Viewer,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let device = super::find(&api, &viewer, &id).await?;
    let mut ticks = interval(Duration::from_secs(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let look = Look { api: Arc::clone(&api), viewer, device, ticks, seen: None };
    let source = stream::unfold(look, |mut look| async move {
        look.ticks.tick().await;
        // What cannot be read just now is read again a second later.
        let parts = look.read().await.unwrap_or_default();
        Some((parts, look))
    });
    feed::answer(&api, &headers, source)
}

struct Look {
    api: Arc<Api>,
    viewer: Viewer,
    device: Device,
    ticks: Interval,
    seen: Option<DeviceState>,
}

impl Look {
    async fn read(&mut self) -> Result<Vec<Part>, Error> {
        let mut parts = Vec::new();
        let state = self.api.app.queries.state(&self.viewer.principal, &self.device.id).await?;
        if !self.seen.as_ref().is_some_and(|seen| is_same(seen, &state)) {
            parts.push(Part::new("presence", title::presence(&self.device, &state)));
            parts.push(Part::new("values", values::list(&state)));
            self.seen = Some(state);
        }
        let sent = commands::read(&self.api, &self.device.id).await?;
        parts.push(Part::new("commands", commands::list(&self.viewer, &self.device.id, &sent)));
        let items = quarantine::read(&self.api, &self.device.id).await?;
        parts.push(Part::new("quarantine", quarantine::list(&self.viewer, &items)));
        Ok(parts)
    }
}

/// Whether a page shows the same, but for ages, which it counts by itself.
fn is_same(a: &DeviceState, b: &DeviceState) -> bool {
    (a.is_online, a.last_seen, &a.fields) == (b.is_online, b.last_seen, &b.fields)
}
