//! The contract of MQTT sessions at rest, on SQLite and in memory; and what one costs.

use axle_domain::port::{ClientSessionStore, SessionChanges};
use axle_testkit::conformance::state::client_session_store as suite;
use axle_testkit::memory_state::MemoryState;

use crate::place::Folder;

#[tokio::test]
async fn changes_are_durable_when_they_return() {
    suite::changes_are_durable_when_they_return(&Folder::new()).await;
}

#[tokio::test]
async fn rows_live_and_end_with_their_session() {
    suite::rows_live_and_end_with_their_session(&Folder::new().state()).await;
    suite::rows_live_and_end_with_their_session(&MemoryState::new()).await;
}

#[tokio::test]
async fn queues_grow_once_and_shrink_from_their_oldest() {
    suite::queues_grow_once_and_shrink_from_their_oldest(&Folder::new().state()).await;
    suite::queues_grow_once_and_shrink_from_their_oldest(&MemoryState::new()).await;
}

#[tokio::test]
async fn a_packet_id_stands_for_its_newest_message() {
    suite::a_packet_id_stands_for_its_newest_message(&Folder::new().state()).await;
    suite::a_packet_id_stands_for_its_newest_message(&MemoryState::new()).await;
}

#[tokio::test]
async fn the_last_retained_message_of_a_topic_counts() {
    suite::the_last_retained_message_of_a_topic_counts(&Folder::new().state()).await;
    suite::the_last_retained_message_of_a_topic_counts(&MemoryState::new()).await;
}

#[tokio::test]
async fn a_session_takes_a_few_hundred_bytes_of_disk_and_a_message_a_few_dozen() {
    let folder = Folder::new();
    let state = folder.state();
    let size = || std::fs::metadata(folder.path()).unwrap().len();
    let put = (0..5000).map(suite::session).collect();
    state
        .commit_client_sessions(SessionChanges { put, ..SessionChanges::default() })
        .await
        .unwrap();
    drop(state);
    let of_sessions = size();
    let state = folder.state();
    let queued = (1..=20_000).map(|sequence| suite::queued(1, sequence)).collect();
    state
        .commit_client_sessions(SessionChanges { queued, ..SessionChanges::default() })
        .await
        .unwrap();
    drop(state);
    let (session, message) = (of_sessions / 5000, (size() - of_sessions) / 20_000);
    println!("{session} bytes of disk a session with two subscriptions, {message} a message");
    assert!(session < 512 && message < 128, "{session} bytes a session, {message} a message");
}
