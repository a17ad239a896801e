//! The person who sends commands.

use std::collections::BTreeMap;
use std::time::Duration;

use axle_domain::{CommandStatus, DeviceId, Error};
use hyper::Method;
use serde_json::{Value, json};

use super::desk::Desk;
use crate::api::{Api, Call};
use crate::random::Key;

/// Time that most commands have; much longer than any crash test.
const LONG_S: u64 = 24 * 3600;
/// Time that every tenth command has.
const SHORT_S: u64 = 2;
/// Commands that one list shows.
const LIST_MAX: usize = 1000;

/// What became of posting a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It has this id.
    Accepted(String),
    /// There was no answer: it may exist.
    Unknown,
    /// It was refused, and must not exist.
    Refused,
}

/// A command as it was posted.
#[derive(Clone, Debug)]
pub(super) struct Posted {
    /// Whether its deadline is near.
    pub(super) is_short: bool,
    /// What became of it.
    pub(super) outcome: Outcome,
}

/// A command as the server shows it.
#[derive(Clone, Debug)]
pub(super) struct Shown {
    /// The number that the person gave it.
    pub(super) nonce: Option<u64>,
    /// Every step of its life.
    pub(super) history: Vec<CommandStatus>,
    /// The number in the device's result.
    pub(super) result: Option<u64>,
}

impl Shown {
    fn read(command: &Value) -> Option<(String, Self)> {
        let steps = command.get("history")?.as_array()?;
        let status = |step: &Value| CommandStatus::parse(step.get("status")?.as_str()?);
        let number = |pointer| command.pointer(pointer).and_then(Value::as_u64);
        let shown = Self {
            nonce: number("/payload/nonce"),
            history: steps.iter().filter_map(status).collect(),
            result: number("/result/nonce"),
        };
        Some((command.get("id")?.as_str()?.to_owned(), shown))
    }

    /// Where it is now.
    pub(super) fn status(&self) -> CommandStatus {
        self.history.last().copied().unwrap_or(CommandStatus::Accepted)
    }
}

/// The person.
pub(super) struct Person {
    key: Key,
    pause: Duration,
    next: u64,
    posted: BTreeMap<u64, Posted>,
    /// What the server has shown when everything was at rest, by id.
    pub(super) shown: BTreeMap<String, Shown>,
}

impl Person {
    /// A person who has posted nothing.
    pub(super) fn new(seed: u64, pause: Duration) -> Self {
        let key = Key::new(seed).named("person");
        Self { key, pause, next: 0, posted: BTreeMap::new(), shown: BTreeMap::new() }
    }

    /// What was posted, by number.
    pub(super) fn book(&self) -> &BTreeMap<u64, Posted> {
        &self.posted
    }

    /// Commands posted.
    pub(super) fn posted(&self) -> u64 {
        self.posted.len() as u64
    }

    /// Commands with an id.
    pub(super) fn accepted(&self) -> u64 {
        let is_accepted = |posted: &&Posted| matches!(posted.outcome, Outcome::Accepted(_));
        self.posted.values().filter(is_accepted).count() as u64
    }

    /// Posts commands until the end of the drive.
    pub(super) async fn run(&mut self, desk: &Desk, api: &Api, devices: &[DeviceId]) {
        while !desk.stop.is_cancelled() {
            let nonce = self.next;
            let place = self.key.below(2 * nonce, devices.len() as u64);
            let device = usize::try_from(place).ok().and_then(|place| devices.get(place));
            let Some(device) = device else { return };
            self.next += 1;
            let is_short = self.key.below(2 * nonce + 1, 10) == 0;
            // Written down before it is sent: whoever stops us must not make us forget.
            self.posted.insert(nonce, Posted { is_short, outcome: Outcome::Unknown });
            let timeout_s = if is_short { SHORT_S } else { LONG_S };
            let body = json!({
                "name": "unlock", "payload": { "nonce": nonce }, "timeout_s": timeout_s
            });
            let path = format!("/api/v1/devices/{device}/commands");
            let call = Call::json(Method::POST, &path, &body);
            let answer = tokio::select! {
                () = desk.stop.cancelled() => return,
                answer = api.call(&call) => answer,
            };
            let outcome = match answer {
                Ok(answer) if answer.is_success() => {
                    let body = answer.into_json().unwrap_or_default();
                    let id = body.get("id").and_then(Value::as_str);
                    id.map_or(Outcome::Unknown, |id| Outcome::Accepted(id.to_owned()))
                }
                Ok(answer) if answer.status < 500 => Outcome::Refused,
                Ok(_) | Err(_) => Outcome::Unknown,
            };
            if let Some(posted) = self.posted.get_mut(&nonce) {
                posted.outcome = outcome;
            }
            desk.pause(self.pause).await;
        }
    }

    /// Reads all commands until each has a final state.
    pub(super) async fn wait_until_final(
        &mut self,
        api: &Api,
        devices: &[DeviceId],
    ) -> Result<(), Error> {
        loop {
            self.shown.clear();
            for device in devices {
                let path = format!("/api/v1/devices/{device}/commands?limit={LIST_MAX}");
                let list = api.call(&Call::get(&path)).await?.into_json()?;
                let items = list.get("items").and_then(Value::as_array);
                self.shown.extend(items.into_iter().flatten().filter_map(Shown::read));
            }
            for posted in self.posted.values() {
                let Outcome::Accepted(id) = &posted.outcome else { continue };
                if self.shown.contains_key(id) {
                    continue;
                }
                let answer = api.call(&Call::get(&format!("/api/v1/commands/{id}"))).await?;
                if answer.status != 404 {
                    self.shown.extend(Shown::read(&answer.into_json()?));
                }
            }
            if self.shown.values().all(|shown| shown.status().is_final()) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}
