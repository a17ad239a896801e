//! What simulated devices say.

/// Kinds of load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// JSON on the stream `ride`.
    Bike,
    /// JSON on the stream `status`.
    Car,
    /// Energy containers of eleven measurements.
    Meter,
}

impl Profile {
    /// The word on the command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bike => "bike",
            Self::Car => "car",
            Self::Meter => "meter",
        }
    }

    /// Reads the word.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Bike, Self::Car, Self::Meter].into_iter().find(|profile| profile.as_str() == text)
    }
}
