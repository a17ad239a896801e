//! TLS on a socket, without buffers of its own while nothing is under way.
//!
//! rustls is used without its buffers: records are read into memory that all connections of a
//! thread share and opened where they lie, and what is sealed goes to the socket from such memory
//! too. A connection keeps only what is in between: part of a record, or what the socket does not
//! take yet.

use std::cell::RefCell;
use std::io::{Error as IoError, ErrorKind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncodeTlsData, EncryptError, UnbufferedStatus,
};
use rustls::{Error as TlsError, ServerConfig};
use rustls_pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};

use crate::trust::Shown;

/// Bytes that are read, and bytes that are sealed, at once.
const WIRE_BYTES: usize = 64 * 1024;
/// Bytes of a handshake that are read at once.
const HANDSHAKE_READ_BYTES: usize = 4096;
/// Most bytes of a message of a handshake that is not whole.
const HANDSHAKE_BYTES_MAX: usize = 64 * 1024;
/// More than records of so much content take.
const SEALED_BYTES: usize = WIRE_BYTES + 1024;

thread_local! {
    /// Where all connections of a thread read records into.
    static OPENED: RefCell<Vec<u8>> = RefCell::new(vec![0; WIRE_BYTES]);
    /// Where all connections of a thread seal what they write.
    static SEALED: RefCell<Vec<u8>> = RefCell::new(vec![0; SEALED_BYTES]);
}

/// A socket with TLS whose handshake is done.
pub(crate) struct TlsSocket<S> {
    socket: S,
    /// In a box: it is large, and moves from task to task.
    tls: Box<UnbufferedServerConnection>,
    buffers: Buffers,
}

/// What is under way; nothing of most connections at any time.
#[derive(Default)]
struct Buffers {
    /// Part of a record that was read.
    held: Vec<u8>,
    /// What was opened and nobody has read yet.
    opened: Vec<u8>,
    /// Sealed bytes that the socket did not take yet.
    sealed: Vec<u8>,
    is_closed: bool,
    has_said_goodbye: bool,
}

/// What some records came to.
#[derive(Default)]
struct Advance {
    /// Bytes from the start that are done with.
    used: usize,
    /// Whether the other side has said goodbye.
    is_closed: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> TlsSocket<S> {
    /// Shakes hands with the client.
    ///
    /// # Errors
    /// As the socket; `InvalidData` with the [`TlsError`] where the client does not come in,
    /// which it is told.
    pub(crate) async fn accept(config: Arc<ServerConfig>, mut socket: S) -> Result<Self, IoError> {
        let mut tls = Box::new(UnbufferedServerConnection::new(config).map_err(invalid)?);
        let mut buffers = Buffers::default();
        while tls.is_handshaking() {
            if buffers.held.len() >= HANDSHAKE_BYTES_MAX {
                return Err(IoError::new(ErrorKind::InvalidData, "the handshake is too large"));
            }
            buffers.held.reserve_exact(HANDSHAKE_READ_BYTES);
            if socket.read_buf(&mut buffers.held).await? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            let mut held = std::mem::take(&mut buffers.held);
            let advanced = advance(&mut tls, &mut held, &mut buffers, &mut ReadBuf::new(&mut []));
            let sealed = std::mem::take(&mut buffers.sealed);
            // Also what a refusal says.
            let sent = socket.write_all(&sealed).await;
            let Advance { used, is_closed } = advanced.map_err(invalid)?;
            sent?;
            socket.flush().await?;
            buffers.is_closed |= is_closed;
            held.drain(..used.min(held.len()));
            buffers.held = held;
        }
        buffers.held.shrink_to_fit();
        Ok(Self { socket, tls, buffers })
    }

    /// Gives the socket what it did not take before.
    fn poll_sealed(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), IoError>> {
        while !self.buffers.sealed.is_empty() {
            let sent = ready!(Pin::new(&mut self.socket).poll_write(cx, &self.buffers.sealed))?;
            if sent == 0 {
                return Poll::Ready(Err(ErrorKind::WriteZero.into()));
            }
            self.buffers.sealed.drain(..sent.min(self.buffers.sealed.len()));
        }
        self.buffers.sealed = Vec::new();
        Poll::Ready(Ok(()))
    }

    /// Reads once from the socket and opens what is whole. Says whether anything came.
    fn poll_records(
        &mut self,
        cx: &mut Context<'_>,
        wire: &mut [u8],
        into: &mut ReadBuf<'_>,
    ) -> Poll<Result<bool, IoError>> {
        let held = self.buffers.held.len();
        let Some((start, free)) = wire.split_at_mut_checked(held) else {
            return Poll::Ready(Err(IoError::new(ErrorKind::InvalidData, "a record is too large")));
        };
        let mut fresh = ReadBuf::new(free);
        ready!(Pin::new(&mut self.socket).poll_read(cx, &mut fresh))?;
        let count = fresh.filled().len();
        if count == 0 {
            return Poll::Ready(Ok(false));
        }
        start.copy_from_slice(&self.buffers.held);
        self.buffers.held = Vec::new();
        let records = wire.get_mut(..held + count).unwrap_or_default();
        match advance(&mut self.tls, records, &mut self.buffers, into) {
            Ok(Advance { used, is_closed }) => {
                self.buffers.is_closed |= is_closed;
                if let Some(rest) = records.get(used..).filter(|rest| !rest.is_empty()) {
                    self.buffers.held = rest.to_vec();
                }
                Poll::Ready(Ok(true))
            }
            Err(error) => {
                // What there is to say to it leaves if the socket takes it.
                let _sent = self.poll_sealed(cx)?;
                Poll::Ready(Err(invalid(error)))
            }
        }
    }

    /// Has what may be sealed; what the socket does not take is kept.
    fn poll_seal(
        &mut self,
        cx: &mut Context<'_>,
        seal: impl FnOnce(
            &mut UnbufferedServerConnection,
            &mut Buffers,
            &mut Vec<u8>,
        ) -> Result<usize, IoError>,
    ) -> Result<(), IoError> {
        SEALED.with_borrow_mut(|wire| {
            let count = seal(&mut self.tls, &mut self.buffers, wire)?;
            let mut rest = wire.get(..count).unwrap_or_default();
            // A key update comes before what it is for.
            if self.buffers.sealed.is_empty() {
                while !rest.is_empty()
                    && let Poll::Ready(sent) = Pin::new(&mut self.socket).poll_write(cx, rest)?
                {
                    if sent == 0 {
                        return Err(ErrorKind::WriteZero.into());
                    }
                    rest = rest.get(sent..).unwrap_or_default();
                }
            }
            self.buffers.sealed.extend_from_slice(rest);
            Ok(())
        })
    }
}

/// Goes on with records as far as they are whole: what they hold goes into `into`, and where that
/// is full into the buffers, as does what is to be sent.
fn advance(
    tls: &mut UnbufferedServerConnection,
    records: &mut [u8],
    buffers: &mut Buffers,
    into: &mut ReadBuf<'_>,
) -> Result<Advance, TlsError> {
    let mut advance = Advance::default();
    loop {
        let rest = records.get_mut(advance.used..).unwrap_or_default();
        let UnbufferedStatus { mut discard, state } = tls.process_tls_records(rest);
        let is_done = match state {
            Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                while let Some(record) = traffic.next_record() {
                    let record = record?;
                    discard += record.discard;
                    let room = into.remaining().min(record.payload.len());
                    let room = if buffers.opened.is_empty() { room } else { 0 };
                    let (now, later) = record.payload.split_at(room);
                    into.put_slice(now);
                    buffers.opened.extend_from_slice(later);
                }
                false
            }
            Ok(ConnectionState::EncodeTlsData(mut data)) => {
                encode(&mut data, &mut buffers.sealed)?;
                false
            }
            Ok(ConnectionState::TransmitTlsData(data)) => {
                data.done();
                false
            }
            Ok(ConnectionState::PeerClosed) => {
                advance.is_closed = true;
                false
            }
            // More is needed, or nothing more comes.
            Ok(_) => true,
            Err(error) => {
                say_why(tls, &mut buffers.sealed);
                return Err(error);
            }
        };
        advance.used += discard;
        if is_done {
            return Ok(advance);
        }
    }
}

/// Takes what a connection that has failed has to say, and shows it no record any more: rustls
/// takes it for a fault of its caller if one fails twice.
fn say_why(tls: &mut UnbufferedServerConnection, sealed: &mut Vec<u8>) {
    while tls.wants_write()
        && let UnbufferedStatus { state: Ok(ConnectionState::EncodeTlsData(mut data)), .. } =
            tls.process_tls_records(&mut [])
    {
        if encode(&mut data, sealed).is_err() {
            return;
        }
    }
}

/// Adds a message of the handshake, or an alert, to what is to be sent.
fn encode<T>(data: &mut EncodeTlsData<'_, T>, sealed: &mut Vec<u8>) -> Result<(), TlsError> {
    let start = sealed.len();
    let failed = |error: EncodeError| TlsError::General(error.to_string());
    let needed = match data.encode(&mut []) {
        Ok(_nothing) => return Ok(()),
        Err(EncodeError::InsufficientSize(error)) => error.required_size,
        Err(error @ EncodeError::AlreadyEncoded) => return Err(failed(error)),
    };
    sealed.resize(start + needed, 0);
    let written = data.encode(sealed.get_mut(start..).unwrap_or_default()).map_err(failed)?;
    sealed.truncate(start + written);
    Ok(())
}

/// Has something sealed at a moment at which that is possible.
fn seal(
    tls: &mut UnbufferedServerConnection,
    buffers: &mut Buffers,
    wire: &mut Vec<u8>,
    what: Option<&[u8]>,
) -> Result<usize, IoError> {
    let mut held = std::mem::take(&mut buffers.held);
    let advanced = advance(tls, &mut held, buffers, &mut ReadBuf::new(&mut []));
    let Advance { used, is_closed } = advanced.map_err(invalid)?;
    buffers.is_closed |= is_closed;
    held.drain(..used.min(held.len()));
    let status = tls.process_tls_records(&mut held);
    let Ok(ConnectionState::WriteTraffic(mut traffic)) = status.state else {
        return Err(ErrorKind::BrokenPipe.into());
    };
    let mut seal = |wire: &mut Vec<u8>| match what {
        Some(content) => traffic.encrypt(content, wire),
        None => traffic.queue_close_notify(wire),
    };
    let sealed = match seal(wire) {
        Err(EncryptError::InsufficientSize(error)) => {
            wire.resize(error.required_size, 0);
            seal(wire)
        }
        sealed => sealed,
    };
    buffers.held = held;
    sealed.map_err(IoError::other)
}

fn invalid(error: TlsError) -> IoError {
    IoError::new(ErrorKind::InvalidData, error)
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for TlsSocket<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<Result<(), IoError>> {
        let this = &mut *self;
        if !this.buffers.opened.is_empty() {
            let count = into.remaining().min(this.buffers.opened.len());
            into.put_slice(this.buffers.opened.get(..count).unwrap_or_default());
            this.buffers.opened.drain(..count);
            if this.buffers.opened.is_empty() {
                this.buffers.opened = Vec::new();
            }
            return Poll::Ready(Ok(()));
        }
        let before = into.filled().len();
        while into.filled().len() == before {
            if this.buffers.is_closed || into.remaining() == 0 {
                return Poll::Ready(Ok(()));
            }
            let read = OPENED.with_borrow_mut(|wire| this.poll_records(cx, wire, into));
            // What the records ask to be answered leaves as soon as the socket takes it.
            if !this.buffers.sealed.is_empty() {
                let _later = this.poll_sealed(cx)?;
            }
            if !ready!(read)? {
                return Poll::Ready(Err(ErrorKind::UnexpectedEof.into()));
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for TlsSocket<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Result<usize, IoError>> {
        ready!(self.poll_sealed(cx))?;
        let content = bytes.get(..WIRE_BYTES).unwrap_or(bytes);
        self.poll_seal(cx, |tls, buffers, wire| seal(tls, buffers, wire, Some(content)))?;
        Poll::Ready(Ok(content.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), IoError>> {
        ready!(self.poll_sealed(cx))?;
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), IoError>> {
        if !std::mem::replace(&mut self.buffers.has_said_goodbye, true) {
            self.poll_seal(cx, |tls, buffers, wire| seal(tls, buffers, wire, None))?;
        }
        ready!(self.poll_sealed(cx))?;
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

impl<S> Shown for TlsSocket<S> {
    fn shown(&self) -> &[CertificateDer<'static>] {
        self.tls.peer_certificates().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
