//! Who publishes and subscribes over MQTT, and to what.

use std::borrow::Cow;
use std::sync::Arc;

use axle_domain::{DeviceId, Grants, Layouts, Timestamp, Topic};

/// To which topics a client may publish and subscribe.
#[derive(Clone, Debug)]
pub enum Rights {
    /// A device: its own tree.
    OwnTree,
    /// A device that speaks on topics of another layout too: what they are mapped to.
    Mapped(Arc<Layouts>),
    /// A backend application: what an operator has granted.
    Granted(Arc<Grants>),
    /// A local tool, on a listener with `plain_access = "all"`: everything.
    Everything,
}

/// Who publishes over MQTT, settled once per connection.
#[derive(Clone, Debug)]
pub struct Publisher {
    /// The device that the credential named. For an application or a tool the name under which
    /// its messages stand where their topic names no device.
    pub device: DeviceId,
    /// When the connection was opened.
    pub connected_at: Timestamp,
    /// What it may.
    pub rights: Rights,
}

impl Publisher {
    /// Whether it may publish to this topic name.
    #[must_use]
    pub fn may_publish(&self, topic: &str) -> bool {
        !Topic::is_presence(topic) && self.is_granted(topic)
    }

    fn is_granted(&self, topic: &str) -> bool {
        match &self.rights {
            Rights::OwnTree => Topic::may_publish(self.device.as_str(), topic),
            Rights::Mapped(_) => Topic::may_publish(self.device.as_str(), &self.own_topic(topic)),
            Rights::Granted(grants) => grants.may_publish(topic),
            Rights::Everything => true,
        }
    }

    /// The topic that a message on this one is taken for.
    #[must_use]
    pub fn own_topic<'a>(&self, topic: &'a str) -> Cow<'a, str> {
        let mapped = match &self.rights {
            // Axle's own topics are not looked up.
            Rights::Mapped(layouts) if !topic.starts_with("v1/") => layouts.up(topic),
            Rights::Mapped(_) | Rights::OwnTree | Rights::Granted(_) | Rights::Everything => None,
        };
        mapped.map_or(Cow::Borrowed(topic), Cow::Owned)
    }

    /// Whether it may subscribe to this filter.
    #[must_use]
    pub fn may_subscribe(&self, filter: &str) -> bool {
        match &self.rights {
            Rights::OwnTree => Topic::may_subscribe(self.device.as_str(), filter),
            Rights::Mapped(layouts) => {
                let device = self.device.as_str();
                Topic::may_subscribe(device, filter) || layouts.may_subscribe(device, filter)
            }
            Rights::Granted(grants) => grants.may_subscribe(filter),
            Rights::Everything => true,
        }
    }

    /// The device that a message is filed under: a device speaks for itself, whatever it says;
    /// an application and a tool for the device that the topic names.
    #[must_use]
    pub fn speaks_for<'a>(&'a self, topic: &'a str) -> &'a str {
        if matches!(self.rights, Rights::OwnTree | Rights::Mapped(_)) {
            return self.device.as_str();
        }
        let named = topic.strip_prefix("v1/d/").and_then(|rest| rest.split('/').next());
        let named = named.filter(|device| DeviceId::parse(device).is_ok());
        named.unwrap_or(self.device.as_str())
    }

    /// Why a topic is none to publish to.
    #[must_use]
    pub fn denial(&self) -> String {
        match &self.rights {
            Rights::OwnTree | Rights::Mapped(_) => format!(
                "device `{0}` may publish to v1/d/{0}/t/{{stream}}, e/{{type}} and \
                 c/{{command}}/r only",
                self.device
            ),
            Rights::Granted(_) | Rights::Everything => {
                format!("application `{}` may publish within its grants only", self.device)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axle_domain::TopicFilter;

    fn publisher(rights: Rights) -> Publisher {
        let device = DeviceId::parse("b-1").unwrap();
        Publisher { device, connected_at: Timestamp(0), rights }
    }

    #[test]
    fn a_device_speaks_for_itself_and_others_for_whom_they_name() {
        let grants = Grants {
            publish: vec![TopicFilter::parse("v1/d/+/t/#").unwrap()],
            subscribe: vec![TopicFilter::parse("plant/#").unwrap()],
        };
        let (device, application) =
            (publisher(Rights::OwnTree), publisher(Rights::Granted(Arc::new(grants))));
        assert_eq!(device.speaks_for("v1/d/b-2/t/ride"), "b-1");
        assert_eq!(application.speaks_for("v1/d/b-2/t/ride"), "b-2");
        assert_eq!(application.speaks_for("plant/7"), "b-1");
        assert_eq!(application.speaks_for("v1/d/b 2/t/ride"), "b-1");
        for (topic, own, granted) in
            [("v1/d/b-1/t/ride", true, true), ("v1/d/b-2/t/ride", false, true), ("x", false, false)]
        {
            assert_eq!((device.may_publish(topic), application.may_publish(topic)), (own, granted));
        }
        for everyone in [&device, &application, &publisher(Rights::Everything)] {
            assert!(!everyone.may_publish("v1/p/b-1"), "the server alone says who is there");
        }
        assert!(application.may_subscribe("plant/7/#") && !device.may_subscribe("plant/7/#"));
        assert!(!application.may_subscribe("v1/d/b-1/c/#") && device.may_subscribe("v1/d/b-1/c/#"));
    }
}
