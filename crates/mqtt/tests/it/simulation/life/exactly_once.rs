//! A device that publishes at QoS 2, and an application that takes what it has published at QoS 2,
//! both in sessions that outlive connections and servers. Each hangs up in the middle of anything.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU16;
use std::time::Duration;

use rmqtt_codec::types::{Publish, QoS};
use rmqtt_codec::{MqttPacket, v5};

use super::super::ledger::{Kind, Sent, number_of};
use super::Life;
use super::clients::{resume, turns};

/// The device.
pub(in super::super) const TWICE: &str = "d-twice";
/// The application.
const ONCE: &str = "once";
/// How long somebody listens who expects nothing in particular.
const PATIENCE: Duration = Duration::from_millis(50);

/// What the device must keep to publish exactly once.
#[derive(Default)]
pub(in super::super) struct Twice {
    pending: Option<Pending>,
    count: u64,
}

struct Pending {
    number: u64,
    packet_id: u16,
    /// Whether PUBREC has come.
    is_received: bool,
}

/// What the application must keep to take exactly once.
#[derive(Default)]
pub(in super::super) struct Once {
    /// Packet ids that were not released.
    held: BTreeSet<u16>,
    /// How often it had each message.
    times: BTreeMap<u64, u64>,
}

impl Once {
    /// Every message that is in the log has come once, and no other.
    pub(in super::super) fn check(&self, logged: impl Iterator<Item = u64>) -> Result<(), String> {
        let mut times = self.times.clone();
        for number in logged {
            match times.remove(&number) {
                Some(1) => {}
                Some(times) => return Err(format!("message {number} came {times} times at QoS 2")),
                None => return Err(format!("message {number} never came at QoS 2")),
            }
        }
        match times.keys().next() {
            Some(phantom) => Err(format!("message {phantom} came at QoS 2 from nowhere")),
            None => Ok(()),
        }
    }
}

/// PUBREC, PUBREL or PUBCOMP.
fn ack(first: u8, packet_id: u16) -> [u8; 4] {
    let [high, low] = packet_id.to_be_bytes();
    [first, 2, high, low]
}

impl Life<'_> {
    /// Makes both sessions.
    pub(super) async fn begin_exactly_once(&mut self) -> Result<(), String> {
        self.twice = resume(&self.things, TWICE, false).await?;
        self.once = resume(&self.tools, ONCE, false).await?;
        let options =
            v5::SubscriptionOptions { qos: QoS::ExactlyOnce, ..v5::SubscriptionOptions::default() };
        let filter = format!("v1/d/{TWICE}/t/ride");
        if let Some(once) = &mut self.once {
            assert_eq!(once.subscribe_with(&[&filter], options, None).await, [2]);
        }
        Ok(())
    }

    /// Sends a new message, unless one is under way.
    pub(super) async fn publish_twice(&mut self) {
        if self.twice.is_none() || self.ground.ledger.twice.pending.is_some() {
            return;
        }
        let ledger = &mut self.ground.ledger;
        let number = ledger.number();
        ledger.sent.insert(number, Sent { device: TWICE.to_owned(), kind: Kind::Ride });
        // So few that each stands for many messages.
        let packet_id = u16::try_from(1 + ledger.twice.count % 2).unwrap();
        ledger.twice.count += 1;
        ledger.twice.pending = Some(Pending { number, packet_id, is_received: false });
        self.send_pending(false).await;
    }

    /// Sends what is under way.
    async fn send_pending(&mut self, is_again: bool) {
        let Some(Pending { number, packet_id, is_received }) = &self.ground.ledger.twice.pending
        else {
            return;
        };
        let Some(client) = &mut self.twice else { return };
        if *is_received {
            client.send_bytes(&ack(0x62, *packet_id)).await;
        } else {
            let sent = &self.ground.ledger.sent[number];
            let publish = Publish {
                dup: is_again,
                retain: false,
                qos: QoS::ExactlyOnce,
                topic: sent.topic().into(),
                packet_id: NonZeroU16::new(*packet_id),
                payload: sent.payload(*number).into_bytes().into(),
                properties: Some(v5::PublishProperties::default()),
            };
            client.send_v5(v5::Packet::Publish(Box::new(publish))).await;
        }
        turns().await;
    }

    /// Takes what the device hears, and goes on, or hangs up.
    pub(super) async fn go_on_twice(&mut self, hangs_up: bool) -> Result<(), String> {
        if hangs_up && self.ground.chance.one_in(4) {
            self.twice = None;
            turns().await;
        }
        while let Some(client) = &mut self.twice {
            let heard = tokio::time::timeout(PATIENCE, client.receive()).await;
            let pending = &mut self.ground.ledger.twice.pending;
            let packet = match heard {
                Err(_nothing) => return Ok(()),
                Ok(None | Some(MqttPacket::V5(v5::Packet::Disconnect(_)))) => {
                    self.twice = None;
                    return Ok(());
                }
                Ok(Some(packet)) => packet,
            };
            let Some(it) = pending else { return Err(format!("{packet:?} for nothing")) };
            let number = it.number;
            match packet {
                MqttPacket::V5(v5::Packet::PublishReceived(ack))
                    if ack.packet_id.get() == it.packet_id && u8::from(ack.reason_code) < 0x80 =>
                {
                    it.is_received = true;
                    self.ground.ledger.accepted.insert(number);
                    self.ground.ledger.note(format!("{number} received"));
                    if hangs_up && self.ground.chance.one_in(3) {
                        self.twice = None;
                        return Ok(());
                    }
                    self.send_pending(false).await;
                }
                MqttPacket::V5(v5::Packet::PublishComplete(ack))
                    if ack.packet_id.get() == it.packet_id && it.is_received =>
                {
                    *pending = None;
                    self.ground.ledger.note(format!("{number} complete"));
                }
                other => return Err(format!("message {number} at QoS 2 is answered {other:?}")),
            }
        }
        Ok(())
    }

    /// The device comes back, or goes.
    pub(super) async fn come_and_go_twice(&mut self) -> Result<(), String> {
        if self.twice.is_some() {
            return Ok(());
        }
        if self.ground.chance.one_in(2) {
            return Ok(());
        }
        self.come_back_twice().await?;
        self.go_on_twice(true).await
    }

    async fn come_back_twice(&mut self) -> Result<(), String> {
        self.twice = resume(&self.things, TWICE, true).await?;
        self.send_pending(true).await;
        Ok(())
    }

    /// The application comes, stays or goes, and takes what is there.
    pub(super) async fn take_once(&mut self, forgets: bool) -> Result<(), String> {
        if self.once.is_none() {
            self.once = resume(&self.tools, ONCE, true).await?;
        }
        while let Some(client) = &mut self.once {
            let Ok(Some(packet)) = tokio::time::timeout(PATIENCE, client.receive()).await else {
                return Ok(());
            };
            let once = &mut self.ground.ledger.once;
            let answer = match packet {
                MqttPacket::V5(v5::Packet::Publish(publish)) => {
                    let packet_id = publish.packet_id.map_or(0, NonZeroU16::get);
                    let number = number_of(&publish.payload);
                    let number = number.ok_or("what was never sent came at QoS 2")?;
                    if publish.qos != QoS::ExactlyOnce {
                        return Err(format!("message {number} came at {:?}", publish.qos));
                    }
                    if once.held.insert(packet_id) {
                        *once.times.entry(number).or_insert(0) += 1;
                    }
                    self.ground.ledger.note(format!("{number} at QoS 2"));
                    ack(0x50, packet_id)
                }
                MqttPacket::V5(v5::Packet::PublishRelease(release)) => {
                    once.held.remove(&release.packet_id.get());
                    ack(0x70, release.packet_id.get())
                }
                other => return Err(format!("no message at QoS 2 but {other:?}")),
            };
            if forgets && self.ground.chance.one_in(6) {
                self.once = None;
                turns().await;
            } else {
                client.send_bytes(&answer).await;
            }
        }
        Ok(())
    }

    /// Everything comes to its end.
    pub(super) async fn finish_exactly_once(&mut self) -> Result<(), String> {
        (self.twice, self.once) = (None, None);
        turns().await;
        self.come_back_twice().await?;
        tokio::time::sleep(super::SETTLE_TIME).await;
        self.go_on_twice(false).await?;
        if let Some(pending) = &self.ground.ledger.twice.pending {
            return Err(format!("message {} at QoS 2 is never complete", pending.number));
        }
        tokio::time::sleep(super::SETTLE_TIME).await;
        self.take_once(false).await
    }
}
