//! The system bus, where systemd and logind are spoken to.

use std::time::Duration;

use zbus::Connection;

/// A service that hangs must not hang the daemon; one that lives answers in milliseconds.
const PATIENCE: Duration = Duration::from_secs(5);

/// A new connection to the system bus.
pub(super) async fn system() -> zbus::Result<Connection> {
    zbus::connection::Builder::system()
        .method_timeout(PATIENCE)
        .build()
        .await
}
