//! Breaks good input in many ways and looks what a reader makes of it: no panic, no hang, and no
//! more memory than what is there explains.
//!
//! The same cases come on every run, unless `AXLE_MUTATION_SEED` names another beginning. A run is
//! short where nothing is said, and lasts `AXLE_MUTATION_SECONDS` where that is. A case that fails
//! is printed whole.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Cases of a short run, beside the seeds and their beginnings.
const CASES: u32 = 10_000;
/// Longest input that is made.
const BYTES_MAX: usize = 64 * 1024;
/// Longest time for one case.
const CASE_TIME_MAX: Duration = Duration::from_secs(10);
/// What a case may cost beside a multiple of its length.
const FREE_BYTES: u64 = 256 * 1024;
/// Bytes of memory for each byte of input.
const BYTES_PER_BYTE: u64 = 64;

/// Numbers that readers trip over.
const NUMBERS: [u64; 12] = [
    0,
    1,
    0x7f,
    0x80,
    0xff,
    0x7fff,
    0xffff,
    0x7fff_ffff,
    0xffff_ffff,
    0x0fff_ffff,
    u64::MAX / 2,
    u64::MAX,
];

/// Shows broken input to a reader: each seed as it is, each of its beginnings, and thousands of
/// mutations. The reader says how many bytes of memory it held at most.
///
/// # Panics
/// Where the reader does, and where it holds more memory than the input explains; the message has
/// the input. Where a case takes too long the process ends, after it has printed the input.
pub fn run(name: &str, seeds: &[&[u8]], reader: impl Fn(&[u8]) -> u64) {
    run_cases(name, seeds, CASES, reader);
}

/// The same for a reader that takes long: so many cases in a short run.
///
/// # Panics
/// As [`run`].
pub fn run_cases(name: &str, seeds: &[&[u8]], short: u32, reader: impl Fn(&[u8]) -> u64) {
    let number = |variable: &str| std::env::var(variable).ok().and_then(|it| it.parse().ok());
    let seed: u64 = number("AXLE_MUTATION_SEED").unwrap_or(1);
    let seconds: Option<u64> = number("AXLE_MUTATION_SECONDS");
    let watch = Watch::start(name);
    let check = |input: &[u8]| {
        watch.put(input);
        let read = catch_unwind(AssertUnwindSafe(|| reader(input)));
        let shown = input.escape_ascii();
        let held = match read {
            Ok(held) => held,
            #[expect(clippy::panic, reason = "this is how a test fails")]
            Err(_panic) => panic!("{name} (seed {seed}): a panic on b\"{shown}\""),
        };
        let most = FREE_BYTES + BYTES_PER_BYTE * input.len() as u64;
        assert!(held <= most, "{name} (seed {seed}): {held} bytes held on b\"{shown}\"");
    };
    for whole in seeds {
        for length in 0..=whole.len().min(512) {
            check(whole.get(..length).unwrap_or(whole));
        }
        check(whole);
    }
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let began = Instant::now();
    let mut cases = 0;
    let goes_on = |cases: u32| match seconds {
        Some(seconds) => began.elapsed() < Duration::from_secs(seconds),
        None => cases < short,
    };
    while goes_on(cases) {
        let mut input = random.pick(seeds).map_or_else(Vec::new, |seed| seed.to_vec());
        for _ in 0..=random.below(4) {
            random.mutate(&mut input, seeds);
        }
        input.truncate(BYTES_MAX);
        check(&input);
        cases += 1;
    }
}

/// Prints what a case hangs on, and ends the process.
struct Watch {
    current: Arc<Mutex<(Instant, Vec<u8>)>>,
    is_over: Arc<AtomicBool>,
}

impl Watch {
    fn start(name: &str) -> Self {
        let current = Arc::new(Mutex::new((Instant::now(), Vec::new())));
        let is_over = Arc::new(AtomicBool::new(false));
        let (watched, ends, name) = (Arc::clone(&current), Arc::clone(&is_over), name.to_owned());
        std::thread::spawn(move || {
            while !ends.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(200));
                let current = watched.lock().unwrap_or_else(PoisonError::into_inner);
                if current.0.elapsed() > CASE_TIME_MAX && !ends.load(Ordering::Relaxed) {
                    use std::io::Write;
                    let shown = current.1.escape_ascii();
                    drop(writeln!(std::io::stderr(), "{name}: hangs on b\"{shown}\""));
                    std::process::abort();
                }
            }
        });
        Self { current, is_over }
    }

    fn put(&self, input: &[u8]) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        current.0 = Instant::now();
        current.1.clear();
        current.1.extend_from_slice(input);
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}

/// Xorshift: the same on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, most: usize) -> usize {
        let most = most.max(1) as u64;
        usize::try_from(self.next() % most).unwrap_or(0)
    }

    fn pick<T: Copy>(&mut self, items: &[T]) -> Option<T> {
        items.get(self.below(items.len())).copied()
    }

    /// Breaks something.
    fn mutate(&mut self, input: &mut Vec<u8>, seeds: &[&[u8]]) {
        let at = self.below(input.len() + 1);
        let rest = input.len() - at;
        let count = self.below(rest.min(32) + 1);
        match self.below(8) {
            0 => self.flip(input),
            1 => drop(input.drain(at..at + count)),
            2 => {
                let byte = self.next().to_le_bytes()[0];
                input.splice(at..at, std::iter::repeat_n(byte, 1 + count));
            }
            3 => {
                let part: Vec<u8> = input.get(at..at + count).unwrap_or_default().to_vec();
                input.splice(at..at, part.repeat(1 + self.below(200)));
            }
            4 => {
                let other = self.pick(seeds).unwrap_or_default();
                let from = self.below(other.len() + 1);
                input.truncate(at);
                input.extend_from_slice(other.get(from..).unwrap_or_default());
            }
            5 => {
                let number = self.pick(&NUMBERS).unwrap_or(0).to_be_bytes();
                let width = [1, 2, 4, 8].get(self.below(4)).copied().unwrap_or(1);
                let bytes = number.get(8 - width..).unwrap_or_default();
                input.splice(at..at + width.min(rest), bytes.iter().copied());
            }
            6 => input.truncate(at),
            _ => {
                let byte = self.next().to_le_bytes()[0];
                if let Some(place) = input.get_mut(at) {
                    *place = byte;
                }
            }
        }
    }

    fn flip(&mut self, input: &mut [u8]) {
        let (at, bit) = (self.below(input.len()), self.below(8));
        if let Some(byte) = input.get_mut(at) {
            *byte ^= 1 << bit;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_that_breaks_is_found() {
        let seeds: [&[u8]; 2] = [b"\x02ab", b"\x01c"];
        run("careful", &seeds, |input| input.len() as u64);
        let careless = |input: &[u8]| {
            let length = usize::from(input.first().copied().unwrap_or(0));
            input.get(1..=length).expect("as long as it says").len() as u64
        };
        catch_unwind(|| run("careless", &seeds, careless)).expect_err("a panic is found");
        let greedy = |input: &[u8]| {
            let claimed = input.first_chunk::<1>().map_or(0, |[first]| u64::from(*first));
            claimed << 20
        };
        catch_unwind(|| run("greedy", &seeds, greedy)).expect_err("a claimed length is found");
    }
}
