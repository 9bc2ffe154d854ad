//! Makes the host what a [`HostConfig`] says: rules and routes by netlink, the fence by nftables.
//!
//! Two walls stand in the way of internal traffic, since each has a gap. The routes of our own table turn it away from
//! everybody who asks the routing tables, at once and with an error that programs understand; but a socket that is bound
//! to a physical interface, which any user may do, never meets them. The fence drops it on the interface itself.
//!
//! Nothing is remembered between two calls but the fence that was put up last: the kernel's own state is read by tag and only the
//! difference is written. So recovery after a crash is the same call as any other, and there is no state file to lose.

use sluss_supervisor::HostMode;

use super::fence::Fence;
use super::netlink::Netlink;
use super::{routes, rules, tun_link};
use crate::{HostConfig, Result};

/// The host's rules, routes, tunnel addresses and fence.
pub struct Host {
    netlink: Netlink,
    fence: Fence,
}

impl Host {
    /// Needs a tokio runtime, and CAP_NET_ADMIN for everything that follows. Changes no route and no rule yet.
    pub fn open() -> Result<Host> {
        routes::heed_marks_of_arrivals();
        Ok(Host {
            netlink: Netlink::open()?,
            fence: Fence::default(),
        })
    }

    /// Makes the host what `config` says, from whatever it is: the first time, another mode, or what a killed daemon left.
    ///
    /// At no moment may internal traffic go where neither the old nor the new configuration lets it. After an error the
    /// host is between the two; the next call mends it.
    pub async fn apply(&mut self, config: &HostConfig) -> Result<()> {
        match config.rules.mode {
            HostMode::Closed | HostMode::Tunnelled => {
                self.fence.apply(config).await?;
                self.route(config).await
            }
            // The fence is what opens the link, so it comes last.
            HostMode::Inside { .. } => {
                self.route(config).await?;
                self.fence.apply(config).await
            }
        }
    }

    /// Gives the tunnel's device another MTU. Connections that are open follow, since the kernel asks the device.
    pub async fn resize(&self, tun: &str, mtu: u16) -> Result<()> {
        tun_link::resize(&self.netlink, tun, mtu).await
    }

    /// Takes away everything that carries our tag: for a clean end where the policy leaves the host open, and for removal.
    pub async fn remove(&mut self) -> Result<()> {
        // The rules first, so that nobody is led to half a table.
        rules::remove(&self.netlink).await?;
        routes::remove(&self.netlink).await?;
        self.fence.remove().await
    }

    async fn route(&self, config: &HostConfig) -> Result<()> {
        let tun = match config.rules.mode {
            HostMode::Tunnelled => Some(tun_link::configure(&self.netlink, &config.tun).await?),
            HostMode::Closed | HostMode::Inside { .. } => None,
        };
        routes::apply(&self.netlink, config, tun).await?;
        rules::apply(&self.netlink, config).await
    }
}
