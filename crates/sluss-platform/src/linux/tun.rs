//! The TUN device, with segmentation offload where the kernel has it.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd};

use sluss_tunnel::{Offload, Tun};
use tun_rs::{DeviceBuilder, SyncDevice};

use crate::{Error, Result};

/// Frames that wait in the kernel for the thread that reads them: as many as for any other device of Linux. With the TUN
/// driver's own 500, small packets are lost at two thirds of the rate.
const QUEUE: u32 = 1_000;

/// A TUN device that exists for as long as this value. It has no address and is down: that is the host's business.
pub struct TunDevice {
    device: SyncDevice,
    offload: Offload,
}

impl TunDevice {
    /// Makes a device of this name, with as much of `wanted` as the kernel has (UDP: Linux 6.2). Needs CAP_NET_ADMIN and
    /// /dev/net/tun.
    ///
    /// # Errors
    /// [`Error::System`] if the name is taken, or if rights or the kernel's TUN driver are missing.
    pub fn create(name: &str, wanted: Offload) -> Result<TunDevice> {
        let device = DeviceBuilder::new()
            .name(name)
            .offload(wanted != Offload::None)
            .inherit_enable_state()
            .build_sync()
            .map_err(Error::system("make the TUN device"))?;
        device
            .set_nonblocking(true)
            .map_err(Error::system("use the TUN device without blocking"))?;
        match device.set_tx_queue_len(QUEUE) {
            // Linux wants CAP_NET_ADMIN over the whole machine for this, not over the network alone: no reason to stay down.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
            set => set.map_err(Error::system("lengthen the TUN device's queue"))?,
        }
        let offload = match (device.tcp_gso(), device.udp_gso()) {
            (false, _) => Offload::None,
            (true, false) => Offload::Tcp,
            (true, true) if wanted == Offload::Tcp => {
                features::tcp_alone(device.as_fd())
                    .map_err(Error::system("leave the TUN device's UDP whole"))?;
                Offload::Tcp
            }
            (true, true) => Offload::TcpAndUdp,
        };
        Ok(TunDevice { device, offload })
    }

    /// The largest packet, in bytes, which anybody with the right may change at any time.
    ///
    /// # Errors
    /// [`Error::System`] if the device is gone.
    pub fn mtu(&self) -> Result<u16> {
        self.device
            .mtu()
            .map_err(Error::system("ask for the TUN device's MTU"))
    }

    /// # Errors
    /// [`Error::System`] if the device is gone, or the right to change it is missing.
    pub fn set_mtu(&self, mtu: u16) -> Result<()> {
        self.device
            .set_mtu(mtu)
            .map_err(Error::system("set the TUN device's MTU"))
    }
}

impl Tun for TunDevice {
    fn offload(&self) -> Offload {
        self.offload
    }

    fn mtu(&self) -> io::Result<u16> {
        self.device.mtu()
    }

    // Not tun-rs's own `recv_multiple` and `send_multiple`: the one splits into buffers from which we should have to copy
    // again, the other allocates for every packet that it joins. Its plain calls hand the frame through as it is.
    fn recv(&self, frame: &mut [u8]) -> io::Result<usize> {
        self.device.recv(frame)
    }

    fn send(&self, frame: &[IoSlice<'_>]) -> io::Result<()> {
        self.device.send_vectored(frame).map(drop)
    }
}

impl AsFd for TunDevice {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.device.as_fd()
    }
}

/// What tun-rs cannot be told: which of the kernel's offloads to leave.
mod features {
    #![allow(unsafe_code)]

    use std::os::fd::{AsRawFd, BorrowedFd};

    use nix::libc::{TUN_F_CSUM, TUN_F_TSO4, TUN_F_TSO6};

    nix::ioctl_write_int!(tunsetoffload, b'T', 208);

    /// From now on the kernel cuts UDP itself.
    pub(super) fn tcp_alone(device: BorrowedFd<'_>) -> nix::Result<()> {
        let features = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6;
        // SAFETY: the descriptor is open for as long as it is borrowed, and the argument is a number, not an address.
        unsafe { tunsetoffload(device.as_raw_fd(), features.into()) }.map(drop)
    }
}
