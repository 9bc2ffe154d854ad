//! Starts and stops units of systemd, so that others can be told when the tunnel is there.

use zbus::{Connection, OwnedObjectPath, fdo};

use super::bus;
use crate::{Error, Result};

/// What became of an order to systemd.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// It has queued a job; the job is not waited for.
    Queued,
    /// There is no systemd here to tell.
    NoSystemd,
}

#[zbus::proxy(
    interface = "org.freedesktop.systemd1.Manager",
    default_service = "org.freedesktop.systemd1",
    default_path = "/org/freedesktop/systemd1"
)]
trait Manager {
    fn start_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath>;
    fn stop_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath>;
}

/// How a job meets others that are queued for the same unit: it takes their place (systemctl(1), `--job-mode`).
const REPLACE: &str = "replace";

/// Starts a unit, such as `sluss-tunnel.target`.
///
/// # Errors
/// [`Error::Bus`] if systemd is there and refuses: it does not know the unit, say, or does not answer in time.
pub async fn start(unit: &str) -> Result<Told> {
    match connect().await {
        Some(bus) => told(start_on(&bus, unit).await, "start", unit),
        None => Ok(Told::NoSystemd),
    }
}

/// Stops a unit, and with it all that is bound to it.
///
/// # Errors
/// As [`start`].
pub async fn stop(unit: &str) -> Result<Told> {
    match connect().await {
        Some(bus) => told(stop_on(&bus, unit).await, "stop", unit),
        None => Ok(Told::NoSystemd),
    }
}

/// Without a bus there is no systemd that could be spoken to.
async fn connect() -> Option<Connection> {
    bus::system().await.ok()
}

async fn start_on(bus: &Connection, unit: &str) -> zbus::Result<OwnedObjectPath> {
    ManagerProxy::new(bus)
        .await?
        .start_unit(unit, REPLACE)
        .await
}

async fn stop_on(bus: &Connection, unit: &str) -> zbus::Result<OwnedObjectPath> {
    ManagerProxy::new(bus).await?.stop_unit(unit, REPLACE).await
}

fn told(answer: zbus::Result<OwnedObjectPath>, verb: &'static str, unit: &str) -> Result<Told> {
    match answer {
        Ok(_job) => Ok(Told::Queued),
        Err(error) if is_nobody(&error) => Ok(Told::NoSystemd),
        Err(cause) => Err(Error::Bus {
            doing: format!("{verb} {unit}").into(),
            cause,
        }),
    }
}

/// Whether the bus says that nobody owns the name.
fn is_nobody(error: &zbus::Error) -> bool {
    match error {
        zbus::Error::MethodError(name, ..) => matches!(
            name.as_str(),
            "org.freedesktop.DBus.Error.ServiceUnknown"
                | "org.freedesktop.DBus.Error.NameHasNoOwner"
        ),
        zbus::Error::FDO(error) => {
            matches!(
                **error,
                fdo::Error::ServiceUnknown(_) | fdo::Error::NameHasNoOwner(_)
            )
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests;
