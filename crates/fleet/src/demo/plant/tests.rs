//! What the plant says, and what it gets wrong.

use std::collections::BTreeSet;

use super::*;

fn plant() -> Plant {
    let status = Arc::default();
    Plant { api: Api::new("127.0.0.1:1", ""), status, installed: BTreeMap::new() }
}

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

fn records(count: u64) -> (Plant, Vec<Value>) {
    let (mut plant, vehicles) = (plant(), vehicles(count));
    let records = vehicles.iter().flat_map(|vehicle| plant.records(vehicle, &vehicles));
    let records = records.collect();
    (plant, records)
}

#[test]
fn every_vehicle_has_its_components_and_the_same_seed_the_same_serials() {
    let (_, seen) = records(60);
    assert_eq!(seen, records(60).1);
    let of_type = |word: &str| seen.iter().filter(|record| record["type"] == word).count();
    assert_eq!(of_type("device"), 60);
    let serials: BTreeSet<&str> =
        seen.iter().filter_map(|record| record["serial"].as_str()).collect();
    assert_eq!(serials.len(), 300, "a serial number is one component's");
}

#[test]
fn a_few_records_are_wrong_in_each_of_three_ways() {
    let (_, seen) = records(100);
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
    let (mut plant, seen) = records(3);
    let device = DeviceId::parse("bike-0002").unwrap();
    let swap = |time_ms| Swap { device: device.clone(), component: "battery", time_ms };
    let first = plant.swapped(&swap(1_781_064_000_000));
    let [leaves, made, sits] = first.as_slice() else { panic!("{first:?}") };
    assert!(seen.iter().any(|record| record["serial"] == leaves["serial"]
        && record["from"] == leaves["from"]
        && record["device"] == "bike-0002"));
    assert_eq!((&leaves["to"], &made["serial"]), (&sits["from"], &sits["serial"]));
    assert_ne!(leaves["serial"], sits["serial"]);
    let second = plant.swapped(&swap(1_781_064_000_000 + DAY_MS));
    assert_eq!(second[0]["serial"], sits["serial"]);
    // What a bike of this plant does not have, no workshop swaps; nor before it was made.
    assert!(plant.swapped(&Swap { component: "brake", ..swap(1_781_164_000_000) }).is_empty());
    assert!(plant.swapped(&swap(1)).is_empty());
}

#[test]
fn the_same_batch_has_the_same_key() {
    assert_eq!(batch_key("{}"), batch_key("{}"));
    assert_ne!(batch_key("{}"), batch_key("[]"));
}
