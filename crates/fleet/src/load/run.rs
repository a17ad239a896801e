//! A run from the first registration to the report.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axle_domain::{DeviceId, Error, Kind};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::lane::Lane;
use super::order::Order;
use super::probe::{self, Probes};
use super::schedule::{Bell, Schedule};
use super::sent::{Bits, Sent, Share};
use super::{Latency, LoadPlan, LoadReport, OnProgress, ProcessUse, Progress, verify};
use crate::api::Api;
use crate::connect::{self, Dialer};
use crate::content::Source;
use crate::random::Key;
use crate::rival::Rival;
use crate::{Enrollment, Histogram, Identity, clock, usage};

/// Time for the last acknowledgements after the sending.
const DRAIN_TIME_MAX: Duration = Duration::from_secs(60);
/// Time for the store to catch up.
const SETTLE_TIME_MAX: Duration = Duration::from_secs(600);
/// Messages per second that no server of this size exceeds; bounds the range of event times.
const RATE_BOUND: f64 = 600_000.0;
/// A rival's pause between two attempts, and how long it stays.
const RIVAL: (Duration, Duration) = (Duration::from_millis(1500), Duration::from_millis(100));
/// How often progress is told.
const TELL: Duration = Duration::from_millis(250);

pub(super) async fn run(plan: &LoadPlan, progress: OnProgress<'_>) -> Result<LoadReport, Error> {
    // Before anything is registered.
    address(plan)?;
    let devices = names(plan)?;
    let total = devices.len();
    let enrollment = Enrollment {
        devices,
        kind: plan.profile.as_str().to_owned(),
        concurrency: 16,
        with_certificates: plan.is_tls,
    };
    let tell = |done| progress(Progress::Enrolled(done, total));
    let identities = enrollment.run(&plan.doors, &tell).await?;

    let (probes, watched) = Probes::new();
    let order = Order::new(plan.window, probes, plan.warm_up, plan.warm_up + plan.duration);
    let order = Arc::new(order);
    let stop = CancellationToken::new();
    let (mut lanes, bells) = start_lanes(plan, &identities, &order, &stop)?;
    wait_for_connections(plan, &order, progress).await?;

    let api = Api::new(&plan.doors.http, &plan.doors.token);
    let queryable = Arc::new(Mutex::new(Histogram::default()));
    let start = Instant::now();
    let schedule = order.start(Schedule::new(plan.rate, bells, start));
    let watcher = (plan.probes_per_s > 0.0).then(|| {
        let (order, api, result) = (Arc::clone(&order), api.clone(), Arc::clone(&queryable));
        tokio::spawn(probe::watch(order, api, plan.probes_per_s, watched, result))
    });
    let (due, measured) = tokio::join!(schedule.tick(), measure(plan, &order, progress));
    stop.cancel();
    let shares = drain(&mut lanes, &order).await;
    let drained = Instant::now();
    let mut report = measured;
    fill(plan, &order, &mut report);
    report.unsent = due.saturating_sub(report.sent);
    settle(&api, &mut report, (start, drained), progress).await?;
    if let Some(watcher) = watcher {
        // A panic of the watcher has cost its measurements, nothing else.
        let _ended = watcher.await;
    }
    report.queryable = latency(&queryable.lock().unwrap_or_else(PoisonError::into_inner));
    if plan.is_verified {
        let names = identities.iter().map(|identity| identity.device.clone()).collect::<Vec<_>>();
        let sent = Sent::by_device(shares);
        report.verify = Some(verify::verify(&api, &names, &sent, progress).await?);
    }
    Ok(report)
}

/// Fresh names, so that nothing of an earlier run can be mistaken for this one.
fn names(plan: &LoadPlan) -> Result<Vec<DeviceId>, Error> {
    let run = clock::now_ms().unsigned_abs() / 100;
    let name =
        |number| DeviceId::parse(&format!("load-{}-{run:x}-{number:05}", plan.profile.as_str()));
    (0..plan.devices).map(name).collect()
}

/// The messages of each device. With a rate the times of events are about those of sending; at
/// saturation they lie a millisecond apart and end before now, so that none is in the future.
fn sources(plan: &LoadPlan) -> Vec<Source> {
    let devices = plan.devices as f64;
    let seconds = (plan.warm_up + plan.duration).as_secs_f64();
    let per_device = plan.rate.unwrap_or(RATE_BOUND) / devices;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "`as` saturates, and both are bounded below"
    )]
    let (step_ms, span_ms) = match plan.rate {
        Some(_) => ((1000.0 / per_device) as i64, (per_device * seconds - 1000.0 * seconds) as i64),
        None => (1, (per_device * seconds) as i64),
    };
    let base_ms = clock::now_ms() - span_ms.clamp(0, 23 * 3600 * 1000);
    let source = |number| {
        let number = u32::try_from(number).unwrap_or(0);
        Source::new(plan.profile, plan.seed, number, base_ms, step_ms).with(&plan.switches)
    };
    (0..plan.devices).map(source).collect()
}

type Lanes = JoinSet<Vec<Share>>;

fn start_lanes(
    plan: &LoadPlan,
    identities: &[Identity],
    order: &Arc<Order>,
    stop: &CancellationToken,
) -> Result<(Lanes, Vec<Arc<Bell>>), Error> {
    let dialers = dialers(plan, identities)?;
    let (sources, connections) = (sources(plan), plan.connections());
    let stride = (connections / plan.devices).max(1);
    let mut lanes = JoinSet::new();
    let mut bells = Vec::with_capacity(connections);
    for number in 0..connections {
        let devices = (number % plan.devices..plan.devices).step_by(connections);
        let shares = devices.filter_map(|device| {
            let source = *sources.get(device)?;
            let name: Arc<str> = Arc::from(identities.get(device)?.device.as_str());
            let offset = (number / plan.devices) as u64;
            let acked = Bits::default();
            let share = Share { device, source, stride: stride as u64, offset, sent: 0, acked };
            Some((share, name))
        });
        let shares: Vec<_> = shares.collect();
        let (Some((_, name)), Some(dialer)) = (shares.first(), dialers.get(number % dialers.len()))
        else {
            continue;
        };
        let client_id = if stride == 1 {
            name.to_string()
        } else {
            format!("{name}/{}", number / plan.devices)
        };
        if let Some((share, _)) = shares.first().filter(|(s, _)| s.source.quirks().has_rival()) {
            let key = Key::new(plan.seed).named("rival").child(share.device as u64);
            let (client_id, dialer) = (client_id.clone(), dialer.clone());
            let (pause, stay) = RIVAL;
            // It ends with the sending.
            tokio::spawn(Rival { client_id, dialer, key, pause, stay }.run(stop.clone()));
        }
        let bell = Arc::<Bell>::default();
        bells.push(Arc::clone(&bell));
        let both = (bell, Arc::clone(order));
        lanes.spawn(Lane::new(number, dialer.clone(), client_id, both, shares).run());
    }
    Ok((lanes, bells))
}

/// The address of the listener that the plan means.
fn address(plan: &LoadPlan) -> Result<&str, Error> {
    let (address, name, setting) = match plan.is_tls {
        true => (&plan.doors.mqtts, "mqtts", "mqtt.listen"),
        false => (&plan.doors.mqtt, "mqtt", "mqtt.plain_listen"),
    };
    address.as_deref().ok_or_else(|| {
        let message = format!("the listener `{name}` is off: set `{setting}`");
        Error::new(Kind::Invalid, "load.door_closed", message)
    })
}

/// One dialer per device, or one for all without TLS.
fn dialers(plan: &LoadPlan, identities: &[Identity]) -> Result<Vec<Dialer>, Error> {
    let address = address(plan)?;
    if !plan.is_tls {
        return Ok(vec![Dialer::plain(address)]);
    }
    let roots = connect::roots(&plan.doors.authority_pem)?;
    identities
        .iter()
        .map(|identity| Dialer::tls(address, &roots, &identity.chain, &identity.key))
        .collect()
}

async fn wait_for_connections(
    plan: &LoadPlan,
    order: &Order,
    progress: OnProgress<'_>,
) -> Result<(), Error> {
    let wanted = plan.connections();
    loop {
        let connected = order.connected.load(Ordering::Relaxed);
        let connected = usize::try_from(connected).unwrap_or(usize::MAX);
        progress(Progress::Connected(connected, wanted));
        if connected >= wanted {
            return Ok(());
        }
        if order.is_given_up() {
            let reasons: Vec<String> = order.errors().into_keys().take(3).collect();
            let message = format!(
                "only {connected} of {wanted} devices could connect: {}",
                reasons.join("; ")
            );
            return Err(Error::unavailable("load.not_connected", message));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Lets the time pass and measures in it what can be measured only now.
async fn measure(plan: &LoadPlan, order: &Order, progress: OnProgress<'_>) -> LoadReport {
    let start = order.schedule().start();
    wait_until(start + plan.warm_up, order, progress).await;
    let cpu = |pid: Option<u32>| pid.and_then(usage::cpu_seconds).unwrap_or(0.0);
    let own = std::process::id();
    let (server_before, own_before) = (cpu(plan.server_pid), cpu(Some(own)));
    let (from, acked_before) = (Instant::now(), order.acked.load(Ordering::Relaxed));
    wait_until(start + plan.warm_up + plan.duration, order, progress).await;
    let acked = order.acked.load(Ordering::Relaxed) - acked_before;
    let seconds = from.elapsed().as_secs_f64();
    let server: Option<ProcessUse> =
        plan.server_pid.and_then(|pid| usage::since(pid, server_before));
    let generator = usage::since(own, own_before).unwrap_or_default();
    order.schedule().end();
    let acked_per_s = acked as f64 / seconds;
    let values_per_s = acked_per_s * plan.profile.values_per_message() as f64;
    LoadReport { seconds, acked_per_s, values_per_s, server, generator, ..LoadReport::default() }
}

async fn wait_until(end: Instant, order: &Order, progress: OnProgress<'_>) {
    while Instant::now() < end {
        tokio::time::sleep_until((Instant::now() + TELL).min(end).into()).await;
        progress(Progress::Sending {
            sent: order.sent.load(Ordering::Relaxed),
            acked: order.acked.load(Ordering::Relaxed),
        });
    }
}

/// Waits for the last acknowledgements; what has none by then stays unknown.
async fn drain(lanes: &mut Lanes, order: &Order) -> Vec<Share> {
    let mut shares = Vec::new();
    let mut end = tokio::time::Instant::now() + DRAIN_TIME_MAX;
    while !lanes.is_empty() {
        match tokio::time::timeout_at(end, lanes.join_next()).await {
            Ok(Some(Ok(lane))) => shares.extend(lane),
            Ok(Some(Err(error))) => order.count_error(&error.to_string()),
            Ok(None) => break,
            Err(_late) if order.is_given_up() => break,
            Err(_late) => {
                order.count_error("acknowledgements missing after 60 s");
                order.give_up();
                order.schedule().end();
                end = tokio::time::Instant::now() + Duration::from_secs(20);
            }
        }
    }
    shares
}

fn fill(plan: &LoadPlan, order: &Order, report: &mut LoadReport) {
    plan.profile.as_str().clone_into(&mut report.profile);
    report.devices = plan.devices;
    report.connections = plan.connections();
    report.tls = plan.is_tls;
    report.seed = plan.seed;
    report.switches = plan.switches;
    report.rate = plan.rate;
    report.values_per_message = plan.profile.values_per_message();
    report.sent = order.sent.load(Ordering::Relaxed);
    report.acked = order.acked.load(Ordering::Relaxed);
    report.unacked = report.sent - report.acked;
    report.disconnects = order.disconnects.load(Ordering::Relaxed);
    report.errors = order.errors();
    report.ack = latency(&order.latencies());
}

/// Waits until the store shows everything, and says what that took.
async fn settle(
    api: &Api,
    report: &mut LoadReport,
    (start, drained): (Instant, Instant),
    progress: OnProgress<'_>,
) -> Result<(), Error> {
    let tell = |reached, wanted| progress(Progress::Settling(reached, wanted));
    api.settle(SETTLE_TIME_MAX, &tell).await?;
    report.catch_up_s = Some(drained.elapsed().as_secs_f64());
    report.queryable_per_s = Some(report.acked as f64 / start.elapsed().as_secs_f64());
    Ok(())
}

fn latency(histogram: &Histogram) -> Latency {
    let ms = |time: Duration| time.as_micros() as f64 / 1000.0;
    Latency {
        count: histogram.count(),
        p50_ms: ms(histogram.quantile(0.5)),
        p99_ms: ms(histogram.quantile(0.99)),
        p999_ms: ms(histogram.quantile(0.999)),
        max_ms: ms(histogram.max()),
    }
}
