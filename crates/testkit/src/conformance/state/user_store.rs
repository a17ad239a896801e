//! The contract of [`axle_domain::port::UserStore`], clause by clause.

#![expect(clippy::unwrap_used, reason = "a suite panics where the contract is broken")]

use axle_domain::port::UserFilter;
use axle_domain::{Invitation, Kind, Passkey, Role, SecretHash, Session};

use super::{Place, State, assert_refused, at, user, user_name};

async fn names(state: &dyn State, filter: UserFilter) -> Vec<String> {
    let entries = state.list_users(filter).await.unwrap();
    entries.into_iter().map(|entry| entry.user.name.to_string()).collect()
}

/// Clause 1.
pub async fn changes_are_durable_when_they_return(place: &dyn Place) {
    let state = place.open().await;
    let mut anna = user("anna");
    state.create_user(anna.clone()).await.unwrap();
    state.create_user(user("bert")).await.unwrap();
    anna.role = Role::Support;
    anna.devices.clear();
    anna.display_name = "Änne".to_owned();
    (anna.version, anna.updated_at, anna.disabled_at) = (2, at(5), Some(at(5)));
    state.update_user(anna.clone()).await.unwrap();
    assert!(state.delete_user(&user_name("bert")).await.unwrap());
    drop(state);
    let state = place.open().await;
    assert_eq!(state.find_user(&anna.name).await.unwrap().unwrap().user, anna);
    assert_eq!(state.find_user(&user_name("bert")).await.unwrap(), None);
    assert!(!state.delete_user(&user_name("bert")).await.unwrap());
}

/// Clause 2 and the errors of `create_user` and `update_user`.
pub async fn a_taken_name_or_another_version_is_a_conflict_and_changes_nothing(state: &dyn State) {
    let first = user("anna");
    state.create_user(first.clone()).await.unwrap();
    let mut second = user("anna");
    second.handle.0[15] = 1;
    second.role = Role::Admin;
    assert_refused(state.create_user(second.clone()).await, Kind::Conflict, "user.exists");
    for version in [1, 3] {
        second.version = version;
        let outcome = state.update_user(second.clone()).await;
        assert_refused(outcome, Kind::Conflict, "user.version_conflict");
    }
    let mut nobody = user("nobody");
    nobody.version = 2;
    assert_refused(state.update_user(nobody).await, Kind::NotFound, "user.not_found");
    assert_eq!(state.find_user(&first.name).await.unwrap().unwrap().user, first);
}

/// Clause 3, and what a list tells of each person.
pub async fn people_are_listed_by_name_in_pages_and_found_by_parts(state: &dyn State) {
    for name in ["carl", "anna", "bert", "anna.b"] {
        state.create_user(user(name)).await.unwrap();
    }
    let all = UserFilter { limit: 10, ..UserFilter::default() };
    assert_eq!(names(state, all.clone()).await, ["anna", "anna.b", "bert", "carl"]);
    let page = UserFilter { after: Some(user_name("anna.b")), limit: 1, ..UserFilter::default() };
    assert_eq!(names(state, page).await, ["bert"]);
    for (search, expected) in [("ANNA", 2), ("name of c", 1), ("%", 0), ("na", 4)] {
        let filter = UserFilter { search: search.to_owned(), ..all.clone() };
        assert_eq!(names(state, filter).await.len(), expected, "{search}");
    }
    state.put_password(&user_name("carl"), Some("$hash".to_owned())).await.unwrap();
    let carl = state.find_user(&user_name("carl")).await.unwrap().unwrap();
    assert_eq!((carl.has_password, carl.passkey_count), (true, 0));
    assert!(!state.list_users(all).await.unwrap()[0].has_password);
}

/// Clause 4.
pub async fn with_a_person_goes_what_belongs_to_the_person(state: &dyn State) {
    let (anna, hash) = (user_name("anna"), SecretHash([1; 32]));
    state.create_user(user("anna")).await.unwrap();
    state.put_password(&anna, Some("$hash".to_owned())).await.unwrap();
    let passkey = Passkey {
        id: vec![7],
        user: anna.clone(),
        public_key: vec![1],
        sign_count: 0,
        label: String::new(),
        created_at: at(0),
        last_used_at: None,
    };
    state.add_passkey(passkey).await.unwrap();
    let session =
        Session { hash, user: Some(anna.clone()), created_at: at(0), last_used_at: at(0) };
    state.create_session(session).await.unwrap();
    let invitation = Invitation { hash, user: anna.clone(), expires_at: at(9) };
    state.put_invitation(invitation).await.unwrap();
    assert!(state.delete_user(&anna).await.unwrap());
    state.create_user(user("anna")).await.unwrap();
    assert_eq!(state.find_password(&anna).await.unwrap(), None);
    assert_eq!(state.find_passkey(&[7]).await.unwrap(), None);
    assert_eq!(state.find_session(hash).await.unwrap(), None);
    assert_eq!(state.find_invitation(hash).await.unwrap(), None);
}
