//! A connection to the kernel's rtnetlink, with errors that say what was attempted.

use std::borrow::Cow;
use std::io;
use std::net::IpAddr;
use std::path::Path;

use futures_util::{Stream, TryStreamExt};
use nix::errno::Errno;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::{Handle, IpVersion};
use tokio::task::AbortHandle;

use crate::{Error, Result};

/// One netlink socket and the task that reads it.
pub(super) struct Netlink {
    pub(super) handle: Handle,
    reader: AbortHandle,
}

impl Netlink {
    pub(super) fn open() -> Result<Netlink> {
        // Strict: the kernel then filters what it is asked for, instead of telling of every route there is.
        let (connection, handle, _) = rtnetlink::new_connection_with_strict_check()
            .map_err(Error::system("open a netlink socket"))?;
        let reader = tokio::spawn(connection).abort_handle();
        Ok(Netlink { handle, reader })
    }
}

impl Drop for Netlink {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// The Internet protocols.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    V4,
    V6,
}

impl Family {
    /// Those that this kernel has: IPv6 can be turned off at boot.
    pub(super) fn present() -> impl Iterator<Item = Family> {
        let v6 = Path::new("/proc/net/if_inet6").exists();
        [Some(Family::V4), v6.then_some(Family::V6)]
            .into_iter()
            .flatten()
    }

    pub(super) fn of(address: IpAddr) -> Family {
        match address {
            IpAddr::V4(_) => Family::V4,
            IpAddr::V6(_) => Family::V6,
        }
    }

    pub(super) fn address_family(self) -> AddressFamily {
        match self {
            Family::V4 => AddressFamily::Inet,
            Family::V6 => AddressFamily::Inet6,
        }
    }

    pub(super) fn version(self) -> IpVersion {
        match self {
            Family::V4 => IpVersion::V4,
            Family::V6 => IpVersion::V6,
        }
    }
}

/// All items of a dump. A table or a link that is not there is an empty one.
pub(super) async fn collect<T>(
    doing: &'static str,
    dump: impl Stream<Item = Result<T, rtnetlink::Error>>,
) -> Result<Vec<T>> {
    match dump.try_collect().await {
        Err(error)
            if [Errno::ENOENT, Errno::ENODEV]
                .map(Some)
                .contains(&errno(&error)) =>
        {
            Ok(Vec::new())
        }
        other => other.map_err(refused(doing)),
    }
}

/// For `map_err` on a request: "cannot `doing`".
pub(super) fn refused(
    doing: impl Into<Cow<'static, str>>,
) -> impl FnOnce(rtnetlink::Error) -> Error {
    move |error| {
        let cause = match errno(&error) {
            Some(errno) => errno.into(),
            None => io::Error::other(error.to_string()),
        };
        Error::system(doing)(cause)
    }
}

/// Success also where the kernel says that things already are as `fine` says.
pub(super) fn unless(
    fine: Errno,
    result: Result<(), rtnetlink::Error>,
) -> Result<(), rtnetlink::Error> {
    match result {
        Err(error) if errno(&error) == Some(fine) => Ok(()),
        other => other,
    }
}

/// What the kernel said, if it was the kernel that spoke.
pub(super) fn errno(error: &rtnetlink::Error) -> Option<Errno> {
    match error {
        rtnetlink::Error::NetlinkError(message) => Some(Errno::from_raw(message.raw_code().abs())),
        _ => None,
    }
}
