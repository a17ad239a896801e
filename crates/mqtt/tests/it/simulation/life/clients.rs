//! What those outside do during a life: devices, a program that follows the log, a subscriber.

use std::time::Duration;

use axle_domain::port::EventLog;
use axle_domain::{Kind as Fault, Offset};
use axle_mqtt::Inlet;
use rmqtt_codec::{MqttPacket, v5};

use super::super::ledger::{Kind, Sent, number_of};
use super::super::ports::{at_once, now};
use super::{DEVICES, Life, MESSAGES, follower, said};
use crate::client::{Client, connect_v5};

/// Turns in which tasks that are ready do what they can.
const TURNS: usize = 100;

/// What became of the disk's turn.
pub(super) enum Written {
    All,
    Blocked,
    Failed,
}

pub(super) fn connection(inlet: &Inlet) -> Client {
    Client::new(Box::new(inlet.connect().unwrap()), true)
}

/// Lets every task do what it can without time going on.
pub(super) async fn turns() {
    for _ in 0..TURNS {
        tokio::task::yield_now().await;
    }
}

/// The same, with what it gives to the one thread for blocking work.
pub(super) async fn settle_blocking() {
    turns().await;
    at_once(tokio::task::spawn_blocking(|| ())).unwrap();
    turns().await;
}

/// How long CONNACK may take where the process may have ended meanwhile.
const CONNECT_TIME: Duration = Duration::from_secs(3);

/// Comes with a session that is kept; `None` where nobody answers any more.
pub(super) async fn resume(
    inlet: &Inlet,
    id: &str,
    is_known: bool,
) -> Result<Option<Client>, String> {
    let mut client = connection(inlet);
    let connect = v5::Connect {
        clean_start: false,
        session_expiry_interval_secs: 1_000_000,
        ..connect_v5(id)
    };
    client.send_v5(connect).await;
    match tokio::time::timeout(CONNECT_TIME, client.receive()).await {
        Err(_) => Ok(None),
        Ok(Some(MqttPacket::V5(v5::Packet::ConnectAck(ack))))
            if u8::from(ack.reason_code) == 0 && ack.session_present == is_known =>
        {
            Ok(Some(client))
        }
        Ok(other) => Err(format!("the session of {id} is lost: {other:?}")),
    }
}

impl Life<'_> {
    /// Lets devices publish while the disk stands still, then lets the disk go on, perhaps not to
    /// the end; takes what is acknowledged.
    pub(super) async fn publish(&mut self) -> Result<Written, String> {
        self.ground.disk.allow(Some(0));
        let mut expected: Vec<Vec<(u16, u64)>> = vec![Vec::new(); DEVICES.len()];
        for _ in 0..=self.ground.chance.below(MESSAGES) {
            let place = usize::try_from(self.ground.chance.below(DEVICES.len() as u64)).unwrap();
            let kind = match self.ground.chance.below(6) {
                0 => Kind::Nonsense,
                1 => Kind::Foreign,
                _ => Kind::Ride,
            };
            let sent = Sent { device: DEVICES[place].to_owned(), kind };
            let number = self.ground.ledger.number();
            self.packet_ids[place] += 1;
            let packet_id = self.packet_ids[place];
            let (topic, payload) = (sent.topic(), sent.payload(number));
            self.ground.ledger.sent.insert(number, sent);
            self.devices[place].publish(&topic, payload.as_bytes(), packet_id).await;
            expected[place].push((packet_id, number));
            turns().await;
            self.do_something_else().await;
        }
        let budget = self.ground.chance.one_in(6).then(|| self.ground.chance.below(6));
        self.ground.disk.allow(budget);
        let written = self.wait_written();
        if matches!(written, Written::All) {
            self.ground.disk.allow(None);
        }
        turns().await;
        // What follows from all that may have been appended by now, and may have failed.
        let written = match written {
            Written::All => self.wait_written(),
            other => other,
        };
        let has_stopped = !matches!(written, Written::All);
        let has_failed = matches!(written, Written::Failed);
        let refused_before = self.ground.ledger.refused;
        for (place, expected) in expected.into_iter().enumerate() {
            self.take_acknowledgements(place, expected, has_stopped).await?;
        }
        if has_failed {
            // A log that has failed counts nothing more, whether or not somebody was told.
            self.ground.ledger.refused = refused_before;
        }
        self.take_told(has_stopped).await?;
        self.go_on_twice(true).await?;
        self.take_answers(has_stopped).await?;
        Ok(written)
    }

    /// What comes between the messages of devices.
    async fn do_something_else(&mut self) {
        match self.ground.chance.below(8) {
            0 => self.publish_twice().await,
            1 => self.retain().await,
            2 => self.upload().await,
            3 => self.drop_heir().await,
            _ => {}
        }
    }

    /// Waits until the writer has written all, or cannot.
    pub(super) fn wait_written(&self) -> Written {
        let Some(last) = self.log.inner.bounds().appended.0.checked_sub(1) else {
            return Written::All;
        };
        loop {
            if self.ground.disk.is_closed() && self.ground.disk.is_blocked() {
                return Written::Blocked;
            }
            match now(self.log.inner.durable(Offset(last))) {
                Some(Ok(())) => return Written::All,
                Some(Err(_stopped)) => return Written::Failed,
                None => std::thread::sleep(Duration::from_micros(20)),
            }
        }
    }

    async fn take_acknowledgements(
        &mut self,
        place: usize,
        expected: Vec<(u16, u64)>,
        has_stopped: bool,
    ) -> Result<(), String> {
        for (packet_id, number) in expected {
            let waited = tokio::time::timeout(
                Duration::from_millis(if has_stopped { 20 } else { 2000 }),
                self.devices[place].receive(),
            );
            let ack = match waited.await {
                Ok(Some(MqttPacket::V5(v5::Packet::PublishAck(ack)))) => ack,
                // What cannot be made safe is not acknowledged; the connection may end.
                Ok(Some(MqttPacket::V5(v5::Packet::Disconnect(_))) | None) | Err(_)
                    if has_stopped =>
                {
                    return Ok(());
                }
                Ok(Some(other)) => return Err(format!("no PUBACK but {other:?}")),
                Ok(None) | Err(_) => return Err(format!("message {number} has no answer")),
            };
            if ack.packet_id.get() != packet_id {
                return Err(format!("message {number} is answered out of turn"));
            }
            let ledger = &mut self.ground.ledger;
            let is_foreign = ledger.sent[&number].kind == Kind::Foreign;
            match (u8::from(ack.reason_code), is_foreign) {
                (0, false) => drop(ledger.accepted.insert(number)),
                (0x87, true) => ledger.refused += 1,
                (code, _) => return Err(format!("message {number} is answered {code:#x}")),
            }
            ledger.note(format!("{number} {}", if is_foreign { "refused" } else { "answered" }));
        }
        Ok(())
    }

    /// Reads on as a program that follows the log, and commits how far it is, or forgets to.
    pub(super) async fn follow(&mut self) -> Result<(), String> {
        let consumer = self.app.consumers.get(&follower()).await.map_err(|error| said(&error))?;
        let mut next = consumer.position;
        while next < self.log.bounds().durable {
            let records = match self.log.read(next, 1000).await {
                Ok(records) => records,
                // Of one commit that was cut short the disk may have kept the end alone. Nobody
                // was told of it; what is damaged and was acknowledged shows at the end.
                Err(damage) if damage.kind == Fault::Corrupt && damage.limit.is_some() => {
                    let next_good = damage.limit.map_or(0, |(next_good, _)| next_good);
                    self.ground.ledger.damaged.extend(next.0..next_good);
                    next = Offset(next_good);
                    continue;
                }
                Err(error) => return Err(said(&error)),
            };
            if records.is_empty() {
                return Err(format!("offset {next} is durable and cannot be read"));
            }
            for record in &records {
                self.ground.ledger.see(record)?;
                next = record.offset.next();
            }
        }
        if self.ground.chance.one_in(2) {
            let committed = self.app.consumers.commit(&follower(), next).await;
            committed.map_err(|error| said(&error))?;
        }
        self.ground.ledger.note(format!("followed to {next}"));
        Ok(())
    }

    /// Comes, stays or goes as the client with a kept session, and takes what is there.
    pub(super) async fn subscribe(&mut self) -> Result<(), String> {
        if self.ground.chance.one_in(3) {
            self.subscriber = None;
        } else if self.subscriber.is_none() {
            self.subscriber = Some(self.subscribe_again(true).await?);
        }
        self.take_deliveries(Duration::from_millis(50), true).await
    }

    pub(super) async fn subscribe_again(&mut self, is_known: bool) -> Result<Client, String> {
        let client = resume(&self.tools, "app", is_known).await?;
        client.ok_or_else(|| "nobody answers the subscriber".to_owned())
    }

    pub(super) async fn take_deliveries(
        &mut self,
        patience: Duration,
        forgets: bool,
    ) -> Result<(), String> {
        let Some(client) = &mut self.subscriber else { return Ok(()) };
        while let Ok(Some(packet)) = tokio::time::timeout(patience, client.receive()).await {
            let MqttPacket::V5(v5::Packet::Publish(publish)) = packet else {
                return Err(format!("no PUBLISH but {packet:?}"));
            };
            let number = number_of(&publish.payload);
            let number = number.ok_or_else(|| format!("{:?} was never sent", publish.payload))?;
            self.ground.ledger.delivered.insert(number);
            self.ground.ledger.note(format!("{number} delivered"));
            if !forgets || !self.ground.chance.one_in(4) {
                let packet_id = publish.packet_id.unwrap().get();
                client.acknowledge(packet_id, v5::PublishAckReason::Success).await;
            }
        }
        Ok(())
    }
}
