//! The contract of [`axle_domain::port::ConnectionJournal`], clause by clause.

#![expect(clippy::unwrap_used, reason = "a suite panics where the contract is broken")]

use std::net::IpAddr;
use std::time::Duration;

use axle_domain::port::ConnectionFilter;
use axle_domain::{
    ConnectionEvent, ConnectionOutcome, Fingerprint, ProtocolVersion, RefusalStage, limit,
};

use super::{Place, State, at, device_id};

const LOCAL: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

/// An event of a proved device.
#[must_use]
pub fn ended(device: &str, seconds: i64) -> ConnectionEvent {
    ConnectionEvent {
        first_at: at(seconds),
        at: at(seconds),
        count: 1,
        device: Some(device_id(device)),
        is_proved: true,
        fingerprint: Some(Fingerprint([3; 32])),
        address: LOCAL,
        protocol: Some(ProtocolVersion::Mqtt5),
        client_id: format!("{device}/app"),
        outcome: ConnectionOutcome::Disconnected {
            lasted: Duration::from_millis(1500),
            received: 7,
            sent: 1,
        },
        code: "keep_alive".to_owned(),
        reason: "nothing was heard".to_owned(),
        next_step: "look at the radio".to_owned(),
    }
}

/// An event of a stranger.
#[must_use]
pub fn refused(code: &str, seconds: i64) -> ConnectionEvent {
    ConnectionEvent {
        device: None,
        is_proved: false,
        fingerprint: None,
        protocol: None,
        client_id: String::new(),
        outcome: ConnectionOutcome::Refused { stage: RefusalStage::Tls },
        code: code.to_owned(),
        ..ended("b-1", seconds)
    }
}

async fn list(state: &dyn State, filter: ConnectionFilter) -> Vec<ConnectionEvent> {
    state.list_connections(filter).await.unwrap()
}

async fn of_device(state: &dyn State, device: &str) -> Vec<ConnectionEvent> {
    let device = Some(device_id(device));
    list(state, ConnectionFilter { device, limit: 1000, ..ConnectionFilter::default() }).await
}

/// Clause 2.
pub async fn repeats_gather_in_the_newest_of_their_cause(state: &dyn State) {
    for second in 0..57 {
        state.record(refused("tls.plain_mqtt", second));
        state.record(refused("tls.expired", second));
        if second % 10 == 0 {
            state.flush_connections().await.unwrap();
        }
    }
    state.record(refused("tls.expired", 60));
    let filter = ConnectionFilter { address: Some(LOCAL), limit: 9, ..ConnectionFilter::default() };
    let seen = list(state, filter).await;
    let seen: Vec<_> =
        seen.iter().map(|it| (it.code.as_str(), it.count, it.first_at, it.at)).collect();
    assert_eq!(seen[0], ("tls.expired", 1, at(60), at(60)));
    assert_eq!(seen.len(), 3);
    for expected in [("tls.plain_mqtt", 57, at(0), at(56)), ("tls.expired", 57, at(0), at(56))] {
        assert!(seen.contains(&expected), "{expected:?} in {seen:?}");
    }
}

/// Clause 3.
pub async fn the_oldest_of_a_device_and_of_an_address_go(state: &dyn State) {
    let most = limit::CONNECTION_EVENTS_PER_KEY_MAX;
    let minutes = |index: usize| i64::try_from(index).unwrap() * 60;
    for index in 0..most + 5 {
        state.record(ended("b-1", minutes(index)));
        let stranger = refused("tls.expired", minutes(index));
        // A stranger who only says that it is the device.
        state.record(ConnectionEvent { device: Some(device_id("b-1")), ..stranger.clone() });
        let address = [127, 0, 0, 2].into();
        state.record(ConnectionEvent { address, ..stranger });
    }
    state.record(ended("b-2", 0));
    let seen = of_device(state, "b-1").await;
    for is_proved in [true, false] {
        let times: Vec<_> =
            seen.iter().filter(|it| it.is_proved == is_proved).map(|it| it.at).collect();
        let expected: Vec<_> = (5..most + 5).rev().map(|index| at(minutes(index))).collect();
        assert_eq!(times, expected, "{is_proved}");
    }
    assert_eq!(of_device(state, "b-2").await, [ended("b-2", 0)]);
    assert_eq!(state.dropped_connections(), 15);
}

/// Clauses 4 and 5.
pub async fn events_are_listed_newest_first_by_what_is_asked(state: &dyn State) {
    let other = ConnectionEvent {
        fingerprint: Some(Fingerprint([4; 32])),
        address: "2001:db8::1".parse().unwrap(),
        outcome: ConnectionOutcome::Connected,
        ..ended("b-2", 2)
    };
    let (newest, oldest) = (refused("tls.expired", 3), ended("b-1", 1));
    for event in [&other, &newest, &oldest] {
        state.record(event.clone());
    }
    let all = ConnectionFilter { limit: 10, ..ConnectionFilter::default() };
    for (filter, expected) in [
        (all.clone(), vec![&newest, &other, &oldest]),
        (ConnectionFilter { limit: 2, ..all.clone() }, vec![&newest, &other]),
        (ConnectionFilter { device: Some(device_id("b-1")), ..all.clone() }, vec![&oldest]),
        (ConnectionFilter { device: Some(device_id("b-3")), ..all.clone() }, vec![]),
        (ConnectionFilter { fingerprint: other.fingerprint, ..all.clone() }, vec![&other]),
        (ConnectionFilter { address: Some(LOCAL), ..all.clone() }, vec![&newest, &oldest]),
        (ConnectionFilter { address: Some(other.address), ..all.clone() }, vec![&other]),
        (ConnectionFilter { device: other.device.clone(), address: Some(LOCAL), ..all }, vec![]),
    ] {
        let seen = list(state, filter.clone()).await;
        assert_eq!(seen.iter().collect::<Vec<_>>(), expected, "{filter:?}");
    }
}

/// Clause 6.
pub async fn what_was_flushed_is_durable(place: &dyn Place) {
    let state = place.open().await;
    state.record(ended("b-1", 1));
    state.flush_connections().await.unwrap();
    drop(state);
    let state = place.open().await;
    assert_eq!(of_device(&*state, "b-1").await, [ended("b-1", 1)]);
    // A new event stands beside the old one and does not overwrite it.
    state.record(ended("b-1", 2));
    assert_eq!(of_device(&*state, "b-1").await, [ended("b-1", 2), ended("b-1", 1)]);
}
