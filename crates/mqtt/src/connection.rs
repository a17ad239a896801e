//! One loop per connection: read packets, have them handled, write what comes of it.
//!
//! The loop is written as one `poll`, so that an idle connection is its socket, a timer and a few
//! words: bytes are read into a buffer that all connections of a thread share, and every buffer of
//! a connection's own exists only while there is something in it.

mod end;
mod start;

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io::ErrorKind;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axle_domain::{Error, Offset, limit};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use crate::moment::Moment;
use crate::packet::header;
use crate::packet::refusal::Refusal;
use crate::session::{End, Flow, Session, Wait, Waiting};
use crate::trust::Shown;

use self::start::Peer;
pub(crate) use self::start::{Start, Times};

const INPUT_BYTES: usize = 64 * 1024;
/// With more than this unsent nothing is read: the client has to take its answers first.
const UNSENT_BYTES_MAX: usize = 256 * 1024;
/// Reads of one turn; then others get theirs.
const READS_PER_TURN: usize = 8;
/// Packets of one turn; however small they are, others get theirs soon.
const PACKETS_PER_TURN: u16 = 1024;

thread_local! {
    /// Where all connections of a thread read into.
    static INPUT: RefCell<Vec<u8>> = RefCell::new(vec![0; INPUT_BYTES]);
}

/// A client that has been let in, and its socket.
pub(crate) struct Connection<S> {
    socket: S,
    session: Session,
    /// Bytes that were read and not handled: part of a packet, or what has to wait.
    held: Vec<u8>,
    /// Whether the held bytes wait for something else than more bytes.
    waits_for: Option<Wait>,
    /// Bytes to be written, from `written` on.
    out: Vec<u8>,
    written: usize,
    needs_flush: bool,
    commit: Option<(Offset, Waiting<Result<(), Error>>)>,
    room: Option<Waiting<()>>,
    times: Times,
    peer: Peer,
    heard_at: Moment,
    /// Since when the client takes nothing of what is sent, or else since when a packet is held
    /// that is not whole.
    stalled_since: Option<Moment>,
    is_unread: bool,
    /// Packets that may still be handled in this turn.
    packets_left: u16,
    timer: Option<Pin<Box<Sleep>>>,
    /// Whether we shut down, and end the connection as soon as nothing waits for a commit.
    is_ending: bool,
}

impl<S: AsyncRead + AsyncWrite + Shown + Unpin + Send> Connection<S> {
    pub(crate) fn new(socket: S, session: Session, start: Start) -> Self {
        let heard_at = Moment::of(Instant::now());
        let mut connection = Self {
            socket,
            session,
            held: start.held,
            waits_for: None,
            out: start.out,
            written: 0,
            needs_flush: false,
            commit: None,
            room: None,
            times: start.times,
            peer: start.peer.into(),
            heard_at,
            stalled_since: None,
            is_unread: false,
            packets_left: 0,
            timer: None,
            is_ending: false,
        };
        connection.timer =
            connection.deadline().map(|deadline| Box::pin(tokio::time::sleep_until(deadline)));
        connection
    }

    /// Serves the client until the connection ends.
    ///
    /// Not an `async fn`: that would keep room for the connection twice.
    #[expect(clippy::manual_async_fn, reason = "an async fn is twice as large, see the test")]
    pub(crate) fn run(mut self) -> impl Future<Output = ()> + Send {
        async move {
            let end = poll_fn(|cx| self.poll(cx)).await;
            // In a box: every connection would keep room for its end otherwise.
            Box::pin(self.finish(end)).await;
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        match self.turn(cx) {
            Err(end) => Poll::Ready(end),
            Ok(()) => Poll::Pending,
        }
    }

    fn turn(&mut self, cx: &mut Context<'_>) -> Result<(), End> {
        self.session.link.waker.register(cx.waker());
        self.packets_left = PACKETS_PER_TURN;
        if self.waits_for == Some(Wait::Others) {
            self.waits_for = None;
        }
        if self.session.link.take_news() {
            self.take_news()?;
        }
        self.poll_commit(cx)?;
        self.poll_room(cx);
        self.poll_storing(cx);
        let read = self.poll_input(cx);
        self.session.flush_counts();
        read?;
        // After the input: what came while the whole process slept counts as heard.
        self.poll_timer(cx)?;
        self.poll_commit(cx)?;
        self.poll_storing(cx);
        if self.is_ending && !self.session.has_pending() {
            return Err(Refusal::SHUTTING_DOWN.into());
        }
        self.session.deliver(&mut self.out)?;
        self.poll_output(cx)
    }

    fn take_news(&mut self) -> Result<(), End> {
        match self.session.link.closing() {
            // What was taken is acknowledged before we go.
            Some(Refusal::SHUTTING_DOWN) => {
                self.is_ending = true;
                Ok(())
            }
            Some(refusal) => Err(End::Refused(refusal)),
            None => {
                let session = &self.session;
                if session.link.take_question() && !session.shared.believes(self.socket.shown()) {
                    return Err(End::Refused(Refusal::CERTIFICATE_WITHDRAWN));
                }
                self.session.expect_deliveries();
                Ok(())
            }
        }
    }

    /// Acknowledges what a commit has made safe; one wake-up per commit, not per message.
    fn poll_commit(&mut self, cx: &mut Context<'_>) -> Result<(), End> {
        loop {
            if self.commit.is_none() {
                self.commit = self.session.wait_for_commit();
            }
            let Some((_, commit)) = &mut self.commit else { return Ok(()) };
            let Poll::Ready(result) = commit.as_mut().poll(cx) else { return Ok(()) };
            let Some((offset, _)) = self.commit.take() else { return Ok(()) };
            if result.is_err() {
                return Err(Refusal::UNAVAILABLE.into());
            }
            self.session.release_durable(offset, &mut self.out);
            if self.waits_for == Some(Wait::Commit) {
                self.waits_for = None;
            }
        }
    }

    /// Answers what waited for the session to be stored.
    fn poll_storing(&mut self, cx: &mut Context<'_>) {
        let has_answered = self.session.poll_storing(cx, &mut self.out);
        if has_answered && self.waits_for == Some(Wait::Stored) {
            self.waits_for = None;
        }
    }

    fn poll_room(&mut self, cx: &mut Context<'_>) {
        if self.waits_for != Some(Wait::Room) {
            return;
        }
        let room = self.room.get_or_insert_with(|| self.session.wait_for_room());
        if room.as_mut().poll(cx).is_ready() {
            self.room = None;
            self.waits_for = None;
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let now = Instant::now();
        let silence = self.times.silence_ends_at(self.heard_at, now);
        let stall_max = self.session.shared.settings.stall_time_max;
        let stall =
            self.stalled_since.map(|since| now + stall_max.saturating_sub(since.elapsed(now)));
        let all = [silence, self.times.ends_at(), stall, self.session.slowed_until()];
        all.into_iter().flatten().min()
    }

    /// The timer is set once per keep alive, not once per packet.
    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Result<(), End> {
        let Some(deadline) = self.deadline() else { return Ok(()) };
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if deadline < timer.deadline() {
            timer.as_mut().reset(deadline);
        }
        while let Some(timer) = &mut self.timer
            && timer.as_mut().poll(cx).is_ready()
        {
            let was_waiting = self.waits_for.is_some();
            self.check_times(Instant::now())?;
            if was_waiting && self.waits_for.is_none() {
                cx.waker().wake_by_ref();
            }
            match self.deadline() {
                Some(next) => self.reset_timer(next),
                None => self.timer = None,
            }
        }
        Ok(())
    }

    fn reset_timer(&mut self, deadline: Instant) {
        if let Some(timer) = &mut self.timer {
            timer.as_mut().reset(deadline);
        }
    }

    fn check_times(&mut self, now: Instant) -> Result<(), End> {
        if self.times.ends_at().is_some_and(|ends| ends <= now) {
            return Err(Refusal::CERTIFICATE_ENDED.into());
        }
        if self.session.slowed_until().is_some_and(|until| until <= now) {
            self.session.go_on();
            if self.waits_for == Some(Wait::Rate) {
                self.waits_for = None;
            }
        }
        // Where we do not read, the silence is ours.
        if self.waits_for.is_some() || self.out.len() > UNSENT_BYTES_MAX {
            self.heard_at = Moment::of(now);
            self.stalled_since = self.stalled_since.filter(|_| self.is_unread);
        }
        let stall_max = self.session.shared.settings.stall_time_max;
        if self.stalled_since.is_some_and(|since| since.elapsed(now) >= stall_max) {
            let why = if self.is_unread { Refusal::UNREAD } else { Refusal::PACKET_LATE };
            return Err(why.into());
        }
        // [MQTT-3.1.2-22]
        let silence = self.times.silence_ends_at(self.heard_at, now);
        if silence.is_some_and(|silence| silence <= now) {
            return Err(Refusal::KEEP_ALIVE.into());
        }
        Ok(())
    }

    fn poll_input(&mut self, cx: &mut Context<'_>) -> Result<(), End> {
        for _ in 0..READS_PER_TURN {
            if self.is_ending || self.out.len() > UNSENT_BYTES_MAX {
                return Ok(());
            }
            if self.waits_for.is_none() && !self.held.is_empty() {
                let held = std::mem::take(&mut self.held);
                let handled = self.handle_packets(&held)?;
                self.held = rest_of(held, handled);
                self.watch_packet(handled > 0);
            }
            if self.waits_for.is_some() {
                return self.arm(cx);
            }
            let read = INPUT.with_borrow_mut(|input| {
                let mut buffer = ReadBuf::new(input);
                match Pin::new(&mut self.socket).poll_read(cx, &mut buffer) {
                    Poll::Pending => Poll::Pending,
                    // A TLS client that does not say goodbye is no broken network.
                    Poll::Ready(Err(error)) if error.kind() == ErrorKind::UnexpectedEof => {
                        Poll::Ready(Err(End::Gone))
                    }
                    Poll::Ready(Err(_)) => Poll::Ready(Err(End::Broken)),
                    Poll::Ready(Ok(())) if buffer.filled().is_empty() => {
                        Poll::Ready(Err(End::Gone))
                    }
                    Poll::Ready(Ok(())) => Poll::Ready(self.take_in(buffer.filled())),
                }
            });
            match read {
                Poll::Pending => return Ok(()),
                Poll::Ready(result) => result?,
            }
        }
        cx.waker().wake_by_ref();
        Ok(())
    }

    /// Makes sure that what the input waits for wakes the task.
    fn arm(&mut self, cx: &mut Context<'_>) -> Result<(), End> {
        self.poll_room(cx);
        self.poll_commit(cx)?;
        self.poll_storing(cx);
        if matches!(self.waits_for, None | Some(Wait::Others)) {
            cx.waker().wake_by_ref();
        }
        Ok(())
    }

    /// Notes since when a packet is held that is not whole.
    fn watch_packet(&mut self, has_progress: bool) {
        if self.is_unread {
            return;
        }
        if self.held.is_empty() || self.waits_for.is_some() {
            self.stalled_since = None;
        } else if has_progress || self.stalled_since.is_none() {
            self.stalled_since = Some(Moment::of(Instant::now()));
        }
    }

    /// Takes fresh bytes: completes the packet that is held, then handles the rest in place.
    fn take_in(&mut self, mut bytes: &[u8]) -> Result<(), End> {
        self.heard_at = Moment::of(Instant::now());
        let mut has_progress = false;
        while !self.held.is_empty() && !bytes.is_empty() {
            let missing = match header::peek(&self.held, limit::PACKET_BYTES_MAX)? {
                Some(header) => header.length.saturating_sub(self.held.len()),
                None => 1,
            };
            let (more, rest) = bytes.split_at(missing.min(bytes.len()));
            self.held.extend_from_slice(more);
            bytes = rest;
            // Also with only the header complete: a packet without a body is whole then.
            let held = std::mem::take(&mut self.held);
            let handled = self.handle_packets(&held)?;
            self.held = rest_of(held, handled);
            has_progress |= handled > 0;
            if self.waits_for.is_some() {
                self.held.extend_from_slice(bytes);
                return Ok(());
            }
        }
        let handled = self.handle_packets(bytes)?;
        if let Some(rest) = bytes.get(handled..)
            && !rest.is_empty()
        {
            self.held.extend_from_slice(rest);
        }
        self.watch_packet(has_progress || handled > 0);
        Ok(())
    }

    /// Handles whole packets from the start of these bytes; returns how many bytes they were.
    fn handle_packets(&mut self, bytes: &[u8]) -> Result<usize, End> {
        let mut handled = 0;
        while let Some(rest) = bytes.get(handled..) {
            let peeked = header::peek(rest, limit::PACKET_BYTES_MAX);
            if peeked == Err(Refusal::TOO_LARGE) && header::is_publish(rest) {
                self.session.count_rejected();
            }
            let Some(header) = peeked? else { break };
            let Some(body) = rest.get(header.body_at..header.length) else { break };
            if self.packets_left == 0 {
                self.waits_for = Some(Wait::Others);
                break;
            }
            self.packets_left -= 1;
            match self.session.handle(header, body, &mut self.out)? {
                Flow::Next => handled += header.length,
                Flow::Later(wait) => {
                    self.waits_for = Some(wait);
                    break;
                }
            }
        }
        Ok(handled)
    }

    fn poll_output(&mut self, cx: &mut Context<'_>) -> Result<(), End> {
        let was_full = self.out.len() > UNSENT_BYTES_MAX;
        loop {
            match self.poll_write_out(cx) {
                Poll::Pending => return self.watch_unread(cx),
                Poll::Ready(Err(_)) => return Err(End::Broken),
                Poll::Ready(Ok(())) => {}
            }
            // What did not fit into the buffer before does now.
            self.session.deliver(&mut self.out)?;
            if self.out.is_empty() {
                break;
            }
        }
        if was_full {
            cx.waker().wake_by_ref();
        }
        Ok(())
    }

    /// Notes since when the client takes nothing.
    fn watch_unread(&mut self, cx: &mut Context<'_>) -> Result<(), End> {
        if self.is_unread {
            return Ok(());
        }
        self.is_unread = true;
        self.stalled_since = Some(Moment::of(Instant::now()));
        self.poll_timer(cx)
    }

    /// Notes that the client takes what is sent.
    fn note_read(&mut self) {
        if std::mem::take(&mut self.is_unread) {
            self.stalled_since = None;
        }
    }

    fn poll_write_out(&mut self, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        while let Some(rest) = self.out.get(self.written..)
            && !rest.is_empty()
        {
            let count = ready!(Pin::new(&mut self.socket).poll_write(cx, rest))?;
            if count == 0 {
                return Poll::Ready(Err(ErrorKind::WriteZero.into()));
            }
            self.written += count;
            self.note_read();
            self.needs_flush = true;
        }
        if !self.out.is_empty() {
            self.out = Vec::new();
            self.written = 0;
        }
        if self.needs_flush {
            ready!(Pin::new(&mut self.socket).poll_flush(cx))?;
            self.needs_flush = false;
        }
        self.note_read();
        Poll::Ready(Ok(()))
    }
}

/// What is left of a buffer after its first bytes were handled.
fn rest_of(mut buffer: Vec<u8>, handled: usize) -> Vec<u8> {
    if handled == 0 {
        return buffer;
    }
    if handled >= buffer.len() {
        return Vec::new();
    }
    buffer.drain(..handled);
    buffer
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpStream;

    use crate::tls_socket::TlsSocket;

    fn size_of_future<A, F>(_: &impl Fn(A) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn an_idle_connection_is_small() {
        let plain = size_of_future(&Connection::<TcpStream>::run);
        let tls = size_of_future(&Connection::<TlsSocket<TcpStream>>::run);
        assert!(plain <= 392, "{plain} bytes");
        assert!(tls <= plain + size_of::<TlsSocket<TcpStream>>(), "{tls} bytes");
        let shown = size_of::<crate::link::Link>() + size_of::<crate::inbox::Inbox>();
        assert!(shown <= 384, "{shown} bytes");
    }
}
