//! Tells systemd, and so drive mounts and Kerberos, whether the internal network can be reached: one order after the other.

use sluss_platform::units;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;
use tracing::warn;

/// Active as long as the internal network can be reached.
const TARGET: &str = "sluss-tunnel.target";

/// The worker ends when the sender is dropped and what was sent is done.
pub(crate) fn start() -> (UnboundedSender<bool>, JoinHandle<()>) {
    let (orders, mut received) = unbounded_channel::<bool>();
    let worker = tokio::spawn(async move {
        while let Some(mut reachable) = received.recv().await {
            while let Ok(newer) = received.try_recv() {
                reachable = newer;
            }
            let told = match reachable {
                true => units::start(TARGET).await,
                false => units::stop(TARGET).await,
            };
            if let Err(error) = told {
                warn!(%error, "who waits for the internal network is not told");
            }
        }
    });
    (orders, worker)
}
