//! Sets routes, firewall and the tunnel's MTU, one order after the other; a newer one overtakes those of its kind that wait.

use std::collections::BTreeSet;
use std::path::Path;

use sluss_platform::{Host, HostConfig, TunConfig, resolvers};
use sluss_supervisor::{HostRules, Op, Router};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;
use tracing::warn;

use crate::engine::Input;

/// What the host shall be like.
pub(crate) enum Order {
    Apply(Op, Box<HostConfig>),
    /// The tunnel's device shall have this MTU, which every [`HostConfig`] that comes later has, too.
    Resize(u16),
}

/// The worker ends when the sender is dropped and what was sent is done.
pub(crate) fn start(
    mut host: Host,
    inputs: UnboundedSender<Input>,
) -> (UnboundedSender<Order>, JoinHandle<()>) {
    let (orders, mut received) = unbounded_channel();
    let worker = tokio::spawn(async move {
        while let Some(order) = received.recv().await {
            let (mut apply, mut resize) = (None, None);
            for order in std::iter::once(order).chain(waiting(&mut received)) {
                match order {
                    Order::Apply(op, config) => {
                        // It came later, so its MTU is the newer one.
                        resize = resize.map(|_| config.tun.mtu);
                        apply = Some((op, config));
                    }
                    Order::Resize(mtu) => resize = Some(mtu),
                }
            }
            if let Some((op, mut config)) = apply {
                config.resolvers = handed_out(&config.rules).await;
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
            if let Some(mtu) = resize {
                match host.resize(TunConfig::NAME, mtu).await {
                    Ok(()) => drop(inputs.send(Input::TunnelResized)),
                    Err(error) => {
                        warn!(%error, "the tunnel's packets are not as long as they should be")
                    }
                }
            }
        }
    });
    (orders, worker)
}

/// The resolvers of the networks on which names may be asked for in spite of an internal address. Nearly always there are none.
async fn handed_out(rules: &HostRules) -> Vec<Router> {
    let routers = rules.routers.iter().map(|it| &it.link);
    let links: BTreeSet<_> = routers
        .chain(rules.opening.as_ref().map(|it| &it.link))
        .collect();
    let mut all = Vec::new();
    for link in links {
        let found = resolvers::of(link, Path::new(resolvers::RESOLV_CONF)).await;
        all.extend(found.into_iter().map(|resolver| Router {
            link: link.clone(),
            address: resolver.ip(),
        }));
    }
    all
}

fn waiting(received: &mut UnboundedReceiver<Order>) -> impl Iterator<Item = Order> {
    std::iter::from_fn(|| received.try_recv().ok())
}
