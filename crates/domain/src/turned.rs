//! What the door did not let in, as it stands in the log.

/// Messages that did not get in, counted. Acknowledging a refusal waits until a record with it is
/// durable, so that the law of the door holds over any crash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Turned {
    /// Refused: they will never be accepted.
    pub rejected: u64,
    /// Turned away for lack of room.
    pub shed: u64,
}

impl Turned {
    /// The payload of its record: two numbers of 64 bits, little endian.
    #[must_use]
    pub fn to_payload(self) -> [u8; 16] {
        (u128::from(self.rejected) | (u128::from(self.shed) << 64)).to_le_bytes()
    }

    /// Reads the payload of a record; `None` where it is none.
    #[must_use]
    pub fn from_payload(payload: &[u8]) -> Option<Self> {
        let (rejected, shed) = payload.split_first_chunk()?;
        let shed = shed.try_into().ok()?;
        Some(Self { rejected: u64::from_le_bytes(*rejected), shed: u64::from_le_bytes(shed) })
    }

    /// Whether there is nothing to tell.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_wrote_and_nothing_else() {
        let turned = Turned { rejected: 3, shed: u64::MAX };
        assert_eq!(Turned::from_payload(&turned.to_payload()), Some(turned));
        for bytes in [0, 15, 17] {
            assert_eq!(Turned::from_payload(&vec![1; bytes]), None);
        }
    }
}
