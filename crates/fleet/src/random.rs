//! Numbers that derive from a seed and a place, so that what was sent can be computed again.

/// A place in the tree of seeds: derive children with [`Key::child`], draw with [`Key::at`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key(u64);

impl Key {
    /// The root.
    pub(crate) fn new(seed: u64) -> Self {
        Self(mix(seed ^ 0x6178_6c65_2d66_6c74))
    }

    /// The child with a number.
    pub(crate) fn child(self, number: u64) -> Self {
        Self(mix(self.0.wrapping_add(mix(number.wrapping_add(0x51)))))
    }

    /// The child with a name.
    pub(crate) fn named(self, name: &str) -> Self {
        name.bytes().fold(self.child(name.len() as u64), |key, byte| key.child(u64::from(byte)))
    }

    /// The number at a place.
    #[inline]
    pub(crate) fn at(self, place: u64) -> u64 {
        mix(self.0 ^ place.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// The number at a place, below `bound`; 0 for a bound of 0.
    #[inline]
    pub(crate) fn below(self, place: u64, bound: u64) -> u64 {
        ((u128::from(self.at(place)) * u128::from(bound)) >> 64) as u64
    }

    /// The number at a place, from 0 to 1.
    pub(crate) fn share(self, place: u64) -> f64 {
        (self.at(place) >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A line through random points every `1 << period` places, each below `amplitude`, with a
    /// jitter of at most `jitter` either way: what a sensor shows, computed at any place.
    #[inline]
    pub(crate) fn wave(self, place: u64, period: u32, amplitude: u64, jitter: u64) -> i64 {
        let (knot, within) = (place >> period, place & ((1 << period) - 1));
        let from = self.below(knot, amplitude).cast_signed();
        let to = self.below(knot + 1, amplitude).cast_signed();
        let line = from + (((to - from) * within.cast_signed()) >> period);
        let noise = Self(self.0 ^ 0xa5a5_a5a5).below(place, 2 * jitter + 1).cast_signed();
        line + noise - jitter.cast_signed()
    }
}

/// The finalizer of SplitMix64.
#[inline]
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_place_has_the_same_number_for_ever() {
        let key = Key::new(7).named("b-1").child(3);
        // Golden: a ledger of yesterday must be checkable with the code of tomorrow.
        assert_eq!(
            [key.at(0), key.at(1)],
            [11_899_694_111_048_322_486, 16_794_533_886_822_560_829]
        );
    }

    #[test]
    fn neighbors_differ() {
        let key = Key::new(1);
        let mut seen: Vec<u64> = (0..1000).map(|place| key.at(place)).collect();
        seen.extend((0..1000).map(|number| key.child(number).at(0)));
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 2000);
    }

    #[test]
    fn stays_within_its_bounds() {
        let key = Key::new(2);
        for place in 0..5000 {
            assert!(key.below(place, 10) < 10);
            let wave = key.wave(place, 7, 1000, 50);
            assert!((-50..1050).contains(&wave), "{wave}");
            let step = key.wave(place + 1, 7, 1000, 0) - key.wave(place, 7, 1000, 0);
            assert!(step.abs() <= 8, "{step}");
        }
    }
}
