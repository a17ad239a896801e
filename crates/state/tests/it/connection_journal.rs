//! The contract of the connection journal, on SQLite and on the state in memory, which other
//! crates test against.

use axle_testkit::conformance::state::connection_journal as suite;
use axle_testkit::memory_state::MemoryState;

use crate::place::Folder;

#[tokio::test]
async fn repeats_gather_in_the_newest_of_their_cause() {
    suite::repeats_gather_in_the_newest_of_their_cause(&Folder::new().state()).await;
    suite::repeats_gather_in_the_newest_of_their_cause(&MemoryState::new()).await;
}

#[tokio::test]
async fn the_oldest_of_a_device_and_of_an_address_go() {
    suite::the_oldest_of_a_device_and_of_an_address_go(&Folder::new().state()).await;
    suite::the_oldest_of_a_device_and_of_an_address_go(&MemoryState::new()).await;
}

#[tokio::test]
async fn events_are_listed_newest_first_by_what_is_asked() {
    suite::events_are_listed_newest_first_by_what_is_asked(&Folder::new().state()).await;
    suite::events_are_listed_newest_first_by_what_is_asked(&MemoryState::new()).await;
}

#[tokio::test]
async fn what_was_flushed_is_durable() {
    suite::what_was_flushed_is_durable(&Folder::new()).await;
}
