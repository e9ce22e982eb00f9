//! What memory this machine has, as far as the process may use it. Only Linux says; elsewhere nothing is known.

/// Largest KV pool taken without being asked for.
const KV_AUTO_MAX_BYTES: u64 = 2 << 30;

/// A quarter of the memory that is available now, at most `KV_AUTO_MAX_BYTES`.
pub(crate) fn kv_auto_bytes() -> u64 {
    meminfo("MemAvailable:").map_or(KV_AUTO_MAX_BYTES / 2, |bytes| {
        (bytes / 4).min(KV_AUTO_MAX_BYTES)
    })
}

/// All memory that the process could ever have: the machine's, or its control group's where that is less.
pub(crate) fn total_bytes() -> Option<u64> {
    let group = std::fs::read_to_string("/sys/fs/cgroup/memory.max").ok();
    let group = group.and_then(|text| text.trim().parse::<u64>().ok());
    let machine = meminfo("MemTotal:")?;
    Some(group.map_or(machine, |group| group.min(machine)))
}

fn meminfo(name: &str) -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    let kib = line.split_whitespace().nth(1)?.parse::<u64>().ok()?;
    Some(kib * 1024)
}
