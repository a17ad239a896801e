//! Clients that leave a will in sessions that are kept, and go in every way there is.

use std::collections::BTreeMap;
use std::time::Duration;

use axle_domain::port::Clock;
use axle_domain::{Source, Timestamp};
use rmqtt_codec::{MqttPacket, v5};

use super::super::ledger::Seen;
use super::Life;
use super::clients::{connection, turns};
use crate::client::{connect_v5, last_will};

/// How many there are.
pub(super) const HEIRS: usize = 2;
/// How what their topics are called begins.
const TREE: &str = "sim/w/";
/// The delay of every other will, in seconds of the simulated clock.
const DELAY_SECONDS: u32 = 3;
/// How long CONNACK may take, a commit that fails once included.
const PATIENCE: Duration = Duration::from_secs(3);

/// What is to become of a will.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Its client is connected.
    Armed,
    /// Sent by now, or when that time has come, unless its client comes back before `earliest`.
    Due { earliest: Timestamp, latest: Timestamp },
    /// Of a connection that another has taken over: a crash may come before it is sent.
    Sending,
    /// Taken away; a crash may come before that is stored, and nobody was told that it was.
    Fading,
    /// Taken away for good.
    Canceled,
    /// Nobody can know.
    Open,
}

#[derive(Clone, Copy, Debug)]
struct Left {
    delay_seconds: u32,
    fate: Fate,
}

/// Every will, and who has which.
#[derive(Default)]
pub(in super::super) struct Wills {
    left: BTreeMap<u64, Left>,
    current: [Option<u64>; HEIRS],
}

fn after(now: Timestamp, seconds: u32) -> Timestamp {
    Timestamp(now.0 + i64::from(seconds) * 1_000_000)
}

impl Wills {
    fn current(&mut self, heir: usize) -> Option<&mut Left> {
        self.left.get_mut(&self.current[heir]?)
    }

    /// The client's connection has ended without a word.
    fn hung_up(&mut self, heir: usize, now: Timestamp) {
        if let Some(will) = self.current(heir).filter(|it| it.fate == Fate::Armed) {
            let due = after(now, will.delay_seconds);
            will.fate = Fate::Due { earliest: due, latest: due };
        }
    }

    /// The client has said goodbye.
    fn said_goodbye(&mut self, heir: usize) {
        if let Some(will) = self.current(heir).filter(|it| it.fate == Fate::Armed) {
            will.fate = Fate::Fading;
        }
    }

    /// The client comes back. [MQTT-3.1.3-9]
    fn came_back(&mut self, heir: usize, now: Timestamp, is_quiet: bool) {
        let Some(will) = self.current(heir) else { return };
        will.fate = match will.fate {
            // [MQTT-3.1.4-3]: the older connection has ended.
            Fate::Armed if will.delay_seconds == 0 => Fate::Sending,
            Fate::Armed => Fate::Fading,
            Fate::Due { earliest, .. } if now < earliest => Fate::Fading,
            Fate::Due { latest, .. } if now < latest || !is_quiet => Fate::Open,
            as_before => as_before,
        };
    }

    /// There was time to store what has changed.
    pub(super) fn settled(&mut self, now: Timestamp) {
        for will in self.left.values_mut() {
            will.fate = match will.fate {
                Fate::Fading => Fate::Canceled,
                Fate::Sending => Fate::Due { earliest: now, latest: now },
                as_before => as_before,
            };
        }
    }

    /// The server has ended, and every connection with it.
    pub(super) fn ended(&mut self, now: Timestamp) {
        for will in self.left.values_mut() {
            let again = after(now, will.delay_seconds);
            will.fate = match will.fate {
                Fate::Armed => Fate::Due { earliest: again, latest: again },
                Fate::Due { earliest, latest } => Fate::Due { earliest, latest: latest.max(again) },
                Fate::Fading | Fate::Sending => Fate::Open,
                as_before => as_before,
            };
        }
    }

    /// Each was sent once that had to be, and none that was taken away.
    pub(in super::super) fn check<'a>(
        &self,
        seen: impl Iterator<Item = &'a Seen>,
    ) -> Result<(), String> {
        let mut times: BTreeMap<u64, u64> = BTreeMap::new();
        let of_tree = |it: &&Seen| it.source == Source::Mqtt && it.topic.starts_with(TREE);
        for record in seen.filter(of_tree) {
            let text = std::str::from_utf8(&record.payload).unwrap_or("");
            let number = text.parse().ok().ok_or_else(|| format!("`{text}` is no will"))?;
            *times.entry(number).or_insert(0) += 1;
        }
        for (number, will) in &self.left {
            let times = times.get(number).copied().unwrap_or(0);
            let is_right = match will.fate {
                Fate::Due { .. } => times == 1,
                Fate::Armed | Fate::Canceled => times == 0,
                Fate::Sending | Fate::Fading | Fate::Open => times <= 1,
            };
            if !is_right {
                return Err(format!("will {number} was sent {times} times: {will:?}"));
            }
        }
        Ok(())
    }
}

fn will(heir: usize, number: u64, delay_seconds: u32) -> v5::LastWill {
    v5::LastWill {
        will_delay_interval_sec: Some(delay_seconds),
        ..last_will(&format!("{TREE}{heir}"), &number.to_string())
    }
}

impl Life<'_> {
    /// A client comes, in the place of its older connection if there is one.
    async fn connect_heir(&mut self, heir: usize) {
        let now = self.ground.clock.now();
        let is_quiet = self.is_quiet;
        let ledger = &mut self.ground.ledger;
        let number = ledger.number();
        let delay_seconds = if self.ground.chance.one_in(2) { 0 } else { DELAY_SECONDS };
        let mut client = connection(&self.tools);
        let connect = v5::Connect {
            clean_start: false,
            session_expiry_interval_secs: 1_000_000,
            last_will: Some(will(heir, number, delay_seconds)),
            ..connect_v5(&format!("heir-{heir}"))
        };
        client.send_v5(connect).await;
        let answer = tokio::time::timeout(PATIENCE, client.receive()).await;
        let is_in = matches!(&answer, Ok(Some(MqttPacket::V5(v5::Packet::ConnectAck(ack))))
            if u8::from(ack.reason_code) == 0);
        let wills = &mut ledger.wills;
        wills.came_back(heir, now, is_quiet);
        let fate = if is_in { Fate::Armed } else { Fate::Open };
        if let (false, Some(before)) = (is_in, wills.current(heir)) {
            before.fate = Fate::Open;
        }
        wills.left.insert(number, Left { delay_seconds, fate });
        wills.current[heir] = Some(number);
        ledger.note(format!("heir {heir} with will {number} after {delay_seconds} s: {is_in}"));
        self.heirs[heir] = is_in.then_some(client);
        turns().await;
    }

    /// A client that is there is gone without a word.
    pub(super) async fn drop_heir(&mut self) {
        let heir = usize::try_from(self.ground.chance.below(HEIRS as u64)).unwrap();
        if self.heirs[heir].take().is_some() {
            let now = self.ground.clock.now();
            self.ground.ledger.wills.hung_up(heir, now);
            self.ground.ledger.note(format!("heir {heir} hangs up"));
        }
        turns().await;
    }

    /// Clients come, stay or go.
    pub(super) async fn come_and_go_heirs(&mut self) {
        for heir in 0..HEIRS {
            let what = self.ground.chance.below(6);
            match (&mut self.heirs[heir], what) {
                (None, 0..3) | (Some(_), 0) => self.connect_heir(heir).await,
                (Some(client), 1) => {
                    client.send_bytes(&[0xe0, 0]).await;
                    self.heirs[heir] = None;
                    self.ground.ledger.wills.said_goodbye(heir);
                    self.ground.ledger.note(format!("heir {heir} says goodbye"));
                    turns().await;
                }
                _ => {}
            }
        }
    }
}
