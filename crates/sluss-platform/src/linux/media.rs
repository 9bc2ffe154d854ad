//! What the links are made of, which the kernel knows in part and NetworkManager better: who may listen in, who pays.
//!
//! NetworkManager tells of scans, signal strength and speed several times a minute. The bus is asked for the signals of
//! devices alone, which come when one of them connects, disconnects, or begins to cost.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::future::pending;

use futures_util::StreamExt;
use sluss_supervisor::Medium;
use tokio::sync::watch;
use tracing::debug;
use zbus::fdo::DBusProxy;
use zbus::message::Type;
use zbus::names::BusName;
use zbus::proxy::CacheProperties;
use zbus::{Connection, MatchRule, Message, MessageStream, OwnedObjectPath, Variant};

use super::bus;

const SERVICE: &str = "org.freedesktop.NetworkManager";
const DEVICE: &str = "org.freedesktop.NetworkManager.Device";
const DEVICES: &str = "/org/freedesktop/NetworkManager/Devices";

/// What is known of a link beyond what the kernel's messages say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kind {
    pub(super) medium: Medium,
    pub(super) metered: bool,
}

/// The links' kinds, kept up to date while somebody holds this.
pub(super) struct Media(watch::Receiver<BTreeMap<String, Kind>>);

impl Media {
    /// Needs a tokio runtime. A host without NetworkManager, or without a bus, is served too.
    pub(super) fn watch() -> Media {
        let (tell, told) = watch::channel(BTreeMap::new());
        tokio::spawn(async move {
            let followed = match bus::system().await {
                Ok(bus) => follow(&bus, &tell).await,
                Err(error) => Err(error),
            };
            if let Err(error) = followed {
                debug!(%error, "no word from NetworkManager");
            }
        });
        Media(told)
    }

    /// Waits until something is known that was not. Safe to cancel.
    pub(super) async fn changed(&mut self) {
        if self.0.changed().await.is_err() {
            pending().await
        }
    }

    /// What is known of a link now.
    pub(super) fn kind(&mut self, name: &str) -> Kind {
        let told = self.0.borrow_and_update().get(name).copied();
        told.unwrap_or_else(|| Kind {
            medium: of_driver(name),
            metered: false,
        })
    }
}

/// What the driver calls its device. It does not say whether a wireless network is open.
fn of_driver(name: &str) -> Medium {
    let told = fs::read_to_string(format!("/sys/class/net/{name}/uevent")).unwrap_or_default();
    match told.lines().find_map(|line| line.strip_prefix("DEVTYPE=")) {
        Some("wlan") => Medium::Wireless { open: false },
        Some("wwan" | "bluetooth") => Medium::Mobile,
        Some(_) | None => Medium::Wired,
    }
}

#[zbus::proxy(
    interface = "org.freedesktop.NetworkManager",
    default_service = "org.freedesktop.NetworkManager",
    default_path = "/org/freedesktop/NetworkManager"
)]
trait Manager {
    #[zbus(name = "GetDevices")]
    fn devices(&self) -> zbus::Result<Vec<OwnedObjectPath>>;
}

#[zbus::proxy(
    interface = "org.freedesktop.NetworkManager.Device",
    default_service = "org.freedesktop.NetworkManager"
)]
trait Device {
    #[zbus(property)]
    fn interface(&self) -> zbus::Result<String>;
    /// A modem's network interface is another than the one it is spoken to by.
    #[zbus(property)]
    fn ip_interface(&self) -> zbus::Result<String>;
    /// NMDeviceType.
    #[zbus(property)]
    fn device_type(&self) -> zbus::Result<u32>;
    /// NMMetered.
    #[zbus(property)]
    fn metered(&self) -> zbus::Result<u32>;
}

#[zbus::proxy(
    interface = "org.freedesktop.NetworkManager.Device.Wireless",
    default_service = "org.freedesktop.NetworkManager"
)]
trait Wireless {
    #[zbus(property)]
    fn active_access_point(&self) -> zbus::Result<OwnedObjectPath>;
}

#[zbus::proxy(
    interface = "org.freedesktop.NetworkManager.AccessPoint",
    default_service = "org.freedesktop.NetworkManager"
)]
trait AccessPoint {
    /// NM80211ApFlags.
    #[zbus(property)]
    fn flags(&self) -> zbus::Result<u32>;
    /// NM80211ApSecurityFlags, as the next.
    #[zbus(property)]
    fn wpa_flags(&self) -> zbus::Result<u32>;
    #[zbus(property)]
    fn rsn_flags(&self) -> zbus::Result<u32>;
}

/// Tells what NetworkManager says, as long as somebody listens. Ends with an error when the bus does.
async fn follow(
    bus: &Connection,
    tell: &watch::Sender<BTreeMap<String, Kind>>,
) -> zbus::Result<()> {
    let names = DBusProxy::new(bus).await?;
    let mut owners = names
        .receive_name_owner_changed_with_args(&[(0, SERVICE)])
        .await?;
    let devices = MatchRule::builder()
        .msg_type(Type::Signal)
        .sender(SERVICE)
        .path_namespace(DEVICES)
        .interface("org.freedesktop.DBus.Properties")
        .member("PropertiesChanged")
        .arg(0, DEVICE)
        .build()?;
    let mut changes = MessageStream::for_match_rule(devices, bus, None).await?;
    // A call would start it, and whether it runs is for others to say.
    let mut known = match names.name_has_owner(BusName::try_from(SERVICE)?).await? {
        true => survey(bus).await,
        false => HashMap::new(),
    };
    loop {
        let links: BTreeMap<_, _> = known.values().cloned().collect();
        tell.send_if_modified(|told| {
            let is_news = *told != links;
            *told = links;
            is_news
        });
        tokio::select! {
            Some(change) = owners.next() => {
                // While it is away, links are what they were: it leaves them as they are.
                if change.args()?.new_owner.is_some() {
                    known = survey(bus).await;
                }
            }
            Some(message) = changes.next() => {
                if let Some(path) = concerned(&message?) {
                    match look(bus, &path).await {
                        Ok(link) => drop(known.insert(path, link)),
                        // It has gone.
                        Err(_) => drop(known.remove(&path)),
                    }
                }
            }
            () = tell.closed() => return Ok(()),
        }
    }
}

/// The device that a signal is about, if it says what can change a link's kind.
fn concerned(message: &Message) -> Option<OwnedObjectPath> {
    let body = message.body();
    let (_, changed, _): (&str, HashMap<&str, Variant<'_>>, Vec<&str>) = body.deserialize().ok()?;
    let matters = ["State", "Metered", "IpInterface"];
    let header = message.header();
    let path = header.path()?;
    (matters.iter().any(|it| changed.contains_key(it))).then(|| path.to_owned().into())
}

async fn survey(bus: &Connection) -> HashMap<OwnedObjectPath, (String, Kind)> {
    let devices = async { ManagerProxy::new(bus).await?.devices().await }.await;
    let mut known = HashMap::new();
    for path in devices.unwrap_or_default() {
        if let Ok(link) = look(bus, &path).await {
            known.insert(path, link);
        }
    }
    known
}

/// A device as a link: the interface's name, and its kind.
async fn look(bus: &Connection, path: &OwnedObjectPath) -> zbus::Result<(String, Kind)> {
    const WIRELESS: u32 = 2;
    const BLUETOOTH: u32 = 5;
    const MODEM: u32 = 8;
    const METERED: u32 = 1;
    const METERED_BY_GUESS: u32 = 3;

    let device = DeviceProxy::builder(bus)
        .path(path)
        .cache_properties(CacheProperties::No)
        .build()
        .await?;
    let mut name = device.ip_interface().await?;
    if name.is_empty() {
        name = device.interface().await?;
    }
    let medium = match device.device_type().await? {
        WIRELESS => Medium::Wireless {
            // Nothing is open that nobody is connected to.
            open: is_open(bus, path).await.unwrap_or(false),
        },
        BLUETOOTH | MODEM => Medium::Mobile,
        _ => Medium::Wired,
    };
    let metered = [METERED, METERED_BY_GUESS].contains(&device.metered().await?);
    Ok((name, Kind { medium, metered }))
}

/// Whether everybody near may read what is sent to the access point.
async fn is_open(bus: &Connection, device: &OwnedObjectPath) -> zbus::Result<bool> {
    const PRIVACY: u32 = 1;
    /// Opportunistic encryption is offered, by another access point: this one is the open one.
    const ENCRYPTED_ELSEWHERE: u32 = 0x1000;

    let wireless = WirelessProxy::builder(bus)
        .path(device)
        .cache_properties(CacheProperties::No)
        .build()
        .await?;
    let access_point = AccessPointProxy::builder(bus)
        .path(wireless.active_access_point().await?)
        .cache_properties(CacheProperties::No)
        .build()
        .await?;
    let is_private = access_point.flags().await? & PRIVACY != 0;
    let security = access_point.wpa_flags().await? | access_point.rsn_flags().await?;
    Ok(!is_private && security & !ENCRYPTED_ELSEWHERE == 0)
}
