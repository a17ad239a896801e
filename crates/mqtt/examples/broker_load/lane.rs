//! What one connection of a load generator does: it keeps publishes in flight, or sends on time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// A connection of any kind.
pub(crate) trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Socket for S {}

/// When to send.
#[derive(Clone, Copy)]
pub(crate) struct Schedule {
    pub(crate) first: tokio::time::Instant,
    pub(crate) every: Duration,
    pub(crate) until: tokio::time::Instant,
}

/// Keeps so many copies of a PUBLISH in flight, its packet id at `id_at`, and adds up what was
/// acknowledged, until the connection ends.
pub(crate) async fn keep_in_flight(
    mut socket: Box<dyn Socket>,
    (one, id_at): (Vec<u8>, usize),
    window: usize,
    total: Arc<AtomicU64>,
) {
    let (mut out, mut input, mut held) = (Vec::new(), vec![0; 4096], 0);
    let (mut next, mut credit) = (1_u16, window);
    loop {
        out.clear();
        for _ in 0..credit {
            let at = out.len() + id_at;
            out.extend_from_slice(&one);
            out[at..at + 2].copy_from_slice(&next.to_be_bytes());
            next = next.checked_add(1).unwrap_or(1);
        }
        // The server may end before this does.
        if socket.write_all(&out).await.is_err() || socket.flush().await.is_err() {
            return;
        }
        let Ok(count @ 1..) = socket.read(&mut input).await else { return };
        held += count;
        credit = held / 4;
        held %= 4;
        total.fetch_add(credit as u64, Ordering::Relaxed);
    }
}

/// Sends a PUBLISH at its times, whatever comes back: an open loop. Returns the microseconds from
/// each time to the acknowledgement; being late because of the generator counts as well.
pub(crate) async fn send_on_time(
    socket: Box<dyn Socket>,
    (mut one, id_at): (Vec<u8>, usize),
    Schedule { first, every, until }: Schedule,
) -> Vec<u32> {
    let (mut read, mut write) = tokio::io::split(socket);
    let (sender, mut sent) = tokio::sync::mpsc::channel::<Instant>(60_000);
    let writing = tokio::spawn(async move {
        let (mut due, mut id) = (first, 1_u16);
        while due < until {
            tokio::time::sleep_until(due).await;
            one[id_at..id_at + 2].copy_from_slice(&id.to_be_bytes());
            id = id.checked_add(1).unwrap_or(1);
            sender.send(due.into_std()).await.unwrap();
            write.write_all(&one).await.unwrap();
            write.flush().await.unwrap();
            due += every;
        }
        write
    });
    let (mut seen, mut answer) = (Vec::new(), [0; 4]);
    while let Some(due) = sent.recv().await {
        read.read_exact(&mut answer).await.unwrap();
        seen.push(due.elapsed().as_micros() as u32);
    }
    drop(writing.await);
    seen
}
