//! CPU time and memory of a process, from `/proc`.

use crate::load::ProcessUse;

/// Ticks per second of `/proc/<pid>/stat`: the kernel shows user space 100 on every platform that
/// axle is built for.
const TICKS_PER_SECOND: f64 = 100.0;

/// CPU seconds of a process so far; `None` where there is no such process or no `/proc`.
pub(crate) fn cpu_seconds(pid: u32) -> Option<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    parse_cpu(&stat)
}

fn parse_cpu(stat: &str) -> Option<f64> {
    // The name in parentheses may hold anything; what follows its end is regular.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace().skip(11);
    let (user, system): (f64, f64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some((user + system) / TICKS_PER_SECOND)
}

/// What a process has used since it had used `cpu_before` seconds.
pub(crate) fn since(pid: u32, cpu_before: f64) -> Option<ProcessUse> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let kib = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_ascii_whitespace().next()?.parse().ok()
    };
    Some(ProcessUse {
        cpu_s: cpu_seconds(pid)? - cpu_before,
        rss_kib: kib("VmRSS:")?,
        rss_peak_kib: kib("VmHWM:")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_past_a_name_with_blanks_and_parentheses() {
        let stat = "12 (a) b (c) S 1 12 12 0 -1 4194304 1 2 3 4 150 50 0 0 20 0 4 0 1 2 3";
        assert_eq!(parse_cpu(stat), Some(2.0));
        assert_eq!(parse_cpu("12 (a"), None);
    }
}
