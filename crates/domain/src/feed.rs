//! What plants say of devices and components. Plants are legacy systems and are wrong: every
//! record is judged against what is known, and what conflicts waits for a person.
//!
//! [`judge`] is the whole law, a pure function; what it needs to know of the registry stands in
//! [`Known`]. A conflict never changes what is good.

mod judge;

use std::fmt;

use crate::{
    BatchId, Component, ComponentStatus, Device, DeviceId, Installation, KindName, PlantName,
    Serial, Timestamp,
};

pub use judge::judge;

/// One record of a plant, of good form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FeedRecord {
    /// A device was made.
    Device(DeviceFacts),
    /// A component was made, made anew or recycled.
    Component(ComponentFacts),
    /// A component was built into a device, or taken out of it.
    Installation(Installation),
}

/// What a plant says of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceFacts {
    /// Its id.
    pub id: DeviceId,
    /// What it is.
    pub kind: KindName,
    /// What it is called; a name that people gave goes before it.
    pub name: Option<String>,
    /// Which model of its kind.
    pub model: Option<String>,
}

/// What a plant says of a component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ComponentFacts {
    /// Its serial number.
    pub serial: Serial,
    /// What it is.
    pub kind: KindName,
    /// Which model of its kind.
    pub model: Option<String>,
    /// When it was made, or made anew.
    pub produced_at: Option<Timestamp>,
    /// A step of its life: `Remanufactured` (its facts begin anew), `Recycled`, or none. That it
    /// sits in a device is said by an installation alone.
    pub status: Option<ComponentStatus>,
}

/// What the registry knows that has to do with one record.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// The device that the record names.
    pub device: Option<Device>,
    /// The component that the record names.
    pub component: Option<Component>,
    /// Whether any device (for a device) or component has the kind of the record already.
    pub is_kind_in_use: bool,
    /// The installation of the component with the record's start.
    pub same_start: Option<Installation>,
    /// Other installations of the component that overlap the record's.
    pub elsewhere: Vec<Installation>,
    /// What other components of its kind sit in the device while the record's would.
    pub neighbors: Vec<Neighbor>,
    /// The start of the component's first installation.
    pub first_installed_at: Option<Timestamp>,
}

/// Another component in the same device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Neighbor {
    /// Its entry.
    pub component: Component,
    /// When it sits there.
    pub installation: Installation,
}

/// One change of the registry. Each puts a whole entry in place of what had its name.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// Named by id.
    Device(Device),
    /// Named by serial.
    Component(Component),
    /// Named by serial and start.
    Installation(Installation),
}

/// Why a record waits for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// A stable code such as `component.installed_elsewhere`.
    pub code: &'static str,
    /// In words, naming both sides.
    pub detail: String,
}

impl Reason {
    /// A reason.
    pub fn new(code: &'static str, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into() }
    }
}

/// What a person vouches for when accepting a record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Approval {
    /// It was a swap: whatever stands in the way of the installation ended at this moment.
    pub close_other_at: Option<Timestamp>,
}

/// The number of a review item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReviewId(pub u64);

impl ReviewId {
    /// Reads the form that [`fmt::Display`] writes: `r-{number}`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let number = text.strip_prefix("r-")?;
        if number.starts_with('+') {
            return None;
        }
        number.parse().ok().map(Self)
    }
}

impl fmt::Display for ReviewId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "r-{}", self.0)
    }
}

/// What became of a record under review.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReviewStatus {
    /// It waits for a person.
    Waiting,
    /// A person let it in.
    Accepted,
    /// A person refused it.
    Rejected,
}

impl ReviewStatus {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Waiting, Self::Accepted, Self::Rejected];

    /// The word in JSON and in the state.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Accepted => "accepted",
            Self::Rejected => "rejected",
        }
    }

    /// Reads the word.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == text)
    }
}

/// A record that waits for a person, or waited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReviewItem {
    /// Its number.
    pub id: ReviewId,
    /// Who sent it.
    pub plant: PlantName,
    /// In which batch it came first.
    pub batch: BatchId,
    /// At which place of the batch, from 0.
    pub index: u32,
    /// Why it waits, as a code.
    pub code: String,
    /// Why it waits, in words.
    pub detail: String,
    /// The record as it came, JSON; the beginning of it where it was too long.
    pub record: String,
    /// When it came first.
    pub received_at: Timestamp,
    /// What became of it.
    pub status: ReviewStatus,
    /// Who decided, when, and what for; `None` while it waits.
    pub decided: Option<Decided>,
}

/// A person's decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decided {
    /// Who.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// Why; may be empty.
    pub note: String,
}

#[cfg(test)]
mod tests;
