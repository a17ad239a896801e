//! How the instance is, taken every two seconds for all who look, with the latencies of our own
//! answers.

use std::sync::Arc;

use axle_app::{App, LatencyWindow, Quantiles, TAKE_INTERVAL, VitalSigns, Vitals};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::metrics::{HttpMetrics, RouteClass};

/// Signs between two counts of answers that are remembered.
const REMEMBER_EVERY: usize = 5;

/// What `/system` and `/api/v1/system` show.
#[derive(Clone, Debug, Default)]
pub(crate) struct Signs {
    /// The instance.
    pub(crate) vitals: VitalSigns,
    /// How long our answers took in the last five minutes, by the class of their route.
    pub(crate) requests: Vec<(RouteClass, Quantiles)>,
}

/// Takes the signs until the stop.
pub(crate) async fn run(
    app: Arc<App>,
    metrics: Arc<HttpMetrics>,
    signs: watch::Sender<Arc<Signs>>,
    stop: CancellationToken,
) {
    let mut ticks = interval(TAKE_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut vitals = Vitals::default();
    let mut windows: Vec<_> = RouteClass::ALL.map(|class| (class, LatencyWindow::default())).into();
    let mut is_failing = false;
    for taken in (0..REMEMBER_EVERY).cycle() {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let requests = windows.iter_mut().map(|(class, window)| {
            let counts = metrics.latency(*class);
            if taken == 0 {
                window.push(counts.clone());
            }
            (*class, window.quantiles(&counts))
        });
        let requests = requests.collect();
        match vitals.take(&app).await {
            Ok(vitals) => {
                is_failing = false;
                signs.send_replace(Arc::new(Signs { vitals, requests }));
            }
            Err(error) if !is_failing => {
                is_failing = true;
                tracing::warn!(error = %error.chain(), "the vital signs cannot be taken");
            }
            Err(_again) => {}
        }
    }
}
