//! One connection of a load: a hand-written future that reads, encodes and writes in one go, since
//! every microsecond here is taken from the server beside it.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::order::Order;
use super::probe::Probe;
use super::schedule::Bell;
use super::sent::Share;
use crate::clock::now_ms;
use crate::connect::{Dialer, Stream};
use crate::content::Fate;
use crate::packet::{self, Packet, Version};

/// Bytes that may wait to be written.
const OUTPUT_BYTES_MAX: usize = 64 * 1024;
/// Bytes that are read in one go.
const INPUT_BYTES: usize = 4096;
/// Pause before a broken connection is made again.
const RETRY_PAUSE: Duration = Duration::from_millis(200);
/// Attempts at the first connection.
const ATTEMPTS: u32 = 5;

/// A message that waits for its acknowledgement.
#[derive(Clone, Copy, Debug)]
struct Flight {
    id: u16,
    share: usize,
    number: u64,
    /// When it was due, or sent where nothing is due; nanoseconds since the start.
    nanos: u64,
}

/// One device of a connection, ready to be written.
struct Voice {
    share: Share,
    device: Arc<str>,
    topic: String,
    /// Where failures are told, if any are.
    fault_topic: String,
    template: Option<Vec<u8>>,
}

/// One connection and what it has sent.
pub(crate) struct Lane {
    number: usize,
    dialer: Dialer,
    client_id: String,
    bell: Arc<Bell>,
    order: Arc<Order>,
    voices: Vec<Voice>,
    /// Messages begun, over all voices.
    begun: u64,
    flights: VecDeque<Flight>,
    /// Flights of a broken connection, to be sent again.
    again: VecDeque<Flight>,
    last_id: u16,
    output: BytesMut,
    payload: Vec<u8>,
}

impl Lane {
    /// A connection that speaks for the given shares of devices.
    pub(crate) fn new(
        number: usize,
        dialer: Dialer,
        client_id: String,
        (bell, order): (Arc<Bell>, Arc<Order>),
        shares: Vec<(Share, Arc<str>)>,
    ) -> Self {
        let voices = shares.into_iter().map(|(share, device)| {
            let topic = format!("v1/d/{device}/t/{}", share.source.profile().stream());
            let is_plain = !share.source.quirks().any();
            let fault_topic =
                if is_plain { String::new() } else { format!("v1/d/{device}/t/fault") };
            Voice { template: share.source.template(), topic, fault_topic, device, share }
        });
        let voices = voices.collect();
        Self {
            number,
            dialer,
            client_id,
            bell,
            order,
            voices,
            begun: 0,
            flights: VecDeque::new(),
            again: VecDeque::new(),
            last_id: 0,
            output: BytesMut::new(),
            payload: Vec::new(),
        }
    }

    /// Connects, tells the order, waits for the start, and sends until the end; returns what was
    /// sent. A connection that breaks later is made again, and what was not acknowledged is sent
    /// again with the same content.
    pub(crate) async fn run(mut self) -> Vec<Share> {
        let mut attempts = 0;
        let mut is_first = true;
        while !self.order.is_given_up() {
            match self.session(&mut is_first).await {
                Ok(()) => break,
                Err(error) => {
                    self.order.count_error(&reason(&error));
                    self.flights.append(&mut self.again);
                    std::mem::swap(&mut self.flights, &mut self.again);
                    attempts += 1;
                    if is_first && attempts >= ATTEMPTS {
                        self.order.give_up();
                    }
                    if !is_first {
                        self.order.disconnects.fetch_add(1, Ordering::Relaxed);
                    }
                    tokio::time::sleep(RETRY_PAUSE).await;
                }
            }
        }
        self.voices.into_iter().map(|voice| voice.share).collect()
    }

    async fn session(&mut self, is_first: &mut bool) -> io::Result<()> {
        let mut stream = {
            let order = Arc::clone(&self.order);
            let _permit = order.dialing.acquire().await.map_err(io::Error::other)?;
            self.open().await?
        };
        if std::mem::take(is_first) {
            self.order.connected.fetch_add(1, Ordering::Relaxed);
        }
        self.order.wait_for_start().await;
        let mut input = BytesMut::new();
        poll_fn(|cx| self.poll(&mut stream, &mut input, cx)).await?;
        packet::disconnect(&mut self.output);
        // Everything is acknowledged; whether the goodbye arrives changes nothing.
        let _goodbye = poll_fn(|cx| self.poll_write(&mut stream, cx)).await;
        Ok(())
    }

    async fn open(&mut self) -> io::Result<Stream> {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut stream = self.dialer.dial().await?;
        self.output.clear();
        packet::connect(Version::V3, &self.client_id, 1200, &mut self.output);
        stream.write_all_buf(&mut self.output).await?;
        stream.flush().await?;
        let mut answer = [0; 4];
        tokio::time::timeout(Duration::from_secs(15), stream.read_exact(&mut answer)).await??;
        match packet::read(&answer, Version::V3) {
            Ok(Some((Packet::ConnAck { code: 0, .. }, _))) => Ok(stream),
            Ok(Some((Packet::ConnAck { code, .. }, _))) => {
                Err(io::Error::other(format!("CONNACK {code:#04x}")))
            }
            _ => Err(malformed()),
        }
    }

    /// Reads, encodes and writes until nothing more can be done now. Ready when the sending is
    /// over and everything is acknowledged, or the run was given up.
    fn poll(
        &mut self,
        stream: &mut Stream,
        input: &mut BytesMut,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        self.bell.waker.register(cx.waker());
        loop {
            self.poll_read(stream, input, cx)?;
            let has_more = self.encode();
            let written = self.poll_write(stream, cx)?;
            let is_done = self.order.schedule().is_over() && self.again.is_empty();
            if (is_done && self.flights.is_empty()) || self.order.is_given_up() {
                return Poll::Ready(Ok(()));
            }
            if !has_more || written.is_pending() {
                return Poll::Pending;
            }
        }
    }

    fn poll_read(
        &mut self,
        stream: &mut Stream,
        input: &mut BytesMut,
        cx: &mut Context<'_>,
    ) -> io::Result<()> {
        let mut bytes = [std::mem::MaybeUninit::uninit(); INPUT_BYTES];
        let mut buffer = ReadBuf::uninit(&mut bytes);
        loop {
            buffer.clear();
            match Pin::new(&mut *stream).poll_read(cx, &mut buffer)? {
                Poll::Pending => return Ok(()),
                Poll::Ready(()) if buffer.filled().is_empty() => {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                // An idle connection keeps no buffer: only a torn packet is left in `input`.
                Poll::Ready(()) if input.is_empty() => {
                    let used = self.take(buffer.filled())?;
                    input.extend_from_slice(buffer.filled().get(used..).unwrap_or_default());
                }
                Poll::Ready(()) => {
                    input.extend_from_slice(buffer.filled());
                    let used = self.take(input)?;
                    input.advance(used);
                }
            }
        }
    }

    /// Takes the acknowledgements out of the bytes; returns how many bytes were used.
    fn take(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let order = Arc::clone(&self.order);
        let now = order.schedule().nanos();
        let (mut used, mut acked, mut histogram) = (0, 0, None);
        while let Some(rest) = bytes.get(used..).filter(|rest| !rest.is_empty()) {
            let seen = packet::read(rest, Version::V3).map_err(|_bad| malformed())?;
            let Some((packet, length)) = seen else { break };
            used += length;
            let Packet::PubAck { id, .. } = packet else { continue };
            let Some(flight) = self.land(id) else { continue };
            let voice = self.voices.get_mut(flight.share);
            acked += u64::from(voice.is_some_and(|voice| voice.share.acked.insert(flight.number)));
            if order.is_measured(flight.nanos) {
                let histogram = histogram.get_or_insert_with(|| {
                    order.histogram(self.number).lock().unwrap_or_else(PoisonError::into_inner)
                });
                histogram.record(Duration::from_nanos(now.saturating_sub(flight.nanos)));
            }
        }
        drop(histogram);
        order.acked.fetch_add(acked, Ordering::Relaxed);
        Ok(used)
    }

    fn land(&mut self, id: u16) -> Option<Flight> {
        if self.flights.front()?.id == id {
            return self.flights.pop_front();
        }
        let place = self.flights.iter().position(|flight| flight.id == id)?;
        self.flights.remove(place)
    }

    /// Encodes what may be sent; says whether there is more than the output takes.
    fn encode(&mut self) -> bool {
        let order = Arc::clone(&self.order);
        let schedule = order.schedule();
        let (mut sent, mut now) = (0, None);
        let has_more = loop {
            if self.flights.len() >= order.window {
                break false;
            }
            if self.output.len() >= OUTPUT_BYTES_MAX {
                break true;
            }
            let flight = match self.again.pop_front() {
                Some(flight) => flight,
                None if schedule.is_over() => break false,
                None if schedule.due(&self.bell).is_some_and(|due| self.begun >= due) => {
                    break false;
                }
                None => {
                    sent += 1;
                    let now = now.get_or_insert_with(|| schedule.nanos());
                    let due = schedule.due_nanos(self.number, self.begun);
                    self.begin(due.unwrap_or(*now))
                }
            };
            self.write_flight(flight, &order);
            if self.is_twice(flight) {
                self.write_flight(flight, &order);
            }
        };
        order.sent.fetch_add(sent, Ordering::Relaxed);
        has_more
    }

    /// The next new message.
    fn begin(&mut self, nanos: u64) -> Flight {
        let voices = self.voices.len().max(1) as u64;
        let share = usize::try_from(self.begun % voices).unwrap_or(0);
        let number = self.begun / voices;
        self.begun += 1;
        if let Some(voice) = self.voices.get_mut(share) {
            voice.share.sent = number + 1;
        }
        Flight { id: 0, share, number, nanos }
    }

    /// Whether a message is sent twice on purpose; one that is sent again for its acknowledgement
    /// has been twice already.
    fn is_twice(&self, flight: Flight) -> bool {
        let is_new = flight.id == 0;
        is_new
            && self
                .voices
                .get(flight.share)
                .is_some_and(|Voice { share, .. }| share.source.is_twice(share.seq(flight.number)))
    }

    fn write_flight(&mut self, mut flight: Flight, order: &Order) {
        let Some(voice) = self.voices.get_mut(flight.share) else { return };
        self.last_id = if self.last_id == u16::MAX { 1 } else { self.last_id + 1 };
        flight.id = self.last_id;
        let (source, seq) = (&voice.share.source, voice.share.seq(flight.number));
        let payload: &[u8] = if let Some(template) = &mut voice.template {
            source.patch(seq, template);
            template
        } else {
            self.payload.clear();
            source.write_message(seq, now_ms(), &mut self.payload);
            &self.payload
        };
        let fate = source.fate(seq);
        let topic = if fate == Fate::Fault { &voice.fault_topic } else { &voice.topic };
        packet::publish(Version::V3, topic, flight.id, payload, &mut self.output);
        self.flights.push_back(flight);
        let is_found_by_time = fate == Fate::Plain && source.quirks().clock_ahead_ms() == 0;
        if order.probes.is_wanted() && is_found_by_time {
            order.probes.offer(Probe::new(&voice.device, source, seq));
        }
    }

    fn poll_write(&mut self, stream: &mut Stream, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.output.is_empty() {
            let written = ready!(Pin::new(&mut *stream).poll_write(cx, &self.output))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.output.advance(written);
        }
        if self.flights.is_empty() && self.order.schedule().is_paced() {
            // Thousands of connections that send now and then keep no buffers.
            self.output = BytesMut::new();
        }
        Pin::new(stream).poll_flush(cx)
    }
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "bytes that are no MQTT")
}

/// An error in words that repeat, so that it can be counted.
fn reason(error: &io::Error) -> String {
    let kind = error.kind();
    if matches!(kind, io::ErrorKind::Other | io::ErrorKind::InvalidData) {
        return error.to_string().chars().take(100).collect();
    }
    kind.to_string()
}
