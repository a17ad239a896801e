//! `axle load-test`: open-loop load through the real doors.

mod stage;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use axle_fleet::load::{self, Latency, Profile};
use axle_fleet::{Doors, LoadPlan, LoadReport, Progress, Switches, VerifyReport};
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::{Instant, sleep};

use crate::cli::{LoadProfile, LoadStage, LoadTestArgs};
use crate::data_dir::find_addresses;
use crate::failure::{Exit, Failure};
use crate::output::{ProgressLine, TextTable, note, print, print_json};

/// How long a server of our own may take to start, and to stop.
const SERVER_TIME_MAX: Duration = Duration::from_secs(20);
/// How often it is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

pub(super) fn run(args: &LoadTestArgs) -> Result<(), Failure> {
    if !args.rate.is_finite() || args.rate < 0.0 {
        return Err(Failure::usage(
            "--rate is a number of messages per second, 0 for all it takes",
        ));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::Internal, format!("cannot start: {error}")))?;
    crate::descriptor::raise_limit(u64::from(args.devices));
    match args.stage {
        LoadStage::All | LoadStage::Gateway => runtime.block_on(test(args)),
        LoadStage::Log | LoadStage::Store => runtime.block_on(stage::test(args)),
    }
}

async fn test(args: &LoadTestArgs) -> Result<(), Failure> {
    let data_dir = args.target.data_dir();
    let is_running = find_addresses(&data_dir)?.is_some();
    let report = if is_running && !args.self_contained {
        note(&format!("load on the server of {}", data_dir.display()));
        load_on(args, &data_dir).await?
    } else {
        note("load on a server of its own, in a temporary data directory");
        let own = OwnServer::start(args).await?;
        let report = load_on(args, &own.data_dir).await;
        own.stop().await?;
        report?
    };
    if args.json {
        let json = serde_json::to_value(&report)
            .map_err(|error| Failure::new(Exit::Internal, error.to_string()))?;
        print_json(&json)?;
    } else {
        print(&describe(&report))?;
    }
    match &report.verify {
        Some(verify) if !verify.is_clean() => Err(Failure::new(
            Exit::Refused,
            format!("{}: {}", findings(verify), verify.examples.join("; ")),
        )),
        _ => Ok(()),
    }
}

async fn load_on(args: &LoadTestArgs, data_dir: &Path) -> Result<LoadReport, Failure> {
    let profile = match args.profile {
        LoadProfile::Bike => Profile::Bike,
        LoadProfile::Car => Profile::Car,
        LoadProfile::Meter => Profile::Meter,
    };
    let devices = args.devices as usize;
    let connections = args.connections.unwrap_or(0) as usize;
    let mut plan = LoadPlan::new(profile, devices, Doors::open(data_dir)?);
    plan.connections = connections;
    plan.is_shared = args.plain && connections != 0 && connections < devices;
    plan.rate = Some(args.rate).filter(|rate| *rate > 0.0);
    plan.duration = args.duration.0;
    plan.is_tls = !args.plain;
    plan.is_verified = args.verify;
    plan.seed = args.seed;
    plan.switches = args.switches.or(Switches::default());
    if args.stage == LoadStage::Gateway {
        plan.probes_per_s = 0.0;
    }
    plan.server_pid = server_pid(data_dir);
    let line = ProgressLine::default();
    let show = |progress: Progress| line.show(&words(progress));
    Ok(load::run(&plan, &show).await?)
}

/// The process that holds a data directory.
fn server_pid(data_dir: &Path) -> Option<u32> {
    let text = std::fs::read_to_string(data_dir.join("lock")).ok()?;
    text.split_whitespace().next()?.parse().ok()
}

fn words(progress: Progress) -> String {
    match progress {
        Progress::Enrolled(done, of) => format!("registered {done} of {of} devices"),
        Progress::Connected(done, of) => format!("connected {done} of {of}"),
        Progress::Sending { sent, acked } => format!("sent {sent}, acknowledged {acked}"),
        Progress::Settling(done, of) => format!("queryable {done} of {of} messages"),
        Progress::Verified(done, of) => format!("read back {done} of {of} devices"),
    }
}

/// A folder that nobody else uses.
fn temporary_folder() -> PathBuf {
    std::env::temp_dir().join(format!("axle-load-{}", std::process::id()))
}

fn remove_folder(folder: &Path) {
    // What is left in a temporary directory is the operating system's to clear.
    let _left = std::fs::remove_dir_all(folder).is_err();
}

/// A server in a process of its own, so that its CPU time is counted apart.
struct OwnServer {
    data_dir: PathBuf,
    process: Child,
}

impl OwnServer {
    async fn start(args: &LoadTestArgs) -> Result<Self, Failure> {
        let data_dir = temporary_folder();
        let program = std::env::current_exe()
            .map_err(|error| Failure::new(Exit::Internal, format!("cannot find axle: {error}")))?;
        let mut command = Command::new(program);
        command.arg("serve").arg("--data-dir").arg(&data_dir).stdin(Stdio::null());
        command
            .env("AXLE_LOG", std::env::var("AXLE_LOG").unwrap_or_else(|_unset| "warn".to_owned()));
        for listener in ["HTTP", "OPS", "MQTT"] {
            command.env(format!("AXLE_{listener}__LISTEN"), "127.0.0.1:0");
        }
        if args.plain {
            command.env("AXLE_MQTT__PLAIN_LISTEN", "127.0.0.1:0");
            command.env("AXLE_MQTT__PLAIN_ACCESS", "all");
        }
        let process = command
            .spawn()
            .map_err(|error| Failure::new(Exit::Internal, format!("cannot start axle: {error}")))?;
        let mut own = Self { data_dir, process };
        let deadline = Instant::now() + SERVER_TIME_MAX;
        while find_addresses(&own.data_dir)?.is_none() {
            let has_ended = !matches!(own.process.try_wait(), Ok(None));
            if has_ended || Instant::now() >= deadline {
                return Err(Failure::new(Exit::Unreachable, "the server of its own did not start"));
            }
            sleep(LOOK_INTERVAL).await;
        }
        Ok(own)
    }

    async fn stop(mut self) -> Result<(), Failure> {
        if let Some(pid) = i32::try_from(self.process.id()).ok().and_then(Pid::from_raw) {
            // One that has ended already needs no signal.
            let _gone = kill_process(pid, Signal::TERM).is_err();
        }
        let deadline = Instant::now() + SERVER_TIME_MAX;
        loop {
            match self.process.try_wait() {
                Ok(Some(status)) if status.success() => return Ok(()),
                Ok(Some(status)) => {
                    let message = format!("the server of its own ended with {status}");
                    return Err(Failure::new(Exit::Internal, message));
                }
                _running if Instant::now() < deadline => sleep(LOOK_INTERVAL).await,
                _stuck => {
                    let message = "the server of its own did not stop in time";
                    return Err(Failure::new(Exit::Internal, message));
                }
            }
        }
    }
}

impl Drop for OwnServer {
    fn drop(&mut self) {
        let _ended = self.process.kill().is_err() | self.process.wait().is_err();
        remove_folder(&self.data_dir);
    }
}

/// What is wrong, in numbers.
fn findings(verify: &VerifyReport) -> String {
    let VerifyReport { lost, doubled, corrupt, phantom, .. } = verify;
    let mut text =
        format!("{lost} lost, {doubled} doubled, {corrupt} corrupt, {phantom} never sent");
    for (count, what) in [
        (verify.misjudged, "with a wrong mark of time"),
        (verify.not_quarantined, "missing in quarantine"),
        (verify.quarantined_wrongly, "wrongly in quarantine"),
    ] {
        if count > 0 {
            text.push_str(&format!(", {count} {what}"));
        }
    }
    text
}

fn describe(report: &LoadReport) -> String {
    let mut table = TextTable::default();
    let mut row = |name: &str, text: String| table.push(vec![name.to_owned(), text]);
    let latency = |latency: &Latency| {
        format!(
            "p50 {:.1} ms, p99 {:.1} ms, p99.9 {:.1} ms, max {:.1} ms ({} measured)",
            latency.p50_ms, latency.p99_ms, latency.p999_ms, latency.max_ms, latency.count
        )
    };
    row("devices", format!("{} over {} connections", report.devices, report.connections));
    row(
        "acknowledged",
        format!("{:.0} messages/s, {:.0} values/s", report.acked_per_s, report.values_per_s),
    );
    row("acknowledgement", latency(&report.ack));
    if report.queryable.count > 0 {
        row("queryable", latency(&report.queryable));
    }
    if let Some(seconds) = report.catch_up_s {
        row("caught up after", format!("{seconds:.2} s"));
    }
    if let Some(server) = &report.server {
        let mib = server.rss_peak_kib / 1024;
        let per_message = server.cpu_s * 1e6 / (report.acked_per_s * report.seconds).max(1.0);
        row(
            "server",
            format!("{:.2} CPU s, {per_message:.1} µs/message, {mib} MiB at most", server.cpu_s),
        );
    }
    row(
        "sent",
        format!("{}, {} unacknowledged, {} late", report.sent, report.unacked, report.unsent),
    );
    for (reason, count) in &report.errors {
        row("error", format!("{count} × {reason}"));
    }
    if let Some(verify) = &report.verify {
        let VerifyReport { acked, visible, .. } = verify;
        let rows = format!("{acked} rows acknowledged, {visible} visible");
        row("verified", format!("{rows}: {}", findings(verify)));
        if report.switches.any() {
            row("quarantine", format!("{} as it should be", verify.quarantined));
        }
    }
    table.render()
}
