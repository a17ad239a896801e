//! `/connections`, and the section of a device: why it cannot connect.

use std::net::IpAddr;
use std::sync::Arc;

use axle_domain::port::ConnectionFilter;
use axle_domain::{
    ConnectionEvent, ConnectionOutcome, DeviceId, Error, Fingerprint, ProtocolVersion, Timestamp,
};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;

use crate::answer::encode;
use crate::api::Api;
use crate::console::layout::{Nav, empty, heading, page, pill};
use crate::console::viewer::Viewer;
use crate::console::written::{grouped, moment, span};
use crate::operation::STAFF;
use crate::problem::Problem;

/// Events of a device's section.
const SECTION_MAX: usize = 20;
/// Events of the page.
const PAGE_MAX: usize = 200;

/// What the address asks for.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Ask {
    device: String,
    address: String,
    fingerprint: String,
}

/// The page.
pub(super) async fn get(
    State(api): State<Arc<Api>>,
    viewer: Viewer,
    query: Result<Query<Ask>, QueryRejection>,
) -> Result<Response, Problem> {
    viewer.require_role(STAFF)?;
    let ask = query.map(|query| query.0).unwrap_or_default();
    let (filter, fault) = match filter(&ask) {
        Ok(filter) => (Some(filter), None),
        Err(error) => (None, Some(error.message)),
    };
    let events = match filter {
        Some(filter) => api.app.ports.connections.list_connections(filter).await?,
        None => Vec::new(),
    };
    let now = api.app.ports.clock.now();
    let body = html! {
        (heading("Connections", html! { "Who connected, who was refused, and why" }))
        form .fields action="/connections" method="get" {
            div .field { label for="device" { "Device" }
                input #device name="device" value=(ask.device) maxlength="128"; }
            div .field { label for="address" { "Address" }
                input #address name="address" value=(ask.address) maxlength="64"; }
            div .field { label for="fingerprint" { "Certificate (SHA-256)" }
                input #fingerprint name="fingerprint" value=(ask.fingerprint) maxlength="95"; }
            div .field { button type="submit" { "Show" } }
        }
        @if let Some(fault) = &fault {
            div .notice.is-bad role="alert" { p { strong { (fault) } } }
        } @else if events.is_empty() {
            (empty("Nobody yet", html! {
                p { "Nobody has connected, or tried to, from there. A device that does not reach \
                    this server at all leaves no trace here: check its address, its port and the \
                    network in between." }
            }))
        } @else {
            section .panel aria-labelledby="events-title" {
                h2 #events-title { "Latest events" }
                (table(&events, now, true, "events-title"))
            }
        }
    };
    Ok(page(&viewer, Nav::System, "Connections", body))
}

fn filter(ask: &Ask) -> Result<ConnectionFilter, Error> {
    let given = |text: &str| (!text.trim().is_empty()).then(|| text.trim().to_owned());
    let address = given(&ask.address).map(|text| {
        let parsed = text.parse::<IpAddr>().map(|it| it.to_canonical());
        parsed.map_err(|_error| {
            Error::invalid("connections.address_invalid", "an address is IPv4 or IPv6")
        })
    });
    let fingerprint = given(&ask.fingerprint).map(|it| Fingerprint::parse(&it.replace(':', "")));
    Ok(ConnectionFilter {
        device: given(&ask.device).map(|it| DeviceId::parse(&it)).transpose()?,
        fingerprint: fingerprint.transpose()?,
        address: address.transpose()?,
        limit: PAGE_MAX,
    })
}

/// The section of a device's page.
pub(super) async fn section(api: &Api, device: &DeviceId) -> Result<Markup, Error> {
    let filter = ConnectionFilter {
        device: Some(device.clone()),
        limit: SECTION_MAX,
        ..ConnectionFilter::default()
    };
    let events = api.app.ports.connections.list_connections(filter).await?;
    let now = api.app.ports.clock.now();
    Ok(html! {
        section .panel aria-labelledby="connections-title" {
            h2 #connections-title { "Connections" }
            @if events.is_empty() {
                p .quiet { "It has not connected, nor tried to." }
                p .meta { "A client whose certificate does not name this device stands under "
                    a href="/connections" { "all connections" } ", by its address." }
            } @else {
                @if let Some(refused) = events.first().filter(|it| it.outcome.stage().is_some()) {
                    div .notice.is-bad {
                        p { strong { "It cannot connect: " } (refused.reason) "." }
                        @if !refused.next_step.is_empty() { p { (refused.next_step) } }
                    }
                }
                (table(&events, now, false, "connections-title"))
            }
        }
    })
}

fn table(events: &[ConnectionEvent], now: Timestamp, has_device: bool, title: &str) -> Markup {
    html! {
        div .scroll tabindex="0" role="group" aria-labelledby=(title) {
            table {
                thead { tr { th scope="col" { "When" } th scope="col" { "What" }
                    @if has_device { th scope="col" { "Device" } }
                    th scope="col" { "Why, and what to do" } th scope="col" { "Address" }
                    th scope="col" { "Client id" } th scope="col" { "Certificate" } } }
                tbody { @for event in events { (row(event, now, has_device)) } }
            }
        }
    }
}

fn row(event: &ConnectionEvent, now: Timestamp, has_device: bool) -> Markup {
    let print = event.fingerprint.map(|it| it.to_string());
    html! {
        tr {
            td { (moment(event.at, now)) @if event.count > 1 { " " (times(event)) } }
            td { (what(event.outcome)) }
            @if has_device {
                td { @if let Some(device) = &event.device {
                    a href={ "/devices/" (encode(device.as_str())) } { (device) }
                    @if !event.is_proved { div .quiet { "only named" } }
                } @else { span .quiet { "unknown" } } }
            }
            td .wrap { (why(event)) }
            td { code { (event.address) } }
            td { code { (event.client_id) } }
            td { @if let Some(print) = &print {
                code title=(print) { (print.get(..12).unwrap_or_default()) "…" }
            } @else { span .quiet { "none" } } }
        }
    }
}

fn times(event: &ConnectionEvent) -> Markup {
    let micros = u64::try_from(event.at.micros_since(event.first_at)).unwrap_or(0);
    let within = span(std::time::Duration::from_micros(micros));
    html! { span .quiet { (grouped(event.count)) " times within " (within) } }
}

fn what(outcome: ConnectionOutcome) -> Markup {
    match outcome {
        ConnectionOutcome::Connected => pill("good", "connected"),
        ConnectionOutcome::Disconnected { .. } => pill("calm", "disconnected"),
        ConnectionOutcome::Refused { .. } => pill("bad", "refused"),
    }
}

fn why(event: &ConnectionEvent) -> Markup {
    html! {
        @match event.outcome {
            ConnectionOutcome::Connected => {
                (event.protocol.map_or("", ProtocolVersion::as_str))
            }
            ConnectionOutcome::Disconnected { lasted, received, sent } => {
                (event.reason) ". It was there for " (span(lasted)) ", sent "
                (grouped(received)) " messages and got " (grouped(sent)) "."
            }
            ConnectionOutcome::Refused { .. } => { (event.reason) "." }
        }
        @if !event.next_step.is_empty() { " " span .quiet { (event.next_step) } }
        @if !event.code.is_empty() { " " code .quiet { (event.code) } }
    }
}
