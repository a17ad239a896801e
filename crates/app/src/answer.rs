//! Takes devices' answers to commands ahead of all else in the log: a person waits for each.
//!
//! The projection comes to the same, from the same records, and finds them taken already. But it
//! follows the log record by record, and under load it may be seconds behind, while a command has
//! a deadline. What is dropped here for lack of room it brings.

use std::sync::Arc;

use axle_domain::port::{CommandStore, EventLog};
use axle_domain::{Error, Offset, Reply, Schemas, limit};
use tokio::sync::{Mutex, mpsc};
use tracing::debug;

use crate::app::Ports;
use crate::decode::{Decoded, decode};

/// The fast lane of answers.
pub struct Answers {
    log: Arc<dyn EventLog>,
    commands: Arc<dyn CommandStore>,
    schemas: Arc<Schemas>,
    sender: mpsc::Sender<Offset>,
    /// Whoever runs has it.
    receiver: Mutex<mpsc::Receiver<Offset>>,
}

impl Answers {
    pub(crate) fn new(ports: &Ports, schemas: Arc<Schemas>) -> Arc<Self> {
        let (log, commands) = (Arc::clone(&ports.log), Arc::clone(&ports.commands));
        let (sender, receiver) = mpsc::channel(limit::ANSWERS_WAITING_MAX);
        Arc::new(Self { log, commands, schemas, sender, receiver: Mutex::new(receiver) })
    }

    /// Notes where an answer was appended. Without room the projection alone takes it.
    pub(crate) fn note(&self, offset: Offset) {
        let _is_full = self.sender.try_send(offset).is_err();
    }

    /// Takes answers as they become durable, until `stop` returns.
    pub async fn run(&self, stop: impl Future<Output = ()> + Send) {
        let mut stop = std::pin::pin!(stop);
        let mut receiver = self.receiver.lock().await;
        let mut offsets = Vec::with_capacity(limit::ANSWERS_PER_COMMIT_MAX);
        loop {
            let count = tokio::select! {
                count = receiver.recv_many(&mut offsets, limit::ANSWERS_PER_COMMIT_MAX) => count,
                () = &mut stop => return,
            };
            if count == 0 {
                return;
            }
            let taken = tokio::select! {
                taken = self.take(&offsets) => taken,
                () = &mut stop => return,
            };
            if let Err(error) = taken {
                // Nothing is lost: they stand in the log, and the projection reports what it
                // cannot read or store.
                debug!(error = %error.chain(), "answers are left to the projection");
            }
            offsets.clear();
        }
    }

    async fn take(&self, offsets: &[Offset]) -> Result<(), Error> {
        let mut replies = Vec::with_capacity(offsets.len());
        for offset in offsets {
            self.log.durable(*offset).await?;
            replies.extend(self.read(*offset).await?);
        }
        if replies.is_empty() {
            return Ok(());
        }
        self.commands.answer(replies).await
    }

    /// The answer that stands there, if it is one.
    async fn read(&self, offset: Offset) -> Result<Option<Reply>, Error> {
        let records = self.log.read(offset, 1).await?;
        let record = records.first().filter(|record| record.offset == offset);
        let mut reply = None;
        if let Some(record) = record {
            decode(&self.schemas, offset, &record.message(), &mut |decoded| {
                if let Decoded::Reply(decoded) = decoded {
                    reply = Some(decoded);
                }
            });
        }
        Ok(reply)
    }
}
