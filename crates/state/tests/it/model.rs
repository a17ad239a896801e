//! Latest values against a map: in whatever order and however often values come, the same stay.

use std::collections::BTreeMap;

use axle_domain::port::{Projected, ReportedState};
use axle_domain::{DeviceId, FieldKey, LatestValue, Offset, OwnedValue, Timestamp};
use proptest::prelude::*;

use crate::place::Folder;

type Model = BTreeMap<(DeviceId, FieldKey), LatestValue>;

fn latest_value() -> impl Strategy<Value = LatestValue> {
    let value = prop_oneof![
        (-1e9..1e9_f64).prop_map(OwnedValue::Float),
        any::<bool>().prop_map(OwnedValue::Bool),
        ".{0,8}".prop_map(OwnedValue::Text),
    ];
    // Few devices, fields and times, so that they meet.
    (0..3_u8, 0..4_u8, value, -2..4_i64, 0..3_i64).prop_map(
        |(device, field, value, time, received_at)| LatestValue {
            device: DeviceId::parse(&format!("b-{device}")).unwrap(),
            field: FieldKey(format!("ride.f{field}")),
            value,
            time: Timestamp(time),
            received_at: Timestamp(received_at),
        },
    )
}

fn put(model: &mut Model, value: &LatestValue) {
    let key = (value.device.clone(), value.field.clone());
    match model.get_mut(&key) {
        Some(old) if !old.is_replaced_by(value.time, value.received_at) => {}
        Some(old) => *old = value.clone(),
        None => drop(model.insert(key, value.clone())),
    }
}

/// One entry a field in a stretch, as the port demands.
fn folded(values: &[LatestValue]) -> Vec<LatestValue> {
    let mut model = Model::new();
    values.iter().for_each(|value| put(&mut model, value));
    model.into_values().collect()
}

async fn check(stretches: &[Vec<LatestValue>], again: &[usize]) {
    let folder = Folder::new();
    let mut state = folder.state();
    let mut model = Model::new();
    let repeated = again.iter().filter_map(|index| stretches.get(index % stretches.len().max(1)));
    for (stretch, offset) in stretches.iter().chain(repeated).zip(1..) {
        stretch.iter().for_each(|value| put(&mut model, value));
        let projected =
            Projected { through: Offset(offset), latest: folded(stretch), ..Projected::default() };
        state.commit(projected).await.unwrap();
        if offset % 5 == 0 {
            drop(state);
            state = folder.state();
        }
    }
    let mut seen = Vec::new();
    for device in 0..3 {
        let device = DeviceId::parse(&format!("b-{device}")).unwrap();
        seen.extend(state.latest(&device).await.unwrap().0);
    }
    assert_eq!(seen, model.into_values().collect::<Vec<_>>());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn prop_latest_values_are_those_of_the_model(
        stretches in prop::collection::vec(prop::collection::vec(latest_value(), 0..20), 0..8),
        again in prop::collection::vec(any::<usize>(), 0..4),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(check(&stretches, &again));
    }
}
