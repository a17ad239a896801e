//! Ends a socket so that the other side reads our last words.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// How long the other side has to take our last words, and again to hang up.
pub(crate) const TIME_MAX: Duration = Duration::from_secs(1);
/// What is read and thrown away of one that goes on talking.
const LINGER_BYTES_MAX: usize = 256 * 1024;

/// Writes the last words and says that no more will follow.
pub(crate) async fn say<S: AsyncWrite + Unpin>(socket: &mut S, words: &[u8]) {
    let last = async {
        if socket.write_all(words).await.is_ok() && socket.flush().await.is_ok() {
            // Whether this works is of no use to anybody.
            drop(socket.shutdown().await);
        }
    };
    drop(tokio::time::timeout(TIME_MAX, last).await);
}

/// Reads on for a moment: closing on unread bytes would reset the connection, and the other side
/// would lose what we have said.
pub(crate) async fn linger<S: AsyncRead + Unpin>(socket: &mut S) {
    let drained = async {
        let mut buffer = vec![0; 4096];
        let mut bytes = 0;
        while bytes < LINGER_BYTES_MAX {
            match socket.read(&mut buffer).await {
                Ok(count) if count > 0 => bytes += count,
                _ => break,
            }
        }
    };
    drop(tokio::time::timeout(TIME_MAX, drained).await);
}
