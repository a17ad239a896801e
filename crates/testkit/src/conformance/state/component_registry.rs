//! The contract of [`axle_domain::port::ComponentRegistry`], clause by clause.

#![expect(clippy::unwrap_used, reason = "a suite panics where the contract is broken")]

use axle_domain::port::{
    BatchFilter, BatchReceipt, BatchRecord, ComponentFilter, Decision, FeedBatch, ReviewFilter,
};
use axle_domain::{
    Approval, BatchId, Change, ComponentFacts, ComponentStatus, DeviceFacts, FeedRecord,
    Installation, Kind, KindName, PlantName, Reason, ReviewId, ReviewStatus, Serial,
};

use super::{Place, State, assert_refused, at, device, device_id};

/// A serial.
#[must_use]
pub fn serial(text: &str) -> Serial {
    Serial::parse(text).unwrap()
}

/// A bike as a plant tells of it.
#[must_use]
pub fn bike(id: &str) -> FeedRecord {
    FeedRecord::Device(DeviceFacts {
        id: device_id(id),
        kind: KindName::parse("bike").unwrap(),
        name: None,
        model: Some("X2".to_owned()),
    })
}

/// A component as a plant tells of it.
#[must_use]
pub fn component(id: &str, kind: &str) -> FeedRecord {
    FeedRecord::Component(ComponentFacts {
        serial: serial(id),
        kind: KindName::parse(kind).unwrap(),
        model: Some("P500".to_owned()),
        produced_at: None,
        status: None,
    })
}

/// An installation, in seconds from the fixed moment.
#[must_use]
pub fn installed(id: &str, device: &str, from: i64, to: Option<i64>) -> FeedRecord {
    let (serial, device) = (serial(id), device_id(device));
    FeedRecord::Installation(Installation { serial, device, from: at(from), to: to.map(at) })
}

/// A batch of plant `graz`, whose key is its id.
#[must_use]
pub fn batch(id: &str, records: Vec<FeedRecord>) -> FeedBatch {
    let record =
        |record: FeedRecord| BatchRecord { original: format!("{record:?}"), record: Ok(record) };
    FeedBatch {
        id: BatchId::parse(id).unwrap(),
        plant: PlantName::parse("graz").unwrap(),
        key: id.to_owned(),
        body_hash: format!("hash of {id}"),
        by: "t-1".to_owned(),
        received_at: at(1000),
        records: records.into_iter().map(record).collect(),
        is_dry_run: false,
    }
}

/// A bike with a battery, and a second bike.
#[must_use]
pub fn beginning() -> FeedBatch {
    batch(
        "beginning",
        vec![bike("b-1"), bike("b-2"), component("S1", "battery"), installed("S1", "b-1", 0, None)],
    )
}

fn codes(receipt: &BatchReceipt) -> Vec<&str> {
    receipt.review.iter().map(|aside| aside.code.as_str()).collect()
}

fn counts(receipt: &BatchReceipt) -> (u32, u32, usize) {
    (receipt.accepted, receipt.unchanged, receipt.review.len())
}

fn accept(id: ReviewId, record: FeedRecord, close_other_at: Option<i64>) -> Decision {
    let approval = Approval { close_other_at: close_other_at.map(at) };
    let (by, note) = ("u-1".to_owned(), "seen on the shelf".to_owned());
    Decision { id, accept: Some((record, approval)), by, at: at(2000), note }
}

fn all() -> ReviewFilter {
    ReviewFilter { limit: 100, ..ReviewFilter::default() }
}

/// Clause 1: what was answered is there after the state was opened anew.
pub async fn batches_and_decisions_are_durable_when_they_return(place: &dyn Place) {
    let state = place.open().await;
    let (receipt, changes) = state.accept_batch(beginning()).await.unwrap();
    assert_eq!((counts(&receipt), changes.len()), ((4, 0, 0), 5));
    let conflict = installed("S1", "b-2", 500, None);
    let (aside, _) = state.accept_batch(batch("b", vec![conflict.clone()])).await.unwrap();
    let id = aside.review.first().and_then(|aside| aside.review).unwrap();
    let (decided, _) = state.decide(accept(id, conflict, Some(400))).await.unwrap();
    drop(state);

    let state = place.open().await;
    assert_eq!(state.find_review(id).await.unwrap(), Some(decided));
    let spans: Vec<_> = state.installations_of(&serial("S1")).await.unwrap();
    let spans: Vec<_> = spans.iter().map(|it| (it.device.as_str(), it.from, it.to)).collect();
    assert_eq!(spans, [("b-1", at(0), Some(at(400))), ("b-2", at(500), None)]);
    let sitting = state.find_component(&serial("S1")).await.unwrap().unwrap();
    assert_eq!(sitting.status, ComponentStatus::InUse);
    let device = state.find_device(&device_id("b-1")).await.unwrap().unwrap();
    assert_eq!((device.kind.as_str(), device.model.as_str(), device.version), ("bike", "X2", 1));
    let batches = state.list_batches(BatchFilter { plant: None, limit: 10 }).await.unwrap();
    assert_eq!(batches, [aside, receipt]);
}

/// Clause 2: each record is judged against what the records before it have changed.
pub async fn records_are_judged_in_order(state: &dyn State) {
    let late = batch("late", vec![installed("S1", "b-1", 0, None), component("S1", "battery")]);
    let (receipt, _) = state.accept_batch(late).await.unwrap();
    assert_eq!(codes(&receipt), ["component.unknown"]);
    let all_at_once = batch(
        "all",
        vec![
            bike("b-1"),
            component("S1", "battery"),
            component("S2", "battery"),
            installed("S1", "b-1", 0, Some(10)),
            installed("S2", "b-1", 9, None),
            installed("S2", "b-1", 10, None),
        ],
    );
    let (receipt, _) = state.accept_batch(all_at_once).await.unwrap();
    assert_eq!((counts(&receipt), codes(&receipt)), ((4, 1, 1), vec!["device.slot_taken"]));
    let sitting = state.installations_in(&device_id("b-1")).await.unwrap();
    let sitting: Vec<_> =
        sitting.iter().map(|(it, part)| (it.serial.as_str(), part.status, it.to)).collect();
    assert_eq!(
        sitting,
        [("S1", ComponentStatus::Spare, Some(at(10))), ("S2", ComponentStatus::InUse, None)]
    );
    // Of several in the way the first in time is named.
    let third = vec![component("S0", "battery"), installed("S0", "b-1", 5, None)];
    let (receipt, _) = state.accept_batch(batch("third", third)).await.unwrap();
    let said = receipt.review.first().map(|aside| aside.detail.as_str()).unwrap_or_default();
    assert!(said.contains("holds `S1`"), "{said}");
}

/// Clause 3.
pub async fn a_batch_is_taken_once(state: &dyn State) {
    let (first, changes) = state.accept_batch(beginning()).await.unwrap();
    assert!(!changes.is_empty());
    let mut again = beginning();
    (again.id, again.received_at) = (BatchId::parse("another").unwrap(), at(5000));
    let (second, changes) = state.accept_batch(again).await.unwrap();
    assert_eq!((second, changes), (first, vec![]));
    let mut other = beginning();
    (other.body_hash, other.records) = ("other".to_owned(), vec![]);
    let outcome = state.accept_batch(other.clone()).await;
    assert_refused(outcome, Kind::Conflict, "feed.idempotency_conflict");
    (other.id, other.plant) = (BatchId::parse("x").unwrap(), PlantName::parse("linz").unwrap());
    assert!(state.accept_batch(other).await.is_ok(), "another plant has its own keys");
    let mut repeated = beginning();
    (repeated.id, repeated.key) = (BatchId::parse("y").unwrap(), "y".to_owned());
    let (receipt, changes) = state.accept_batch(repeated).await.unwrap();
    assert_eq!((counts(&receipt), changes), ((0, 4, 0), vec![]), "known already");
}

/// Clause 4: what conflicts changes nothing and waits, once.
pub async fn a_record_with_a_reason_waits_and_changes_nothing(state: &dyn State) {
    state.accept_batch(beginning()).await.unwrap();
    let before = (
        state.find_component(&serial("S1")).await.unwrap(),
        state.installations_of(&serial("S1")).await.unwrap(),
    );
    let conflicts = || vec![component("S1", "motor"), installed("S1", "b-2", 5, None)];
    let mut first = batch("first", conflicts());
    let reason = Reason::new("record.invalid", "`id` is missing");
    first.records.push(BatchRecord { original: "{}".to_owned(), record: Err(reason) });
    let (receipt, changes) = state.accept_batch(first).await.unwrap();
    assert_eq!(changes, []);
    let expected = ["component.conflict", "component.installed_elsewhere", "record.invalid"];
    assert_eq!(codes(&receipt), expected);
    let (again, _) = state.accept_batch(batch("again", conflicts())).await.unwrap();
    assert_eq!(again.review, receipt.review[..2]);
    let after = (
        state.find_component(&serial("S1")).await.unwrap(),
        state.installations_of(&serial("S1")).await.unwrap(),
    );
    assert_eq!(after, before);
    let waiting = state.list_reviews(all()).await.unwrap();
    let seen: Vec<_> = waiting.iter().map(|item| (item.index, item.code.as_str())).collect();
    assert_eq!(seen, [(2, expected[2]), (1, expected[1]), (0, expected[0])]);
    assert!(waiting.iter().all(|item| item.batch.as_str() == "first" && item.decided.is_none()));
    assert_eq!(waiting.first().map(|item| item.record.as_str()), Some("{}"));
}

/// Clause 5.
pub async fn a_dry_run_changes_nothing_and_says_the_same(state: &dyn State) {
    let mut dry = beginning();
    dry.records.extend(batch("x", vec![installed("S1", "b-2", 5, None)]).records);
    let real = FeedBatch { key: "real".to_owned(), ..dry.clone() };
    dry.is_dry_run = true;
    let (told, changes) = state.accept_batch(dry).await.unwrap();
    assert_eq!(changes, []);
    assert_eq!(state.find_device(&device_id("b-1")).await.unwrap(), None);
    assert_eq!(state.list_reviews(all()).await.unwrap(), []);
    assert_eq!(state.list_batches(BatchFilter { plant: None, limit: 9 }).await.unwrap(), []);
    let (mut receipt, changes) = state.accept_batch(real).await.unwrap();
    assert!(changes.iter().any(|change| matches!(change, Change::Device(_))));
    assert!(receipt.review.iter().all(|aside| aside.review.is_some()));
    receipt.review.iter_mut().for_each(|aside| aside.review = None);
    assert_eq!(told, receipt);
}

/// Clause 6.
pub async fn an_item_is_decided_once_and_only_within_the_law(state: &dyn State) {
    state.accept_batch(beginning()).await.unwrap();
    let unknown = installed("S1", "b-9", 700, Some(800));
    let swap = installed("S1", "b-2", 500, None);
    let (receipt, _) =
        state.accept_batch(batch("b", vec![unknown.clone(), swap.clone()])).await.unwrap();
    let ids: Vec<_> = receipt.review.iter().filter_map(|aside| aside.review).collect();
    let [unknown_id, swap_id] = ids[..] else { panic!("{receipt:?}") };
    for close in [None, Some(501), Some(0)] {
        let outcome = state.decide(accept(swap_id, swap.clone(), close)).await;
        assert_refused(outcome, Kind::Conflict, "review.refused");
    }
    let outcome = state.decide(accept(unknown_id, unknown.clone(), None)).await;
    assert_refused(outcome, Kind::Conflict, "review.refused");
    let waiting = state.find_review(swap_id).await.unwrap().unwrap();
    assert_eq!((waiting.status, &waiting.decided), (ReviewStatus::Waiting, &None));

    let (accepted, changes) = state.decide(accept(swap_id, swap.clone(), Some(500))).await.unwrap();
    let decided = accepted.decided.clone().unwrap();
    assert_eq!((accepted.status, changes.len()), (ReviewStatus::Accepted, 2));
    assert_eq!((decided.by.as_str(), decided.at), ("u-1", at(2000)));
    assert_eq!(decided.note, "seen on the shelf");
    let outcome = state.decide(accept(swap_id, swap, Some(500))).await;
    assert_refused(outcome, Kind::Conflict, "review.decided");
    let reject = Decision { accept: None, ..accept(unknown_id, unknown, None) };
    let (rejected, changes) = state.decide(reject.clone()).await.unwrap();
    assert_eq!((rejected.status, changes), (ReviewStatus::Rejected, vec![]));
    assert_refused(state.decide(reject.clone()).await, Kind::Conflict, "review.decided");
    let nobody = Decision { id: ReviewId(999), ..reject };
    assert_refused(state.decide(nobody).await, Kind::NotFound, "review.not_found");
}

/// Clause 7, with pages and filters.
pub async fn lists_are_ordered_and_paged(state: &dyn State) {
    state.create_device(device("b-1")).await.unwrap();
    let records = ["S3", "S1", "S2"].map(|id| component(id, "motor")).to_vec();
    state.accept_batch(batch("1", records)).await.unwrap();
    state.accept_batch(batch("2", vec![component("S0", "lock")])).await.unwrap();
    let list = async |filter: ComponentFilter| -> Vec<String> {
        let components = state.list_components(filter).await.unwrap();
        components.iter().map(|component| component.serial.to_string()).collect()
    };
    let every = ComponentFilter { limit: 10, ..ComponentFilter::default() };
    assert_eq!(list(every.clone()).await, ["S0", "S1", "S2", "S3"]);
    let motors = ComponentFilter { kind: KindName::parse("motor").ok(), ..every.clone() };
    assert_eq!(list(ComponentFilter { limit: 2, ..motors.clone() }).await, ["S1", "S2"]);
    assert_eq!(list(ComponentFilter { after: Some(serial("S2")), ..motors }).await, ["S3"]);
    let in_use = ComponentFilter { status: Some(ComponentStatus::InUse), ..every };
    assert_eq!(list(in_use).await, [""; 0]);

    let conflicts = ["S1", "S2", "S3"].map(|id| component(id, "frame")).to_vec();
    state.accept_batch(batch("3", conflicts)).await.unwrap();
    let ids = async |filter: ReviewFilter| -> Vec<ReviewId> {
        state.list_reviews(filter).await.unwrap().iter().map(|item| item.id).collect()
    };
    let found = ids(all()).await;
    assert!(found.is_sorted_by(|left, right| left > right) && found.len() == 3);
    assert_eq!(ids(ReviewFilter { limit: 1, ..all() }).await, found[..1]);
    let rest = ReviewFilter { before: found.first().copied(), ..all() };
    assert_eq!(ids(rest).await, found[1..]);
    let rejected = ReviewFilter { status: Some(ReviewStatus::Rejected), ..all() };
    assert_eq!(ids(rejected).await, []);
    let foreign = ReviewFilter { plant: PlantName::parse("linz").ok(), ..all() };
    assert_eq!(ids(foreign).await, []);
    let own = ReviewFilter { plant: PlantName::parse("graz").ok(), ..all() };
    assert_eq!(ids(own).await, found);
    let newest = BatchFilter { plant: PlantName::parse("graz").ok(), limit: 2 };
    let newest = state.list_batches(newest).await.unwrap();
    assert_eq!(newest.iter().map(|it| it.id.as_str()).collect::<Vec<_>>(), ["3", "2"]);
}
