//! `axle demo`: a server with a world around it.

use std::net::TcpListener;

use axle_fleet::{Doors, Fleet, FleetPlan};
use tokio_util::sync::CancellationToken;

use super::serve::run_until_signal;
use crate::cli::{DemoArgs, ServeArgs};
use crate::config::Config;
use crate::data_dir::{DataDir, SERVE};
use crate::descriptor;
use crate::failure::Failure;
use crate::output::note;
use crate::telemetry::start_log;

pub(super) fn run(args: &DemoArgs) -> Result<(), Failure> {
    let mut config = ServeArgs::default().load()?.config;
    for listen in [&mut config.http.listen, &mut config.ops.listen, &mut config.mqtt.listen] {
        take_free_port(listen);
    }
    start_log()?;
    descriptor::raise_limit(config.mqtt.connections_max as u64);
    let data = DataDir::open(&args.data_dir, SERVE)?;
    live(data, &config, args)
}

fn live(data: DataDir, config: &Config, args: &DemoArgs) -> Result<(), Failure> {
    let plan = FleetPlan {
        bikes: args.bikes as usize,
        cars: args.cars as usize,
        meters: args.meters as usize,
        seed: 1,
        speed: 1.0,
    };
    let total = plan.bikes + plan.cars + plan.meters;
    run_until_signal(data, config, |server| {
        let doors = Doors::open(server.data().path());
        async move {
            let fleet = Fleet::new(plan, doors?);
            note(&format!("{total} devices are on their way; Ctrl-C ends"));
            fleet.run(CancellationToken::new()).await?;
            Ok(())
        }
    })
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
