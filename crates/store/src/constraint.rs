//! Which rows a question can want: devices and times, as planning understands them.

use std::sync::Arc;

use axle_domain::port::Visibility;

use crate::range::common;

/// Devices and closed ranges of time that every wanted row is in.
#[derive(Clone, Debug)]
pub(crate) struct Constraint {
    /// Sorted devices; all if absent.
    pub(crate) devices: Option<Arc<[Arc<str>]>>,
    /// `time`, first and last microsecond.
    pub(crate) time: (i64, i64),
    /// `time_claimed`, first and last microsecond.
    pub(crate) claimed: (i64, i64),
}

impl Constraint {
    /// Any time.
    pub(crate) const ALWAYS: (i64, i64) = (i64::MIN, i64::MAX);

    /// All rows that are visible.
    pub(crate) fn visible(visibility: &Visibility) -> Self {
        let devices = match visibility {
            Visibility::All => None,
            Visibility::Devices(devices) => {
                Some(sorted(devices.iter().map(|device| Arc::from(device.as_str()))))
            }
        };
        Self { devices, time: Self::ALWAYS, claimed: Self::ALWAYS }
    }

    /// Only these devices of the ones so far.
    pub(crate) fn keep_devices(&mut self, wanted: impl Iterator<Item = Arc<str>>) {
        let kept = wanted.filter(|device| self.has_device(device));
        self.devices = Some(sorted(kept));
    }

    /// Only this part of the time so far.
    pub(crate) fn keep_time(&mut self, range: (i64, i64)) {
        self.time = common(self.time, range);
    }

    /// Only this part of the claimed time so far.
    pub(crate) fn keep_claimed(&mut self, range: (i64, i64)) {
        self.claimed = common(self.claimed, range);
    }

    /// Whether no row can meet it.
    pub(crate) fn is_empty(&self) -> bool {
        self.devices.as_ref().is_some_and(|devices| devices.is_empty())
            || self.time.0 > self.time.1
            || self.claimed.0 > self.claimed.1
    }

    /// Whether rows of the device may be wanted.
    pub(crate) fn has_device(&self, device: &str) -> bool {
        self.devices
            .as_ref()
            .is_none_or(|devices| devices.binary_search_by(|known| (**known).cmp(device)).is_ok())
    }

    /// Whether a wanted device may lie between two, both included.
    pub(crate) fn may_have_bytes(&self, least: &[u8], greatest: &[u8]) -> bool {
        let Some(devices) = &self.devices else { return true };
        let from = devices.partition_point(|device| device.as_bytes() < least);
        devices.get(from).is_some_and(|device| device.as_bytes() <= greatest)
    }
}

fn sorted(devices: impl Iterator<Item = Arc<str>>) -> Arc<[Arc<str>]> {
    let mut devices: Vec<Arc<str>> = devices.collect();
    devices.sort_unstable();
    devices.dedup();
    devices.into()
}
