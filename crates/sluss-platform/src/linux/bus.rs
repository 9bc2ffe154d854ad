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

/// Our end of a connection without a bus, and the end of whoever serves something there.
#[cfg(test)]
pub(super) async fn pair(
    serve: impl FnOnce(zbus::connection::Builder<'_>) -> zbus::connection::Builder<'_>,
) -> (Connection, Connection) {
    use zbus::connection::Builder;

    let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    let theirs = serve(Builder::unix_stream(theirs))
        .server(zbus::Guid::generate())
        .p2p();
    let ours = Builder::unix_stream(ours).p2p();
    let (ours, theirs) = tokio::join!(ours.build(), theirs.build());
    (ours.unwrap(), theirs.unwrap())
}
