//! The contract of [`axle_domain::port::TokenStore`], clause by clause.

#![expect(clippy::unwrap_used, reason = "a suite panics where the contract is broken")]

use axle_domain::{Kind, Scope, Token, TokenHash};

use super::{Place, State, assert_refused, at, device_id};

fn token(id: &str, number: u8) -> Token {
    Token {
        id: id.to_owned(),
        hash: TokenHash([number; 32]),
        scopes: vec![Scope::Upload(device_id("b-1")), Scope::Read(device_id("x:y")), Scope::Admin],
        created_at: at(0),
    }
}

/// Clause 1.
pub async fn changes_are_durable_when_they_return(place: &dyn Place) {
    let state = place.open().await;
    state.create_token(token("t-1", 1)).await.unwrap();
    state.create_token(token("t-2", 2)).await.unwrap();
    assert!(state.delete_token("t-1").await.unwrap());
    drop(state);
    let state = place.open().await;
    assert_eq!(state.list_tokens().await.unwrap(), [token("t-2", 2)]);
}

/// The errors of `create_token`.
pub async fn a_taken_id_or_hash_is_a_conflict_and_changes_nothing(state: &dyn State) {
    state.create_token(token("t-1", 1)).await.unwrap();
    for taken in [token("t-1", 2), token("t-2", 1)] {
        assert_refused(state.create_token(taken).await, Kind::Conflict, "token.exists");
    }
    assert_eq!(state.list_tokens().await.unwrap(), [token("t-1", 1)]);
}

/// `find_token`, `list_tokens` and `delete_token`.
pub async fn a_token_is_found_by_its_hash_until_it_is_deleted(state: &dyn State) {
    for (id, number) in [("t-2", 2), ("t-1", 1)] {
        state.create_token(token(id, number)).await.unwrap();
    }
    assert_eq!(state.list_tokens().await.unwrap(), [token("t-1", 1), token("t-2", 2)]);
    assert_eq!(state.find_token(TokenHash([1; 32])).await.unwrap(), Some(token("t-1", 1)));
    assert_eq!(state.find_token(TokenHash([3; 32])).await.unwrap(), None);
    assert!(state.delete_token("t-1").await.unwrap());
    assert!(!state.delete_token("t-1").await.unwrap());
    assert_eq!(state.find_token(TokenHash([1; 32])).await.unwrap(), None);
}
