//! The contract of [`axle_domain::port::ConsumerRegistry`], clause by clause.

#![expect(clippy::unwrap_used, reason = "a suite panics where the contract is broken")]

use axle_domain::{Consumer, ConsumerName, Kind, Offset, limit};

use super::{Place, State, assert_refused, at};

fn name(text: &str) -> ConsumerName {
    ConsumerName::parse(text).unwrap()
}

fn consumer(text: &str, position: u64) -> Consumer {
    Consumer {
        name: name(text),
        position: Offset(position),
        created_at: at(0),
        moved_at: at(0),
        lost_at: None,
    }
}

/// Clause 1.
pub async fn positions_are_durable_when_they_return(place: &dyn Place) {
    let state = place.open().await;
    for text in ["gone", "export", "stuck"] {
        state.create_consumer(consumer(text, 1)).await.unwrap();
    }
    assert!(state.move_consumer(&name("export"), Offset(7), at(1)).await.unwrap());
    assert!(state.lose_consumer(&name("stuck"), at(2)).await.unwrap());
    assert!(state.delete_consumer(&name("gone")).await.unwrap());
    drop(state);
    let state = place.open().await;
    let moved = Consumer { position: Offset(7), moved_at: at(1), ..consumer("export", 1) };
    let lost = Consumer { lost_at: Some(at(2)), ..consumer("stuck", 1) };
    assert_eq!(state.list_consumers().await.unwrap(), [moved, lost]);
    assert_eq!(state.find_consumer(&name("gone")).await.unwrap(), None);
}

/// Clause 2.
pub async fn a_taken_name_and_one_too_many_change_nothing(state: &dyn State) {
    state.create_consumer(consumer("export", 1)).await.unwrap();
    let taken = state.create_consumer(consumer("export", 2)).await;
    assert_refused(taken, Kind::Conflict, "consumer.exists");
    assert_eq!(state.list_consumers().await.unwrap(), [consumer("export", 1)]);
    for number in 1..limit::CONSUMERS_MAX {
        state.create_consumer(consumer(&format!("n-{number}"), 0)).await.unwrap();
    }
    let more = state.create_consumer(consumer("more", 0)).await;
    assert_refused(more, Kind::Conflict, "consumer.too_many");
}

/// Clauses 3 and 4.
pub async fn a_lost_consumer_that_moves_is_found_again(state: &dyn State) {
    state.create_consumer(consumer("export", 9)).await.unwrap();
    assert!(state.lose_consumer(&name("export"), at(5)).await.unwrap());
    let lost = state.find_consumer(&name("export")).await.unwrap().unwrap();
    assert_eq!((lost.position, lost.lost_at), (Offset(9), Some(at(5))));
    assert!(state.move_consumer(&name("export"), Offset(4), at(6)).await.unwrap());
    let found = state.find_consumer(&name("export")).await.unwrap().unwrap();
    assert_eq!((found.position, found.moved_at, found.lost_at), (Offset(4), at(6), None));
    for missing in [
        state.move_consumer(&name("none"), Offset(1), at(1)).await,
        state.lose_consumer(&name("none"), at(1)).await,
        state.delete_consumer(&name("none")).await,
    ] {
        assert!(!missing.unwrap());
    }
}
