//! Commands: what people intend goes to the state first.

use std::sync::Arc;
use std::time::Duration;

use axle_domain::port::{Clock, CommandStore};
use axle_domain::{Command, CommandId, CommandStatus, DeviceId, Error, Kind, Transition, limit};

use crate::dispatch::Dispatch;
use crate::principal::device_not_found;
use crate::random::random_text;
use crate::registry::Registry;

/// What one says to send a command.
#[derive(Clone, Debug)]
pub struct NewCommand {
    /// What to do: `[A-Za-z0-9_.-]{1,64}`, not `r`.
    pub name: String,
    /// Parameters, a JSON text.
    pub payload: String,
    /// How long it may wait and run.
    pub timeout: Duration,
    /// Whether the device should only say what it would have done.
    pub is_dry_run: bool,
}

/// The command desk.
pub struct Commands {
    store: Arc<dyn CommandStore>,
    dispatch: Arc<Dispatch>,
    registry: Arc<Registry>,
    clock: Arc<dyn Clock>,
}

impl Commands {
    pub(crate) fn new(
        store: Arc<dyn CommandStore>,
        dispatch: Arc<Dispatch>,
        registry: Arc<Registry>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { store, dispatch, registry, clock }
    }

    /// Stores a command and, where the device is there, sends it. Returns it as it is then.
    ///
    /// # Errors
    /// `Invalid`; `NotFound` for an unknown device; `Conflict` for a revoked one; `Busy` when too
    /// many of its commands are open.
    pub async fn create(&self, device: &DeviceId, new: NewCommand) -> Result<Command, Error> {
        check(&new)?;
        if !self.registry.knows(device.as_str()) {
            return Err(device_not_found(device));
        }
        self.registry
            .check(device)
            .map_err(|error| Error::new(Kind::Conflict, error.code, error.message))?;
        let now = self.clock.now();
        let step = |status, evidence: &str| Transition {
            status,
            time: now,
            evidence: evidence.to_owned(),
        };
        let command = Command {
            id: CommandId::parse(&random_text("c", 20)?)?,
            device: device.clone(),
            name: new.name,
            payload: new.payload,
            is_dry_run: new.is_dry_run,
            deadline: now.after(new.timeout),
            history: vec![
                step(CommandStatus::Accepted, "stored"),
                step(CommandStatus::Waiting, "for the device"),
            ],
            result: None,
        };
        self.store.create_command(command.clone()).await?;
        self.dispatch.run(device).await;
        Ok(self.store.find_command(&command.id).await?.unwrap_or(command))
    }

    /// The command of that id.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn get(&self, id: &CommandId) -> Result<Command, Error> {
        self.store.find_command(id).await?.ok_or_else(|| {
            Error::not_found("command.not_found", format!("command `{id}` not found"))
        })
    }

    /// The newest commands of a device, newest first.
    ///
    /// # Errors
    /// As the command store.
    pub async fn list(&self, device: &DeviceId, limit: usize) -> Result<Vec<Command>, Error> {
        self.store.list_commands(device, limit.min(limit::PAGE_ITEMS_MAX)).await
    }

    /// Cancels a command for a reason of the instance's own; says whether it had not ended yet.
    pub(crate) async fn end(&self, id: &CommandId, why: &str) -> Result<bool, Error> {
        let (status, time) = (CommandStatus::Canceled, self.clock.now());
        let step = Transition { status, time, evidence: why.to_owned() };
        Ok(self.store.advance(id, step).await?.1)
    }

    /// Takes a command back. One that was sent may have been executed all the same; its history
    /// tells.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` when it is finished.
    pub async fn cancel(&self, id: &CommandId) -> Result<Command, Error> {
        self.get(id).await?;
        let status = CommandStatus::Canceled;
        let step = Transition { status, time: self.clock.now(), evidence: "on request".to_owned() };
        let (command, changed) = self.store.advance(id, step).await?;
        if changed {
            return Ok(command);
        }
        let message = format!("command `{id}` is {} already", command.status());
        Err(Error::new(Kind::Conflict, "command.finished", message))
    }
}

fn check(new: &NewCommand) -> Result<(), Error> {
    let is_name = (1..=64).contains(&new.name.len())
        && new.name != "r"
        && new.name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'));
    if !is_name {
        return Err(Error::invalid(
            "command.name_invalid",
            "a command's name must match [A-Za-z0-9_.-]{1,64} and not be `r`",
        ));
    }
    let bytes = new.payload.len();
    if bytes > limit::COMMAND_PAYLOAD_BYTES_MAX {
        let limit = limit::COMMAND_PAYLOAD_BYTES_MAX;
        let message = format!("the payload of a command is at most {limit} bytes");
        return Err(Error::new(Kind::TooLarge, "command.payload_too_large", message)
            .with_limit(limit as u64, bytes as u64));
    }
    let most = limit::COMMAND_TIMEOUT_MAX;
    if new.timeout.is_zero() || new.timeout > most {
        let message = format!("`timeout_s` is at least 1 and at most {}", most.as_secs());
        return Err(Error::invalid("command.timeout_invalid", message)
            .with_limit(most.as_secs(), new.timeout.as_secs()));
    }
    Ok(())
}
