//! Load against the fake: the figures add up, and reading back tells the truth.

use std::time::Duration;

use axle_fleet::load::{LoadPlan, Profile, run};
use axle_fleet::{Doors, LoadReport, Switches};

use crate::fake::{Fake, Lie};

fn plan(doors: Doors) -> LoadPlan {
    LoadPlan {
        rate: Some(500.0),
        is_tls: false,
        duration: Duration::from_millis(600),
        warm_up: Duration::from_millis(100),
        is_verified: true,
        probes_per_s: 10.0,
        ..LoadPlan::new(Profile::Bike, 4, doors)
    }
}

async fn load(lie: Lie, change: impl FnOnce(&mut LoadPlan)) -> LoadReport {
    let (_fake, doors) = Fake::start(lie).await;
    let mut plan = plan(doors);
    change(&mut plan);
    run(&plan, &|_| ()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn paced_load_is_sent_acknowledged_and_found_again() {
    let report = load(Lie::None, |_| ()).await;
    let verify = report.verify.clone().unwrap();
    assert!(verify.is_clean(), "{verify:#?}");
    assert_eq!((report.sent, report.unacked), (report.acked, 0), "{report:#?}");
    assert_eq!((verify.acked, verify.visible), (report.acked, report.acked));
    assert!(report.ack.count > 0 && report.ack.p50_ms <= report.ack.max_ms, "{report:#?}");
    assert!(report.queryable.count > 0, "{report:#?}");
    assert!(report.errors.is_empty(), "{report:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn several_connections_of_one_device_share_its_messages() {
    let report = load(Lie::None, |plan| plan.connections = 8).await;
    assert!(report.verify.unwrap().is_clean());
    assert_eq!(report.connections, 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_may_speak_for_several_devices() {
    let report = load(Lie::None, |plan| {
        (plan.connections, plan.is_shared) = (2, true);
    });
    let report = report.await;
    assert!(report.verify.unwrap().is_clean());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_connection_costs_a_disconnect_and_no_message() {
    let report = load(Lie::Hiccup, |_| ()).await;
    assert!(report.disconnects > 0, "{report:#?}");
    assert!(report.verify.unwrap().is_clean());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_server_lost_is_found() {
    let verify = load(Lie::Lose, |plan| plan.probes_per_s = 0.0).await.verify.unwrap();
    assert!(verify.lost > 0 && verify.lost + verify.visible == verify.acked, "{verify:#?}");
}

/// A little of everything that can go wrong with messages.
fn mistakes() -> Switches {
    Switches {
        faults: 0.05,
        late: 0.05,
        future: 0.1,
        duplicates: 0.1,
        out_of_order: 0.3,
        wrong_clock: 0.5,
        torn: 0.1,
        double_client_ids: 0.0,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_wrong_on_purpose_is_found_where_it_belongs() {
    let report = load(Lie::None, |plan| (plan.switches, plan.devices) = (mistakes(), 6)).await;
    let verify = report.verify.clone().unwrap();
    assert!(verify.is_clean(), "{verify:#?}");
    assert!(verify.quarantined > 10 && verify.acked > 200, "{verify:#?}");
    assert_eq!(verify.acked, verify.visible);
    // Everything was acknowledged; what was set aside is no row.
    assert!(verify.acked + verify.quarantined <= report.acked, "{report:#?}");
    assert!(verify.acked + verify.quarantined + 3 >= report.acked, "{report:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_wrong_survives_broken_connections() {
    let report = load(Lie::Hiccup, |plan| plan.switches = mistakes()).await;
    assert!(report.disconnects > 0 && report.verify.clone().unwrap().is_clean(), "{report:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_believes_every_clock_is_found_out() {
    let switches = Switches { late: 0.1, future: 0.1, ..Switches::default() };
    let verify = load(Lie::Believe, |plan| plan.switches = switches).await.verify.unwrap();
    assert!(verify.misjudged > 10 && verify.not_quarantined > 0, "{verify:#?}");
    assert!(verify.phantom > 0 && verify.lost == 0, "{verify:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quarantine_that_forgets_and_a_store_that_loses_are_found_out() {
    let switches = |plan: &mut LoadPlan| plan.switches = mistakes();
    let verify = load(Lie::ForgetQuarantine, switches).await.verify.unwrap();
    assert!(verify.not_quarantined > 5 && verify.lost == 0, "{verify:#?}");
    let verify = load(Lie::Lose, switches).await.verify.unwrap();
    assert!(verify.lost > 5 && verify.not_quarantined == 0, "{verify:#?}");
}

#[tokio::test]
async fn refuses_plans_that_cannot_be() {
    let (_fake, doors) = Fake::start(Lie::None).await;
    let refused = async |change: fn(&mut LoadPlan)| {
        let mut plan = plan(doors.clone());
        change(&mut plan);
        run(&plan, &|_| ()).await.unwrap_err().code
    };
    assert_eq!(refused(|plan| plan.devices = 0).await, "load.plan_invalid");
    assert_eq!(refused(|plan| plan.window = 0).await, "load.plan_invalid");
    assert_eq!(refused(|plan| plan.connections = 3).await, "load.plan_invalid");
    assert_eq!(refused(|plan| plan.rate = Some(f64::NAN)).await, "load.plan_invalid");
    assert_eq!(refused(|plan| plan.switches.torn = 2.0).await, "fleet.share_invalid");
    let all = Switches { torn: 0.6, late: 0.6, ..Switches::default() };
    assert!(all.check().is_ok());
    assert_eq!(
        refused(|plan| (plan.switches.torn, plan.switches.late) = (0.6, 0.6)).await,
        "load.plan_invalid"
    );
    let wrong_clock = |plan: &mut LoadPlan| {
        (plan.profile, plan.switches.wrong_clock) = (Profile::Meter, 0.1);
    };
    assert_eq!(refused(wrong_clock).await, "load.plan_invalid");
    assert_eq!(refused(|plan| plan.is_tls = true).await, "load.door_closed");
}
