//! The contract of [`axle_domain::port::DeviceRegistry`], clause by clause.

#![expect(clippy::unwrap_used, reason = "a suite panics where the contract is broken")]

use axle_domain::port::DeviceFilter;
use axle_domain::{Certificate, DeviceStatus, Fingerprint, Kind};

use super::{Place, State, assert_refused, at, device, device_id};

fn certificate(device: &str, number: u8) -> Certificate {
    Certificate {
        fingerprint: Fingerprint([number; 32]),
        device: device_id(device),
        not_before: at(0),
        not_after: at(3600),
        revoked_at: None,
    }
}

async fn ids(state: &dyn State, filter: DeviceFilter) -> Vec<String> {
    let devices = state.list_devices(filter).await.unwrap();
    devices.into_iter().map(|device| device.id.to_string()).collect()
}

/// Clause 1: what was answered is there after the state was opened anew.
pub async fn changes_are_durable_when_they_return(place: &dyn Place) {
    let state = place.open().await;
    let mut entry = device("b-1");
    state.create_device(entry.clone()).await.unwrap();
    entry.version = 2;
    entry.status = DeviceStatus::Revoked;
    entry.updated_at = at(1);
    state.update_device(entry.clone()).await.unwrap();
    state.add_certificate(certificate("b-1", 1)).await.unwrap();
    state.add_certificate(certificate("b-1", 2)).await.unwrap();
    let only = Some(Fingerprint([1; 32]));
    assert_eq!(state.revoke_certificates(&entry.id, only, at(2)).await.unwrap(), 1);
    drop(state);

    let state = place.open().await;
    assert_eq!(state.find_device(&entry.id).await.unwrap(), Some(entry));
    let mut revoked = certificate("b-1", 1);
    revoked.revoked_at = Some(at(2));
    let stored = state.list_certificates(None).await.unwrap();
    assert_eq!(stored, [revoked, certificate("b-1", 2)]);
}

/// Clause 2 and the errors of `create_device`.
pub async fn a_taken_id_is_a_conflict_and_changes_nothing(state: &dyn State) {
    let first = device("b-1");
    state.create_device(first.clone()).await.unwrap();
    let mut second = device("b-1");
    second.name = "another".to_owned();
    assert_refused(state.create_device(second).await, Kind::Conflict, "device.exists");
    assert_eq!(state.find_device(&first.id).await.unwrap(), Some(first));
}

/// Clause 2 and the errors of `update_device`.
pub async fn an_update_needs_the_version_before(state: &dyn State) {
    let mut entry = device("b-1");
    assert_refused(state.update_device(entry.clone()).await, Kind::NotFound, "device.not_found");
    state.create_device(entry.clone()).await.unwrap();
    for version in [1, 3] {
        let mut update = device("b-1");
        update.version = version;
        update.name = "another".to_owned();
        let outcome = state.update_device(update).await;
        assert_refused(outcome, Kind::Conflict, "device.version_conflict");
        assert_eq!(state.find_device(&entry.id).await.unwrap(), Some(entry.clone()));
    }
    entry.version = 2;
    entry.name = "another".to_owned();
    state.update_device(entry.clone()).await.unwrap();
    assert_eq!(state.find_device(&entry.id).await.unwrap(), Some(entry));
}

/// Clause 3, with pages.
pub async fn devices_are_listed_by_id_in_pages(state: &dyn State) {
    for id in ["b-2", "B-1", "b-10", "a:1"] {
        state.create_device(device(id)).await.unwrap();
    }
    let all = ["B-1", "a:1", "b-10", "b-2"];
    let filter = |after: Option<&str>, limit| DeviceFilter {
        search: String::new(),
        after: after.map(device_id),
        limit,
    };
    assert_eq!(ids(state, filter(None, 10)).await, all);
    assert_eq!(ids(state, filter(None, 2)).await, all[..2]);
    assert_eq!(ids(state, filter(Some("a:1"), 10)).await, all[2..]);
    assert_eq!(ids(state, filter(Some("b-2"), 10)).await, [""; 0]);
    assert_eq!(ids(state, filter(None, 0)).await, [""; 0]);
}

/// The search finds part of id or name in any case, and knows no wildcards.
pub async fn a_search_finds_parts_of_id_and_name_in_any_case(state: &dyn State) {
    for (id, name) in [("b_1", "Köln 100%"), ("b-2", "KÖLN \\x"), ("Car", ""), ("b-x", "car'")] {
        let mut entry = device(id);
        entry.name = name.to_owned();
        state.create_device(entry).await.unwrap();
    }
    let cases: [(&str, &[&str]); 9] = [
        ("köln", &["b-2", "b_1"]),
        ("ÖLN", &["b-2", "b_1"]),
        ("car", &["Car", "b-x"]),
        ("%", &["b_1"]),
        ("_", &["b_1"]),
        ("\\", &["b-2"]),
        ("'", &["b-x"]),
        ("B-", &["b-2", "b-x"]),
        ("nothing", &[]),
    ];
    for (search, expected) in cases {
        let filter = DeviceFilter { search: search.to_owned(), after: None, limit: 10 };
        assert_eq!(ids(state, filter).await, expected, "{search}");
    }
}

/// The contract of `add_certificate`.
pub async fn a_certificate_speaks_for_one_registered_device(state: &dyn State) {
    let outcome = state.add_certificate(certificate("b-1", 1)).await;
    assert_refused(outcome, Kind::NotFound, "device.not_found");
    for id in ["b-1", "b-2"] {
        state.create_device(device(id)).await.unwrap();
    }
    state.add_certificate(certificate("b-1", 1)).await.unwrap();
    assert_eq!(state.revoke_certificates(&device_id("b-1"), None, at(5)).await.unwrap(), 1);
    let before = state.list_certificates(None).await.unwrap();
    state.add_certificate(certificate("b-1", 1)).await.unwrap();
    let outcome = state.add_certificate(certificate("b-2", 1)).await;
    assert_refused(outcome, Kind::Conflict, "certificate.bound_elsewhere");
    assert_eq!(state.list_certificates(None).await.unwrap(), before, "it stays revoked");
    assert_eq!(before.first().and_then(|certificate| certificate.revoked_at), Some(at(5)));
}

/// The contract of `revoke_certificates` and `list_certificates`.
pub async fn certificates_are_revoked_one_or_all_but_once(state: &dyn State) {
    for id in ["b-1", "b-2"] {
        state.create_device(device(id)).await.unwrap();
    }
    for (id, number) in [("b-1", 3), ("b-1", 1), ("b-1", 2), ("b-2", 4)] {
        state.add_certificate(certificate(id, number)).await.unwrap();
    }
    let (mine, other) = (device_id("b-1"), device_id("b-2"));
    let foreign = Some(Fingerprint([4; 32]));
    assert_eq!(state.revoke_certificates(&mine, foreign, at(1)).await.unwrap(), 0);
    let only = Some(Fingerprint([2; 32]));
    assert_eq!(state.revoke_certificates(&mine, only, at(1)).await.unwrap(), 1);
    assert_eq!(state.revoke_certificates(&mine, only, at(2)).await.unwrap(), 0);
    assert_eq!(state.revoke_certificates(&mine, None, at(3)).await.unwrap(), 2);
    assert_eq!(state.revoke_certificates(&device_id("x"), None, at(3)).await.unwrap(), 0);
    let seen = state.list_certificates(Some(&mine)).await.unwrap();
    let seen: Vec<_> = seen.iter().map(|seen| (seen.fingerprint.0[0], seen.revoked_at)).collect();
    assert_eq!(seen, [(1, Some(at(3))), (2, Some(at(1))), (3, Some(at(3)))]);
    assert_eq!(state.list_certificates(Some(&other)).await.unwrap(), [certificate("b-2", 4)]);
    assert_eq!(state.list_certificates(None).await.unwrap().len(), 4);
}
