//! Process metrics read from `/proc`, with Prometheus' conventional names and units. Without
//! `/proc` they stay at 0.

use std::fs;
use std::sync::Mutex;
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus::{Counter, CounterVec, Error, IntGauge, Opts, Registry};

use super::label_set::gauges;
use super::names::{self, Name};
use crate::foundation::platform;

const SERVICE: &str = env!("CARGO_PKG_NAME");

#[derive(Debug)]
pub struct Process {
    cpu: Counter,
    resident: IntGauge,
    virtual_memory: IntGauge,
    open_files: IntGauge,
    max_files: IntGauge,
    /// Concurrent scrapes must not add the same CPU seconds twice.
    reading: Mutex<()>,
}

impl Process {
    pub fn new(registry: &Registry) -> Result<Self, Error> {
        let cpu = &names::PROCESS_CPU;
        let cpu = CounterVec::new(Opts::new(cpu.name, cpu.help), cpu.labels)?;
        registry.register(Box::new(cpu.clone()))?;
        let gauge = |name: &Name| gauges(registry, name)?.get_metric_with_label_values(&[SERVICE]);
        // Metrics are created first at startup, so the current time is the start time.
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        gauge(&names::PROCESS_START)?.set(i64::try_from(since.as_secs()).unwrap_or_default());
        Ok(Self {
            cpu: cpu.get_metric_with_label_values(&[SERVICE])?,
            resident: gauge(&names::PROCESS_RSS)?,
            virtual_memory: gauge(&names::PROCESS_VIRTUAL)?,
            open_files: gauge(&names::PROCESS_FDS)?,
            max_files: gauge(&names::PROCESS_MAX_FDS)?,
            reading: Mutex::new(()),
        })
    }

    pub fn read(&self) {
        let _alone = self.reading.lock();
        if let Some(seconds) = fs::read_to_string("/proc/self/stat")
            .ok()
            .as_deref()
            .and_then(cpu_seconds)
        {
            self.cpu.inc_by((seconds - self.cpu.get()).max(0.0));
        }
        if let Ok(status) = fs::read_to_string("/proc/self/status") {
            self.resident.set(bytes(&status, "VmRSS:"));
            self.virtual_memory.set(bytes(&status, "VmSize:"));
        }
        if let Ok(files) = fs::read_dir("/proc/self/fd") {
            self.open_files
                .set(i64::try_from(files.count()).unwrap_or(i64::MAX));
        }
        if let Ok(limits) = fs::read_to_string("/proc/self/limits") {
            self.max_files.set(max_files(&limits));
        }
    }
}

/// Sums user and system time. Fields are counted from the end of the program name, which precedes
/// them and may contain spaces.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_ascii_whitespace().skip(11);
    let (user, system): (f64, f64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    let ticks = platform::clock_ticks_per_second()?;
    Some((user + system) / f64::from(ticks.max(1)))
}

/// Parses a line such as `VmRSS:     1234 kB`.
fn bytes(status: &str, name: &str) -> i64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.and_then(|line| line.split_ascii_whitespace().next()?.parse::<i64>().ok());
    kib.unwrap_or_default().saturating_mul(1024)
}

/// Parses the soft limit. An unlimited one counts as the largest number.
fn max_files(limits: &str) -> i64 {
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"));
    match line.and_then(|line| line.split_ascii_whitespace().next()) {
        Some("unlimited") => i64::MAX,
        Some(number) => number.parse().unwrap_or_default(),
        None => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_the_files_that_linux_writes() {
        let stat = "4711 (a (strange) name) S 1 1 1 0 -1 4194560 9 0 0 0 250 150 0 0 20 0 5 0 100 \
            1000 200";
        let ticks = rustix::param::clock_ticks_per_second();
        let expected = 400.0 / f64::from(u32::try_from(ticks).unwrap());
        assert!((cpu_seconds(stat).unwrap() - expected).abs() < 1e-9);
        assert_eq!(cpu_seconds("4711 (short) S"), None);
        let status = "Name:\tx\nVmSize:\t  2048 kB\nVmRSS:\t   100 kB\n";
        assert_eq!(
            (bytes(status, "VmRSS:"), bytes(status, "VmSize:")),
            (102_400, 2_097_152)
        );
        assert_eq!(bytes("", "VmRSS:"), 0);
        let limits = "Limit  Soft  Hard  Units\nMax open files            1024                 \
            4096                 files\n";
        assert_eq!(max_files(limits), 1024);
        assert_eq!(
            max_files("Max open files unlimited unlimited files"),
            i64::MAX
        );
    }
}
