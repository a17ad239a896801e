//! Commands: a row each, the history as JSON within it.

use async_trait::async_trait;
use axle_domain::port::CommandStore;
use axle_domain::{
    Command, CommandId, CommandStatus, DeviceId, Error, Kind, Reply, Timestamp, Transition, limit,
};
use rusqlite::{Connection, Row, params};
use serde::{Deserialize, Serialize};

use crate::SqliteState;
use crate::device::device_id;
use crate::failure::{Failure, corrupt};

const COMMAND: &str =
    "SELECT id, device, name, payload, is_dry_run, deadline, history, result FROM command";

#[async_trait]
impl CommandStore for SqliteState {
    async fn create_command(&self, command: Command) -> Result<(), Error> {
        self.write(move |writing| create(writing.connection, &command)).await
    }

    async fn find_command(&self, id: &CommandId) -> Result<Option<Command>, Error> {
        let id = id.clone();
        self.read(move |connection| find(connection, &id)).await
    }

    async fn advance(&self, id: &CommandId, step: Transition) -> Result<(Command, bool), Error> {
        let id = id.clone();
        self.write(move |writing| {
            let mut command = find(writing.connection, &id)?.ok_or_else(|| {
                Error::not_found("command.not_found", format!("there is no command `{id}`"))
            })?;
            let has_advanced = command.advance(step);
            if has_advanced {
                put(writing.connection, &command)?;
            }
            Ok((command, has_advanced))
        })
        .await
    }

    async fn answer(&self, replies: Vec<Reply>) -> Result<(), Error> {
        self.write(move |writing| {
            replies.iter().try_for_each(|reply| answer(writing.connection, reply))
        })
        .await
    }

    async fn open_commands(&self, device: &DeviceId) -> Result<Vec<Command>, Error> {
        let device = device.clone();
        self.read(move |connection| {
            let sql = format!("{COMMAND} WHERE device = ?1 AND is_open = 1 ORDER BY number");
            let mut statement = connection.prepare_cached(&sql)?;
            statement.query_and_then([device.as_str()], command)?.collect()
        })
        .await
    }

    async fn list_commands(&self, device: &DeviceId, limit: usize) -> Result<Vec<Command>, Error> {
        let device = device.clone();
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.read(move |connection| {
            let sql = format!("{COMMAND} WHERE device = ?1 ORDER BY number DESC LIMIT ?2");
            let mut statement = connection.prepare_cached(&sql)?;
            statement.query_and_then(params![device.as_str(), limit], command)?.collect()
        })
        .await
    }

    async fn overdue(&self, now: Timestamp, limit: usize) -> Result<Vec<CommandId>, Error> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT id FROM command WHERE is_open = 1 AND deadline < ?1
                 ORDER BY deadline LIMIT ?2",
            )?;
            statement.query_and_then(params![now.0, limit], |row| command_id(row, 0))?.collect()
        })
        .await
    }
}

/// Takes a device's answer within the transaction of its stretch.
pub(crate) fn answer(connection: &Connection, reply: &Reply) -> Result<(), Failure> {
    let Some(mut command) = find(connection, &reply.command)? else { return Ok(()) };
    if command.answer(reply) {
        put(connection, &command)?;
    }
    Ok(())
}

fn create(connection: &Connection, command: &Command) -> Result<(), Failure> {
    let is_open = !command.status().is_final();
    let mut statement = connection.prepare_cached(
        "INSERT INTO command
         (id, device, name, payload, is_dry_run, deadline, status, is_open, history, result)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) ON CONFLICT (id) DO NOTHING",
    )?;
    let count = statement.execute(params![
        command.id.as_str(),
        command.device.as_str(),
        command.name,
        command.payload,
        command.is_dry_run,
        command.deadline.0,
        command.status().as_str(),
        is_open,
        history_text(command)?,
        command.result,
    ])?;
    if count == 0 {
        let message = format!("command `{}` exists already: choose another id", command.id);
        return Err(Error::new(Kind::Conflict, "command.exists", message).into());
    }
    if is_open { check_open_count(connection, &command.device) } else { Ok(()) }
}

/// Counts with the new command in place: the job's rollback takes it out again.
fn check_open_count(connection: &Connection, device: &DeviceId) -> Result<(), Failure> {
    let mut statement = connection
        .prepare_cached("SELECT count(*) FROM command WHERE device = ?1 AND is_open = 1")?;
    let count: i64 = statement.query_row([device.as_str()], |row| row.get(0))?;
    let max = limit::COMMANDS_OPEN_PER_DEVICE_MAX;
    if count <= i64::try_from(max).unwrap_or(i64::MAX) {
        return Ok(());
    }
    let message = format!(
        "device `{device}` may have {max} open commands: wait until some end, or cancel them"
    );
    let error = Error::new(Kind::Busy, "command.too_many_open", message);
    let limit = u64::try_from(max).unwrap_or(u64::MAX);
    Err(error.with_limit(limit, u64::try_from(count).unwrap_or(0)).into())
}

pub(crate) fn find(connection: &Connection, id: &CommandId) -> Result<Option<Command>, Failure> {
    let mut statement = connection.prepare_cached(&format!("{COMMAND} WHERE id = ?1"))?;
    let mut rows = statement.query([id.as_str()])?;
    rows.next()?.map(command).transpose()
}

/// Writes what can change of a command.
fn put(connection: &Connection, command: &Command) -> Result<(), Failure> {
    let mut statement = connection.prepare_cached(
        "UPDATE command SET status = ?2, is_open = ?3, history = ?4, result = ?5 WHERE id = ?1",
    )?;
    statement.execute(params![
        command.id.as_str(),
        command.status().as_str(),
        !command.status().is_final(),
        history_text(command)?,
        command.result,
    ])?;
    Ok(())
}

fn command(row: &Row<'_>) -> Result<Command, Failure> {
    let id = command_id(row, 0)?;
    let history = history(row.get_ref(6)?.as_str().map_err(rusqlite::Error::from)?)
        .ok_or_else(|| corrupt(format!("the history of command `{id}` cannot be read")))?;
    Ok(Command {
        device: device_id(row, 1)?,
        name: row.get(2)?,
        payload: row.get(3)?,
        is_dry_run: row.get(4)?,
        deadline: Timestamp(row.get(5)?),
        history,
        result: row.get(7)?,
        id,
    })
}

fn command_id(row: &Row<'_>, column: usize) -> Result<CommandId, Failure> {
    let text = row.get_ref(column)?.as_str().map_err(rusqlite::Error::from)?;
    CommandId::parse(text).map_err(|error| corrupt(error.message))
}

/// A step as it is stored.
#[derive(Serialize, Deserialize)]
struct Step {
    status: String,
    time: i64,
    evidence: String,
}

fn history_text(command: &Command) -> Result<String, Failure> {
    let steps: Vec<Step> = command
        .history
        .iter()
        .map(|step| Step {
            status: step.status.as_str().to_owned(),
            time: step.time.0,
            evidence: step.evidence.clone(),
        })
        .collect();
    serde_json::to_string(&steps).map_err(|error| {
        Error::internal("state.unwritable", "a history cannot be written").with_source(error).into()
    })
}

fn history(text: &str) -> Option<Vec<Transition>> {
    let steps: Vec<Step> = serde_json::from_str(text).ok()?;
    let step = |step: Step| {
        let status = CommandStatus::parse(&step.status)?;
        Some(Transition { status, time: Timestamp(step.time), evidence: step.evidence })
    };
    steps.into_iter().map(step).collect()
}
