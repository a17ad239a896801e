//! MQTT over WebSocket [MQTT-6.0.0-1] to [MQTT-6.0.0-4]: a socket whose bytes travel in binary
//! frames. Packets need not begin or end with a frame.

use std::io::{Error, ErrorKind};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axle_domain::limit;
use bytes::{Buf, Bytes};
use futures_util::{Sink, Stream};
use rustls_pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::{HeaderValue, StatusCode, header};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{WebSocketStream, accept_hdr_async_with_config};

use crate::journal::Why;
use crate::trust::Shown;

/// The one path.
const PATH: &str = "/mqtt";
/// The one subprotocol.
const PROTOCOL: &str = "mqtt";
/// What is read at once; each connection keeps a buffer of that size.
const READ_BYTES: usize = 4 * 1024;
/// Largest message: the largest packet, and a few small ones beside it.
const MESSAGE_BYTES_MAX: usize = 2 * limit::PACKET_BYTES_MAX;
/// Most bytes of one frame that we send.
const FRAME_BYTES_MAX: usize = 64 * 1024;

/// A client's end of a WebSocket, as a stream of bytes.
pub(crate) struct WebSocket<S> {
    frames: WebSocketStream<S>,
    /// What was received and not read yet.
    rest: Bytes,
    /// Whether the other side was told that this is the end.
    is_closing: bool,
}

/// Answers the request that a WebSocket begins with.
pub(crate) async fn accept<S>(socket: S) -> Result<WebSocket<S>, Why>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut config = WebSocketConfig::default();
    config.read_buffer_size = READ_BYTES;
    config.write_buffer_size = 0;
    config.max_write_buffer_size = 2 * MESSAGE_BYTES_MAX;
    config.max_message_size = Some(MESSAGE_BYTES_MAX);
    config.max_frame_size = Some(MESSAGE_BYTES_MAX);
    let accepted = accept_hdr_async_with_config(socket, check, Some(config)).await;
    let frames = accepted.map_err(|error| {
        Why::new(
            "mqtt.websocket_refused",
            format!("no WebSocket began: {error}"),
            "Connect to the path /mqtt with the subprotocol `mqtt` (RFC 6455), or without \
             WebSocket to the port of mqtt.listen.",
        )
    })?;
    Ok(WebSocket { frames, rest: Bytes::new(), is_closing: false })
}

/// The callback of the handshake.
#[expect(clippy::result_large_err, reason = "the library's signature")]
fn check(request: &Request, mut response: Response) -> Result<Response, ErrorResponse> {
    let refused = |status: StatusCode, text: &str| {
        let mut refused = ErrorResponse::new(Some(format!("{text}\n")));
        *refused.status_mut() = status;
        refused
    };
    if request.uri().path() != PATH {
        return Err(refused(StatusCode::NOT_FOUND, "MQTT over WebSocket is at /mqtt"));
    }
    let mut offered = request.headers().get_all(header::SEC_WEBSOCKET_PROTOCOL).iter();
    // [MQTT-6.0.0-3]
    let is_offered = offered.any(|value| {
        let mut names = value.as_bytes().split(|byte| *byte == b',');
        names.any(|name| name.trim_ascii() == PROTOCOL.as_bytes())
    });
    if !is_offered {
        return Err(refused(StatusCode::BAD_REQUEST, "the subprotocol `mqtt` must be offered"));
    }
    // [MQTT-6.0.0-4]
    let protocol = HeaderValue::from_static(PROTOCOL);
    response.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, protocol);
    Ok(response)
}

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocket<S> {
    /// Says why it ends, as far as the other side still listens.
    fn close(&mut self, cx: &mut Context<'_>, code: CloseCode, reason: &'static str) {
        if !self.is_closing {
            self.is_closing = true;
            let frame = CloseFrame { code, reason: reason.into() };
            let _sent = Pin::new(&mut self.frames).start_send(Message::Close(Some(frame))).is_ok();
        }
        let _flushed = Pin::new(&mut self.frames).poll_flush(cx).is_ready();
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for WebSocket<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let this = self.get_mut();
        while this.rest.is_empty() {
            match ready!(Pin::new(&mut this.frames).poll_next(cx)) {
                Some(Ok(Message::Binary(bytes))) => this.rest = bytes,
                // [MQTT-6.0.0-1]
                Some(Ok(Message::Text(_))) => {
                    let reason = "MQTT travels in binary frames";
                    this.close(cx, CloseCode::Unsupported, reason);
                    return Poll::Ready(Err(Error::new(ErrorKind::InvalidData, reason)));
                }
                // The library answers them.
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                Some(Ok(Message::Close(_))) | None => {
                    this.is_closing = true;
                    return Poll::Ready(Ok(()));
                }
                Some(Err(error)) => {
                    let is_large = matches!(error, tungstenite::Error::Capacity(_));
                    let code = if is_large { CloseCode::Size } else { CloseCode::Protocol };
                    this.close(cx, code, if is_large { "too large" } else { "no frame" });
                    return Poll::Ready(Err(failed(error)));
                }
            }
        }
        let count = this.rest.len().min(buffer.remaining());
        buffer.put_slice(this.rest.get(..count).unwrap_or_default());
        this.rest.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for WebSocket<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        let frames = Pin::new(&mut self.get_mut().frames);
        let bytes = bytes.get(..FRAME_BYTES_MAX).unwrap_or(bytes);
        let mut frames = frames;
        ready!(frames.as_mut().poll_ready(cx)).map_err(failed)?;
        let message = Message::Binary(Bytes::copy_from_slice(bytes));
        frames.start_send(message).map_err(failed)?;
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.get_mut().frames).poll_flush(cx).map_err(failed)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        let this = self.get_mut();
        this.close(cx, CloseCode::Normal, "");
        ready!(Pin::new(&mut this.frames).poll_flush(cx)).map_err(failed)?;
        Pin::new(this.frames.get_mut()).poll_shutdown(cx)
    }
}

impl<S: Shown + AsyncRead + AsyncWrite + Unpin> Shown for WebSocket<S> {
    fn shown(&self) -> &[CertificateDer<'static>] {
        self.frames.get_ref().shown()
    }
}

/// The library's error as one of a socket.
fn failed(error: tungstenite::Error) -> Error {
    let is_over =
        matches!(error, tungstenite::Error::ConnectionClosed | tungstenite::Error::AlreadyClosed);
    if let tungstenite::Error::Io(error) = error {
        return error;
    }
    if is_over {
        ErrorKind::UnexpectedEof.into()
    } else {
        Error::new(ErrorKind::InvalidData, error)
    }
}
