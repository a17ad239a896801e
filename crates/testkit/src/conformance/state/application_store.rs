//! The contract of [`axle_domain::port::ApplicationStore`], clause by clause.

#![expect(clippy::unwrap_used, reason = "a suite panics where the contract is broken")]

use std::sync::Arc;

use axle_domain::{
    Application, ApplicationKind, ApplicationName, ClaimTerms, Fingerprint, Grants, IdPattern,
    Kind, TokenHash, TopicFilter,
};

use super::{Place, State, assert_refused, at};

/// An application with a token of that number.
#[must_use]
pub fn application(name: &str, number: u8) -> Application {
    let filters = |texts: &[&str]| texts.iter().map(|it| TopicFilter::parse(it).unwrap()).collect();
    Application {
        name: ApplicationName::parse(name).unwrap(),
        kind: ApplicationKind::Backend,
        grants: Arc::new(Grants {
            publish: filters(&["plant/+/order", "$aws/things/+/shadow/update"]),
            subscribe: filters(&["v1/d/+/t/#"]),
        }),
        token: Some(TokenHash([number; 32])),
        certificates: vec![Fingerprint([number; 32])],
        created_at: at(0),
    }
}

/// Clause 1.
pub async fn changes_are_durable_when_they_return(place: &dyn Place) {
    let state = place.open().await;
    for (name, number) in [("b", 2), ("a", 1), ("c", 3)] {
        state.create_application(application(name, number)).await.unwrap();
    }
    let changed = Application {
        token: None,
        certificates: vec![],
        grants: Arc::default(),
        ..application("b", 2)
    };
    state.update_application(changed.clone()).await.unwrap();
    let claim = |left| Application {
        kind: ApplicationKind::Claim(ClaimTerms {
            devices: IdPattern::parse("b-*").unwrap(),
            device_kind: "bike".to_owned(),
            left,
        }),
        ..application("d", 4)
    };
    state.create_application(claim(10)).await.unwrap();
    state.update_application(claim(9)).await.unwrap();
    assert!(state.delete_application(&application("c", 3).name).await.unwrap());
    drop(state);
    let state = place.open().await;
    assert_eq!(state.list_applications().await.unwrap(), [application("a", 1), changed, claim(9)]);
}

/// Clause 2 and the errors.
pub async fn what_is_refused_changes_nothing(state: &dyn State) {
    state.create_application(application("a", 1)).await.unwrap();
    for taken in [application("a", 2), application("b", 1)] {
        let outcome = state.create_application(taken).await;
        assert_refused(outcome, Kind::Conflict, "application.exists");
    }
    let missing = state.update_application(application("b", 2)).await;
    assert_refused(missing, Kind::NotFound, "application.not_found");
    assert!(!state.delete_application(&application("b", 2).name).await.unwrap());
    assert_eq!(state.list_applications().await.unwrap(), [application("a", 1)]);
}

/// `token`: several may do without one.
pub async fn applications_without_a_token_are_not_in_each_others_way(state: &dyn State) {
    for name in ["a", "b"] {
        let bare = Application { token: None, ..application(name, 1) };
        state.create_application(bare).await.unwrap();
    }
    assert_eq!(state.list_applications().await.unwrap().len(), 2);
}
