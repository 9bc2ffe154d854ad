//! Whom the way to a login page is opened for: the caller's own control group, or else all that its user runs.
//!
//! The daemon takes no path from anybody: it asks the kernel which control group the calling process is in. Only a
//! scope below the caller's own user manager that was made for this counts, so that a call from a terminal opens
//! nothing for all that runs in the desktop session by mistake.

use std::fs;
use std::path::Path;

use sluss_ipc::Peer;
use sluss_supervisor::Visitor;

/// Where the unified hierarchy is mounted.
const HIERARCHY: &str = "/sys/fs/cgroup";

/// How the name of the scope begins that `sluss portal` asks the user's manager for.
const SCOPE: &str = "sluss-portal-";

/// Who calls, as narrowly as this host can tell.
///
/// A process that has ended may have left its number to another of the same user, who gains nothing that was not the
/// caller's to give.
pub fn of(peer: Peer) -> Visitor {
    peer.pid
        .and_then(|pid| fs::read_to_string(format!("/proc/{pid}/cgroup")).ok())
        .and_then(|groups| portal_scope(&groups, peer.uid).map(str::to_owned))
        .filter(|path| Path::new(&format!("{HIERARCHY}{path}")).is_dir())
        .map_or(Visitor::Uid(peer.uid), Visitor::Cgroup)
}

/// The control group in `/proc/PID/cgroup` (cgroups(7)), if it is a scope for the portal of the user's own manager.
fn portal_scope(groups: &str, uid: u32) -> Option<&str> {
    let path = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    let own = format!("/user.slice/user-{uid}.slice/user@{uid}.service/");
    let is_ours = path.starts_with(&own);
    let (_, name) = path.rsplit_once('/')?;
    let is_scope = name
        .strip_prefix(SCOPE)
        .and_then(|name| name.strip_suffix(".scope"))
        .is_some_and(|id| !id.is_empty());
    // What the firewall's language could read as more than a name.
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/@._-\\:".contains(c);
    (is_ours && is_scope && path.chars().all(is_plain)).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str =
        "0::/user.slice/user-1000.slice/user@1000.service/app.slice/sluss-portal-4711.scope\n";

    #[test]
    fn the_scope_of_the_caller_is_taken() {
        assert_eq!(
            portal_scope(OWN, 1000),
            Some("/user.slice/user-1000.slice/user@1000.service/app.slice/sluss-portal-4711.scope")
        );
    }

    #[test]
    fn where_both_hierarchies_are_the_unified_one_counts() {
        let both = format!("12:pids:/user.slice\n1:name=systemd:/user.slice\n{OWN}");
        assert!(portal_scope(&both, 1000).is_some());
    }

    #[test]
    fn no_other_group_is_taken() {
        for group in [
            // Another user's.
            "0::/user.slice/user-1001.slice/user@1001.service/app.slice/sluss-portal-1.scope",
            "0::/user.slice/user-1000.slice/user@10000.service/app.slice/sluss-portal-1.scope",
            // All that the user runs, or a terminal.
            "0::/user.slice/user-1000.slice/session-2.scope",
            "0::/user.slice/user-1000.slice/user@1000.service/app.slice/app-terminal-1.scope",
            "0::/user.slice/user-1000.slice/user@1000.service/app.slice/sluss-portal-.scope",
            // Something below the scope, whose name anybody may choose.
            "0::/user.slice/user-1000.slice/user@1000.service/sluss-portal-1.scope/x",
            // No unified hierarchy, nobody there any more, or a path that the firewall could misread.
            "1:name=systemd:/user.slice/user-1000.slice/user@1000.service/sluss-portal-1.scope",
            "0::/",
            "0::/user.slice/user-1000.slice/user@1000.service/a\"; x/sluss-portal-1.scope",
            "0::/user.slice/user-1000.slice/user@1000.service/app.slice/sluss-portal-1.scope (deleted)",
            "",
        ] {
            assert_eq!(portal_scope(group, 1000), None, "{group}");
        }
    }
}
