//! Brings waiting commands to devices, whenever they are there.

use std::collections::HashSet;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use axle_domain::port::{Acknowledgement, Clock, CommandStore, DeviceLink, Receipt, SendError};
use axle_domain::{
    Command, CommandId, CommandStatus, DeviceId, Error, Timestamp, Topic, Transition,
};
use tracing::warn;

use crate::registry::Registry;
use crate::time_text::format_time;

/// Brings commands down. One run at a time per device keeps their order.
pub struct Dispatch {
    commands: Arc<dyn CommandStore>,
    link: Arc<dyn DeviceLink>,
    registry: Arc<Registry>,
    clock: Arc<dyn Clock>,
    started_at: Timestamp,
    running: Mutex<HashSet<DeviceId>>,
    again: Mutex<HashSet<DeviceId>>,
}

impl Dispatch {
    pub(crate) fn new(
        commands: Arc<dyn CommandStore>,
        link: Arc<dyn DeviceLink>,
        registry: Arc<Registry>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let (running, again) = (Mutex::default(), Mutex::default());
        let started_at = clock.now();
        Self { commands, link, registry, clock, started_at, running, again }
    }

    /// Sends what waits for a device. Called when a command was created, and when a device has
    /// subscribed to its commands. A call while another works on the same device makes that one
    /// look once more.
    pub async fn run(self: &Arc<Self>, device: &DeviceId) {
        if !lock(&self.running).insert(device.clone()) {
            lock(&self.again).insert(device.clone());
            return;
        }
        loop {
            lock(&self.again).remove(device);
            if let Err(error) = self.send_waiting(device).await {
                warn!(device.id = %device, error = %error.chain(), "commands not dispatched");
            }
            let mut running = lock(&self.running);
            if !lock(&self.again).contains(device) {
                running.remove(device);
                return;
            }
        }
    }

    async fn send_waiting(self: &Arc<Self>, device: &DeviceId) -> Result<(), Error> {
        for command in self.commands.open_commands(device).await? {
            if !self.is_waiting(&command).await? {
                continue;
            }
            if command.deadline <= self.clock.now() {
                self.step(&command.id, CommandStatus::Expired, "deadline passed".to_owned())
                    .await?;
                continue;
            }
            // Rights are asked for again at the moment of sending: a revoked device gets nothing.
            self.registry.check(device)?;
            if !self.send(&command).await? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Whether a command waits. One that was on its way when the server ended waits again; the
    /// device executes an id once.
    async fn is_waiting(&self, command: &Command) -> Result<bool, Error> {
        let sent_at = command.history.last().map_or(self.started_at, |step| step.time);
        let status = command.status();
        if status == CommandStatus::Sent && sent_at < self.started_at {
            let why = "no PUBACK before the server restarted".to_owned();
            return self.step(&command.id, CommandStatus::Waiting, why).await;
        }
        Ok(matches!(status, CommandStatus::Accepted | CommandStatus::Waiting))
    }

    /// Sends one command; says whether the device is there for more.
    async fn send(self: &Arc<Self>, command: &Command) -> Result<bool, Error> {
        let topic = Topic::command(&command.device, &command.id, &command.name);
        // `sent` is on disk before the device can answer; what was not delivered goes back.
        let step = "written to the connection".to_owned();
        if !self.step(&command.id, CommandStatus::Sent, step).await? {
            return Ok(true);
        }
        match self.link.send(&command.device, topic, wire(command)).await {
            Ok(receipt) => {
                self.await_delivery(command, receipt);
                Ok(true)
            }
            Err(reason) => {
                let why = match reason {
                    SendError::Away => "the device is not there",
                    SendError::Busy => "the device's queue is full",
                    SendError::Lost => "the connection ended",
                };
                self.step(&command.id, CommandStatus::Waiting, why.to_owned()).await?;
                Ok(false)
            }
        }
    }

    fn await_delivery(self: &Arc<Self>, command: &Command, receipt: Receipt) {
        if !receipt.is_acknowledged {
            return;
        }
        let dispatch = Arc::clone(self);
        let (id, device) = (command.id.clone(), command.device.clone());
        // Bounded by the open commands of a device; ends with the PUBACK or the connection.
        tokio::spawn(async move {
            let step = match receipt.delivered.await {
                Ok(Acknowledgement { time, evidence }) => {
                    Transition { status: CommandStatus::Delivered, time, evidence }
                }
                Err(_lost) => Transition {
                    status: CommandStatus::Waiting,
                    time: dispatch.clock.now(),
                    evidence: "the connection ended before the PUBACK".to_owned(),
                },
            };
            let status = step.status;
            if let Err(error) = dispatch.commands.advance(&id, step).await {
                warn!(command.id = %id, error = %error.chain(), "step not recorded");
            }
            if status == CommandStatus::Waiting {
                // The device may be back already, and have looked while this was still `sent`.
                dispatch.run_boxed(device).await;
            }
        });
    }

    fn run_boxed(self: Arc<Self>, device: DeviceId) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async move { self.run(&device).await })
    }

    async fn step(
        &self,
        id: &CommandId,
        status: CommandStatus,
        evidence: String,
    ) -> Result<bool, Error> {
        let step = Transition { status, time: self.clock.now(), evidence };
        Ok(self.commands.advance(id, step).await?.1)
    }

    /// Ends commands whose deadline has passed; returns how many.
    ///
    /// # Errors
    /// As the command store.
    pub async fn expire(&self) -> Result<usize, Error> {
        let overdue = self.commands.overdue(self.clock.now(), 1000).await?;
        for id in &overdue {
            self.step(id, CommandStatus::Expired, "deadline passed".to_owned()).await?;
        }
        Ok(overdue.len())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The payload that the device sees: `{"id","name","payload","deadline","dry_run"}`.
fn wire(command: &Command) -> Vec<u8> {
    let payload: serde_json::Value =
        serde_json::from_str(&command.payload).unwrap_or(serde_json::Value::Null);
    serde_json::json!({
        "id": command.id.as_str(),
        "name": command.name,
        "payload": payload,
        "deadline": format_time(command.deadline),
        "dry_run": command.is_dry_run,
    })
    .to_string()
    .into_bytes()
}
