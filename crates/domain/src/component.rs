//! A component of a device, with a life of its own: it is made, sits in one device after the
//! other, is made anew, and is recycled at last.

use crate::{DeviceId, KindName, Serial, Timestamp};

/// Where a component is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ComponentStatus {
    /// It sits in a device.
    InUse,
    /// It waits on a shelf.
    Spare,
    /// It was made anew and waits on a shelf.
    Remanufactured,
    /// It is gone for good.
    Recycled,
}

impl ComponentStatus {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::InUse, Self::Spare, Self::Remanufactured, Self::Recycled];

    /// The word in JSON and in the state.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InUse => "in_use",
            Self::Spare => "spare",
            Self::Remanufactured => "remanufactured",
            Self::Recycled => "recycled",
        }
    }

    /// Reads the word.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == text)
    }
}

/// The registry's entry of a component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Component {
    /// Its serial number.
    pub serial: Serial,
    /// What it is (`battery`, `motor`, …).
    pub kind: KindName,
    /// Which model of its kind; empty if unknown.
    pub model: String,
    /// When it was made, or made anew; `None` if unknown.
    pub produced_at: Option<Timestamp>,
    /// Where it is in its life.
    pub status: ComponentStatus,
    /// When it was registered.
    pub created_at: Timestamp,
    /// When the entry changed last.
    pub updated_at: Timestamp,
}

/// That a component sits, or sat, in a device. Serial and start name an installation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installation {
    /// Which component.
    pub serial: Serial,
    /// In which device.
    pub device: DeviceId,
    /// Since when.
    pub from: Timestamp,
    /// Until when, that moment not included; `None` while it sits there.
    pub to: Option<Timestamp>,
}

impl Installation {
    /// Whether the component sits there still.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.to.is_none()
    }

    /// Whether there is a moment at which both hold. Ends belong to what comes after.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        let begins_before_end = |one: &Self, other: &Self| other.to.is_none_or(|to| one.from < to);
        begins_before_end(self, other) && begins_before_end(other, self)
    }
}

/// Kinds of components that are known from the first start; others a person lets in.
pub(crate) const KINDS: [&str; 12] = [
    "battery",
    "motor",
    "display",
    "controller",
    "frame",
    "fork",
    "brake",
    "lock",
    "modem",
    "sensor",
    "charger",
    "socket",
];

/// How many components of a kind a device can hold at one time; `None` where any number will do.
pub(crate) fn room_for(device_kind: &str, kind: &KindName) -> Option<usize> {
    match (device_kind, kind.as_str()) {
        ("bike", "battery" | "motor" | "display" | "controller" | "frame" | "fork" | "modem") => {
            Some(1)
        }
        ("car", "battery" | "modem") => Some(1),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn installation(from: i64, to: Option<i64>) -> Installation {
        Installation {
            serial: Serial::parse("s").unwrap(),
            device: DeviceId::parse("b-1").unwrap(),
            from: Timestamp(from),
            to: to.map(Timestamp),
        }
    }

    #[test]
    fn two_installations_overlap_where_a_moment_is_in_both() {
        for (left, right, expected) in [
            ((0, Some(10)), (10, Some(20)), false),
            ((0, Some(10)), (9, Some(20)), true),
            ((0, Some(10)), (10, None), false),
            ((0, None), (10, None), true),
            ((0, Some(30)), (10, Some(20)), true),
            ((5, None), (0, Some(5)), false),
        ] {
            let (left, right) = (installation(left.0, left.1), installation(right.0, right.1));
            assert_eq!(left.overlaps(&right), expected, "{left:?} {right:?}");
            assert_eq!(right.overlaps(&left), expected, "{right:?} {left:?}");
        }
    }
}
