//! How much memory the process may use.

use std::path::Path;

/// The least of what its cgroup and those above it allow (cgroup v2), and the machine has, in bytes. `None`: neither is known.
pub fn limit() -> Option<u64> {
    limit_below(Path::new("/"))
}

fn limit_below(root: &Path) -> Option<u64> {
    let read = |path: &str| std::fs::read_to_string(root.join(path)).ok();
    let of_cgroups = read("proc/self/cgroup").and_then(|text| {
        // The line of v2 has no controllers.
        let own = text.lines().find_map(|line| line.strip_prefix("0::/"))?.to_owned();
        let with_parents = Path::new(&own)
            .ancestors()
            .map(|path| Path::new("sys/fs/cgroup").join(path));
        let limits = with_parents.filter_map(|path| {
            let text = std::fs::read_to_string(root.join(path).join("memory.max")).ok()?;
            // `max` is no number, and no limit.
            text.trim().parse::<u64>().ok()
        });
        limits.min()
    });
    let of_machine = read("proc/meminfo").and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
        line.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
    });
    of_cgroups.into_iter().chain(of_machine).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_limit_counts() {
        let root = std::env::temp_dir().join(format!("khp-memory-{}", rand::random::<u64>()));
        let write = |path: &str, text: &str| {
            let path = root.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        assert_eq!(limit_below(&root), None);
        write("proc/meminfo", "MemTotal:        8000000 kB\nMemFree:  1 kB\n");
        assert_eq!(limit_below(&root), Some(8_192_000_000));
        write("proc/self/cgroup", "1:cpu:/x\n0::/pods/one\n");
        write("sys/fs/cgroup/pods/one/memory.max", "max\n");
        assert_eq!(limit_below(&root), Some(8_192_000_000));
        write("sys/fs/cgroup/pods/memory.max", "536870912\n");
        assert_eq!(limit_below(&root), Some(512 << 20));
        write("sys/fs/cgroup/pods/one/memory.max", "268435456\n");
        assert_eq!(limit_below(&root), Some(256 << 20));
        std::fs::remove_dir_all(&root).unwrap();
    }
}
