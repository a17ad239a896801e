//! Who a client may be, who it is, and under what client id.

use std::sync::Arc;

use axle_app::{Publisher, Rights};
use axle_domain::{Application, ApplicationName, DeviceId, Timestamp};

use super::TOOL_NAME;
use crate::identity::Identity;
use crate::journal::Why;
use crate::packet::Version;
use crate::packet::connect::Connect;
use crate::packet::refusal::Refusal;
use crate::session::Shared;

/// Longest suffix of a client id, and of one that we assign.
const SUFFIX_BYTES_MAX: usize = 64;
/// Longest client id of a local tool.
const TOOL_ID_BYTES_MAX: usize = 256;

/// Who a client may be.
pub(super) enum Claim {
    /// The device or the application of its certificate.
    Certificate(Identity),
    /// The application whose token it brings: it has shown no certificate.
    Token,
    /// The certificate names nobody, or two.
    Ambiguous,
    /// The certificate is of an authority that may not say this.
    Unmandated(Why),
    /// Any registered device.
    Device,
    /// A local tool.
    Tool,
}

/// Who a client is.
pub(super) enum Who {
    Device(DeviceId),
    Application(Arc<Application>),
    Tool,
}

impl Who {
    pub(super) fn device(&self) -> Option<&DeviceId> {
        match self {
            Self::Device(device) => Some(device),
            Self::Application(_) | Self::Tool => None,
        }
    }

    pub(super) fn application(&self) -> Option<ApplicationName> {
        match self {
            Self::Application(application) => Some(application.name.clone()),
            Self::Device(_) | Self::Tool => None,
        }
    }

    /// What its client id is, or begins with; a tool's may be anything.
    pub(super) fn name(&self) -> Option<&str> {
        match self {
            Self::Device(device) => Some(device.as_str()),
            Self::Application(application) => Some(application.name.as_str()),
            Self::Tool => None,
        }
    }

    pub(super) fn publisher(
        &self,
        shared: &Shared,
        connected_at: Timestamp,
    ) -> Result<Publisher, Refusal> {
        let device = match self {
            Self::Device(device) => Ok(device.clone()),
            Self::Application(application) => DeviceId::parse(application.name.as_str()),
            Self::Tool => DeviceId::parse(TOOL_NAME),
        };
        let rights = match self {
            Self::Device(_) => shared.device_rights(),
            Self::Application(application) => Rights::Granted(Arc::clone(&application.grants)),
            Self::Tool => Rights::Everything,
        };
        let device = device.map_err(|_error| Refusal::CLIENT_ID)?;
        Ok(Publisher { device, connected_at, rights })
    }
}

/// Checks the client id, or makes one up.
pub(super) fn client_id(connect: &Connect<'_>, name: Option<&str>) -> Result<Arc<str>, Refusal> {
    if connect.client_id.is_empty() {
        // 3.1.1 [MQTT-3.1.3-8]
        if connect.version == Version::V3 && !connect.is_clean {
            return Err(Refusal::CLIENT_ID_EMPTY);
        }
        let mut random = [0_u8; 10];
        getrandom::fill(&mut random).map_err(|_error| Refusal::UNAVAILABLE)?;
        let random: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        let prefix = name.unwrap_or(TOOL_NAME);
        return Ok(Arc::from(format!("{prefix}/{random}")));
    }
    let id = connect.client_id;
    let is_good = match name {
        None => id.len() <= TOOL_ID_BYTES_MAX,
        Some(name) => match id.strip_prefix(name) {
            Some("") => true,
            Some(rest) => rest.strip_prefix('/').is_some_and(|suffix| {
                (1..=SUFFIX_BYTES_MAX).contains(&suffix.len())
                    && !suffix.chars().any(|c| c.is_control() || matches!(c, '+' | '#'))
            }),
            None => false,
        },
    };
    if is_good { Ok(Arc::from(id)) } else { Err(Refusal::CLIENT_ID) }
}
