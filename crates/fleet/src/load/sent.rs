//! What was sent and acknowledged: a bit per message.

use crate::content::Source;

/// A growing set of numbers from 0.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bits {
    words: Vec<u64>,
    ones: u64,
}

impl Bits {
    /// Puts a number in; says whether it is new.
    pub(crate) fn insert(&mut self, number: u64) -> bool {
        let word = usize::try_from(number / 64).unwrap_or(usize::MAX);
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        let Some(word) = self.words.get_mut(word) else { return false };
        let is_new = *word & (1 << (number % 64)) == 0;
        *word |= 1 << (number % 64);
        self.ones += u64::from(is_new);
        is_new
    }

    /// Whether a number is in.
    pub(crate) fn contains(&self, number: u64) -> bool {
        let word = usize::try_from(number / 64).ok().and_then(|word| self.words.get(word));
        word.is_some_and(|word| word & (1 << (number % 64)) != 0)
    }

    /// How many are in.
    pub(crate) fn len(&self) -> u64 {
        self.ones
    }
}

/// What one connection has sent for one device. Where several connections speak for a device,
/// each takes every `stride`th message, from `offset`.
#[derive(Clone, Debug)]
pub(crate) struct Share {
    /// The device, by its place in the plan.
    pub(crate) device: usize,
    /// The device's messages.
    pub(crate) source: Source,
    /// How many connections speak for the device.
    pub(crate) stride: u64,
    /// Which of them this is.
    pub(crate) offset: u64,
    /// How many messages were sent.
    pub(crate) sent: u64,
    /// Which of them were acknowledged.
    pub(crate) acked: Bits,
}

impl Share {
    /// The device's sequence number of a message of this connection.
    pub(crate) fn seq(&self, number: u64) -> u64 {
        self.source.place(number) * self.stride + self.offset
    }
}

/// What a message is known to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    /// Acknowledged: must be there.
    Acked,
    /// Sent: may be there.
    Unknown,
    /// Never sent: must not be there.
    Never,
}

/// All that was sent for one device.
#[derive(Debug)]
pub(crate) struct Sent {
    /// The device's messages.
    pub(crate) source: Source,
    shares: Vec<(u64, Bits)>,
}

impl Sent {
    /// Sorts what the connections have sent by device.
    pub(crate) fn by_device(shares: Vec<Share>) -> Vec<Self> {
        let mut shares = shares;
        shares.sort_by_key(|share| (share.device, share.offset));
        let mut devices: Vec<(usize, Self)> = Vec::new();
        for share in shares {
            let entry = (share.sent, share.acked);
            match devices.last_mut().filter(|(device, _)| *device == share.device) {
                Some((_, sent)) => sent.shares.push(entry),
                None => {
                    let sent = Self { source: share.source, shares: vec![entry] };
                    devices.push((share.device, sent));
                }
            }
        }
        devices.into_iter().map(|(_, sent)| sent).collect()
    }

    /// What one sender has sent for a device of its own.
    pub(crate) fn alone(source: Source, sent: u64, acked: Bits) -> Self {
        Self { source, shares: vec![(sent, acked)] }
    }

    /// What is known of a message.
    pub(crate) fn known(&self, seq: u64) -> Known {
        let stride = (self.shares.len() as u64).max(1);
        let share = usize::try_from(seq % stride).ok().and_then(|offset| self.shares.get(offset));
        let number = self.source.place(seq / stride);
        match share {
            Some((_, acked)) if acked.contains(number) => Known::Acked,
            Some((sent, _)) if number < *sent => Known::Unknown,
            _ => Known::Never,
        }
    }

    /// Messages that were acknowledged.
    pub(crate) fn acked(&self) -> u64 {
        self.shares.iter().map(|(_, acked)| acked.len()).sum()
    }

    /// Messages that were sent and not acknowledged.
    pub(crate) fn unknown(&self) -> u64 {
        self.shares.iter().map(|(sent, _)| sent).sum::<u64>() - self.acked()
    }

    /// One more than the greatest sequence number that was sent.
    pub(crate) fn end(&self) -> u64 {
        let stride = self.shares.len() as u64;
        let ends = self.shares.iter().zip(0_u64..).filter(|((sent, _), _)| *sent > 0);
        let last = |sent: u64| self.source.quirks().end(sent) - 1;
        ends.map(|((sent, _), offset)| last(*sent) * stride + offset + 1).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::Profile;

    #[test]
    fn tells_acked_from_unknown_from_never_over_several_connections() {
        let source = Source::new(Profile::Bike, 1, 0, 0, 1);
        let share = |offset, sent, acked: &[u64]| {
            let mut bits = Bits::default();
            acked.iter().for_each(|number| assert!(bits.insert(*number)));
            Share { device: 0, source, stride: 2, offset, sent, acked: bits }
        };
        let sent = Sent::by_device(vec![share(1, 3, &[0, 2]), share(0, 2, &[0])]);
        let known: Vec<Known> = (0..7).map(|seq| sent[0].known(seq)).collect();
        use Known::{Acked, Never, Unknown};
        assert_eq!(known, [Acked, Acked, Unknown, Unknown, Never, Acked, Never]);
        assert_eq!((sent.len(), sent[0].acked(), sent[0].unknown(), sent[0].end()), (1, 3, 2, 6));
    }

    #[test]
    fn a_number_counts_once() {
        let mut bits = Bits::default();
        assert!(bits.insert(700) && !bits.insert(700) && bits.insert(0));
        assert_eq!((bits.len(), bits.contains(700), bits.contains(699)), (2, true, false));
        assert!(!bits.contains(1 << 40));
    }
}
