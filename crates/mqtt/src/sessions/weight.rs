//! How much memory a session takes whose client is away.

use std::sync::Arc;

use allocation_counter::measure;
use axle_domain::port::QueueFigures;
use axle_domain::{ClientSession, Offset, Subscription, Timestamp};

use super::{RetainedWish, Sessions};
use crate::inbox::Inbox;

const SESSIONS: u64 = 10_000;

fn subscription(filter: &str) -> Subscription {
    Subscription {
        filter: Box::from(filter),
        qos: 1,
        identifier: 0,
        is_no_local: false,
        is_retain_as_published: false,
        since: Offset(0),
        retained_after: None,
    }
}

/// Bytes that are allocated of each session, with what finds it and routes to it.
fn weigh(is_device: bool, filters: &[&str]) -> u64 {
    let sessions = Sessions::new();
    let weight = measure(|| {
        for number in 0..SESSIONS {
            let client_id = format!("client-{number:05}");
            let session = ClientSession {
                number,
                owner: if is_device { format!("device:{client_id}") } else { String::new() },
                client_id,
                expiry_seconds: 3600,
                left_at: None,
                sent_through: 0,
                subscriptions: Vec::new(),
                will: None,
            };
            let inbox = Inbox::load(session, QueueFigures::default(), Timestamp(0));
            assert_eq!(inbox.device.is_some(), is_device);
            for filter in filters {
                let filter = filter.replace("{id}", &inbox.client_id);
                let was_there =
                    sessions.subscribe(&inbox, subscription(&filter), RetainedWish::Never);
                assert_eq!(was_there, Some(false));
            }
            sessions.live().kept(is_device).insert(Arc::clone(&inbox.client_id), inbox);
        }
    });
    u64::try_from(weight.bytes_current).unwrap() / SESSIONS
}

#[test]
fn a_session_whose_client_is_away_takes_less_than_half_a_kibibyte() {
    let device = weigh(true, &["v1/d/{id}/c/#"]);
    assert!(device < 400, "a device with its commands: {device} bytes");
    let own_topic = weigh(false, &["load/{id}"]);
    assert!(own_topic < 512, "a tool with a topic of its own: {own_topic} bytes");
    let deep = weigh(false, &["v1/d/{id}/t/ride"]);
    assert!(deep < 640, "a tool with a deep topic of its own: {deep} bytes");
    let for_all = weigh(false, &["v1/d/+/t/ride", "v1/d/+/e/alarm"]);
    assert!(for_all < 512, "a tool that hears all: {for_all} bytes");
}
