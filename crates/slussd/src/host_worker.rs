//! Sets routes and firewall, one configuration after the other; a newer one overtakes those that still wait.

use sluss_platform::{Host, HostConfig};
use sluss_supervisor::Op;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;
use tracing::warn;

use crate::engine::Input;

/// The worker ends when the sender is dropped and what was sent is done.
pub(crate) fn start(
    mut host: Host,
    inputs: UnboundedSender<Input>,
) -> (UnboundedSender<(Op, HostConfig)>, JoinHandle<()>) {
    let (orders, mut received) = unbounded_channel::<(Op, HostConfig)>();
    let worker = tokio::spawn(async move {
        while let Some(mut order) = received.recv().await {
            while let Ok(newer) = received.try_recv() {
                order = newer;
            }
            let (op, config) = order;
            let outcome = match host.apply(&config).await {
                Ok(()) => Input::HostApplied { op },
                Err(error) => {
                    warn!(%error, "routes and firewall are not as they should be");
                    Input::HostFailed { op }
                }
            };
            // The daemon ends: nobody needs to know.
            drop(inputs.send(outcome));
        }
    });
    (orders, worker)
}
