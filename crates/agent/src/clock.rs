//! What a device knows of time: a wall clock that may be wrong and may jump, and a clock that
//! counts from the boot and never jumps. A Raspberry Pi has no battery behind its clock: it begins
//! in 1970, or where it was switched off, until the network tells it the time.

use axle_domain::{Error, Kind, Timestamp};
use rustix::time::{ClockId, clock_gettime};

/// 2025-01-01T00:00:00Z, before this program was written: a wall clock that shows less is not set.
pub const PLAUSIBLE_FROM: Timestamp = Timestamp(1_735_689_600_000_000);

/// Both clocks at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The wall clock.
    pub wall: Timestamp,
    /// Microseconds since the boot, those of sleep included.
    pub since_boot: i64,
}

impl Reading {
    /// Whether the wall clock can be right at all.
    #[must_use]
    pub fn is_plausible(self) -> bool {
        self.wall >= PLAUSIBLE_FROM
    }

    /// When the boot was, in microseconds of the wall clock as it stands now.
    #[must_use]
    pub fn boot_at(self) -> i64 {
        self.wall.micros().saturating_sub(self.since_boot)
    }
}

/// The clocks of the computer that the agent runs on.
///
/// 1. `since_boot` of one boot never goes back.
/// 2. `boot` names the boot: two boots have two names, and a restart of the agent changes nothing.
pub trait DeviceClock: Send + Sync + 'static {
    /// Both clocks now.
    fn read(&self) -> Reading;
    /// The name of this boot.
    fn boot(&self) -> &str;
}

/// The clocks of this machine.
#[derive(Clone, Debug)]
pub struct MachineClock {
    boot: String,
}

impl MachineClock {
    /// Reads which boot this is.
    ///
    /// # Errors
    /// `Unavailable`, when the kernel does not say.
    pub fn open() -> Result<Self, Error> {
        let path = "/proc/sys/kernel/random/boot_id";
        let boot = std::fs::read_to_string(path).map_err(|error| {
            let message = format!("{path} cannot be read: {error}; is /proc mounted?");
            Error::new(Kind::Unavailable, "agent.clock", message)
        })?;
        Ok(Self { boot: boot.trim().to_owned() })
    }
}

impl DeviceClock for MachineClock {
    fn read(&self) -> Reading {
        let micros = |id| {
            let time = clock_gettime(id);
            time.tv_sec.saturating_mul(1_000_000).saturating_add(time.tv_nsec / 1000)
        };
        Reading {
            wall: Timestamp(micros(ClockId::Realtime)),
            since_boot: micros(ClockId::Boottime),
        }
    }

    fn boot(&self) -> &str {
        &self.boot
    }
}
