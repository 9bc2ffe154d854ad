//! A private system bus with a stand-in for logind that says when the laptop sleeps and wakes.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Result;
use tokio::runtime::Runtime;
use zbus::Connection;

use crate::moment::eventually;
use crate::netns::{Netns, Process};

const NAME: &str = "org.freedesktop.login1";
const PATH: &str = "/org/freedesktop/login1";
const MANAGER: &str = "org.freedesktop.login1.Manager";

/// The bus and logind on it, until dropped.
pub struct Logind {
    address: String,
    runtime: Runtime,
    connection: Connection,
    _bus: Process,
}

impl Logind {
    /// Starts both, with their files in `directory`.
    pub fn start(netns: &Netns, directory: &Path) -> Result<Logind> {
        let socket = directory.join("bus");
        let address = format!("unix:path={}", socket.display());
        let configuration = configure(directory, &address)?;
        let bus = netns.spawn(
            Command::new("dbus-daemon")
                .arg(format!("--config-file={}", configuration.display()))
                .args(["--nofork", "--nopidfile"])
                .stdout(Stdio::null())
                .stderr(Stdio::null()),
        )?;
        eventually("the bus", Duration::from_secs(5), || {
            Ok(socket.exists().then_some(()))
        })?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let connect = zbus::connection::Builder::address(address.as_str())
            .name(NAME)
            .build();
        let connection = runtime.block_on(connect)?;
        Ok(Logind {
            address,
            runtime,
            connection,
            _bus: bus,
        })
    }

    /// For `DBUS_SYSTEM_BUS_ADDRESS`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Signals `PrepareForSleep`: true before the laptop sleeps, false after it woke.
    pub fn prepare_for_sleep(&self, start: bool) -> Result<()> {
        let body = (start,);
        let signal =
            self.connection
                .emit_signal(None::<&str>, PATH, MANAGER, "PrepareForSleep", &body);
        Ok(self.runtime.block_on(signal)?)
    }
}

/// A bus on which everybody may own and hear everything.
fn configure(directory: &Path, address: &str) -> Result<PathBuf> {
    let path = directory.join("bus.conf");
    let text = format!(
        "<busconfig>\n<type>system</type>\n<listen>{address}</listen>\n<auth>EXTERNAL</auth>\n\
         <policy context=\"default\">\n<allow user=\"*\"/>\n<allow own=\"*\"/>\n\
         <allow send_destination=\"*\" eavesdrop=\"true\"/>\n<allow eavesdrop=\"true\"/>\n</policy>\n</busconfig>\n"
    );
    std::fs::write(&path, text)?;
    Ok(path)
}
