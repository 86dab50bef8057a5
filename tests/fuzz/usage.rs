//! What this process has used, as Linux tells it.

use std::fs::read_to_string;
use std::time::Duration;

/// The most memory it has had, in MiB.
pub fn peak_mib() -> u64 {
    let status = read_to_string("/proc/self/status").expect("Linux tells of this process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number of kB");
    kib / 1024
}

/// The time that processors have spent on this thread: a busy machine does not add to it.
pub fn worked() -> Duration {
    let stat = read_to_string("/proc/thread-self/stat").expect("Linux tells of this thread");
    // The name, in brackets, may hold anything; user and system time are the 14th and 15th words, in hundredths.
    let (_, after_name) = stat.rsplit_once(')').expect("a name in brackets");
    let hundredths = after_name.split_whitespace().skip(11).take(2).map(|word| word.parse::<u64>().expect("a number"));
    Duration::from_millis(hundredths.sum::<u64>() * 10)
}
