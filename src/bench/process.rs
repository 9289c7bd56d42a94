//! Memory of this process, as Linux tells it.

/// Lets [`peak`] count from what is in use now.
pub fn reset_peak() {
    // Where it cannot be done, the peak is that since the start.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

/// The most bytes of memory that were in use at a time; `None` where the system does not tell.
pub fn peak() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}
