//! The keepalive cells: as long as one is set, exactly one side sees to it that somebody looks.

use std::sync::Arc;
use std::time::Duration;

use loom::thread;

use crate::activity::Activity;
use crate::{Time, explore};

fn at(seconds: u64) -> Time {
    Time::since_boot(Duration::from_secs(seconds))
}

/// An activity that control watches, and has just found nothing in.
fn watched() -> Arc<Activity> {
    let activity = Arc::new(Activity::default());
    assert!(activity.awaits_reply(at(1)), "nobody watched before");
    activity.settle_awaits();
    activity
}

/// Else the peer would wait for a keepalive that never comes, or we for an answer without asking again.
#[test]
fn a_cell_that_is_set_is_watched() {
    for begin in [Activity::awaits_reply, Activity::owes_reply] {
        explore(move || {
            let activity = watched();
            let half = thread::spawn({
                let activity = activity.clone();
                move || begin(&activity, at(2))
            });
            let goes_on = !activity.unwatch();
            assert!(half.join().expect("no panic") ^ goes_on);
        });
    }
}

#[test]
fn two_cells_that_are_set_are_watched_once() {
    explore(|| {
        let activity = watched();
        let outbound = thread::spawn({
            let activity = activity.clone();
            move || activity.awaits_reply(at(2))
        });
        let inbound = thread::spawn({
            let activity = activity.clone();
            move || activity.owes_reply(at(3))
        });
        let goes_on = !activity.unwatch();
        let tells = [outbound, inbound].map(|half| half.join().expect("no panic"));
        let watchers = [goes_on, tells[0], tells[1]];
        assert_eq!(
            watchers.iter().filter(|&&watches| watches).count(),
            1,
            "control goes on, outbound tells, inbound tells: {watchers:?}"
        );
        assert_eq!(activity.awaits_since(), Some(at(2)));
        assert_eq!(activity.owes_since(), Some(at(3)));
    });
}

#[test]
fn a_quiet_peer_is_left_alone() {
    explore(|| {
        let activity = watched();
        let outbound = thread::spawn({
            let activity = activity.clone();
            move || activity.sent(100, at(2))
        });
        assert!(activity.unwatch(), "nothing is owed or awaited");
        outbound.join().expect("no panic");
        assert_eq!(activity.totals(), (0, 100));
        assert_eq!(activity.last_traversal(), Some(at(2)));
    });
}

/// Of two that begin at once, one tells.
#[test]
fn what_begins_is_told_once() {
    explore(|| {
        let activity = Arc::new(Activity::default());
        let outbound = thread::spawn({
            let activity = activity.clone();
            move || activity.awaits_reply(at(2))
        });
        let inbound = activity.owes_reply(at(3));
        assert!(outbound.join().expect("no panic") ^ inbound);
    });
}
