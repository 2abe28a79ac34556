//! Ends the compiler when the user interrupts a cell that is still being compiled.
//!
//! evcxr starts cargo itself and gives no handle to it. It runs in the session's private folder,
//! which is how it is recognised among the kernel's children.

use libc::pid_t;
use std::collections::HashMap;
use std::path::Path;

/// Kills cargo, where this process has started it in `folder`, and all that it has started.
pub(crate) fn stop(folder: &Path) {
    let own = pid_t::try_from(std::process::id()).unwrap_or(-1);
    let children = children_by_parent();
    let Some(mine) = children.get(&own) else { return };
    for pid in mine {
        let Ok(at) = std::fs::read_link(format!("/proc/{pid}/cwd")) else { continue };
        if at == folder {
            stop_tree(*pid, &children);
        }
    }
}

/// Parents first, so that nobody replaces what has been killed.
fn stop_tree(root: pid_t, children: &HashMap<pid_t, Vec<pid_t>>) {
    let mut left = vec![root];
    while let Some(pid) = left.pop() {
        // SAFETY: sends a signal. The process was a descendant of ours an instant ago.
        unsafe { libc::kill(pid, libc::SIGKILL) };
        left.extend(children.get(&pid).into_iter().flatten());
    }
}

fn children_by_parent() -> HashMap<pid_t, Vec<pid_t>> {
    let mut children: HashMap<pid_t, Vec<pid_t>> = HashMap::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else { continue };
        if let Some(parent) = parent_of(&stat) {
            children.entry(parent).or_default().push(pid);
        }
    }
    children
}

/// The parent in a line of `/proc/PID/stat`: second field behind the name, which is in
/// parentheses and may hold anything.
fn parent_of(stat: &str) -> Option<pid_t> {
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parents_are_read_past_odd_names() {
        assert_eq!(parent_of("12 (a) b) S 34 56"), Some(34));
        assert_eq!(parent_of("12 (a"), None);
    }

    #[test]
    fn only_what_runs_in_the_folder_is_stopped() {
        let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let start = |folder: &Path| {
            std::process::Command::new("sleep").arg("600").current_dir(folder).spawn().unwrap()
        };
        let (mut stopped, mut kept) = (start(here.path()), start(there.path()));
        stop(&here.path().canonicalize().unwrap());
        assert!(!stopped.wait().unwrap().success());
        assert_eq!(kept.try_wait().unwrap(), None);
        kept.kill().unwrap();
        kept.wait().unwrap();
    }
}
