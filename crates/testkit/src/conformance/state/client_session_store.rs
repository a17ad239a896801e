//! The contract of [`axle_domain::port::ClientSessionStore`], clause by clause.

#![expect(clippy::unwrap_used, reason = "a suite panics where the contract is broken")]

use axle_domain::port::{QueueFigures, SessionChanges};
use axle_domain::{
    ClientSession, Offset, QueuedMessage, ReceivedPublish, RetainedMessage, Subscription, Will,
};
use bytes::Bytes;

use super::{Place, State, at};

/// A session with two subscriptions.
#[must_use]
pub fn session(number: u64) -> ClientSession {
    let subscription = |filter: &str, qos| Subscription {
        filter: filter.into(),
        qos,
        identifier: 7,
        is_no_local: qos == 1,
        is_retain_as_published: qos == 2,
        since: Offset(3),
        retained_after: (qos == 1 && number == 2).then(|| "a/b".into()),
    };
    ClientSession {
        number,
        client_id: format!("client {number}"),
        owner: "device:b-1".to_owned(),
        expiry_seconds: 3600,
        left_at: Some(at(5)),
        sent_through: 2,
        subscriptions: vec![subscription("$share/g/a", 2), subscription("a/+", 1)],
        will: (number == 2).then(will),
    }
}

/// A message that waits.
#[must_use]
pub fn queued(session: u64, sequence: u64) -> QueuedMessage {
    QueuedMessage {
        session,
        sequence,
        offset: Offset(100 + sequence),
        qos: 2,
        is_retained: sequence == 1,
        is_released: false,
        bytes: 10,
        identifiers: if sequence == 1 { vec![7, 300] } else { vec![] },
    }
}

/// A will with all that it may have.
#[must_use]
pub fn will() -> Will {
    Will {
        connected_at: at(4),
        delay_seconds: 60,
        topic: "w".into(),
        content_type: "text/plain".into(),
        properties: [1, 1].into(),
        payload: b"gone".as_slice().into(),
        qos: 2,
        is_retained: true,
    }
}

/// A publish at QoS 2 that was not released.
#[must_use]
pub fn received(session: u64, packet_id: u16, offset: u64) -> ReceivedPublish {
    ReceivedPublish { session, packet_id, offset: Offset(offset) }
}

/// A retained message.
#[must_use]
pub fn retained(topic: &str, offset: u64, payload: &'static [u8]) -> RetainedMessage {
    RetainedMessage {
        topic: topic.into(),
        offset: Offset(offset),
        qos: 1,
        received_at: at(6),
        publisher: "client 1".into(),
        content_type: "text/plain".into(),
        properties: Bytes::from_static(&[1, 1]),
        payload: Bytes::from_static(payload),
    }
}

fn figures(rows: u64, last_sequence: u64) -> QueueFigures {
    QueueFigures { rows, bytes: 10 * rows, last_sequence }
}

/// Clause 1.
pub async fn changes_are_durable_when_they_return(place: &dyn Place) {
    let state = place.open().await;
    let changes = SessionChanges {
        through: Some(Offset(9)),
        put: vec![session(1), session(2)],
        queued: vec![queued(1, 1), queued(1, 2), queued(2, 1)],
        received: vec![received(1, 7, 4), received(2, 7, 5)],
        retained: vec![retained("b", 3, b"1"), retained("a", 4, b"2")],
        ..SessionChanges::default()
    };
    let committed = state.commit_client_sessions(changes).await.unwrap();
    assert_eq!(committed.oldest, Some(Offset(101)));
    drop(state);
    let state = place.open().await;
    let stored = state.load_client_sessions().await.unwrap();
    assert_eq!(stored.through, Offset(9));
    let expected = [(session(1), figures(2, 2)), (session(2), figures(1, 1))];
    assert_eq!(stored.sessions, expected);
    assert_eq!(stored.received, [received(1, 7, 4), received(2, 7, 5)]);
    assert_eq!(stored.retained, [retained("a", 4, b"2"), retained("b", 3, b"1")]);
    let rows = state.list_queued(1, 0, 10).await.unwrap();
    assert_eq!(rows, [queued(1, 1), queued(1, 2)]);
    assert_eq!(state.oldest_needed().await.unwrap(), Offset(9));
    let ended = SessionChanges { ended: vec![1], put: vec![session(3)], ..Default::default() };
    assert_eq!(state.commit_client_sessions(ended).await.unwrap().oldest, Some(Offset(101)));
    let numbers: Vec<u64> = state
        .load_client_sessions()
        .await
        .unwrap()
        .sessions
        .iter()
        .map(|(session, _)| session.number)
        .collect();
    assert_eq!(numbers, [2, 3]);
}

/// Clause 2.
pub async fn rows_live_and_end_with_their_session(state: &dyn State) {
    let changes = SessionChanges {
        put: vec![session(1)],
        queued: vec![queued(1, 1), queued(9, 1)],
        received: vec![received(1, 1, 1), received(9, 1, 1)],
        through: Some(Offset(200)),
        ..SessionChanges::default()
    };
    state.commit_client_sessions(changes).await.unwrap();
    assert!(state.list_queued(9, 0, 10).await.unwrap().is_empty());
    let stored = state.load_client_sessions().await.unwrap();
    assert_eq!(stored.received, [received(1, 1, 1)]);
    assert_eq!(state.oldest_needed().await.unwrap(), Offset(101));
    let ended = SessionChanges { ended: vec![1], ..SessionChanges::default() };
    assert_eq!(state.commit_client_sessions(ended).await.unwrap().oldest, None);
    assert!(state.list_queued(1, 0, 10).await.unwrap().is_empty());
    assert_eq!(state.oldest_needed().await.unwrap(), Offset(200));
    assert!(state.load_client_sessions().await.unwrap().received.is_empty());
}

/// Clauses 1, 3 and 4.
pub async fn queues_grow_once_and_shrink_from_their_oldest(state: &dyn State) {
    let grow = SessionChanges {
        put: vec![session(1)],
        queued: (1..=6).rev().map(|sequence| queued(1, sequence)).collect(),
        ..SessionChanges::default()
    };
    state.commit_client_sessions(grow.clone()).await.unwrap();
    state.commit_client_sessions(grow).await.unwrap();
    let shrink = SessionChanges {
        released: vec![(1, 5), (1, 77)],
        settled: vec![(1, 3), (1, 77)],
        excess: vec![(1, QueueFigures { rows: 1, bytes: 15, last_sequence: 0 })],
        ..SessionChanges::default()
    };
    let committed = state.commit_client_sessions(shrink).await.unwrap();
    assert_eq!(committed.settled, [(1, figures(1, 0))]);
    assert_eq!(committed.dropped, [(1, figures(2, 0))], "15 bytes are two rows");
    assert_eq!(committed.oldest, Some(Offset(104)));
    let left: Vec<(u64, bool)> = state
        .list_queued(1, 0, 10)
        .await
        .unwrap()
        .iter()
        .map(|row| (row.sequence, row.is_released))
        .collect();
    assert_eq!(left, [(4, false), (5, true), (6, false)]);
    let page = state.list_queued(1, 4, 1).await.unwrap();
    assert_eq!(page.first().map(|row| row.sequence), Some(5));
}

/// Clause 3.
pub async fn a_packet_id_stands_for_its_newest_message(state: &dyn State) {
    let change = |received, completed| SessionChanges {
        put: vec![session(1)],
        received,
        completed,
        ..SessionChanges::default()
    };
    let first = change(vec![received(1, 7, 1), received(1, 8, 2)], vec![]);
    state.commit_client_sessions(first).await.unwrap();
    // What is completed late does not take a newer message of its packet id away.
    let later = change(vec![received(1, 7, 3)], vec![received(1, 7, 1), received(1, 8, 2)]);
    state.commit_client_sessions(later).await.unwrap();
    let stored = state.load_client_sessions().await.unwrap();
    assert_eq!(stored.received, [received(1, 7, 3)]);
}

/// Clause 5.
pub async fn the_last_retained_message_of_a_topic_counts(state: &dyn State) {
    let change =
        |retained| SessionChanges { retained, through: Some(Offset(9)), ..Default::default() };
    let both = vec![retained("a", 1, b"1"), retained("b", 2, b"2"), retained("a", 3, b"3")];
    state.commit_client_sessions(change(both)).await.unwrap();
    let stored = state.load_client_sessions().await.unwrap();
    assert_eq!(stored.retained, [retained("a", 3, b"3"), retained("b", 2, b"2")]);
    let changes = vec![retained("b", 5, b""), retained("c", 6, b"6"), retained("c", 7, b"")];
    state.commit_client_sessions(change(changes)).await.unwrap();
    let stored = state.load_client_sessions().await.unwrap();
    assert_eq!(stored.retained, [retained("a", 3, b"3")]);
}
