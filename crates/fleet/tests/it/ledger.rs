//! The ledger finds every lie, and none where there is none.

use std::time::Duration;

use axle_fleet::{Doors, DriveReport, Ledger, LedgerPlan, Violations};
use tokio_util::sync::CancellationToken;

use crate::fake::{Fake, Lie};

fn plan() -> LedgerPlan {
    LedgerPlan {
        devices: 3,
        apps: 1,
        is_tls: false,
        publish_pause: Duration::from_millis(2),
        upload_pause: Duration::from_millis(20),
        command_pause: Duration::from_millis(20),
        ..LedgerPlan::new(1)
    }
}

/// Drives until enough has happened, however fast this machine is.
async fn drive(ledger: Ledger, doors: &Doors) -> Ledger {
    let mut ledger = ledger;
    for _ in 0..100 {
        let stop = CancellationToken::new();
        let timer = stop.clone();
        tokio::join!(ledger.drive(doors, stop), async {
            tokio::time::sleep(Duration::from_millis(200)).await;
            timer.cancel();
        });
        let DriveReport { acked, uploads_answered, executed, .. } = ledger.report();
        if acked >= 60 && uploads_answered >= 2 && executed >= 3 {
            return ledger;
        }
    }
    panic!("nothing happens: {:?}", ledger.report());
}

async fn check(lie: Lie) -> (Violations, DriveReport) {
    let (_fake, doors) = Fake::start(lie).await;
    let mut ledger = Ledger::new(plan());
    ledger.enroll(&doors).await.unwrap();
    let mut ledger = drive(ledger, &doors).await;
    let found = ledger.settle_and_check(&doors, Duration::from_secs(30)).await.unwrap();
    (found, ledger.report())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_honest_server_is_clean() {
    let (found, report) = check(Lie::None).await;
    assert!(found.is_clean(), "{found:#?}");
    assert_eq!(report.published, report.acked);
    assert_eq!(report.uploads, report.uploads_answered);
    assert!(report.first_ack_ms.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_connections_are_no_violation_and_lose_nothing() {
    let (found, report) = check(Lie::Hiccup).await;
    assert!(found.is_clean(), "{found:#?}");
    assert!(report.connects > 6, "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn finds_what_was_acknowledged_and_lost() {
    let (found, _) = check(Lie::Lose).await;
    // Where the last message of a device is lost, its latest values are wrong too.
    assert!(found.lost > 0 && found.doubled + found.phantom == 0, "{found:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn finds_rows_that_are_there_twice() {
    let (found, _) = check(Lie::Double).await;
    assert!(found.doubled > 0 && found.lost + found.corrupt + found.phantom == 0, "{found:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn finds_changed_contents() {
    let (found, _) = check(Lie::Corrupt).await;
    assert!(found.corrupt > 0 && found.lost + found.doubled + found.phantom == 0, "{found:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn finds_rows_that_nobody_sent() {
    let (found, _) = check(Lie::Invent).await;
    assert!(found.phantom > 0 && found.lost + found.doubled + found.corrupt == 0, "{found:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn finds_commands_that_were_forgotten() {
    let (found, _) = check(Lie::ForgetCommands).await;
    assert!(found.refused > 0, "{found:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn finds_commands_that_were_executed_twice() {
    let (found, _) = check(Lie::RepeatCommands).await;
    assert!(found.executed_twice > 0 && found.lost == 0, "{found:#?}");
}
