//! Orders, as a systemd that was made up for it receives them.

use std::sync::{Arc, Mutex};

use super::*;

/// Knows one unit.
struct Systemd {
    orders: Arc<Mutex<Vec<String>>>,
}

impl Systemd {
    fn order(&self, verb: &str, name: &str, mode: &str) -> fdo::Result<OwnedObjectPath> {
        match name {
            "sluss-tunnel.target" => {
                self.orders
                    .lock()
                    .unwrap()
                    .push(format!("{verb} {name} {mode}"));
                Ok("/org/freedesktop/systemd1/job/1".try_into().unwrap())
            }
            "nobody.target" => Err(fdo::Error::ServiceUnknown("no systemd".to_owned())),
            other => Err(fdo::Error::Failed(format!("Unit {other} not found."))),
        }
    }
}

#[zbus::interface(name = "org.freedesktop.systemd1.Manager")]
impl Systemd {
    fn start_unit(&self, name: &str, mode: &str) -> fdo::Result<OwnedObjectPath> {
        self.order("start", name, mode)
    }

    fn stop_unit(&self, name: &str, mode: &str) -> fdo::Result<OwnedObjectPath> {
        self.order("stop", name, mode)
    }
}

async fn systemd() -> (Connection, Connection, Arc<Mutex<Vec<String>>>) {
    let orders = Arc::default();
    let systemd = Systemd {
        orders: Arc::clone(&orders),
    };
    let (ours, theirs) =
        bus::pair(|builder| builder.serve_at("/org/freedesktop/systemd1", systemd)).await;
    (ours, theirs, orders)
}

#[tokio::test]
async fn a_unit_is_started_and_stopped_in_the_place_of_what_is_queued() {
    let (bus, _systemd, orders) = systemd().await;
    let unit = "sluss-tunnel.target";
    let started = told(start_on(&bus, unit).await, "start", unit).unwrap();
    let stopped = told(stop_on(&bus, unit).await, "stop", unit).unwrap();
    assert_eq!((started, stopped), (Told::Queued, Told::Queued));
    assert_eq!(
        *orders.lock().unwrap(),
        [
            "start sluss-tunnel.target replace",
            "stop sluss-tunnel.target replace"
        ]
    );
}

#[tokio::test]
async fn a_unit_that_is_not_there_is_named() {
    let (bus, _systemd, _) = systemd().await;
    let error = told(start_on(&bus, "a.target").await, "start", "a.target").unwrap_err();
    let error = error.to_string();
    assert!(error.contains("cannot start a.target"), "{error}");
    assert!(error.contains("not found"), "{error}");
}

#[tokio::test]
async fn a_machine_without_systemd_is_no_error() {
    let (bus, _systemd, _) = systemd().await;
    let unit = "nobody.target";
    assert_eq!(
        told(start_on(&bus, unit).await, "start", unit).unwrap(),
        Told::NoSystemd
    );
}
