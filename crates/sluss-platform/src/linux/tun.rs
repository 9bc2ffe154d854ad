//! The TUN device, with segmentation offload where the kernel has it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use sluss_tunnel::{Offload, Tun};
use tun_rs::{DeviceBuilder, SyncDevice};

use crate::{Error, Result};

/// A TUN device that exists for as long as this value. It has no address and is down: that is the host's business.
pub struct TunDevice {
    device: SyncDevice,
    offload: Offload,
}

impl TunDevice {
    /// Makes a device of this name. Needs CAP_NET_ADMIN and /dev/net/tun.
    ///
    /// With `offload`, frames carry a virtio header and may be super-packets, as far as the kernel goes (UDP: Linux 6.2).
    ///
    /// # Errors
    /// [`Error::System`] if the name is taken, or if rights or the kernel's TUN driver are missing.
    pub fn create(name: &str, offload: bool) -> Result<TunDevice> {
        let device = DeviceBuilder::new()
            .name(name)
            .offload(offload)
            .inherit_enable_state()
            .build_sync()
            .map_err(Error::system("make the TUN device"))?;
        device
            .set_nonblocking(true)
            .map_err(Error::system("use the TUN device without blocking"))?;
        let offload = match (device.tcp_gso(), device.udp_gso()) {
            (false, _) => Offload::None,
            (true, false) => Offload::Tcp,
            (true, true) => Offload::TcpAndUdp,
        };
        Ok(TunDevice { device, offload })
    }
}

impl Tun for TunDevice {
    fn offload(&self) -> Offload {
        self.offload
    }

    // Not tun-rs's own `recv_multiple` and `send_multiple`: the one splits into buffers from which we should have to copy
    // again, the other allocates for every packet that it joins. Its plain calls hand the frame through as it is.
    fn recv(&self, frame: &mut [u8]) -> io::Result<usize> {
        self.device.recv(frame)
    }

    fn send(&self, frame: &[u8]) -> io::Result<()> {
        self.device.send(frame).map(drop)
    }
}

impl AsFd for TunDevice {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.device.as_fd()
    }
}
