//! One device's connection, a step at a time: for agents, ledgers and demonstrations, where a
//! message per second matters more than a microsecond per message. Load has a loop of its own.

use std::io;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::connect::{Dialer, Stream};
use crate::packet::{self, Packet, Version};

/// What comes from the server, owned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Incoming {
    /// A PUBLISH of ours was acknowledged, with a code (0x80 and above: refused).
    Acked(u16, u8),
    /// A message.
    Message {
        /// Its topic name.
        topic: String,
        /// Its bytes.
        payload: Vec<u8>,
        /// What [`Client::acknowledge`] wants; 0 at QoS 0.
        id: u16,
    },
    /// The answer to a SUBSCRIBE.
    Subscribed(u8),
    /// Anything that asks for nothing.
    Other,
}

/// Seconds of the keep alive that is asked for.
pub const KEEP_ALIVE_S: u16 = 60;
/// Time from CONNECT to CONNACK.
const CONNACK_TIME_MAX: Duration = Duration::from_secs(10);
/// So much is kept unsent before [`Client::publish`] has to be followed by a flush.
pub const WRITE_BYTES_SOFT: usize = 64 * 1024;

/// The server does not want us, or no longer. It is what stands inside the `io::Error` of
/// [`Client::connect`] and [`Client::next`] then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The reason code of CONNACK or DISCONNECT.
    pub code: u8,
    /// The reason in the server's words; empty without any.
    pub reason: String,
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the server refused with code {:#04x}", self.code)?;
        if self.reason.is_empty() { Ok(()) } else { write!(f, ": {}", self.reason) }
    }
}

impl std::error::Error for Refused {}

/// A connected device.
pub struct Client {
    stream: Stream,
    version: Version,
    receive_max: u16,
    keep_alive: Duration,
    packet_bytes_max: usize,
    input: BytesMut,
    output: BytesMut,
    last_id: u16,
}

impl Client {
    /// Connects and waits for the CONNACK.
    ///
    /// # Errors
    /// When the server cannot be reached, does not answer in time, or refuses ([`Refused`]).
    pub async fn connect(dialer: &Dialer, version: Version, client_id: &str) -> io::Result<Self> {
        let stream = dialer.dial().await?;
        let (input, output) = (BytesMut::with_capacity(1024), BytesMut::with_capacity(1024));
        let mut client = Self {
            stream,
            version,
            receive_max: u16::MAX,
            keep_alive: Duration::from_secs(u64::from(KEEP_ALIVE_S)),
            packet_bytes_max: usize::MAX,
            input,
            output,
            last_id: 0,
        };
        packet::connect(version, client_id, KEEP_ALIVE_S, &mut client.output);
        client.flush().await?;
        tokio::time::timeout(CONNACK_TIME_MAX, client.accepted()).await??;
        Ok(client)
    }

    async fn accepted(&mut self) -> io::Result<()> {
        loop {
            match packet::read(&self.input, self.version).map_err(|_bad| malformed())? {
                Some((Packet::ConnAck { code: 0, terms, .. }, length)) => {
                    self.receive_max = terms.receive_max.unwrap_or(u16::MAX).max(1);
                    if let Some(seconds) = terms.keep_alive_s {
                        self.keep_alive = Duration::from_secs(u64::from(seconds));
                    }
                    if let Some(bytes) = terms.packet_bytes_max {
                        self.packet_bytes_max = usize::try_from(bytes).unwrap_or(usize::MAX);
                    }
                    self.input.advance(length);
                    return Ok(());
                }
                Some((Packet::ConnAck { code, terms, .. }, _)) => {
                    return Err(refused(code, terms.reason));
                }
                Some(_) => return Err(malformed()),
                None => self.fill().await?,
            }
        }
    }

    /// Publishes that may wait for their acknowledgement, as the server says.
    #[must_use]
    pub fn receive_max(&self) -> u16 {
        self.receive_max
    }

    /// After so much silence the server gives us up; zero where it never does.
    #[must_use]
    pub fn keep_alive(&self) -> Duration {
        self.keep_alive
    }

    /// Longest packet that the server takes.
    #[must_use]
    pub fn packet_bytes_max(&self) -> usize {
        self.packet_bytes_max
    }

    /// The id of the next packet; never 0.
    fn next_id(&mut self) -> u16 {
        self.last_id = if self.last_id == u16::MAX { 1 } else { self.last_id + 1 };
        self.last_id
    }

    /// Queues a PUBLISH at QoS 1; its packet id.
    pub fn publish(&mut self, topic: &str, payload: &[u8]) -> u16 {
        let id = self.next_id();
        // Never DUP: that speaks of a session, and each connection here starts a new one.
        packet::publish(self.version, topic, id, payload, &mut self.output);
        id
    }

    /// Queues a SUBSCRIBE at QoS 1.
    pub fn subscribe(&mut self, filter: &str) {
        let id = self.next_id();
        packet::subscribe(self.version, id, filter, &mut self.output);
    }

    /// Queues a PUBACK.
    pub fn acknowledge(&mut self, id: u16) {
        if id != 0 {
            packet::puback(id, &mut self.output);
        }
    }

    /// Queues a PINGREQ.
    pub fn ping(&mut self) {
        packet::ping(&mut self.output);
    }

    /// Bytes that wait to be flushed.
    #[must_use]
    pub fn unsent_bytes(&self) -> usize {
        self.output.len()
    }

    /// Writes what is queued. When dropped midway the rest stays queued.
    ///
    /// # Errors
    /// When the connection is over.
    pub async fn flush(&mut self) -> io::Result<()> {
        while !self.output.is_empty() {
            if self.stream.write_buf(&mut self.output).await? == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
        }
        self.stream.flush().await
    }

    /// The next packet. May be dropped midway: nothing is lost.
    ///
    /// # Errors
    /// When the connection is over; [`Refused`] where the server says why.
    pub async fn next(&mut self) -> io::Result<Incoming> {
        loop {
            let seen = packet::read(&self.input, self.version).map_err(|_bad| malformed())?;
            let Some((packet, length)) = seen else {
                self.fill().await?;
                continue;
            };
            let incoming = match packet {
                Packet::PubAck { id, code } => Incoming::Acked(id, code),
                Packet::SubAck { code, .. } => Incoming::Subscribed(code),
                Packet::Publish { topic, payload, id } => {
                    Incoming::Message { topic: topic.to_owned(), payload: payload.to_vec(), id }
                }
                Packet::Disconnect { code, reason } => return Err(refused(code, reason)),
                Packet::ConnAck { .. } => return Err(malformed()),
                Packet::PingResp | Packet::Other => Incoming::Other,
            };
            self.input.advance(length);
            return Ok(incoming);
        }
    }

    async fn fill(&mut self) -> io::Result<()> {
        if self.stream.read_buf(&mut self.input).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }

    /// Says goodbye.
    pub async fn close(mut self) {
        packet::disconnect(&mut self.output);
        let goodbye = async {
            self.flush().await?;
            self.stream.shutdown().await
        };
        // The server may be gone already; either way the connection is over.
        let _gone = tokio::time::timeout(Duration::from_secs(1), goodbye).await;
    }
}

fn refused(code: u8, reason: &str) -> io::Error {
    io::Error::other(Refused { code, reason: reason.to_owned() })
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the server sent bytes that are no MQTT")
}
