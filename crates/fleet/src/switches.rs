//! What goes wrong on purpose, as shares from 0 to 1.

use axle_domain::Error;
use serde::Serialize;

/// How often what goes wrong. The first five and the last are drawn for every message, the others
/// once for every device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Switches {
    /// Of rides and drives: a component fails. Under load, of messages: they go to `fault`.
    pub faults: f64,
    /// Of messages: they tell of something days ago.
    pub late: f64,
    /// Of messages: their time is days ahead; of four of them one is so far ahead that it is
    /// quarantined.
    pub future: f64,
    /// Of messages: they are sent twice.
    pub duplicates: f64,
    /// Of messages: they arrive in another order than they were made in.
    pub out_of_order: f64,
    /// Of devices: their clock is hours or days wrong, and they say what it shows.
    pub wrong_clock: f64,
    /// Of devices: a second connection fights for their client id.
    pub double_client_ids: f64,
    /// Of messages: the end is missing; they are quarantined.
    pub torn: f64,
}

impl Switches {
    /// A little of everything, as in life.
    #[must_use]
    pub fn lifelike() -> Self {
        Self {
            faults: 0.05,
            late: 0.001,
            future: 0.0005,
            duplicates: 0.01,
            out_of_order: 0.01,
            wrong_clock: 0.04,
            double_client_ids: 0.02,
            torn: 0.0005,
        }
    }

    /// Their names on the command line and their values.
    #[must_use]
    pub fn named(&self) -> [(&'static str, f64); 8] {
        [
            ("faults", self.faults),
            ("late", self.late),
            ("future", self.future),
            ("wrong-clock", self.wrong_clock),
            ("duplicates", self.duplicates),
            ("out-of-order", self.out_of_order),
            ("torn", self.torn),
            ("double-client-ids", self.double_client_ids),
        ]
    }

    /// Whether anything goes wrong.
    #[must_use]
    pub fn any(&self) -> bool {
        self.named().into_iter().any(|(_, share)| share > 0.0)
    }

    /// How many messages go wrong in a way that excludes the others.
    pub(crate) fn of_fates(&self) -> f64 {
        self.torn + self.late + self.future + self.faults
    }

    /// Whether each is a share.
    ///
    /// # Errors
    /// `Invalid`, naming the first that is not from 0 to 1.
    pub fn check(&self) -> Result<(), Error> {
        match self.named().into_iter().find(|(_, share)| !(0.0..=1.0).contains(share)) {
            None => Ok(()),
            Some((name, share)) => {
                let message = format!("`{name}` is a share from 0 to 1, not {share}");
                Err(Error::invalid("fleet.share_invalid", message))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_from_0_to_1() {
        assert!(Switches::default().check().is_ok() && !Switches::default().any());
        assert!(Switches::lifelike().check().is_ok() && Switches::lifelike().any());
        for wrong in [-0.1, 1.1, f64::NAN] {
            let error = Switches { torn: wrong, ..Switches::default() }.check().unwrap_err();
            assert!(error.message.contains("`torn`"), "{error}");
        }
    }
}
