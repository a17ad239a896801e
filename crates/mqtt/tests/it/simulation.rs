//! A deterministic simulation of log, sessions and projections: the real gateway, use cases and
//! embedded log over ports that fail as disks, machines and processes do. Everything follows from
//! a seed; see `docs/checking.md`.
//!
//! A run is a few lives of a server. In each, devices publish, a program follows the log, a client
//! with a kept session subscribes; then the process is killed, the power goes, a sync fails, or it
//! stops in peace. After the last one all that was promised is compared with what is there.

mod chance;
mod disk;
mod ledger;
mod life;
mod planted;
mod ports;
mod store;

use std::panic::AssertUnwindSafe;

use ledger::Ledger;
use life::Ground;
use planted::Planted;

/// Lives of a run.
const LIVES: u64 = 5;
/// Seeds of one test run, unless `AXLE_SIMULATIONS` says how many.
const SEEDS: u64 = 40;
/// Seeds in which a planted defect must show.
const SEEDS_TO_CATCH: u64 = 60;

fn from_environment(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

/// Runs one seed. Says what happened, or which promise was broken.
fn simulate(seed: u64, planted: Option<Planted>) -> Result<Ledger, String> {
    let run = || {
        let mut ground = Ground::new(seed, planted);
        for life in 0..LIVES {
            if let Err(broken) = ground.live(life, life + 1 == LIVES) {
                return Err(format!("{broken}; before: {:?}", ground.ledger.trace));
            }
        }
        Ok(ground.ledger)
    };
    // A port that breaks its contract may make what trusts it panic.
    match std::panic::catch_unwind(AssertUnwindSafe(run)) {
        Ok(outcome) => outcome,
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or(panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            Err(format!("panicked: {}", text.unwrap_or_default()))
        }
    }
}

#[test]
fn what_was_promised_holds_whatever_the_ports_do() {
    let first = from_environment("AXLE_SEED", 0);
    let (mut accepted, mut refused, mut delivered, mut ends) = (0, 0, 0, [0; 4]);
    for seed in first..first + from_environment("AXLE_SIMULATIONS", SEEDS) {
        match simulate(seed, None) {
            Ok(ledger) => {
                accepted += ledger.accepted.len();
                refused += ledger.refused;
                delivered += ledger.delivered.len();
                for (sum, count) in ends.iter_mut().zip(ledger.ends) {
                    *sum += count;
                }
            }
            Err(broken) => panic!("AXLE_SEED={seed} AXLE_SIMULATIONS=1: {broken}"),
        }
    }
    println!(
        "{accepted} accepted, {refused} refused, {delivered} delivered; \
         ends in peace, by kill, by loss of power, by a failed sync: {ends:?}"
    );
}

#[test]
fn the_same_seed_is_the_same_run() {
    for seed in 100..104 {
        let (once, again) = (simulate(seed, None).unwrap(), simulate(seed, None).unwrap());
        assert_eq!(once.trace, again.trace, "seed {seed}");
    }
}

/// The seeds in which a defect shows, and the first of them as it showed.
fn caught(planted: Planted) -> Option<(u64, String)> {
    let mut seeds = 0..from_environment("AXLE_SIMULATIONS", SEEDS_TO_CATCH);
    seeds.find_map(|seed| Some((seed, simulate(seed, Some(planted)).err()?)))
}

/// Each defect is caught by a seed that passes without it.
#[test]
fn every_planted_defect_is_caught() {
    let mut missed = Vec::new();
    for planted in Planted::ALL {
        match caught(planted) {
            Some((seed, how)) => {
                println!("{planted:?}: seed {seed}: {how}");
                assert!(simulate(seed, None).is_ok(), "seed {seed} fails without {planted:?} too");
            }
            None => missed.push(planted),
        }
    }
    assert!(missed.is_empty(), "nothing notices {missed:?}");
}
