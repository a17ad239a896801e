//! What the plant says, and what it gets wrong.

use std::collections::BTreeSet;

use super::*;

fn vehicles(count: u64) -> Vec<Vehicle> {
    let vehicle = |number| Vehicle {
        device: DeviceId::parse(&format!("bike-{:04}", number + 1)).unwrap(),
        kind: "bike",
        name: format!("Bike {number}"),
        key: Key::new(1).named("bike").child(number),
        number,
    };
    (0..count).map(vehicle).collect()
}

fn said(count: u64) -> Vec<Value> {
    let vehicles = vehicles(count);
    vehicles.iter().flat_map(|vehicle| records(vehicle, &vehicles)).collect()
}

#[test]
fn every_vehicle_has_its_components_and_the_same_seed_the_same_serials() {
    let seen = said(60);
    assert_eq!(seen, said(60));
    let of_type = |word: &str| seen.iter().filter(|record| record["type"] == word).count();
    assert_eq!(of_type("device"), 60);
    let serials: BTreeSet<&str> =
        seen.iter().filter_map(|record| record["serial"].as_str()).collect();
    assert_eq!(serials.len(), 300, "a serial number is one component's");
}

#[test]
fn a_few_records_are_wrong_in_each_of_three_ways() {
    let seen = said(100);
    let components = seen.iter().filter(|record| record["type"] == "component").count();
    let installations: Vec<&Value> =
        seen.iter().filter(|record| record["type"] == "installation").collect();
    let same_serial = components - 500;
    let open = installations.iter().filter(|record| record["to"].is_null()).count();
    let in_two = open - 500;
    let nobody = installations
        .iter()
        .filter(|record| record["device"].as_str().unwrap().starts_with("bike-x"));
    for (what, count) in [("twice", same_serial), ("two", in_two), ("nobody", nobody.count())] {
        assert!(count == 4, "{what}: {count}");
    }
}

#[test]
fn a_swap_ends_one_installation_where_the_next_begins() {
    let device = DeviceId::parse("bike-0002").unwrap();
    let swap = |time_ms| Swap { device: device.clone(), component: "battery", time_ms };
    let since = "2025-03-01T00:00:00.000000Z";
    let [serial, from, model] = ["BAT-24-0000001", since, "X"].map(str::to_owned);
    let sits = Sits { serial, from, model };
    let first = swapped(&swap(1_781_064_000_000), &sits);
    let [leaves, made, sits_now] = first.as_slice() else { panic!("{first:?}") };
    assert_eq!((&leaves["serial"], &leaves["from"]), (&json!(sits.serial), &json!(since)));
    assert_eq!((&leaves["to"], &made["serial"]), (&sits_now["from"], &sits_now["serial"]));
    assert!(made["serial"].as_str().unwrap().starts_with("BAT-") && sits_now["to"].is_null());
    // Another swap, another serial number; and none before it was built in.
    assert_ne!(swapped(&swap(1_781_164_000_000), &sits)[1]["serial"], made["serial"]);
    assert!(swapped(&swap(1_700_000_000_000), &sits).is_empty());
}

#[test]
fn the_same_batch_has_the_same_key() {
    assert_eq!(batch_key("{}"), batch_key("{}"));
    assert_ne!(batch_key("{}"), batch_key("[]"));
}
