//! Axle's own MQTT topics. They are short because bytes on the air cost money.

use crate::{CommandId, DeviceId, StreamName};

/// What a topic name of axle's own layout means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Topic {
    /// `v1/d/{device}/t/{stream}`: telemetry up.
    Telemetry(DeviceId, StreamName),
    /// `v1/d/{device}/e/{type}`: an event up.
    Event(DeviceId, String),
    /// `v1/d/{device}/c/{command}/{name}`: a command down.
    Command(DeviceId, CommandId, String),
    /// `v1/d/{device}/c/{command}/r`: its reply up.
    Reply(DeviceId, CommandId),
    /// Anything else: durable, routed by grants, never projected.
    Other,
}

/// Why a topic of axle's own prefix is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TopicError {
    /// The device part is no device id.
    #[error("the device in the topic is no device id")]
    Device,
    /// The stream part is no stream name.
    #[error("the stream in the topic is no stream name: it must match [a-z][a-z0-9_]{{0,47}}")]
    Stream,
    /// The command part is no command id.
    #[error("the command in the topic is no command id")]
    Command,
    /// The rest has no meaning.
    #[error("below v1/d/{{device}}/ there are t/{{stream}}, e/{{type}} and c/{{command}}/r")]
    Layout,
}

impl Topic {
    /// Reads a topic name.
    ///
    /// # Errors
    /// A [`TopicError`], when the name begins with `v1/d/` but goes on otherwise than documented.
    pub fn parse(name: &str) -> Result<Self, TopicError> {
        let Some(rest) = name.strip_prefix("v1/d/") else { return Ok(Self::Other) };
        let mut levels = rest.split('/');
        let device = levels.next().unwrap_or_default();
        let device = DeviceId::parse(device).map_err(|_error| TopicError::Device)?;
        match (levels.next(), levels.next(), levels.next(), levels.next()) {
            (Some("t"), Some(stream), None, None) => {
                let stream = StreamName::parse(stream).map_err(|_error| TopicError::Stream)?;
                Ok(Self::Telemetry(device, stream))
            }
            (Some("e"), Some(kind), None, None) if !kind.is_empty() => {
                Ok(Self::Event(device, kind.to_owned()))
            }
            (Some("c"), Some(command), Some(name), None) if !name.is_empty() => {
                let command = CommandId::parse(command).map_err(|_error| TopicError::Command)?;
                Ok(match name {
                    "r" => Self::Reply(device, command),
                    name => Self::Command(device, command, name.to_owned()),
                })
            }
            _ => Err(TopicError::Layout),
        }
    }

    /// The stream, where this is the name of a telemetry topic of that device. Builds no ids: most
    /// messages are telemetry of the device that the credential named.
    #[must_use]
    pub fn own_stream<'a>(device: &str, name: &'a str) -> Option<&'a str> {
        let stream = own_tree(device, name)?.strip_prefix("t/")?;
        (!device.is_empty()).then_some(stream)
    }

    /// The topic of a stream of a device.
    #[must_use]
    pub fn telemetry(device: &DeviceId, stream: &StreamName) -> String {
        format!("v1/d/{device}/t/{stream}")
    }

    /// Whether this is a topic of answers to commands. Looks at the text alone.
    #[must_use]
    pub fn is_reply(name: &str) -> bool {
        let mut levels = name.split('/').skip(3);
        name.starts_with("v1/d/")
            && levels.next() == Some("c")
            && levels.nth(1) == Some("r")
            && levels.next().is_none()
    }

    /// The topic of a device's presence: that it came, went, or fell silent. Only the server
    /// publishes there.
    #[must_use]
    pub fn presence(device: &DeviceId) -> String {
        format!("v1/p/{device}")
    }

    /// Whether this is a topic of presence.
    #[must_use]
    pub fn is_presence(name: &str) -> bool {
        name.starts_with("v1/p/")
    }

    /// The topic that brings a command down.
    #[must_use]
    pub fn command(device: &DeviceId, command: &CommandId, name: &str) -> String {
        format!("v1/d/{device}/c/{command}/{name}")
    }

    /// Whether a device may publish to this topic name: `t/`, `e/` and replies of its own tree.
    ///
    /// Works on the text alone, so that the hot path does not build ids.
    #[must_use]
    pub fn may_publish(device: &str, name: &str) -> bool {
        let Some(rest) = own_tree(device, name) else { return false };
        match rest.split_once('/') {
            Some(("t" | "e", rest)) => !rest.is_empty(),
            Some(("c", rest)) => {
                rest.split_once('/').is_some_and(|(command, end)| !command.is_empty() && end == "r")
            }
            _ => false,
        }
    }

    /// Whether a device may subscribe to this filter: one that lies whole within `c/` of its own
    /// tree.
    #[must_use]
    pub fn may_subscribe(device: &str, filter: &str) -> bool {
        own_tree(device, filter)
            .and_then(|rest| rest.strip_prefix("c/"))
            .is_some_and(|rest| !rest.is_empty())
    }
}

/// What follows `v1/d/{device}/`.
fn own_tree<'a>(device: &str, name: &'a str) -> Option<&'a str> {
    name.strip_prefix("v1/d/")?.strip_prefix(device)?.strip_prefix('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_its_own_layout() {
        let device = DeviceId::parse("b-1").unwrap();
        let ride = StreamName::parse("ride").unwrap();
        let command = CommandId::parse("k1").unwrap();
        for (name, expected) in [
            ("v1/d/b-1/t/ride", Ok(Topic::Telemetry(device.clone(), ride))),
            ("v1/d/b-1/e/theft", Ok(Topic::Event(device.clone(), "theft".to_owned()))),
            ("v1/d/b-1/c/k1/r", Ok(Topic::Reply(device.clone(), command.clone()))),
            ("v1/d/b-1/c/k1/unlock", Ok(Topic::Command(device, command, "unlock".to_owned()))),
            ("plant/7", Ok(Topic::Other)),
            ("v1/d/b 1/t/ride", Err(TopicError::Device)),
            ("v1/d/b-1/t/Ride", Err(TopicError::Stream)),
            ("v1/d/b-1/t/ride/x", Err(TopicError::Layout)),
            ("v1/d/b-1/x", Err(TopicError::Layout)),
            ("v1/d/b-1/c/k!/r", Err(TopicError::Command)),
        ] {
            assert_eq!(Topic::parse(name), expected, "{name}");
        }
    }

    #[test]
    fn a_device_publishes_only_within_its_own_tree() {
        for (name, may) in [
            ("v1/d/b-1/t/ride", true),
            ("v1/d/b-1/e/x", true),
            ("v1/d/b-1/c/k/r", true),
            ("v1/d/b-1/c/k/unlock", false),
            ("v1/d/b-1/c//r", false),
            ("v1/d/b-10/t/ride", false),
            ("v1/d/b-2/t/ride", false),
            ("v1/d/b-1", false),
            ("v1/d/b-1/t/", false),
            ("other", false),
        ] {
            assert_eq!(Topic::may_publish("b-1", name), may, "{name}");
        }
    }

    #[test]
    fn an_answer_is_known_by_its_topic() {
        for (name, is_reply) in [
            ("v1/d/b-1/c/k1/r", true),
            ("v1/d/b-1/c/k1/unlock", false),
            ("v1/d/b-1/c/k1/r/x", false),
            ("v1/d/b-1/c/k1", false),
            ("v1/d/b-1/t/r", false),
            ("a/b/c/c/k1/r", false),
        ] {
            assert_eq!(Topic::is_reply(name), is_reply, "{name}");
        }
    }

    #[test]
    fn a_device_subscribes_only_to_its_own_commands() {
        for (filter, may) in [
            ("v1/d/b-1/c/#", true),
            ("v1/d/b-1/c/+/+", true),
            ("v1/d/b-1/c/", false),
            ("v1/d/b-1/#", false),
            ("v1/d/b-1/+/#", false),
            ("v1/d/+/c/#", false),
            ("v1/d/b-2/c/#", false),
            ("#", false),
            ("$share/g/v1/d/b-1/c/#", false),
        ] {
            assert_eq!(Topic::may_subscribe("b-1", filter), may, "{filter}");
        }
    }
}
