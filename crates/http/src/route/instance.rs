//! What concerns the instance as a whole: positions, limits, the device authority, sign-in links.

use std::sync::Arc;

use axle_domain::limit;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::HOST;
use serde_json::json;

use crate::answer::{body_answer, json_answer};
use crate::api::Api;
use crate::call::{Answer, Call};
use crate::console::LINK_TIME_MAX;
use crate::operation::{ADMINISTRATORS, EVERYONE, OPERATION, Operation, Reply, reply};

const TAG: &str = "Instance";

pub(super) static POSITIONS: Operation = Operation {
    id: "getPositions",
    path: "/api/v1/positions",
    tag: TAG,
    summary: "Read how far the log is and how far each projection has followed",
    description: "A reader that waits until `applied` reaches the `appended` it saw has read \
        everything that was acknowledged before.",
    replies: &[reply(200, "Positions", "Counts of records.")],
    roles: EVERYONE,
    ..OPERATION
};

pub(super) async fn positions(State(api): State<Arc<Api>>, _call: Call) -> Answer {
    let positions = api.app.positions();
    let body = json!({
        "appended": positions.appended.0,
        "applied": {"store": positions.store.0, "state": positions.state.0},
    });
    std::future::ready(Ok(json_answer(StatusCode::OK, &body))).await
}

pub(super) static LIMITS: Operation = Operation {
    id: "getLimits",
    path: "/api/v1/limits",
    tag: TAG,
    summary: "Read the limits",
    description: "Each name ends with its unit, or counts things.",
    replies: &[reply(200, "Limits", "Every limit.")],
    roles: EVERYONE,
    ..OPERATION
};

pub(super) async fn limits(State(api): State<Arc<Api>>, _call: Call) -> Answer {
    let mut body = json!({
        "device_id_bytes_max": limit::DEVICE_ID_BYTES_MAX,
        "packet_bytes_max": limit::PACKET_BYTES_MAX,
        "packet_bytes_before_connect_max": limit::PACKET_BYTES_BEFORE_CONNECT_MAX,
        "topic_bytes_max": limit::TOPIC_BYTES_MAX,
        "topic_levels_max": limit::TOPIC_LEVELS_MAX,
        "subscriptions_max": limit::SUBSCRIPTIONS_MAX,
        "keep_alive_seconds_max": limit::KEEP_ALIVE_MAX.as_secs(),
        "upload_encoded_bytes_max": limit::UPLOAD_ENCODED_BYTES_MAX,
        "upload_decoded_bytes_max": limit::UPLOAD_DECODED_BYTES_MAX,
        "upload_records_max": limit::UPLOAD_RECORDS_MAX,
        "upload_line_bytes_max": limit::UPLOAD_LINE_BYTES_MAX,
        "uploads_per_minute_and_token": api.by_token.per_minute(),
        "uploads_per_minute_and_address": api.by_address.per_minute(),
        "idempotency_key_bytes_max": limit::IDEMPOTENCY_KEY_BYTES_MAX,
        "request_bytes_max": limit::REQUEST_BYTES_MAX,
    });
    let rest = json!({
        "json_depth_max": limit::JSON_DEPTH_MAX,
        "text_value_bytes_max": limit::TEXT_VALUE_BYTES_MAX,
        "extra_bytes_max": limit::EXTRA_BYTES_MAX,
        "sql_bytes_max": limit::SQL_BYTES_MAX,
        "query_rows_max": limit::QUERY_ROWS_MAX,
        "query_bytes_max": limit::QUERY_BYTES_MAX,
        "query_seconds_max": limit::QUERY_TIME_MAX.as_secs(),
        "query_memory_bytes_max": limit::QUERY_MEMORY_BYTES_MAX,
        "queries_running_max": limit::QUERIES_RUNNING_MAX,
        "command_payload_bytes_max": limit::COMMAND_PAYLOAD_BYTES_MAX,
        "command_result_bytes_max": limit::COMMAND_RESULT_BYTES_MAX,
        "command_timeout_seconds_max": limit::COMMAND_TIMEOUT_MAX.as_secs(),
        "commands_open_per_device_max": limit::COMMANDS_OPEN_PER_DEVICE_MAX,
        "fleet_map_devices_max": limit::FLEET_MAP_DEVICES_MAX,
        "map_cells_max": limit::MAP_CELLS_MAX,
        "map_singles_max": limit::MAP_SINGLES_MAX,
        "feed_bytes_max": limit::FEED_BYTES_MAX,
        "feed_records_max": limit::FEED_RECORDS_MAX,
        "feed_record_bytes_max": limit::FEED_RECORD_BYTES_MAX,
        "feed_reviews_waiting_max": limit::FEED_REVIEWS_WAITING_MAX,
        "search_chars_max": limit::SEARCH_CHARS_MAX,
        "search_hits_max": limit::SEARCH_HITS_MAX,
        "page_items_max": limit::PAGE_ITEMS_MAX,
    });
    if let (Some(body), Some(rest)) = (body.as_object_mut(), rest.as_object()) {
        body.extend(rest.clone());
    }
    std::future::ready(Ok(json_answer(StatusCode::OK, &body))).await
}

pub(super) static CA: Operation = Operation {
    id: "getCa",
    path: "/api/v1/ca",
    tag: TAG,
    summary: "Read the certificate of the device authority",
    replies: &[Reply {
        status: 200,
        description: "PEM.",
        schema: Some("Pem"),
        media: &["application/x-pem-file"],
    }],
    roles: EVERYONE,
    ..OPERATION
};

pub(super) async fn authority(State(api): State<Arc<Api>>, _call: Call) -> Answer {
    let pem = api.app.devices.authority_pem();
    std::future::ready(Ok(body_answer(StatusCode::OK, "application/x-pem-file", pem))).await
}

pub(super) static LOGIN_LINK: Operation = Operation {
    id: "createLoginLink",
    method: "POST",
    path: "/api/v1/login-links",
    tag: TAG,
    summary: "Make a link that opens the console once",
    rights: "`admin`",
    replies: &[reply(201, "LoginLink", "The link.")],
    problems: &[403],
    roles: ADMINISTRATORS,
    ..OPERATION
};

pub(super) async fn create_login_link(State(api): State<Arc<Api>>, call: Call) -> Answer {
    call.require_administrator()?;
    let path = api.links.create()?;
    let host = call.headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or("localhost");
    let body = json!({
        "path": path,
        "url": format!("http://{host}{path}"),
        "expires_in_s": LINK_TIME_MAX.as_secs(),
    });
    std::future::ready(Ok(json_answer(StatusCode::CREATED, &body))).await
}
