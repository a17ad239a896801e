//! The machine that the instance runs on: disks by `statvfs`, the process by `/proc`.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axle_domain::Timestamp;
use axle_domain::port::{
    CertificateAuthority, DiskFigures, Machine, MachineFigures, ProcessFigures,
};

/// Units of processor time a second in `/proc`: the kernel's interface has it fixed.
const TICKS_PER_SECOND: u64 = 100;
/// More open files are not counted one by one.
const OPEN_FILES_COUNTED_MAX: usize = 100_000;

/// This machine.
pub(crate) struct ThisMachine {
    data_dir: PathBuf,
    started_at: Timestamp,
    authority: Arc<dyn CertificateAuthority>,
    listeners: Mutex<Vec<(String, String)>>,
}

impl ThisMachine {
    /// The machine below an instance on this data directory.
    pub(crate) fn new(
        data_dir: &Path,
        started_at: Timestamp,
        authority: Arc<dyn CertificateAuthority>,
    ) -> Self {
        let data_dir = data_dir.canonicalize().unwrap_or_else(|_error| data_dir.to_owned());
        Self { data_dir, started_at, authority, listeners: Mutex::default() }
    }

    /// Says which listeners are open.
    pub(crate) fn put_listeners(&self, listeners: Vec<(String, String)>) {
        *self.listeners.lock().unwrap_or_else(PoisonError::into_inner) = listeners;
    }
}

impl Machine for ThisMachine {
    fn figures(&self) -> MachineFigures {
        let parts = [("log", "log"), ("store", "store"), ("state", "state.db")];
        let disk = |(part, name): (&'static str, &str)| disk(part, &self.data_dir.join(name));
        let state = ["state.db", "state.db-wal", "state.db-shm", "state.sums"];
        let size = |name: &&str| fs::metadata(self.data_dir.join(name)).map(|it| it.len()).ok();
        MachineFigures {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            system: format!(
                "{} {}",
                read("/proc/sys/kernel/ostype").trim(),
                read("/proc/sys/kernel/osrelease").trim()
            ),
            started_at: self.started_at,
            state_bytes: state.iter().filter_map(size).sum(),
            disks: parts.into_iter().filter_map(disk).collect(),
            process: process(),
            listeners: self.listeners.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            identity: self.authority.standing(),
        }
    }
}

fn disk(part: &'static str, path: &Path) -> Option<DiskFigures> {
    let figures = rustix::fs::statvfs(path).ok()?;
    Some(DiskFigures {
        part,
        path: path.display().to_string(),
        file_system: fs::metadata(path).ok()?.dev(),
        free_bytes: figures.f_bavail.saturating_mul(figures.f_frsize),
        total_bytes: figures.f_blocks.saturating_mul(figures.f_frsize),
    })
}

fn process() -> ProcessFigures {
    let (status, limits) = (read("/proc/self/status"), read("/proc/self/limits"));
    let open_files = fs::read_dir("/proc/self/fd");
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    ProcessFigures {
        memory_bytes: number_after(&status, "VmRSS:") * 1024,
        machine_memory_bytes: number_after(&read("/proc/meminfo"), "MemTotal:") * 1024,
        cpu: cpu(&read("/proc/self/stat")),
        processors: u32::try_from(processors).unwrap_or(u32::MAX),
        threads: number_after(&status, "Threads:"),
        open_files: open_files.map_or(0, |it| it.take(OPEN_FILES_COUNTED_MAX).count() as u64),
        open_files_max: number_after(&limits, "Max open files"),
    }
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// The first number behind a label.
fn number_after(text: &str, label: &str) -> u64 {
    let rest = text.split_once(label).map_or("", |(_, rest)| rest);
    rest.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// User and system time: the 14th and 15th field. The second, the program's name in parentheses,
/// may hold anything.
fn cpu(stat: &str) -> Duration {
    let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks: u64 =
        fields.split_whitespace().skip(11).take(2).filter_map(|it| it.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks.saturating_mul(1000 / TICKS_PER_SECOND))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_kernel_writes() {
        let stat = "12 (a) b) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20";
        assert_eq!(cpu(stat), Duration::from_secs(3));
        assert_eq!(number_after("Threads:\t9\nVmRSS:\t  812 kB\n", "VmRSS:"), 812);
        assert_eq!(number_after("Max open files   1024   4096  files", "Max open files"), 1024);
        assert_eq!((cpu(""), number_after("", "VmRSS:")), (Duration::ZERO, 0));
    }

    #[test]
    fn tells_of_the_machine_that_the_test_runs_on() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["log", "store"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        fs::write(folder.path().join("state.db"), [0; 100]).unwrap();
        let clock = Arc::new(crate::clock::SystemClock);
        let authority = axle_mqtt::DeviceAuthority::open(folder.path(), &[], clock).unwrap();
        let machine = ThisMachine::new(folder.path(), Timestamp(7), Arc::new(authority));
        machine.put_listeners(vec![("http".to_owned(), "127.0.0.1:1".to_owned())]);
        let seen = machine.figures();
        assert_eq!((seen.state_bytes, seen.started_at), (100, Timestamp(7)));
        let parts: Vec<_> = seen.disks.iter().map(|it| (it.part, it.total_bytes > 0)).collect();
        assert_eq!(parts, [("log", true), ("store", true), ("state", true)]);
        assert_eq!(seen.listeners.len(), 1);
        assert!(seen.process.memory_bytes > 0 && seen.process.threads > 0, "{:?}", seen.process);
        assert!(seen.process.open_files > 0 && seen.process.processors > 0);
        assert!(seen.system.starts_with("Linux "), "{}", seen.system);
    }
}
