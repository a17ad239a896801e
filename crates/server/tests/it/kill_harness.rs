//! kill -9 at random moments under mixed load: MQTT QoS 1, uploads and commands, with a ledger
//! that lives outside the server and looks through public interfaces only.
//!
//! `AXLE_KILLS` says how often (5 unless told), `AXLE_SEED` repeats a run. The seed decides the
//! contents and the moments; the scheduler of the machine does the rest.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use axle_fleet::{Doors, Ledger, LedgerPlan};
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;

/// A server process of our own.
struct Server {
    child: Child,
    doors: Doors,
    ready_after: Duration,
}

impl Server {
    /// Starts on a data directory and waits until the doors are open.
    async fn start(data: &Path, log: &Path) -> Self {
        let addresses = data.join("addresses.json");
        // After a kill the old file lies there; what appears now is of the new server.
        let _absent = std::fs::remove_file(&addresses);
        let log = std::fs::OpenOptions::new().create(true).append(true).open(log).unwrap();
        let started = Instant::now();
        let mut child = Command::new(env!("CARGO_BIN_EXE_axle"))
            .args(["serve", "--data-dir"])
            .arg(data)
            .env("AXLE_HTTP__LISTEN", "127.0.0.1:0")
            .env("AXLE_OPS__LISTEN", "127.0.0.1:0")
            .env("AXLE_MQTT__LISTEN", "127.0.0.1:0")
            .env("AXLE_DEVICE_HTTPS__LISTEN", "127.0.0.1:0")
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        while !addresses.exists() {
            assert!(child.try_wait().unwrap().is_none(), "the server ended at its start");
            assert!(started.elapsed() < Duration::from_secs(60), "the server does not get ready");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let doors = Doors::open(data).unwrap();
        Self { child, doors, ready_after: started.elapsed() }
    }
}

/// SplitMix64: the moments of the kills.
struct Moments(u64);

impl Moments {
    fn next(&mut self) -> Duration {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^= bits >> 31;
        // A third right after the start, while the server still replays; the rest within 2 s.
        let most = if bits.is_multiple_of(3) { 150 } else { 2000 };
        Duration::from_millis((bits >> 8) % most)
    }
}

fn from_environment(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

fn show(name: &str, mut figures: Vec<Duration>) {
    figures.sort_unstable();
    let at = |share: usize| figures.get((figures.len() * share / 100).min(figures.len() - 1));
    if let (Some(half), Some(most)) = (at(50), figures.last()) {
        println!("{name}: p50 {} ms, most {} ms", half.as_millis(), most.as_millis());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_or_doubled_by_kills() {
    let kills = from_environment("AXLE_KILLS", 5);
    let time = std::time::UNIX_EPOCH.elapsed().unwrap().subsec_nanos();
    let seed = from_environment("AXLE_SEED", u64::from(time));
    println!("kills {kills}, AXLE_SEED={seed}");
    let folder = tempfile::tempdir().unwrap();
    let (data, log): (PathBuf, PathBuf) = (folder.path().join("data"), folder.path().join("log"));
    let mut moments = Moments(seed);
    let mut ledger = Ledger::new(LedgerPlan::new(seed));
    let mut server = Server::start(&data, &log).await;
    ledger.enroll(&server.doors).await.unwrap();
    let (mut ready, mut first_acks) = (Vec::new(), Vec::new());
    for _ in 0..kills {
        let stop = CancellationToken::new();
        let doors = server.doors.clone();
        let kill = async {
            tokio::time::sleep(moments.next()).await;
            server.child.kill().await.unwrap();
            stop.cancel();
        };
        tokio::join!(ledger.drive(&doors, stop.clone()), kill);
        if let Some(millis) = ledger.report().first_ack_ms {
            let driven = Duration::from_secs_f64(millis / 1000.0);
            first_acks.push(server.ready_after + driven);
        }
        server = Server::start(&data, &log).await;
        ready.push(server.ready_after);
    }
    let found = ledger.settle_and_check(&server.doors, Duration::from_secs(120)).await;
    let found = found.unwrap_or_else(|error| {
        panic!("{}\n{}", error.chain(), std::fs::read_to_string(&log).unwrap_or_default())
    });
    println!("{:?}", ledger.report());
    show("restart to ready", ready);
    show("restart to first acknowledgement", first_acks);
    assert!(found.is_clean(), "AXLE_SEED={seed}: {found:#?}");
    assert!(ledger.report().acked > 0, "the load reached the server");
}
