//! A named pipe. What was read from it is gone from it, so what is kept must be on the disk soon.

use std::path::Path;
use std::time::Duration;

use axle_domain::{Error, Kind};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::time::Instant;

use super::Keeper;
use crate::value::LINE_BYTES_MAX;

/// How long lines gather before they are written to the disk together.
const GATHER: Duration = Duration::from_millis(200);
/// Lines that gather at most.
const GATHER_BYTES_MAX: usize = 256 * 1024;

/// Reads lines until the agent is asked to stop. Writers may come and go.
pub(super) async fn follow(keeper: &Keeper, path: &Path) -> Result<(), Error> {
    // Reading and writing, so that the last writer's end is not the end.
    let mut pipe =
        pipe::OpenOptions::new().read_write(true).open_receiver(path).map_err(|error| {
            let message = format!("the pipe {} cannot be read: {error}", path.display());
            Error::new(Kind::Invalid, "agent.source", message)
        })?;
    let (mut bytes, mut due): (Vec<u8>, Option<Instant>) = (Vec::new(), None);
    loop {
        let until = due;
        let is_over = tokio::select! {
            () = keeper.stop.cancelled() => true,
            read = pipe.read_buf(&mut bytes) => {
                if let Err(error) = read {
                    let message = format!("the pipe {} ended: {error}", path.display());
                    return Err(Error::new(Kind::Unavailable, "agent.source", message));
                }
                due.get_or_insert_with(|| Instant::now() + GATHER);
                bytes.len() < GATHER_BYTES_MAX
            }
            () = sleep_until(until) => false,
        };
        if is_over && !keeper.stop.is_cancelled() {
            continue;
        }
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let rest = bytes.split_off(whole);
        let lines = std::mem::replace(&mut bytes, rest);
        if bytes.len() > LINE_BYTES_MAX {
            keeper.tell_bad("a line without an end");
            bytes.clear();
        }
        let text = String::from_utf8_lossy(&lines);
        keeper.keep_lines(text.lines()).await?;
        due = None;
        if keeper.stop.is_cancelled() {
            return Ok(());
        }
    }
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}
