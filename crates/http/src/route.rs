//! The table of the API's routes: each with its promise and its handler.

mod applications;
mod certificates;
mod commands;
mod components;
mod connections;
mod consumption;
mod devices;
mod events;
mod feeds;
mod instance;
mod map;
mod ownership;
mod quality;
mod quarantine;
mod query;
mod search;
mod streams;
mod system;
mod telemetry;
mod tokens;
mod uploads;
mod users;

use std::sync::Arc;

use axum::handler::Handler;
use axum::routing::{MethodFilter, MethodRouter, on};

use crate::api::Api;
use crate::operation::Operation;

pub(crate) use query::csv;

/// Every route of the API.
pub(crate) fn table() -> Vec<(&'static Operation, MethodRouter<Arc<Api>>)> {
    vec![
        route(&uploads::CREATE, uploads::create),
        route(&devices::LIST, devices::list),
        route(&devices::GET, devices::get),
        route(&devices::PUT, devices::put),
        route(&devices::PATCH, devices::patch),
        route(&devices::DELETE, devices::delete),
        route(&devices::REVOKE, devices::revoke),
        route(&certificates::LIST, certificates::list),
        route(&ownership::RETIRE, ownership::retire),
        route(&ownership::TRANSFER, ownership::transfer),
        route(&certificates::CREATE, certificates::create),
        route(&certificates::REVOKE, certificates::revoke),
        route(&components::OF_DEVICE, components::of_device),
        route(&components::LIST, components::list),
        route(&components::GET, components::get),
        route(&components::HISTORY, components::history),
        route(&feeds::CREATE, feeds::create),
        route(&feeds::LIST, feeds::list),
        route(&feeds::REVIEWS, feeds::reviews),
        route(&feeds::REVIEW, feeds::review),
        route(&feeds::DECIDE, feeds::decide),
        route(&search::FIND, search::find),
        route(&telemetry::STATE, telemetry::state),
        route(&telemetry::HISTORY, telemetry::history),
        route(&map::VIEW, map::view),
        route(&consumption::GET, consumption::get),
        route(&query::RUN, query::run),
        route(&commands::CREATE, commands::create),
        route(&commands::LIST, commands::list),
        route(&commands::GET, commands::get),
        route(&commands::CANCEL, commands::cancel),
        route(&connections::OF_DEVICE, connections::of_device),
        route(&connections::LIST, connections::list_all),
        route(&quality::GET, quality::get),
        route(&quarantine::LIST, quarantine::list),
        route(&quarantine::GET, quarantine::get),
        route(&quarantine::REPLAY, quarantine::replay),
        route(&applications::CREATE, applications::create),
        route(&applications::LIST, applications::list),
        route(&applications::DELETE, applications::delete),
        route(&applications::CERTIFY, applications::certify),
        route(&tokens::CREATE, tokens::create),
        route(&tokens::LIST, tokens::list),
        route(&tokens::DELETE, tokens::delete),
        route(&users::LIST, users::list),
        route(&users::CREATE, users::create),
        route(&users::GET, users::get),
        route(&users::PATCH, users::patch),
        route(&users::DELETE, users::delete),
        route(&users::INVITE, users::invite),
        route(&events::FOLLOW, events::follow),
        route(&streams::PUBLISH, streams::publish),
        route(&streams::READ, streams::read),
        route(&streams::LIST, streams::list),
        route(&streams::CREATE, streams::create),
        route(&streams::GET, streams::get),
        route(&streams::MOVE, streams::put_position),
        route(&streams::DELETE, streams::delete),
        route(&instance::POSITIONS, instance::positions),
        route(&system::GET, system::get),
        route(&instance::LIMITS, instance::limits),
        route(&instance::CA, instance::authority),
        route(&instance::LOGIN_LINK, instance::create_login_link),
    ]
}

/// Every promise of the API, in the order of the table.
pub(crate) fn operations() -> Vec<&'static Operation> {
    table().into_iter().map(|(operation, _)| operation).collect()
}

fn route<T: 'static>(
    operation: &'static Operation,
    handler: impl Handler<T, Arc<Api>>,
) -> (&'static Operation, MethodRouter<Arc<Api>>) {
    let method = match operation.method {
        "POST" => MethodFilter::POST,
        "PUT" => MethodFilter::PUT,
        "PATCH" => MethodFilter::PATCH,
        "DELETE" => MethodFilter::DELETE,
        _ => MethodFilter::GET,
    };
    (operation, on(method, handler))
}
