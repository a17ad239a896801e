//! Wills that stand in the log: the state lets each go with the position that is beyond its
//! record. Sooner, a crash that takes the record would take the will; later, it would come twice.

use std::sync::Arc;

use super::{Router, Turn};

impl Router {
    /// Lets go of the wills whose records the position is beyond with this turn.
    pub(super) fn take_sent(&mut self, turn: &mut Turn) {
        let next = self.next;
        for sent in self.notes.sent.extract_if(.., |it| it.offset < next) {
            if sent.inbox.forget_will(sent.connected_at) && !sent.inbox.is_ended() {
                turn.entries.changed.insert(sent.inbox.number, Arc::clone(&sent.inbox));
            }
        }
    }
}
