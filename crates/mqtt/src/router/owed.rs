//! Retained messages to those who have just subscribed: as many at a time as fit, the rest when
//! there is room again.

use std::sync::Arc;

use crate::delivery::Delivery;
use crate::ledger::Owed;

use super::{Router, Turn};

/// Messages that are given to one subscription in a turn.
const PER_TURN: usize = 256;
/// With so many messages at rest a session gets no more retained ones.
const ROWS_MAX: u64 = 1000;

/// What becomes of a subscription that retained messages are owed to.
enum Next {
    Waits,
    GoesOn,
    Done,
}

impl Router {
    /// Gives what is owed, as far as there is room.
    pub(super) fn give_owed(&mut self, turn: &mut Turn) {
        let owed = std::mem::take(&mut self.notes.owed);
        for it in owed {
            match self.give_some(&it, turn) {
                Next::Done => {}
                Next::Waits => self.notes.owed.push(it),
                Next::GoesOn => {
                    self.notes.owed.push(it);
                    self.shared.sessions.ledger.wake();
                }
            }
        }
    }

    fn give_some(&self, owed: &Owed, turn: &mut Turn) -> Next {
        let Owed { inbox, subscription } = owed;
        if inbox.is_ended() {
            return Next::Done;
        }
        // Another one of the same filter may have taken its place, or all was given.
        let Some(after) = inbox.owed(subscription) else { return Next::Done };
        // What came before the subscription is not all read yet.
        if self.next < subscription.since {
            return Next::Waits;
        }
        let is_kept = inbox.is_kept();
        let spare = match inbox.link() {
            Some(link) if link.closing().is_none() => link.spare(),
            _ if is_kept => PER_TURN,
            _ => return Next::Done,
        };
        if spare == 0 || (is_kept && inbox.rows() >= ROWS_MAX) {
            return Next::Waits;
        }
        let most = spare.min(PER_TURN);
        let retained = &self.shared.sessions.retained;
        let found = retained.find(subscription, &inbox.client_id, &after, most);
        for content in &found.contents {
            let identifiers = [subscription.identifier].into_iter().filter(|id| *id != 0).collect();
            let qos = subscription.qos.min(content.qos);
            let mut delivery = Delivery::new(content, qos, identifiers);
            // [MQTT-3.3.1-8]
            delivery.is_retained = true;
            turn.give(inbox, delivery);
        }
        inbox.put_owed(&subscription.filter, found.after.as_deref());
        if is_kept {
            turn.entries.changed.insert(inbox.number, Arc::clone(inbox));
        }
        if found.after.is_some() { Next::GoesOn } else { Next::Done }
    }
}
