//! The router against a reference model: random clients subscribe, publish, leave, come back and
//! see the server restart or crash; each gets what the model says, once, and each topic in order.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use axle_domain::port::DeviceLink;
use proptest::prelude::*;
use rmqtt_codec::types::QoS;

use crate::client::{Client, message};
use crate::world::World;

mod peer;

use peer::{connect, drain, publish, subscribe, unsubscribe};

const CLIENTS: usize = 4;
const TOPICS: [&str; 5] = ["a", "a/b", "a/b/c", "b", "b/c"];
const FILTERS: [&str; 8] = ["a", "a/#", "a/+", "+/b", "+/c", "b", "b/#", "$share/g/a/#"];
/// The identifier of the subscription of each filter; that of the shared one is the last.
const SHARED_ID: u32 = 8;

#[derive(Clone, Debug)]
enum Op {
    Connect { who: usize, is_clean: bool, is_kept: bool },
    Leave { who: usize, is_polite: bool },
    Subscribe { who: usize, filter: usize, qos: u8, options: Options },
    Unsubscribe { who: usize, filter: usize },
    Publish { who: usize, topic: usize, qos: u8, is_retained: bool, is_empty: bool },
    Restart,
    Crash,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Options {
    is_no_local: bool,
    is_as_published: bool,
    handling: u8,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let who = 0..CLIENTS;
    let options = (any::<bool>(), any::<bool>(), 0..3_u8).prop_map(|it| Options {
        is_no_local: it.0,
        is_as_published: it.1,
        handling: it.2,
    });
    let publish = (
        who.clone(),
        0..TOPICS.len(),
        0..3_u8,
        prop::bool::weighted(0.4),
        prop::bool::weighted(0.1),
    )
        .prop_map(|(who, topic, qos, is_retained, is_empty)| Op::Publish {
            who,
            topic,
            qos,
            is_retained,
            is_empty,
        });
    let subscribe = (who.clone(), 0..FILTERS.len(), 0..3_u8, options)
        .prop_map(|(who, filter, qos, options)| Op::Subscribe { who, filter, qos, options });
    let op = prop_oneof![
        6 => (who.clone(), prop::bool::weighted(0.2), prop::bool::weighted(0.7))
            .prop_map(|(who, is_clean, is_kept)| Op::Connect { who, is_clean, is_kept }),
        3 => (who.clone(), any::<bool>()).prop_map(|(who, is_polite)| Op::Leave { who, is_polite }),
        8 => subscribe,
        2 => (who, 0..FILTERS.len()).prop_map(|(who, filter)| Op::Unsubscribe { who, filter }),
        16 => publish,
        1 => Just(Op::Restart),
        1 => Just(Op::Crash),
    ];
    prop::collection::vec(op, 1..60)
}

/// A message as a client sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    topic: &'static str,
    payload: Vec<u8>,
    qos: u8,
    is_retained: bool,
    identifiers: Vec<u32>,
}

/// What the model knows of a client.
#[derive(Default)]
struct Peer {
    client: Option<Client>,
    is_kept: bool,
    /// By filter: its QoS and options.
    subscriptions: BTreeMap<usize, (u8, Options)>,
    expected: Vec<Seen>,
    /// What came since it was looked at last, and whether it says that it may have come before.
    seen: Vec<(Seen, bool)>,
    /// Packet ids at QoS 2 between PUBLISH and PUBREL.
    received: BTreeSet<u16>,
    /// What was acknowledged at QoS 1, and may come again after a crash.
    acknowledged: Vec<Seen>,
}

impl Peer {
    fn end_session(&mut self) {
        *self = Self { client: self.client.take(), ..Self::default() };
    }
}

/// A message on its way.
#[derive(Clone, Copy)]
struct Sent<'a> {
    topic: usize,
    qos: u8,
    is_retained: bool,
    payload: &'a [u8],
}

struct Model {
    peers: Vec<Peer>,
    /// Topic, payload and QoS of what is retained, and who published it.
    retained: BTreeMap<usize, (Vec<u8>, u8, usize)>,
    /// Payloads that one member of the group gets, and whether one must.
    shared: BTreeMap<Vec<u8>, bool>,
    shared_seen: BTreeMap<Vec<u8>, usize>,
    count: u32,
}

fn matches(filter: &str, topic: &str) -> bool {
    let (mut filter, mut topic) = (filter.split('/'), topic.split('/'));
    loop {
        match (filter.next(), topic.next()) {
            (Some("#"), _) | (None, None) => return true,
            (Some("+"), Some(_)) => {}
            (Some(wanted), Some(level)) if wanted == level => {}
            _ => return false,
        }
    }
}

fn id(filter: usize) -> u32 {
    u32::try_from(filter).unwrap() + 1
}

fn is_shared(filter: usize) -> bool {
    id(filter) == SHARED_ID
}

impl Model {
    fn publish(&mut self, who: usize, sent: &Sent<'_>) {
        let Sent { topic, qos, is_retained, payload } = *sent;
        let mut must = None;
        for (index, peer) in self.peers.iter_mut().enumerate() {
            let (mut granted, mut identifiers, mut is_flagged) = (None, Vec::new(), false);
            for (filter, (max, options)) in &peer.subscriptions {
                if is_shared(*filter) {
                    if matches("a/#", TOPICS[topic])
                        && (peer.client.is_some() || (peer.is_kept && qos.min(*max) > 0))
                    {
                        *must.get_or_insert(false) |= peer.client.is_some();
                    }
                    continue;
                }
                let is_own = options.is_no_local && index == who;
                if matches(FILTERS[*filter], TOPICS[topic]) && !is_own {
                    granted = granted.max(Some(*max));
                    identifiers.push(id(*filter));
                    is_flagged |= options.is_as_published;
                }
            }
            let Some(granted) = granted else { continue };
            let qos = qos.min(granted);
            if peer.client.is_some() || (peer.is_kept && qos > 0) {
                peer.expected.push(Seen {
                    topic: TOPICS[topic],
                    payload: payload.to_vec(),
                    qos,
                    is_retained: is_retained && is_flagged,
                    identifiers,
                });
            }
        }
        if let Some(must) = must
            && !payload.is_empty()
        {
            self.shared.insert(payload.to_vec(), must);
        }
        if is_retained && payload.is_empty() {
            self.retained.remove(&topic);
        } else if is_retained {
            self.retained.insert(topic, (payload.to_vec(), qos, who));
        }
    }

    fn subscribe(&mut self, who: usize, filter: usize, qos: u8, options: Options) {
        let peer = &mut self.peers[who];
        let was_there = peer.subscriptions.insert(filter, (qos, options)).is_some();
        let comes = options.handling == 0 || (options.handling == 1 && !was_there);
        if !comes || is_shared(filter) {
            return;
        }
        for (topic, (payload, published, publisher)) in &self.retained {
            let is_own = options.is_no_local && *publisher == who;
            if matches(FILTERS[filter], TOPICS[*topic]) && !is_own {
                peer.expected.push(Seen {
                    topic: TOPICS[*topic],
                    payload: payload.clone(),
                    qos: qos.min(*published),
                    is_retained: true,
                    identifiers: vec![id(filter)],
                });
            }
        }
    }

    /// Compares what came with what had to come: each topic for itself, in order.
    fn compare(&mut self, who: usize) {
        let mut seen = std::mem::take(&mut self.peers[who].seen);
        for (message, _) in seen.extract_if(.., |(it, _)| it.identifiers == [SHARED_ID]) {
            // An empty one says nothing of which it was.
            if !message.payload.is_empty() {
                *self.shared_seen.entry(message.payload).or_default() += 1;
            }
        }
        let peer = &mut self.peers[who];
        // What was acknowledged just before a crash may come again, and says so.
        seen.retain(|(it, is_duplicate)| !(*is_duplicate && peer.acknowledged.contains(it)));
        let expected = std::mem::take(&mut peer.expected);
        for topic in TOPICS {
            let of = |it: &&Seen| it.topic == topic;
            let seen: Vec<&Seen> = seen.iter().map(|(it, _)| it).filter(of).collect();
            let expected: Vec<&Seen> = expected.iter().filter(of).collect();
            assert_eq!(seen, expected, "client {who}, topic {topic}");
        }
        peer.acknowledged.extend(seen.into_iter().map(|(it, _)| it).filter(|it| it.qos == 1));
    }
}

fn name(who: usize) -> String {
    format!("client-{who}")
}

async fn drain_all(world: &World, model: &mut Model, watcher: &mut Client) {
    // Nobody is looked at before the router has gone through everything.
    world.append("watch", b"", 0);
    watcher.published().await;
    for who in 0..CLIENTS {
        if model.peers[who].client.is_some() {
            drain(world, &mut model.peers[who], who).await;
            model.compare(who);
        }
    }
}

async fn watch(world: &World) -> Client {
    let mut watcher = Client::connected(world, "watcher", true).await;
    assert_eq!(watcher.subscribe(&["watch"]).await, [1]);
    watcher
}

/// Ends a connection and waits until the gateway has seen that.
async fn leave(world: &World, model: &mut Model, who: usize, is_polite: bool) {
    let peer = &mut model.peers[who];
    let Some(mut client) = peer.client.take() else { return };
    if is_polite {
        client.send_bytes(&[0xe0, 0]).await;
    }
    drop(client);
    if !peer.is_kept {
        *peer = Peer::default();
    }
    // The watcher is there too.
    let there = model.peers.iter().filter(|peer| peer.client.is_some()).count() + 1;
    let wait = async {
        while world.sessions.connection_count() != there {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(8), wait).await.expect("it is seen to leave");
}

impl Model {
    /// Does what is asked of a client that is connected.
    async fn act(&mut self, op: &Op) {
        match *op {
            Op::Subscribe { who, filter, qos, options } => {
                let peer = &mut self.peers[who];
                subscribe(peer, FILTERS[filter], qos, options, id(filter)).await;
                self.subscribe(who, filter, qos, options);
            }
            Op::Unsubscribe { who, filter } => {
                let peer = &mut self.peers[who];
                unsubscribe(peer, FILTERS[filter]).await;
                peer.subscriptions.remove(&filter);
            }
            Op::Publish { who, topic, qos, is_retained, is_empty } => {
                self.count += 1;
                let payload =
                    if is_empty { Vec::new() } else { self.count.to_string().into_bytes() };
                let qos_of = QoS::try_from(qos).unwrap();
                let sent = message(TOPICS[topic], &payload, qos_of, is_retained);
                // Before the answer the message itself may come: what is expected is known then.
                self.publish(who, &Sent { topic, qos, is_retained, payload: &payload });
                publish(&mut self.peers[who], sent).await;
            }
            Op::Connect { .. } | Op::Leave { .. } | Op::Restart | Op::Crash => {}
        }
    }

    fn is_there(&self, op: &Op) -> bool {
        match *op {
            Op::Subscribe { who, .. } | Op::Unsubscribe { who, .. } | Op::Publish { who, .. } => {
                self.peers[who].client.is_some()
            }
            Op::Connect { .. } | Op::Leave { .. } | Op::Restart | Op::Crash => false,
        }
    }

    /// Every connection is gone.
    fn all_left(&mut self) {
        for peer in &mut self.peers {
            peer.client = None;
            if !peer.is_kept {
                *peer = Peer::default();
            }
        }
    }

    fn check_shared(&self) {
        for (payload, count) in &self.shared_seen {
            let text = String::from_utf8_lossy(payload);
            assert!(*count == 1 && self.shared.contains_key(payload), "{text} came {count} times");
        }
        for (payload, must) in &self.shared {
            let text = String::from_utf8_lossy(payload);
            assert!(!must || self.shared_seen.contains_key(payload), "{text} came to no member");
        }
    }
}

async fn check(ops: Vec<Op>) {
    let mut world = World::open_to_all().await;
    let mut watcher = watch(&world).await;
    let mut model = Model {
        peers: (0..CLIENTS).map(|_| Peer::default()).collect(),
        retained: BTreeMap::new(),
        shared: BTreeMap::new(),
        shared_seen: BTreeMap::new(),
        count: 0,
    };
    let back = (0..CLIENTS).map(|who| Op::Connect { who, is_clean: false, is_kept: true });
    for op in ops.into_iter().chain(back) {
        match op {
            Op::Connect { who, is_clean, is_kept } if model.peers[who].client.is_none() => {
                connect(&world, &mut model.peers[who], who, is_clean, is_kept).await;
                let filter = format!("sync/{who}/#");
                subscribe(&mut model.peers[who], &filter, 1, PLAIN, 99).await;
            }
            Op::Leave { who, is_polite } => leave(&world, &mut model, who, is_polite).await,
            Op::Restart | Op::Crash => {
                world = match op {
                    Op::Crash => world.crash().await,
                    _ => world.restart().await,
                };
                watcher = watch(&world).await;
                model.all_left();
            }
            _ if model.is_there(&op) => model.act(&op).await,
            _ => {}
        }
        drain_all(&world, &mut model, &mut watcher).await;
    }
    model.check_shared();
}

const PLAIN: Options = Options { is_no_local: false, is_as_published: false, handling: 2 };

/// A few cases always; `PROPTEST_CASES` looks further.
fn config() -> ProptestConfig {
    let wanted = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    let is_asked = std::env::var_os("PROPTEST_CASES").is_some();
    if is_asked { wanted } else { ProptestConfig { cases: 12, ..wanted } }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn prop_each_subscriber_gets_what_the_model_says(ops in ops()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(check(ops));
    }
}
