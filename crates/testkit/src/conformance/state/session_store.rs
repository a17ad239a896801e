//! The contract of [`axle_domain::port::SessionStore`], clause by clause.

#![expect(clippy::unwrap_used, reason = "a suite panics where the contract is broken")]

use axle_domain::port::WhichSessions;
use axle_domain::{Invitation, Kind, SecretHash, Session, limit};

use super::{Place, State, assert_refused, at, user, user_name};

fn session(number: u8, user: Option<&str>, seconds: i64) -> Session {
    Session {
        hash: SecretHash([number; 32]),
        user: user.map(user_name),
        created_at: at(seconds),
        last_used_at: at(seconds),
    }
}

fn invitation(number: u8, user: &str) -> Invitation {
    Invitation { hash: SecretHash([number; 32]), user: user_name(user), expires_at: at(60) }
}

async fn are_there(state: &dyn State, numbers: &[u8]) -> Vec<bool> {
    let mut found = Vec::new();
    for number in numbers {
        found.push(state.find_session(SecretHash([*number; 32])).await.unwrap().is_some());
    }
    found
}

/// Clause 1.
pub async fn changes_are_durable_when_they_return(place: &dyn Place) {
    let state = place.open().await;
    state.create_user(user("anna")).await.unwrap();
    state.create_session(session(1, Some("anna"), 0)).await.unwrap();
    state.create_session(session(2, None, 0)).await.unwrap();
    state.create_session(session(3, Some("anna"), 0)).await.unwrap();
    state.touch_session(SecretHash([1; 32]), at(7)).await.unwrap();
    state.touch_session(SecretHash([1; 32]), at(6)).await.unwrap();
    let one = WhichSessions::One(SecretHash([3; 32]));
    assert_eq!(state.delete_sessions(one).await.unwrap(), 1);
    state.put_invitation(invitation(1, "anna")).await.unwrap();
    drop(state);
    let state = place.open().await;
    let mut used = session(1, Some("anna"), 0);
    used.last_used_at = at(7);
    let found = state.find_session(used.hash).await.unwrap();
    assert_eq!(found, Some((used, Some(user("anna")))));
    let found = state.find_session(SecretHash([2; 32])).await.unwrap();
    assert_eq!(found, Some((session(2, None, 0), None)));
    assert_eq!(state.find_session(SecretHash([3; 32])).await.unwrap(), None);
    let found = state.find_invitation(SecretHash([1; 32])).await.unwrap();
    assert_eq!(found, Some(invitation(1, "anna")));
}

/// The errors.
pub async fn nothing_is_kept_for_who_is_not_there(state: &dyn State) {
    let outcome = state.create_session(session(1, Some("nobody"), 0)).await;
    assert_refused(outcome, Kind::NotFound, "user.not_found");
    let outcome = state.put_invitation(invitation(1, "nobody")).await;
    assert_refused(outcome, Kind::NotFound, "user.not_found");
    assert_eq!(are_there(state, &[1]).await, [false]);
}

/// Clause 3.
pub async fn the_session_that_rested_longest_makes_room(state: &dyn State) {
    state.create_user(user("anna")).await.unwrap();
    state.create_user(user("bert")).await.unwrap();
    state.create_session(session(200, Some("bert"), 0)).await.unwrap();
    state.create_session(session(201, None, 0)).await.unwrap();
    let most = u8::try_from(limit::SESSIONS_PER_USER_MAX).unwrap();
    for number in 0..most {
        state.create_session(session(number, Some("anna"), number.into())).await.unwrap();
    }
    state.touch_session(SecretHash([0; 32]), at(1000)).await.unwrap();
    state.create_session(session(100, Some("anna"), 500)).await.unwrap();
    let seen = are_there(state, &[0, 1, 2, 100, 200, 201]).await;
    assert_eq!(seen, [true, false, true, true, true, true]);
}

/// Which sessions `delete_sessions` ends.
pub async fn sessions_end_one_by_one_by_person_and_by_age(state: &dyn State) {
    for name in ["anna", "bert"] {
        state.create_user(user(name)).await.unwrap();
    }
    for (number, name) in [(1, Some("anna")), (2, Some("anna")), (3, Some("bert")), (4, None)] {
        state.create_session(session(number, name, number.into())).await.unwrap();
    }
    let others = WhichSessions::Of(user_name("anna"), Some(SecretHash([1; 32])));
    assert_eq!(state.delete_sessions(others.clone()).await.unwrap(), 1);
    assert_eq!(state.delete_sessions(others).await.unwrap(), 0);
    assert_eq!(are_there(state, &[1, 2, 3, 4]).await, [true, false, true, true]);
    let all = WhichSessions::Of(user_name("anna"), None);
    assert_eq!(state.delete_sessions(all).await.unwrap(), 1);
    state.create_session(session(5, Some("anna"), 5)).await.unwrap();
    state.touch_session(SecretHash([3; 32]), at(100)).await.unwrap();
    state.touch_session(SecretHash([5; 32]), at(100)).await.unwrap();
    let older = WhichSessions::Older(at(4), at(50));
    assert_eq!(state.delete_sessions(older).await.unwrap(), 2);
    assert_eq!(are_there(state, &[3, 4, 5]).await, [false, false, true]);
}

/// Clauses 4 and 5.
pub async fn an_invitation_is_taken_once_and_a_new_one_replaces_the_old(state: &dyn State) {
    for name in ["anna", "bert"] {
        state.create_user(user(name)).await.unwrap();
    }
    state.put_invitation(invitation(1, "anna")).await.unwrap();
    state.put_invitation(invitation(2, "anna")).await.unwrap();
    state.put_invitation(invitation(3, "bert")).await.unwrap();
    assert_eq!(state.take_invitation(SecretHash([1; 32])).await.unwrap(), None);
    let hash = SecretHash([2; 32]);
    assert_eq!(state.find_invitation(hash).await.unwrap(), Some(invitation(2, "anna")));
    let (first, second) = tokio::join!(state.take_invitation(hash), state.take_invitation(hash));
    let mut taken = [first.unwrap(), second.unwrap()];
    taken.sort_by_key(Option::is_none);
    assert_eq!(taken, [Some(invitation(2, "anna")), None]);
    assert!(state.find_invitation(SecretHash([3; 32])).await.unwrap().is_some());
}
