//! Handshakes take turns: a few at a time do their share of work, whoever waits is called up
//! address by address, and who keeps silent waits outside. So a storm of handshakes neither slows
//! those who are connected, nor makes all of itself late.
//!
//! A turn lasts until the task has come around once more in the runtime's queue: between two of
//! them everybody else has had a go.

use std::collections::{HashMap, VecDeque};
use std::future::{Future, poll_fn};
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker, ready};

use futures_util::task::AtomicWaker;
use tokio::sync::{Notify, oneshot};

/// Who may work on a handshake now.
pub(crate) struct Turns {
    line: Mutex<Line>,
    /// Told whenever fewer wait.
    fewer: Notify,
}

struct Line {
    free: usize,
    waiting: usize,
    /// By address, in the order in which they came.
    of_address: HashMap<IpAddr, VecDeque<oneshot::Sender<()>>>,
    /// The addresses that somebody waits from, the next first.
    round: VecDeque<IpAddr>,
}

impl Turns {
    /// So many at a time.
    pub(crate) fn new(at_once: usize) -> Arc<Self> {
        let line = Line {
            free: at_once.max(1),
            waiting: 0,
            of_address: HashMap::new(),
            round: VecDeque::new(),
        };
        Arc::new(Self { line: Mutex::new(line), fewer: Notify::new() })
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many wait.
    pub(crate) fn waiting(&self) -> usize {
        self.line().waiting
    }

    /// Waits until fewer than so many wait.
    pub(crate) async fn wait_for_fewer_than(&self, most: usize) {
        loop {
            let fewer = self.fewer.notified();
            if self.waiting() < most {
                return;
            }
            fewer.await;
        }
    }

    /// A turn, or a place in the line.
    fn ask(self: &Arc<Self>, address: IpAddr) -> Result<Turn, Wait> {
        let mut line = self.line();
        if line.free > 0 {
            line.free -= 1;
            return Ok(Turn(Arc::clone(self)));
        }
        let (call, called) = oneshot::channel();
        line.waiting += 1;
        let own = line.of_address.entry(address).or_default();
        let is_first = own.is_empty();
        own.push_back(call);
        if is_first {
            line.round.push_back(address);
        }
        Err(Wait { turns: Arc::clone(self), called })
    }

    /// A turn is over: calls the next one up.
    fn call_next(&self) {
        let mut line = self.line();
        while let Some(call) = line.next() {
            // Who has left the line is passed over.
            if call.send(()).is_ok() {
                drop(line);
                self.fewer.notify_waiters();
                return;
            }
        }
        line.free += 1;
        drop(line);
        self.fewer.notify_waiters();
    }
}

impl Line {
    fn next(&mut self) -> Option<oneshot::Sender<()>> {
        let address = self.round.pop_front()?;
        let own = self.of_address.get_mut(&address)?;
        let call = own.pop_front()?;
        self.waiting -= 1;
        if own.is_empty() {
            self.of_address.remove(&address);
        } else {
            self.round.push_back(address);
        }
        Some(call)
    }
}

/// Leave to work; the next one is called up when it is dropped.
struct Turn(Arc<Turns>);

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.call_next();
    }
}

/// A place in the line.
struct Wait {
    turns: Arc<Turns>,
    called: oneshot::Receiver<()>,
}

impl Wait {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Turn> {
        // The caller lives in the line until it has called.
        let _called = ready!(Pin::new(&mut self.called).poll(cx)).is_ok();
        Poll::Ready(Turn(Arc::clone(&self.turns)))
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        self.called.close();
        // Called up, and gone before it heard.
        if self.called.try_recv().is_ok() {
            self.turns.call_next();
        }
    }
}

/// Whether the work has something to do; wakes the task that asks for a turn then.
struct Signal {
    is_given: AtomicBool,
    task: AtomicWaker,
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.is_given.store(true, Ordering::Release);
        self.task.wake();
    }
}

enum Stage<T> {
    /// The work waits for its client.
    Resting,
    Waiting(Wait),
    Working(Turn),
    /// The turn ends when the task comes around again.
    Leaving(Turn, Option<T>),
}

/// Does some work in turns, each as long as it goes on without waiting.
pub(crate) async fn in_turns<F: Future>(turns: &Arc<Turns>, address: IpAddr, work: F) -> F::Output {
    let mut work = pin!(work);
    let signal = Arc::new(Signal { is_given: AtomicBool::new(true), task: AtomicWaker::new() });
    let waker = Waker::from(Arc::clone(&signal));
    let mut stage = Stage::Resting;
    poll_fn(move |cx| {
        signal.task.register(cx.waker());
        loop {
            stage = match std::mem::replace(&mut stage, Stage::Resting) {
                Stage::Resting if !signal.is_given.load(Ordering::Acquire) => {
                    return Poll::Pending;
                }
                Stage::Resting => match turns.ask(address) {
                    Ok(turn) => Stage::Working(turn),
                    Err(wait) => Stage::Waiting(wait),
                },
                Stage::Waiting(mut wait) => match wait.poll(cx) {
                    Poll::Ready(turn) => Stage::Working(turn),
                    Poll::Pending => {
                        stage = Stage::Waiting(wait);
                        return Poll::Pending;
                    }
                },
                Stage::Working(turn) => {
                    signal.is_given.store(false, Ordering::Release);
                    let done = match work.as_mut().poll(&mut Context::from_waker(&waker)) {
                        Poll::Ready(done) => Some(done),
                        Poll::Pending => None,
                    };
                    stage = Stage::Leaving(turn, done);
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Stage::Leaving(turn, done) => {
                    drop(turn);
                    match done {
                        Some(done) => return Poll::Ready(done),
                        None => Stage::Resting,
                    }
                }
            };
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use std::sync::atomic::AtomicUsize;

    fn ip(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    fn take(turns: &Arc<Turns>, last: u8) -> Wait {
        turns.ask(ip(last)).err().expect("no turn is free")
    }

    fn is_called(wait: &mut Wait) -> Option<Turn> {
        match wait.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(turn) => Some(turn),
            Poll::Pending => None,
        }
    }

    #[test]
    fn addresses_are_called_up_by_turns() {
        let turns = Turns::new(1);
        let first = turns.ask(ip(1)).ok().expect("a free turn");
        let mut crowd: Vec<_> = (0..3).map(|_| take(&turns, 1)).collect();
        let mut other = take(&turns, 2);
        assert_eq!(turns.waiting(), 4);
        drop(first);
        let second = is_called(&mut crowd[0]).expect("the first of the first address");
        assert!(is_called(&mut other).is_none());
        drop(second);
        assert!(is_called(&mut crowd[1]).is_none(), "another address is next");
        let third = is_called(&mut other).expect("the other address");
        drop(third);
        assert!(is_called(&mut crowd[1]).is_some());
    }

    #[test]
    fn whoever_leaves_the_line_holds_nobody_up() {
        let turns = Turns::new(1);
        let first = turns.ask(ip(1)).ok().expect("a free turn");
        let (gone, called_and_gone, mut last) = (take(&turns, 1), take(&turns, 1), take(&turns, 1));
        drop(gone);
        drop(first);
        drop(called_and_gone);
        let turn = is_called(&mut last).expect("the last one");
        drop((turn, last));
        assert_eq!((turns.waiting(), turns.line().free), (0, 1));
        assert!(turns.line().of_address.is_empty());
    }

    #[tokio::test]
    async fn the_door_waits_while_too_many_wait_for_a_turn() {
        let turns = Turns::new(1);
        let first = turns.ask(ip(1)).ok().expect("a free turn");
        let (one, _two) = (take(&turns, 1), take(&turns, 2));
        let mut door = Box::pin(turns.wait_for_fewer_than(2));
        assert!(door.as_mut().now_or_never().is_none());
        drop(first);
        door.await;
        drop(one);
    }

    /// Work that needs several turns, and never more than so many of all at a time.
    async fn work(at_work: Arc<AtomicUsize>, most: Arc<AtomicUsize>) {
        for _ in 0..5 {
            let mut is_waiting = true;
            poll_fn(|cx| {
                if !std::mem::take(&mut is_waiting) {
                    return Poll::Ready(());
                }
                most.fetch_max(at_work.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                at_work.fetch_sub(1, Ordering::SeqCst);
                cx.waker().wake_by_ref();
                Poll::Pending
            })
            .await;
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn work_in_turns_comes_to_its_end_and_never_exceeds_them() {
        let (turns, at_work, most) = (Turns::new(2), Arc::default(), Arc::default());
        let tasks: Vec<_> = (0..100)
            .map(|number| {
                let turns = Arc::clone(&turns);
                let work = work(Arc::clone(&at_work), Arc::clone(&most));
                tokio::spawn(async move { in_turns(&turns, ip(number % 7), work).await })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        assert!(most.load(Ordering::SeqCst) <= 2);
        assert_eq!((turns.waiting(), turns.line().free), (0, 2));
    }

    #[tokio::test]
    async fn work_that_waits_for_its_client_takes_no_turn() {
        let turns = Turns::new(1);
        let silent: Vec<_> = (0..10)
            .map(|_| {
                let turns = Arc::clone(&turns);
                tokio::spawn(async move {
                    in_turns(&turns, ip(1), std::future::pending::<()>()).await;
                })
            })
            .collect();
        let notify = Arc::new(Notify::new());
        let told = Arc::clone(&notify);
        let work = in_turns(&turns, ip(2), async move { told.notified().await });
        let tell = async {
            tokio::task::yield_now().await;
            notify.notify_one();
        };
        tokio::join!(work, tell);
        silent.iter().for_each(tokio::task::JoinHandle::abort);
    }
}
