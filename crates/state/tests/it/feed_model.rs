//! What plants say, in any order and however often: SQLite and the model in memory come to the
//! same, and whatever comes, no component is in two places at one time.

use axle_domain::port::{BatchReceipt, ComponentFilter, ComponentRegistry, ReviewFilter};
use axle_domain::{
    Component, ComponentFacts, ComponentStatus, FeedRecord, Installation, KindName, ReviewItem,
};
use axle_testkit::conformance::state::component_registry::{
    batch, bike, component, installed, serial,
};
use axle_testkit::memory_state::MemoryState;
use proptest::prelude::*;

use crate::place::Folder;

/// Few names and times, so that records meet.
fn record() -> impl Strategy<Value = FeedRecord> {
    let statuses = [None, Some(ComponentStatus::Remanufactured), Some(ComponentStatus::Recycled)];
    let life = (0..3_u8, prop::sample::select(statuses.to_vec())).prop_map(|(number, status)| {
        FeedRecord::Component(ComponentFacts {
            serial: serial(&format!("S{number}")),
            kind: KindName::parse(if number == 2 { "motor" } else { "battery" }).unwrap(),
            model: None,
            produced_at: None,
            status,
        })
    });
    let installation = (0..3_u8, 0..3_u8, 0..6_i64, prop::option::of(0..4_i64)).prop_map(
        |(number, device, from, length)| {
            let to = length.map(|length| from + length);
            installed(&format!("S{number}"), &format!("b-{device}"), from, to)
        },
    );
    prop_oneof![
        1 => (0..3_u8).prop_map(|number| bike(&format!("b-{number}"))),
        2 => (0..3_u8, 0..2_u8).prop_map(|(number, other)| {
            component(&format!("S{number}"), if other == 0 { "battery" } else { "motor" })
        }),
        1 => life,
        6 => installation,
    ]
}

/// All that a registry of components holds.
#[derive(Debug, PartialEq)]
struct Contents {
    components: Vec<Component>,
    installations: Vec<Vec<Installation>>,
    reviews: Vec<ReviewItem>,
}

async fn contents(state: &dyn ComponentRegistry) -> Contents {
    let every = ComponentFilter { limit: usize::MAX, ..ComponentFilter::default() };
    let components = state.list_components(every).await.unwrap();
    let mut installations = Vec::new();
    for component in &components {
        installations.push(state.installations_of(&component.serial).await.unwrap());
    }
    let reviews = ReviewFilter { limit: 10_000, ..ReviewFilter::default() };
    Contents { components, installations, reviews: state.list_reviews(reviews).await.unwrap() }
}

fn check_law(contents: &Contents) {
    for (component, life) in contents.components.iter().zip(&contents.installations) {
        for (index, one) in life.iter().enumerate() {
            assert!(one.to.is_none_or(|to| to > one.from), "{one:?}");
            for other in &life[index + 1..] {
                assert!(!one.overlaps(other), "{one:?} {other:?}");
            }
        }
        let sits = life.iter().any(Installation::is_open);
        assert_eq!(sits, component.status == ComponentStatus::InUse, "{component:?}");
    }
    let every = contents.installations.iter().flatten().zip(
        contents
            .components
            .iter()
            .zip(&contents.installations)
            .flat_map(|(component, life)| std::iter::repeat_n(&component.kind, life.len())),
    );
    let every: Vec<_> = every.collect();
    for (index, (one, kind)) in every.iter().enumerate() {
        for (other, other_kind) in &every[index + 1..] {
            let shares = one.device == other.device && kind == other_kind;
            assert!(!(shares && one.overlaps(other)), "two in one place: {one:?} {other:?}");
        }
    }
}

async fn check(batches: Vec<Vec<FeedRecord>>) {
    let folder = Folder::new();
    let (state, model) = (folder.state(), MemoryState::new());
    for (number, records) in batches.into_iter().enumerate() {
        let batch = batch(&format!("batch-{number}"), records);
        let (receipt, changes) = state.accept_batch(batch.clone()).await.unwrap();
        assert_eq!(model.accept_batch(batch.clone()).await.unwrap(), (receipt, changes));
        let before = contents(&state).await;
        assert_eq!(before, contents(&model).await);
        check_law(&before);
        // What was taken in is known, and what waits still waits: nothing happens twice. A
        // record of the middle may have become possible by one after it.
        let mut again = batch;
        again.key.push_str("-again");
        again.id = axle_domain::BatchId::parse(&again.key).unwrap();
        let (receipt, _): (BatchReceipt, _) = state.accept_batch(again.clone()).await.unwrap();
        assert_eq!(model.accept_batch(again).await.unwrap().0, receipt);
        check_law(&contents(&state).await);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn prop_what_plants_say_comes_to_the_same_and_never_overlaps(
        batches in prop::collection::vec(prop::collection::vec(record(), 1..12), 1..6),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(check(batches));
    }
}
