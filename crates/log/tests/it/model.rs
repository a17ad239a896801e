//! Whatever one does to it, the log behaves as a `Vec` of messages.

use axle_domain::Offset;
use axle_domain::port::EventLog;
use axle_log::{EmbeddedLog, LogSettings};
use axle_testkit::conformance::event_log::read_all;
use axle_testkit::model::log::{OwnedMessage, message};
use proptest::prelude::*;

use crate::settings;

#[derive(Clone, Debug)]
enum Step {
    Append(Box<OwnedMessage>),
    Sync,
    Read { from: u64, bytes_max: usize },
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => message(3000).prop_map(|message| Step::Append(Box::new(message))),
        2 => Just(Step::Sync),
        3 => (0..60_u64, 0..5000_usize)
            .prop_map(|(from, bytes_max)| Step::Read { from, bytes_max }),
        1 => Just(Step::Reopen),
    ]
}

async fn run(steps: Vec<Step>, settings: LogSettings) {
    let dir = tempfile::tempdir().unwrap();
    let open = || EmbeddedLog::open(dir.path(), settings.clone()).unwrap();
    let mut log = open().0;
    let mut model: Vec<OwnedMessage> = Vec::new();
    for step in steps {
        match step {
            Step::Append(message) => {
                let offset = log.append(&message.borrow()).unwrap();
                assert_eq!(offset, Offset(model.len() as u64));
                model.push(*message);
            }
            Step::Sync => {
                if let Some(last) = (model.len() as u64).checked_sub(1) {
                    log.durable(Offset(last)).await.unwrap();
                    assert_eq!(log.bounds().durable, Offset(last + 1));
                }
            }
            Step::Read { from, bytes_max } => {
                let durable = log.bounds().durable.0;
                let records = log.read(Offset(from), bytes_max).await.unwrap();
                assert!(from >= durable || !records.is_empty());
                for (record, expected) in records.iter().zip(from..) {
                    assert_eq!(record.offset, Offset(expected));
                    assert_eq!(OwnedMessage::of(record), model[expected as usize]);
                }
            }
            Step::Reopen => {
                log.close().await;
                drop(log);
                let (reopened, recovery) = open();
                assert_eq!(recovery.next, Offset(model.len() as u64));
                assert_eq!((recovery.torn_bytes, recovery.damaged.len()), (0, 0));
                log = reopened;
            }
        }
    }
    log.close().await;
    let records = read_all(&log, Offset(0), 700).await;
    assert_eq!(records.iter().map(OwnedMessage::of).collect::<Vec<_>>(), model);
    assert_eq!(log.bounds().bytes, EmbeddedLog::open(dir.path(), settings).unwrap().1.bytes);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_log_is_a_vec_of_messages(
        steps in proptest::collection::vec(step(), 1..60),
        segment_bytes in prop_oneof![Just(200_u64), Just(2000), Just(1 << 20)],
        tail_bytes in prop_oneof![Just(0_usize), Just(3000), Just(1 << 20)],
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let settings = LogSettings { tail_bytes, ..settings(segment_bytes) };
        runtime.block_on(run(steps, settings));
    }
}
