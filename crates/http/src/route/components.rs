//! `/components`: batteries, motors, displays and where they sit and sat.

use std::sync::Arc;

use axle_domain::port::ComponentFilter;
use axle_domain::{
    Access, Component, ComponentStatus, Error, Installation, KindName, Serial, limit,
};
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::answer::{encode, json_answer, optional_time, page, time};
use crate::api::Api;
use crate::call::{Answer, Call};
use crate::operation::{EVERYONE, LIMIT, OPERATION, Operation, Parameter, STAFF, reply};
use crate::parameter::invalid;

const TAG: &str = "Components";

pub(super) static LIST: Operation = Operation {
    id: "listComponents",
    path: "/api/v1/components",
    tag: TAG,
    summary: "List components by serial",
    rights: "`admin`",
    query: &[
        Parameter {
            name: "kind",
            schema: r#"{"type":"string"}"#,
            description: "Only components of this kind, such as `battery`.",
        },
        Parameter {
            name: "status",
            schema: r#"{"enum":["in_use","spare","remanufactured","recycled"]}"#,
            description: "Only components with this status.",
        },
        LIMIT,
        Parameter {
            name: "after",
            schema: r#"{"type":"string"}"#,
            description: "Only serials after this one: `next` of the page before.",
        },
    ],
    replies: &[reply(200, "ComponentPage", "A page of components.")],
    roles: STAFF,
    problems: &[403],
    ..OPERATION
};

pub(super) async fn list(State(api): State<Arc<Api>>, call: Call) -> Answer {
    call.require(Access::ReadAll)?;
    let limit = call.parameters.count("limit", 100, limit::PAGE_ITEMS_MAX)?;
    let kind = call.parameters.find("kind").map(KindName::parse).transpose();
    let kind = kind.map_err(|_error| invalid("kind", "must match [a-z][a-z0-9_-]{0,31}"))?;
    let after = call.parameters.find("after").map(Serial::parse).transpose();
    let after = after.map_err(|_error| invalid("after", "must be `next` of the page before"))?;
    let status = match call.parameters.find("status") {
        None => None,
        Some(text) => match ComponentStatus::parse(text) {
            Some(status) => Some(status),
            None => {
                let rule = "must be in_use, spare, remanufactured or recycled";
                return Err(invalid("status", rule));
            }
        },
    };
    let mut of = kind.as_ref().map_or(String::new(), |kind| format!("&kind={kind}"));
    if let Some(status) = status {
        of.push_str(&format!("&status={}", status.as_str()));
    }
    let filter = ComponentFilter { kind, status, after, limit: limit + 1 };
    let mut components = api.app.components.list(filter).await?;
    let has_more = components.len() > limit;
    components.truncate(limit);
    let next = components.last().filter(|_| has_more).map(|last| {
        let after = last.serial.to_string();
        let address = format!("/api/v1/components?limit={limit}{of}&after={}", encode(&after));
        (after, address)
    });
    Ok(page(components.iter().map(wire).collect(), next))
}

pub(super) static GET: Operation = Operation {
    id: "getComponent",
    path: "/api/v1/components/{serial}",
    tag: TAG,
    summary: "Read a component",
    rights: "`admin`, or `read:DEVICE` of a device that it sits or sat in",
    replies: &[reply(200, "Component", "The component, and the device that it sits in.")],
    problems: &[404],
    roles: EVERYONE,
    ..OPERATION
};

pub(super) async fn get(State(api): State<Arc<Api>>, call: Call) -> Answer {
    let serial = serial(&call)?;
    let (component, life) = api.app.components.get(&call.principal, &serial).await?;
    let sits = life.iter().rfind(|it| it.is_open());
    let mut body = wire(&component);
    if let Some(body) = body.as_object_mut() {
        body.insert("device".to_owned(), json!(sits.map(|it| it.device.as_str())));
        let since = optional_time(sits.map(|it| it.from));
        body.insert("installed_at".to_owned(), since);
    }
    Ok(json_answer(StatusCode::OK, &body))
}

pub(super) static HISTORY: Operation = Operation {
    id: "getComponentHistory",
    path: "/api/v1/components/{serial}/history",
    tag: TAG,
    summary: "Read which devices a component sat in, from when to when",
    description: "A token for single devices sees its own devices in it.",
    rights: "`admin`, or `read:DEVICE` of a device that it sits or sat in",
    replies: &[reply(200, "InstallationPage", "Its installations, oldest first.")],
    problems: &[404],
    roles: EVERYONE,
    ..OPERATION
};

pub(super) async fn history(State(api): State<Arc<Api>>, call: Call) -> Answer {
    let serial = serial(&call)?;
    let (_, life) = api.app.components.get(&call.principal, &serial).await?;
    Ok(page(life.iter().map(wire_installation).collect(), None))
}

pub(super) static OF_DEVICE: Operation = Operation {
    id: "listDeviceComponents",
    path: "/api/v1/devices/{id}/components",
    tag: TAG,
    summary: "List what sits and sat in a device, oldest first",
    rights: "`read:DEVICE`, `command:DEVICE` or `admin`",
    replies: &[reply(200, "DeviceComponents", "Installations, each with its component.")],
    problems: &[404],
    roles: EVERYONE,
    ..OPERATION
};

pub(super) async fn of_device(State(api): State<Arc<Api>>, call: Call) -> Answer {
    let id = call.device_for(&api, |id| Access::Read(id))?;
    let installed = api.app.components.in_device(&id).await?;
    let items = installed.iter().map(|(installation, component)| {
        let mut body = wire(component);
        if let Some(body) = body.as_object_mut() {
            body.insert("from".to_owned(), time(installation.from));
            body.insert("to".to_owned(), optional_time(installation.to));
        }
        body
    });
    Ok(page(items.collect(), None))
}

fn serial(call: &Call) -> Result<Serial, Error> {
    let text = call.segment("serial");
    Serial::parse(text).map_err(|_error| {
        let shown: String = text.chars().take(64).collect();
        let message = format!("component `{}` not found", shown.escape_debug());
        Error::not_found("component.not_found", message)
    })
}

fn wire(component: &Component) -> Value {
    json!({
        "serial": component.serial.as_str(),
        "kind": component.kind.as_str(),
        "model": component.model,
        "produced_at": optional_time(component.produced_at),
        "status": component.status.as_str(),
        "created_at": time(component.created_at),
        "updated_at": time(component.updated_at),
    })
}

fn wire_installation(installation: &Installation) -> Value {
    json!({
        "serial": installation.serial.as_str(),
        "device": installation.device.as_str(),
        "from": time(installation.from),
        "to": optional_time(installation.to),
    })
}
