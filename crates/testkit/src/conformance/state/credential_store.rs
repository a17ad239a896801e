//! The contract of [`axle_domain::port::CredentialStore`], clause by clause.

#![expect(clippy::unwrap_used, reason = "a suite panics where the contract is broken")]

use axle_domain::{Kind, Passkey, limit};

use super::{Place, State, assert_refused, at, user, user_name};

fn passkey(id: u8, user: &str) -> Passkey {
    Passkey {
        id: vec![id; 32],
        user: user_name(user),
        public_key: vec![0xa5, id],
        sign_count: 3,
        label: format!("key {id}"),
        created_at: at(i64::from(id)),
        last_used_at: None,
    }
}

/// Clause 1.
pub async fn changes_are_durable_when_they_return(place: &dyn Place) {
    let state = place.open().await;
    let anna = user_name("anna");
    state.create_user(user("anna")).await.unwrap();
    state.put_password(&anna, Some("$one".to_owned())).await.unwrap();
    state.put_password(&anna, Some("$two".to_owned())).await.unwrap();
    for id in [2, 1, 3] {
        state.add_passkey(passkey(id, "anna")).await.unwrap();
    }
    assert!(state.advance_passkey(&[1; 32], 4, at(9)).await.unwrap());
    assert!(state.delete_passkey(&anna, &[3; 32]).await.unwrap());
    drop(state);
    let state = place.open().await;
    assert_eq!(state.find_password(&anna).await.unwrap().as_deref(), Some("$two"));
    let mut used = passkey(1, "anna");
    (used.sign_count, used.last_used_at) = (4, Some(at(9)));
    assert_eq!(state.list_passkeys(&anna).await.unwrap(), [used, passkey(2, "anna")]);
    state.put_password(&anna, None).await.unwrap();
    assert_eq!(state.find_password(&anna).await.unwrap(), None);
}

/// Clause 2 and the errors.
pub async fn what_is_refused_changes_nothing(state: &dyn State) {
    let nobody = user_name("nobody");
    let outcome = state.put_password(&nobody, Some("$".to_owned())).await;
    assert_refused(outcome, Kind::NotFound, "user.not_found");
    let outcome = state.add_passkey(passkey(1, "nobody")).await;
    assert_refused(outcome, Kind::NotFound, "user.not_found");
    for name in ["anna", "bert"] {
        state.create_user(user(name)).await.unwrap();
    }
    state.add_passkey(passkey(1, "anna")).await.unwrap();
    let outcome = state.add_passkey(passkey(1, "bert")).await;
    assert_refused(outcome, Kind::Conflict, "passkey.exists");
    assert!(!state.delete_passkey(&user_name("bert"), &[1; 32]).await.unwrap(), "another's");
    assert_eq!(state.find_passkey(&[1; 32]).await.unwrap(), Some(passkey(1, "anna")));
    assert_eq!(state.find_passkey(&[9]).await.unwrap(), None);
}

/// The bound of `add_passkey`.
pub async fn a_person_has_a_limited_number_of_passkeys(state: &dyn State) {
    state.create_user(user("anna")).await.unwrap();
    let most = u8::try_from(limit::PASSKEYS_PER_USER_MAX).unwrap();
    for id in 0..most {
        state.add_passkey(passkey(id, "anna")).await.unwrap();
    }
    let outcome = state.add_passkey(passkey(most, "anna")).await;
    assert_refused(outcome, Kind::TooLarge, "passkey.too_many");
}

/// Clause 4.
pub async fn a_count_never_goes_back(state: &dyn State) {
    state.create_user(user("anna")).await.unwrap();
    state.add_passkey(passkey(1, "anna")).await.unwrap();
    for (count, expected) in [(3, false), (0, false), (5, true), (4, false), (5, false), (6, true)]
    {
        let seen = state.advance_passkey(&[1; 32], count, at(1)).await.unwrap();
        assert_eq!(seen, expected, "{count}");
    }
    assert_eq!(state.find_passkey(&[1; 32]).await.unwrap().unwrap().sign_count, 6);
    // Many authenticators do not count at all.
    let still = Passkey { sign_count: 0, ..passkey(2, "anna") };
    state.add_passkey(still).await.unwrap();
    assert!(state.advance_passkey(&[2; 32], 0, at(1)).await.unwrap());
    assert!(state.advance_passkey(&[2; 32], 1, at(2)).await.unwrap());
    assert!(!state.advance_passkey(&[2; 32], 0, at(3)).await.unwrap());
    assert!(!state.advance_passkey(&[9], 1, at(3)).await.unwrap(), "no such passkey");
}
