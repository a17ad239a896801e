//! A program that publishes retained messages and takes them away, and one that looks at them.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU16;
use std::time::Duration;

use axle_domain::Source;
use rmqtt_codec::types::{Publish, QoS};
use rmqtt_codec::{MqttPacket, v5};

use super::super::ledger::Seen;
use super::Life;
use super::clients::{connection, turns};
use crate::client::connect_v5;

const TOPICS: u64 = 3;
/// How what the topics are called begins.
const TREE: &str = "sim/r/";
/// How long retained messages may take, a commit that fails once included.
const PATIENCE: Duration = Duration::from_millis(2500);

/// What was published on each topic, in order.
#[derive(Default)]
pub(in super::super) struct Kept {
    wishes: BTreeMap<String, Vec<Wish>>,
    /// What was there at the very end.
    last: BTreeMap<String, u64>,
}

struct Wish {
    number: u64,
    /// Whether it takes away what is retained.
    is_empty: bool,
    is_acknowledged: bool,
}

impl Wish {
    fn value(&self) -> Option<u64> {
        (!self.is_empty).then_some(self.number)
    }
}

impl Kept {
    /// What may be retained on a topic: what was acknowledged last, or something after it.
    fn check_now(&self, found: &BTreeMap<String, u64>) -> Result<(), String> {
        for (topic, wishes) in &self.wishes {
            let certain = wishes.iter().rposition(|it| it.is_acknowledged);
            let certain_value = certain.and_then(|at| wishes[at].value());
            let later = wishes.iter().skip(certain.map_or(0, |at| at + 1)).map(Wish::value);
            let now = found.get(topic).copied();
            if now != certain_value && !later.into_iter().any(|value| value == now) {
                return Err(format!("retained on {topic} is {now:?}, not {certain_value:?}"));
            }
        }
        Ok(())
    }

    /// What was acknowledged is in the log once, and what is retained is what the log comes to.
    pub(in super::super) fn check<'a>(
        &self,
        seen: impl Iterator<Item = &'a Seen>,
    ) -> Result<(), String> {
        let (mut logged, mut retained) = (BTreeSet::new(), BTreeMap::new());
        let of_tree = |it: &&Seen| it.source == Source::Mqtt && it.topic.starts_with(TREE);
        for record in seen.filter(of_tree) {
            let number: u64 = record.content_type.parse().ok().ok_or("no number")?;
            if !logged.insert(number) {
                return Err(format!("retained message {number} is in the log twice"));
            }
            match record.payload.is_empty() {
                true => retained.remove(&record.topic),
                false => retained.insert(record.topic.clone(), number),
            };
        }
        let mut told = self.wishes.values().flatten().filter(|it| it.is_acknowledged);
        if let Some(lost) = told.find(|it| !logged.contains(&it.number)) {
            return Err(format!("retained message {} was acknowledged and is lost", lost.number));
        }
        if retained != self.last {
            return Err(format!("{:?} is retained, not {retained:?}", self.last));
        }
        Ok(())
    }
}

impl Life<'_> {
    /// Publishes a retained message, or an empty one.
    pub(super) async fn retain(&mut self) {
        let Some(client) = &mut self.teller else { return };
        let (ledger, chance) = (&mut self.ground.ledger, &mut self.ground.chance);
        let (number, is_empty) = (ledger.number(), chance.one_in(4));
        let topic = format!("{TREE}{}", chance.below(TOPICS));
        let wish = Wish { number, is_empty, is_acknowledged: false };
        ledger.kept.wishes.entry(topic.clone()).or_default().push(wish);
        self.told.push_back((topic.clone(), number));
        let publish = Publish {
            dup: false,
            retain: true,
            qos: QoS::AtLeastOnce,
            topic: topic.into(),
            packet_id: NonZeroU16::new(u16::try_from(number + 1).unwrap()),
            payload: if is_empty { Vec::new() } else { number.to_string().into_bytes() }.into(),
            properties: Some(v5::PublishProperties {
                // What is empty must tell who it is too.
                content_type: Some(number.to_string().into()),
                ..v5::PublishProperties::default()
            }),
        };
        client.send_v5(v5::Packet::Publish(Box::new(publish))).await;
        turns().await;
    }

    /// Takes the acknowledgements.
    pub(super) async fn take_told(&mut self, has_stopped: bool) -> Result<(), String> {
        let patience = Duration::from_millis(if has_stopped { 20 } else { 2000 });
        let Some(client) = &mut self.teller else { return Ok(()) };
        while let Some((topic, number)) = self.told.pop_front() {
            match tokio::time::timeout(patience, client.receive()).await {
                Ok(Some(MqttPacket::V5(v5::Packet::PublishAck(ack))))
                    if u64::from(ack.packet_id.get()) == number + 1
                        && u8::from(ack.reason_code) == 0 => {}
                _ if has_stopped => return Ok(()),
                other => return Err(format!("retained message {number} is answered {other:?}")),
            }
            let wishes = self.ground.ledger.kept.wishes.get_mut(&topic).unwrap();
            wishes.iter_mut().filter(|it| it.number == number).for_each(|it| {
                it.is_acknowledged = true;
            });
            self.ground.ledger.note(format!("{number} is to be retained"));
        }
        Ok(())
    }

    /// Looks at what is retained.
    pub(super) async fn look(&mut self) -> Result<(), String> {
        let mut client = connection(&self.tools);
        let welcome = client.connect_v5(connect_v5("looker")).await;
        assert_eq!(u8::from(welcome.reason_code), 0);
        assert_eq!(client.subscribe(&["sim/r/#"]).await, [1]);
        let mut found = BTreeMap::new();
        while let Ok(Some(packet)) = tokio::time::timeout(PATIENCE, client.receive()).await {
            let MqttPacket::V5(v5::Packet::Publish(publish)) = packet else {
                return Err(format!("no PUBLISH but {packet:?}"));
            };
            let text = std::str::from_utf8(&publish.payload).unwrap_or("");
            let number = text.parse().ok().ok_or_else(|| format!("`{text}` was never retained"))?;
            let topic = publish.topic.to_string();
            if !publish.retain || found.insert(topic.clone(), number).is_some() {
                return Err(format!("{number} on {topic} comes beside what is retained"));
            }
            let packet_id = publish.packet_id.map_or(0, NonZeroU16::get);
            client.acknowledge(packet_id, v5::PublishAckReason::Success).await;
        }
        if self.state.has_ended() {
            // Nobody was there any more to give them.
            return Ok(());
        }
        let ledger = &mut self.ground.ledger;
        ledger.note(format!("retained {found:?}"));
        ledger.kept.check_now(&found)?;
        ledger.kept.last = found;
        Ok(())
    }
}
