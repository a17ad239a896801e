//! `axle demo`: a server with a world around it.

use std::net::TcpListener;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axle_fleet::{Doors, Fleet, FleetPlan, FleetStatus, Switches};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::serve::run_until_signal;
use crate::cli::{DemoArgs, ServeArgs};
use crate::config::Config;
use crate::data_dir::{DataDir, SERVE};
use crate::descriptor;
use crate::failure::Failure;
use crate::output::{ProgressLine, note};
use crate::telemetry::start_log;

/// How often the line about the fleet changes.
const TELL: Duration = Duration::from_secs(1);

pub(super) fn run(args: &DemoArgs) -> Result<(), Failure> {
    let mut config = ServeArgs::default().load()?.config;
    let Config { http, ops, mqtt, device_https, .. } = &mut config;
    let listeners = [&mut http.listen, &mut ops.listen, &mut mqtt.listen, &mut device_https.listen];
    listeners.into_iter().for_each(take_free_port);
    if !(0.1..=100.0).contains(&args.speed) {
        return Err(Failure::usage("--speed is a factor from 0.1 to 100"));
    }
    let plan = FleetPlan {
        bikes: args.bikes as usize,
        cars: args.cars as usize,
        meters: args.meters as usize,
        seed: args.seed,
        speed: args.speed,
        switches: args.switches.or(Switches::lifelike()),
    };
    plan.switches.check()?;
    start_log()?;
    descriptor::raise_limit(config.mqtt.connections_max as u64);
    let data = DataDir::open(&args.data_dir, SERVE)?;
    live(data, &config, plan)
}

fn live(data: DataDir, config: &Config, plan: FleetPlan) -> Result<(), Failure> {
    run_until_signal(data, config, |server| {
        let data_dir = server.data().path().to_owned();
        async move {
            introduce(&plan, &data_dir);
            let total = (plan.bikes + plan.cars + plan.meters) as u64;
            let fleet = Fleet::new(plan, Doors::open(&data_dir)?);
            let status = fleet.status();
            tokio::select! {
                ended = fleet.run(CancellationToken::new()) => Ok(ended?),
                never = watch(&status, total) => never,
            }
        }
    })
}

/// What this is, and what to try.
fn introduce(plan: &FleetPlan, data_dir: &Path) {
    let FleetPlan { bikes, cars, meters, seed, .. } = plan;
    note(&format!(
        "\n{bikes} bikes, {cars} cars and {meters} households in seven cities of Europe come in \
         through the real doors:\nMQTT over TLS with certificates of their own, uploads of phones, \
         the feed of a plant. Seed {seed}.\nWeeks of their past trickle in behind them for a few \
         minutes. Try, in another terminal:"
    ));
    let data_dir = data_dir.display();
    for (is_there, command) in [
        (*bikes > 0, "axle tail bike-0001".to_owned()),
        (*bikes > 0, "axle command send bike-0001 unlock --wait".to_owned()),
        (*cars > 0, "axle command send car-0001 flash --wait".to_owned()),
        (
            *bikes > 0,
            "axle query \"SELECT device, time, speed_kmh, battery_pct FROM ride ORDER BY time DESC \
             LIMIT 5\""
                .to_owned(),
        ),
        (
            *meters > 0,
            "axle query \"SELECT socket, max(watts) FROM energy WHERE device = 'meter-0001' AND \
             name = 'power' GROUP BY socket\""
                .to_owned(),
        ),
        (true, "axle quarantine list".to_owned()),
    ] {
        if is_there {
            note(&format!("  {command} --data-dir {data_dir}"));
        }
    }
    note("Ctrl-C ends.\n");
}

/// Keeps a line about the fleet up to date, where stderr is a terminal.
async fn watch(status: &FleetStatus, total: u64) -> Result<(), Failure> {
    let line = ProgressLine::default();
    let begin = Instant::now();
    let mut interval = tokio::time::interval(TELL);
    let mut before = 0;
    loop {
        interval.tick().await;
        let acked = status.acked.load(Ordering::Relaxed);
        line.show(&words(status, total, acked - before, begin.elapsed()));
        before = acked;
    }
}

fn words(status: &FleetStatus, total: u64, messages: u64, elapsed: Duration) -> String {
    let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let enrolled = of(&status.enrolled);
    if enrolled < total {
        return format!("registered {enrolled} of {total} devices");
    }
    let (minutes, seconds) = (elapsed.as_secs() / 60, elapsed.as_secs() % 60);
    // Below 80 columns: a line that wraps cannot replace itself.
    format!(
        "{minutes}:{seconds:02}  {}/{total} online, {messages} msg/s, {} uploads, {} commands, \
         {} faults, {} to review",
        of(&status.connected),
        of(&status.uploads),
        of(&status.commands),
        of(&status.faults),
        of(&status.review),
    )
}

/// A demonstration steps aside where something else has its port.
fn take_free_port(listen: &mut String) {
    if listen == "off" || TcpListener::bind(listen.as_str()).is_ok() {
        return;
    }
    if let Some((host, _taken)) = listen.rsplit_once(':') {
        *listen = format!("{host}:0");
    }
}
