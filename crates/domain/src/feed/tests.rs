//! The law of the feed, record by record.

use super::*;
use crate::{ComponentStatus, DeviceStatus};

const NOW: Timestamp = Timestamp(1_790_000_000_000_000);

fn day(number: i64) -> Timestamp {
    NOW.shifted(number * 86_400_000_000)
}

fn device(kind: &str) -> Device {
    Device {
        id: DeviceId::parse("b-1").unwrap(),
        status: DeviceStatus::Active,
        name: "Paula".to_owned(),
        kind: kind.to_owned(),
        model: "X2".to_owned(),
        created_at: day(-90),
        updated_at: day(-90),
        version: 3,
    }
}

fn component(serial: &str, status: ComponentStatus) -> Component {
    Component {
        serial: Serial::parse(serial).unwrap(),
        kind: KindName::parse("battery").unwrap(),
        model: "P500".to_owned(),
        produced_at: Some(day(-100)),
        status,
        created_at: day(-90),
        updated_at: day(-90),
    }
}

fn facts(status: Option<ComponentStatus>) -> ComponentFacts {
    ComponentFacts {
        serial: Serial::parse("S1").unwrap(),
        kind: KindName::parse("battery").unwrap(),
        model: Some("P500".to_owned()),
        produced_at: Some(day(-100)),
        status,
    }
}

fn installation(device: &str, from: i64, to: Option<i64>) -> Installation {
    Installation {
        serial: Serial::parse("S1").unwrap(),
        device: DeviceId::parse(device).unwrap(),
        from: day(from),
        to: to.map(day),
    }
}

/// A registry with the device and the component.
fn known(status: ComponentStatus) -> Known {
    Known {
        device: Some(device("bike")),
        component: Some(component("S1", status)),
        ..Known::default()
    }
}

fn code(outcome: Result<Vec<Change>, Reason>) -> &'static str {
    outcome.unwrap_err().code
}

fn says(record: &FeedRecord, known: &Known) -> Result<Vec<Change>, Reason> {
    judge(record, known, NOW, None)
}

fn vouched(record: &FeedRecord, known: &Known, close: Option<i64>) -> Result<Vec<Change>, Reason> {
    judge(record, known, NOW, Some(&Approval { close_other_at: close.map(day) }))
}

fn device_facts(kind: &str, model: &str, name: &str) -> FeedRecord {
    FeedRecord::Device(DeviceFacts {
        id: DeviceId::parse("b-1").unwrap(),
        kind: KindName::parse(kind).unwrap(),
        name: (!name.is_empty()).then(|| name.to_owned()),
        model: (!model.is_empty()).then(|| model.to_owned()),
    })
}

#[test]
fn a_new_device_is_registered_and_a_known_one_only_completed() {
    let new = says(&device_facts("bike", "X2", "Paula"), &Known::default()).unwrap();
    let expected = Device { version: 1, created_at: NOW, updated_at: NOW, ..device("bike") };
    assert_eq!(new, [Change::Device(expected)]);

    let stored = Known { device: Some(device("bike")), ..Known::default() };
    assert_eq!(says(&device_facts("bike", "X2", "Another"), &stored), Ok(vec![]));
    assert_eq!(says(&device_facts("bike", "", ""), &stored), Ok(vec![]));
    let bare = Device { model: String::new(), ..device("bike") };
    let completed =
        says(&device_facts("bike", "X2", ""), &Known { device: Some(bare), ..Known::default() });
    let expected = Device { version: 4, updated_at: NOW, ..device("bike") };
    assert_eq!(completed, Ok(vec![Change::Device(expected)]));
}

#[test]
fn other_facts_of_a_known_device_wait_and_replace_when_vouched_for() {
    let stored = Known { device: Some(device("bike")), ..Known::default() };
    for record in [device_facts("car", "X2", ""), device_facts("bike", "X3", "")] {
        assert_eq!(code(says(&record, &stored)), "device.conflict");
        assert_eq!(vouched(&record, &stored, None).unwrap().len(), 1);
    }
}

#[test]
fn an_unknown_kind_waits_until_it_is_in_use() {
    let record = device_facts("hoverboard", "", "");
    assert_eq!(code(says(&record, &Known::default())), "kind.unknown");
    let in_use = Known { is_kind_in_use: true, ..Known::default() };
    assert!(says(&record, &in_use).is_ok());
    assert!(vouched(&record, &Known::default(), None).is_ok());
    let odd = ComponentFacts { kind: KindName::parse("flux").unwrap(), ..facts(None) };
    assert_eq!(code(says(&FeedRecord::Component(odd), &Known::default())), "kind.unknown");
}

#[test]
fn a_serial_with_other_facts_waits() {
    let stored = known(ComponentStatus::Spare);
    assert_eq!(says(&FeedRecord::Component(facts(None)), &stored), Ok(vec![]));
    let other = |change: &dyn Fn(&mut ComponentFacts)| {
        let mut facts = facts(None);
        change(&mut facts);
        FeedRecord::Component(facts)
    };
    for record in [
        other(&|facts| facts.kind = KindName::parse("motor").unwrap()),
        other(&|facts| facts.model = Some("P600".to_owned())),
        other(&|facts| facts.produced_at = Some(day(-99))),
    ] {
        assert_eq!(code(says(&record, &stored)), "component.conflict", "{record:?}");
        assert_eq!(vouched(&record, &stored, None).unwrap().len(), 1, "{record:?}");
    }
    let fewer = other(&|facts| (facts.model, facts.produced_at) = (None, None));
    assert_eq!(says(&fewer, &stored), Ok(vec![]));
}

#[test]
fn what_sat_in_a_device_stays_of_its_kind() {
    let motor = |status| {
        let kind = KindName::parse("motor").unwrap();
        FeedRecord::Component(ComponentFacts { kind, ..facts(status) })
    };
    let stored = known(ComponentStatus::Spare);
    let renewed = motor(Some(ComponentStatus::Remanufactured));
    assert_eq!(code(says(&renewed, &stored)), "component.conflict", "no motor from a battery");
    let used = Known { first_installed_at: Some(day(-5)), ..stored };
    assert_eq!(code(vouched(&motor(None), &used, None)), "component.conflict");
}

#[test]
fn what_cannot_be_true_is_refused_even_when_vouched_for() {
    let installed = |from, to| FeedRecord::Installation(installation("b-1", from, to));
    let made = |at| FeedRecord::Component(ComponentFacts { produced_at: Some(at), ..facts(None) });
    for (record, expected) in [
        (installed(-5, Some(-5)), "installation.ends_before_start"),
        (installed(-5, Some(-6)), "installation.ends_before_start"),
        (installed(8, None), "time.future"),
        (installed(-1, Some(8)), "time.future"),
        (installed(-20_000, None), "time.past"),
        (made(day(8)), "time.future"),
        (made(Timestamp(0)), "time.past"),
    ] {
        let known = known(ComponentStatus::Spare);
        assert_eq!(code(says(&record, &known)), expected, "{record:?}");
        assert_eq!(code(vouched(&record, &known, None)), expected, "{record:?}");
    }
}

#[test]
fn an_installation_needs_both_sides() {
    let record = FeedRecord::Installation(installation("b-1", -5, None));
    let no_device = Known { device: None, ..known(ComponentStatus::Spare) };
    let no_component = Known { component: None, ..known(ComponentStatus::Spare) };
    for (known, expected) in [(no_device, "device.unknown"), (no_component, "component.unknown")] {
        assert_eq!(code(says(&record, &known)), expected);
        assert_eq!(code(vouched(&record, &known, None)), expected);
    }
}

#[test]
fn a_component_is_in_use_while_it_sits_somewhere() {
    let opened = installation("b-1", -5, None);
    let record = FeedRecord::Installation(opened.clone());
    let in_use = Component { updated_at: NOW, ..component("S1", ComponentStatus::InUse) };
    assert_eq!(
        says(&record, &known(ComponentStatus::Spare)),
        Ok(vec![Change::Installation(opened.clone()), Change::Component(in_use)])
    );
    let sitting = Known { same_start: Some(opened), ..known(ComponentStatus::InUse) };
    assert_eq!(says(&record, &sitting), Ok(vec![]));
    let closed = installation("b-1", -5, Some(-1));
    let spare = Component { updated_at: NOW, ..component("S1", ComponentStatus::Spare) };
    assert_eq!(
        says(&FeedRecord::Installation(closed.clone()), &sitting),
        Ok(vec![Change::Installation(closed.clone()), Change::Component(spare)])
    );
    let gone = Known { same_start: Some(closed), ..known(ComponentStatus::Spare) };
    assert_eq!(says(&record, &gone), Ok(vec![]), "an older record says less");
    let ended_twice = FeedRecord::Installation(installation("b-1", -5, Some(-2)));
    assert_eq!(code(says(&ended_twice, &gone)), "installation.not_open");
    assert!(vouched(&ended_twice, &gone, None).is_ok(), "a person mends the end");
}

#[test]
fn a_component_cannot_sit_in_two_devices() {
    let record = installation("b-1", -5, None);
    let elsewhere = installation("b-2", -30, None);
    let conflict = Known { elsewhere: vec![elsewhere.clone()], ..known(ComponentStatus::InUse) };
    let record = FeedRecord::Installation(record);
    assert_eq!(code(says(&record, &conflict)), "component.installed_elsewhere");
    for close in [None, Some(-4), Some(-30), Some(1)] {
        let outcome = vouched(&record, &conflict, close);
        assert_eq!(code(outcome), "component.installed_elsewhere", "{close:?}");
    }
    let ended = Installation { to: Some(day(-6)), ..elsewhere };
    let swapped = vouched(&record, &conflict, Some(-6)).unwrap();
    assert_eq!(
        swapped,
        [Change::Installation(ended), Change::Installation(installation("b-1", -5, None))]
    );
    let here =
        Known { elsewhere: vec![installation("b-1", -9, None)], ..known(ComponentStatus::InUse) };
    assert_eq!(code(says(&record, &here)), "installation.overlaps");
}

#[test]
fn a_bike_has_room_for_one_battery() {
    let neighbor = Neighbor {
        component: component("S2", ComponentStatus::InUse),
        installation: Installation {
            serial: Serial::parse("S2").unwrap(),
            ..installation("b-1", -30, None)
        },
    };
    let record = FeedRecord::Installation(installation("b-1", -5, None));
    let taken = Known { neighbors: vec![neighbor], ..known(ComponentStatus::Spare) };
    assert_eq!(code(says(&record, &taken)), "device.slot_taken");
    let changes = vouched(&record, &taken, Some(-5)).unwrap();
    let [Change::Installation(out), Change::Component(spare), Change::Installation(_), _] =
        changes.as_slice()
    else {
        panic!("{changes:?}");
    };
    assert_eq!((out.serial.as_str(), out.to), ("S2", Some(day(-5))));
    assert_eq!((spare.serial.as_str(), spare.status), ("S2", ComponentStatus::Spare));
    let roomy = Known { device: Some(device("meter")), ..taken };
    assert!(says(&record, &roomy).is_ok());
}

#[test]
fn a_life_goes_on_only_by_its_steps() {
    use ComponentStatus::{InUse, Recycled, Remanufactured, Spare};
    let step = |status| FeedRecord::Component(facts(Some(status)));
    for (from, to, expected) in [
        (Spare, Remanufactured, Ok(Some(Remanufactured))),
        (Spare, Recycled, Ok(Some(Recycled))),
        (Remanufactured, Recycled, Ok(Some(Recycled))),
        (Remanufactured, Spare, Ok(None)),
        (InUse, Spare, Ok(None)),
        (InUse, InUse, Ok(None)),
        (InUse, Recycled, Err("component.in_use")),
        (InUse, Remanufactured, Err("component.in_use")),
        (Recycled, Spare, Err("component.recycled")),
        (Recycled, Remanufactured, Err("component.recycled")),
    ] {
        let outcome = says(&step(to), &known(from));
        let seen = outcome.map_err(|reason| reason.code).map(|changes| match changes.as_slice() {
            [Change::Component(component)] => Some(component.status),
            _ => None,
        });
        assert_eq!(seen, expected, "{from:?} {to:?}");
    }
    let renewed = ComponentFacts { produced_at: Some(day(-2)), ..facts(Some(Remanufactured)) };
    assert!(says(&FeedRecord::Component(renewed), &known(Spare)).is_ok(), "a new life");
    let record = FeedRecord::Installation(installation("b-1", -5, None));
    assert_eq!(code(says(&record, &known(Recycled))), "component.recycled");
}

#[test]
fn nothing_is_built_in_before_it_was_made() {
    let record = FeedRecord::Installation(installation("b-1", -200, Some(-150)));
    let stored = known(ComponentStatus::Spare);
    assert_eq!(code(says(&record, &stored)), "installation.before_production");
    assert!(vouched(&record, &stored, None).is_ok(), "it may have been made anew since");
    let unknown_age = Component { produced_at: None, ..component("S1", ComponentStatus::Spare) };
    let stored = Known {
        component: Some(unknown_age),
        first_installed_at: Some(day(-150)),
        ..Known::default()
    };
    let record = FeedRecord::Component(facts(None));
    assert_eq!(code(says(&record, &stored)), "component.installed_before");
}

#[test]
fn review_ids_are_read_as_they_are_written() {
    assert_eq!(ReviewId::parse(&ReviewId(17).to_string()), Some(ReviewId(17)));
    for bad in ["", "17", "r-", "r-+1", "r-x", "q-1"] {
        assert_eq!(ReviewId::parse(bad), None, "{bad}");
    }
}
