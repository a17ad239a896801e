//! Sections whose parts take their settings in another form than people write them.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axle_app::HoldLimits;
use axle_domain::{Error, Layout, Layouts};
use axle_log::{LogSettings, Retention};
use axle_store::StoreSettings;
use serde::{Deserialize, Serialize};

use super::{ByteSize, Span};

/// The log: how long messages are kept beside what was computed from them.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogSection {
    /// Age at which a message that every follower has read may be deleted. Longer where consumers
    /// may sleep over a weekend, shorter on a small disk.
    pub retention_age: Span,
    /// Size of the whole log above which the oldest messages that every follower has read are
    /// deleted.
    pub retention_bytes: ByteSize,
    /// How long a registered consumer that is behind may rest before it is declared lost and
    /// retention goes on without it. Longer where exports run once a month.
    pub consumer_idle: Span,
    /// How many bytes of the log a registered consumer may hold before it is declared lost. More
    /// on a large disk, less where the log shares its disk.
    pub consumer_bytes: ByteSize,
}

impl Default for LogSection {
    fn default() -> Self {
        let Retention { age_max, bytes_max } = Retention::default();
        Self {
            retention_age: Span(age_max),
            retention_bytes: ByteSize(bytes_max),
            consumer_idle: Span(Duration::from_secs(7 * 24 * 3600)),
            consumer_bytes: ByteSize(4 * bytes_max),
        }
    }
}

impl LogSection {
    /// What consumers may hold.
    #[must_use]
    pub fn hold_limits(&self) -> HoldLimits {
        HoldLimits { idle_max: self.consumer_idle.0, bytes_max: self.consumer_bytes.0 }
    }

    /// As the log wants it.
    #[must_use]
    pub fn settings(&self) -> LogSettings {
        let retention =
            Retention { age_max: self.retention_age.0, bytes_max: self.retention_bytes.0 };
        LogSettings { retention, ..LogSettings::default() }
    }
}

/// The instance as a whole.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServerSection {
    /// Names and addresses, beside the loopback ones, that the server certificate of the device
    /// listeners carries: those by which devices reach this machine.
    pub names: Vec<String>,
}

/// The store: what recent rows may cost.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StoreSection {
    /// Memory for rows that are in no file yet. Less on a small machine, more where the rate is
    /// high, so that files are fewer and larger.
    pub memory: ByteSize,
    /// Longest time that rows stay in memory alone. They are safe in the log all the while;
    /// shorter means a faster start after a crash, and more files.
    pub flush_interval: Span,
}

impl Default for StoreSection {
    fn default() -> Self {
        let settings = StoreSettings::default();
        Self {
            memory: ByteSize(settings.memory_bytes as u64),
            flush_interval: Span(settings.flush_interval),
        }
    }
}

impl StoreSection {
    /// As the store wants it.
    #[must_use]
    pub fn settings(&self) -> StoreSettings {
        StoreSettings {
            memory_bytes: usize::try_from(self.memory.0).unwrap_or(usize::MAX),
            flush_interval: self.flush_interval.0,
            ..StoreSettings::default()
        }
    }
}

/// The listener for devices that speak HTTPS.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DeviceHttpsSection {
    /// Where devices connect with TLS and client certificates by MQTT over WebSocket, at the path
    /// `/mqtt`: `"host:port"`, or `"off"`. Port 0 picks a free one. Where nothing is set and the
    /// port is taken, it is off.
    pub listen: String,
}

impl Default for DeviceHttpsSection {
    fn default() -> Self {
        Self { listen: axle_mqtt::Settings::default().device_https_listen }
    }
}

/// The device gateway.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MqttSection {
    /// Where devices connect with TLS and client certificates: `"host:port"`, or `"off"`. Port 0
    /// picks a free one.
    pub listen: String,
    /// Where local tools connect without TLS: `"host:port"` on loopback, or `"off"`.
    pub plain_listen: String,
    /// Who may use the listener without TLS: `"device"`, where the client id names a registered
    /// device, or `"all"`, any client id and topic, on loopback alone.
    pub plain_access: PlainAccess,
    /// Whether the listener without TLS may be served beyond loopback.
    pub allow_insecure: bool,
    /// Most connections; one more is refused with a reason.
    pub connections_max: usize,
    /// Most connections that have not said who they are yet; one more takes the place of the
    /// oldest of the address that has most of them, or is closed.
    pub unauthenticated_max: usize,
    /// Most of them from one address, or one /64 network of IPv6; more where a whole fleet comes
    /// through one address.
    pub unauthenticated_per_address_max: usize,
    /// Connections of one address that may be turned away in a minute; beyond, nothing of it is
    /// listened to for up to ten seconds. More where a whole fleet comes through one address.
    pub failures_per_address_per_minute: u32,
    /// How often in a minute a client id may be taken over by another connection before the next
    /// one waits for some seconds; nobody is refused. More where devices lose their network often.
    pub takeovers_per_minute_max: u32,
    /// How long a client may take over one packet, or leave what is sent to it unread. Longer
    /// where radio is very slow.
    pub stall_time_max: Span,
    /// Publishes of one connection a second; beyond, it is read more slowly, and nothing is lost.
    /// 0 for as many as the log takes.
    pub publishes_per_second_max: u32,
    /// Most retained messages; one for a new topic is refused then.
    pub retained_messages_max: usize,
    /// Most bytes of retained messages, topics and properties included. They are kept in memory
    /// too.
    pub retained_bytes_max: ByteSize,
    /// Topics of another layout that devices use: `theirs -> ours` for messages up,
    /// `theirs <- ours` for commands down, such as
    /// `"bikes/{device}/up/{stream} -> v1/d/{device}/t/{stream}"`; see docs/layouts.md.
    pub layouts: Vec<LayoutRule>,
    /// Addresses of load balancers that say by the PROXY protocol, version 1 or 2, for whom they
    /// speak; from these it is demanded, from others it is refused.
    pub trusted_proxies: Vec<IpAddr>,
}

/// One mapping of topics, as text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LayoutRule(Layout);

impl TryFrom<String> for LayoutRule {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Layout::parse(&text).map(Self).map_err(|error| error.message)
    }
}

impl From<LayoutRule> for String {
    fn from(rule: LayoutRule) -> Self {
        rule.0.to_string()
    }
}

/// Who may use the listener without TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PlainAccess {
    /// Registered devices.
    Device,
    /// Anyone, for anything.
    All,
}

impl Default for MqttSection {
    fn default() -> Self {
        let settings = axle_mqtt::Settings::default();
        Self {
            listen: settings.listen,
            plain_listen: settings.plain_listen,
            plain_access: match settings.plain_access {
                axle_mqtt::PlainAccess::Device => PlainAccess::Device,
                axle_mqtt::PlainAccess::All => PlainAccess::All,
            },
            allow_insecure: settings.is_insecure_allowed,
            connections_max: settings.connections_max,
            unauthenticated_max: settings.unauthenticated_max,
            unauthenticated_per_address_max: settings.unauthenticated_per_address_max,
            failures_per_address_per_minute: settings.failures_per_address_per_minute,
            takeovers_per_minute_max: settings.takeovers_per_minute_max,
            stall_time_max: Span(settings.stall_time_max),
            publishes_per_second_max: settings.publishes_per_second_max,
            retained_messages_max: settings.retained_messages_max,
            retained_bytes_max: ByteSize(settings.retained_bytes_max as u64),
            layouts: Vec::new(),
            trusted_proxies: settings.trusted_proxies,
        }
    }
}

impl MqttSection {
    /// The layouts together.
    ///
    /// # Errors
    /// `Invalid` where two of them map the same topics.
    pub fn layouts(&self) -> Result<Layouts, Error> {
        Layouts::new(self.layouts.iter().map(|rule| rule.0.clone()).collect())
    }

    /// As the gateway wants it.
    #[must_use]
    pub fn settings(&self, device_https: &DeviceHttpsSection) -> axle_mqtt::Settings {
        axle_mqtt::Settings {
            listen: self.listen.clone(),
            device_https_listen: device_https.listen.clone(),
            plain_listen: self.plain_listen.clone(),
            plain_access: match self.plain_access {
                PlainAccess::Device => axle_mqtt::PlainAccess::Device,
                PlainAccess::All => axle_mqtt::PlainAccess::All,
            },
            connections_max: self.connections_max,
            unauthenticated_max: self.unauthenticated_max,
            unauthenticated_per_address_max: self.unauthenticated_per_address_max,
            failures_per_address_per_minute: self.failures_per_address_per_minute,
            takeovers_per_minute_max: self.takeovers_per_minute_max,
            stall_time_max: self.stall_time_max.0,
            publishes_per_second_max: self.publishes_per_second_max,
            retained_messages_max: self.retained_messages_max,
            retained_bytes_max: usize::try_from(self.retained_bytes_max.0).unwrap_or(usize::MAX),
            layouts: Arc::new(self.layouts().unwrap_or_default()),
            trusted_proxies: self.trusted_proxies.clone(),
            is_insecure_allowed: self.allow_insecure,
        }
    }
}
