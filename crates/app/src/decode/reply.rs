//! A device's answer to a command:
//! `{"status":"succeeded|failed|rejected|running","reason"?,"result"?,"dry_run"?}`.

use axle_domain::{CommandId, CommandStatus, DeviceId, Message, Offset, Reply, limit};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::Fault;

#[derive(Deserialize)]
struct WireReply<'a> {
    status: String,
    #[serde(default)]
    reason: Option<String>,
    #[serde(default, borrow)]
    result: Option<&'a RawValue>,
}

pub(super) fn decode_reply(
    device: DeviceId,
    command: CommandId,
    message: &Message<'_>,
    offset: Offset,
) -> Result<Reply, Fault> {
    if !message.device.is_empty() && message.device != device.as_str() {
        let detail = "the topic names another device than the credential";
        return Err(Fault::new("topic.foreign", detail));
    }
    if message.payload.len() > limit::COMMAND_RESULT_BYTES_MAX {
        let most = limit::COMMAND_RESULT_BYTES_MAX;
        let detail = format!("the answer is {} bytes: at most {most}", message.payload.len());
        return Err(Fault::new("reply.too_large", detail));
    }
    let reply: WireReply<'_> = serde_json::from_slice(message.payload).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        let detail = format!("no valid answer: see line {line}, column {column}");
        Fault::new("reply.invalid", detail)
    })?;
    let status = match reply.status.as_str() {
        "running" => CommandStatus::Running,
        "succeeded" => CommandStatus::Succeeded,
        "failed" => CommandStatus::Failed,
        "rejected" => CommandStatus::Rejected,
        _ => {
            let detail = "`status` must be succeeded, failed, rejected or running";
            return Err(Fault::new("reply.invalid", detail));
        }
    };
    Ok(Reply {
        command,
        device,
        status,
        reason: reply.reason.map(|reason| reason.chars().take(1024).collect()),
        result: reply.result.map(|result| result.get().to_owned()),
        received_at: message.received_at,
        offset,
    })
}
