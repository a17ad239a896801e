//! Connection events: why a device cannot connect, and when it did.

use std::net::IpAddr;
use std::sync::Arc;

use axle_domain::port::ConnectionFilter;
use axle_domain::{
    Access, ConnectionEvent, ConnectionOutcome, Fingerprint, ProtocolVersion, RefusalStage, limit,
};
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::answer::{json_answer, time};
use crate::api::Api;
use crate::call::{Answer, Call};
use crate::operation::{EVERYONE, LIMIT, OPERATION, Operation, Parameter, STAFF, reply};
use crate::parameter::invalid;
use crate::problem::Problem;

const TAG: &str = "Connections";

pub(super) static OF_DEVICE: Operation = Operation {
    id: "listDeviceConnections",
    path: "/api/v1/devices/{id}/connections",
    tag: TAG,
    summary: "List the last connection events of a device, newest first",
    description: "Let in, ended or refused, each with its reason and the next step. Repeats \
        within a minute are one event with a `count`. Where `is_proved` is false, somebody only \
        said to be the device.",
    rights: "`admin`, or `read:DEVICE`",
    roles: EVERYONE,
    query: &[LIMIT],
    replies: &[reply(200, "ConnectionEvents", "The events.")],
    problems: &[404],
    ..OPERATION
};

pub(super) async fn of_device(State(api): State<Arc<Api>>, call: Call) -> Answer {
    let device = call.device_for(&api, |device| Access::Read(device))?;
    let limit = limit(&call)?;
    let filter = ConnectionFilter { device: Some(device), limit, ..ConnectionFilter::default() };
    list(&api, filter).await
}

pub(super) static LIST: Operation = Operation {
    id: "listConnections",
    path: "/api/v1/connections",
    tag: TAG,
    summary: "List the last connection events of all devices and strangers, newest first",
    description: "What a client that is not known yet has tried stands here alone: ask by its \
        address or certificate.",
    rights: "`admin`",
    roles: STAFF,
    query: &[
        Parameter {
            name: "fingerprint",
            schema: r#"{"type":"string","pattern":"^[0-9a-fA-F]{64}$"}"#,
            description: "Only with this client certificate: the SHA-256 of its DER bytes.",
        },
        Parameter {
            name: "address",
            schema: r#"{"type":"string"}"#,
            description: "Only from this address, IPv4 or IPv6.",
        },
        LIMIT,
    ],
    replies: &[reply(200, "ConnectionEvents", "The events.")],
    problems: &[403],
    ..OPERATION
};

pub(super) async fn list_all(State(api): State<Arc<Api>>, call: Call) -> Answer {
    call.require(Access::ReadAll)?;
    // `openssl x509 -fingerprint` writes colons between the bytes.
    let fingerprint = call.parameters.find("fingerprint").map(|text| text.replace(':', ""));
    let fingerprint = fingerprint.map(|text| Fingerprint::parse(&text)).transpose()?;
    let address = match call.parameters.find("address").map(str::parse::<IpAddr>) {
        None => None,
        Some(Ok(address)) => Some(address.to_canonical()),
        Some(Err(_)) => return Err(invalid("address", "must be an IPv4 or IPv6 address")),
    };
    let limit = limit(&call)?;
    list(&api, ConnectionFilter { device: None, fingerprint, address, limit }).await
}

fn limit(call: &Call) -> Result<usize, Problem> {
    call.parameters.count("limit", 100, limit::PAGE_ITEMS_MAX)
}

async fn list(api: &Api, filter: ConnectionFilter) -> Answer {
    let journal = &api.app.ports.connections;
    let events = journal.list_connections(filter).await?;
    let items: Vec<Value> = events.iter().map(wire).collect();
    let body = json!({"items": items, "dropped": journal.dropped_connections()});
    Ok(json_answer(StatusCode::OK, &body))
}

fn wire(event: &ConnectionEvent) -> Value {
    let (lasted, received, sent) = match event.outcome {
        ConnectionOutcome::Disconnected { lasted, received, sent } => {
            (Some(lasted.as_secs_f64()), Some(received), Some(sent))
        }
        ConnectionOutcome::Connected | ConnectionOutcome::Refused { .. } => (None, None, None),
    };
    json!({
        "at": time(event.at),
        "first_at": time(event.first_at),
        "count": event.count,
        "kind": event.outcome.as_str(),
        "stage": event.outcome.stage().map(RefusalStage::as_str),
        "code": event.code,
        "reason": event.reason,
        "next_step": event.next_step,
        "device": event.device.as_ref().map(axle_domain::DeviceId::as_str),
        "is_proved": event.is_proved,
        "fingerprint": event.fingerprint.map(|it| it.to_string()),
        "address": event.address.to_string(),
        "protocol": event.protocol.map(ProtocolVersion::as_str),
        "client_id": event.client_id,
        "lasted_s": lasted,
        "received": received,
        "sent": sent,
    })
}
