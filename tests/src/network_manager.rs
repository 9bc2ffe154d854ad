//! A stand-in for NetworkManager on a bus of the lab: its devices, what it knows of them, and its chatter.

use std::collections::HashMap;

use anyhow::Result;
use tokio::runtime::Runtime;
use zbus::object_server::{Interface, SignalEmitter};
use zbus::{Connection, ObjectPath, OwnedObjectPath, Variant};

const NAME: &str = "org.freedesktop.NetworkManager";
const PATH: &str = "/org/freedesktop/NetworkManager";
const WIRELESS: &str = "org.freedesktop.NetworkManager.Device.Wireless";
const ACCESS_POINT: &str = "org.freedesktop.NetworkManager.AccessPoint";

/// NMDeviceType.
pub const ETHERNET: u32 = 1;
pub const WIFI: u32 = 2;
pub const MODEM: u32 = 8;

/// NMMetered.
pub const METERED: u32 = 1;
pub const UNMETERED: u32 = 2;
pub const METERED_BY_GUESS: u32 = 3;

/// An access point without any encryption, and one with WPA2 (NM80211ApFlags, NM80211ApSecurityFlags).
pub const OPEN: [u32; 3] = [0, 0, 0];
pub const WPA2: [u32; 3] = [1, 0, 0x188];
/// Encrypted without a password (RFC 8110), and the open one beside it.
pub const OWE: [u32; 3] = [0, 0, 0x800];
pub const OWE_TRANSITION: [u32; 3] = [0, 0, 0x1000];

/// The service, gone from the bus when it is dropped; its devices are numbered from 1.
pub struct StandIn {
    runtime: Runtime,
    connection: Connection,
}

impl StandIn {
    /// Starts on a bus with a device for each interface name and type, none of them connected.
    pub fn start(address: &str, devices: &[(&str, u32)]) -> Result<StandIn> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let mut builder =
            zbus::connection::Builder::address(address).serve_at(PATH, Manager(devices.len()));
        for (number, (interface, kind)) in (1..).zip(devices) {
            builder = builder.serve_at(device(number), Device::new(interface, *kind));
            if *kind == WIFI {
                builder = builder
                    .serve_at(device(number), Wireless { connected: None })
                    .serve_at(access_point(number), AccessPoint { flags: OPEN });
            }
        }
        let connection = runtime.block_on(builder.name(NAME).build())?;
        Ok(StandIn {
            runtime,
            connection,
        })
    }

    /// A device is connected; a Wi-Fi device to an access point of such flags.
    pub fn connect(&self, number: usize, metered: u32, flags: [u32; 3]) -> Result<()> {
        if self.is_wireless(number) {
            self.change(&access_point(number), async |it: &mut AccessPoint, _| {
                it.flags = flags;
                Ok(())
            })?;
            self.change(&device(number), async |it: &mut Wireless, emitter| {
                it.connected = Some(number);
                it.active_access_point_changed(emitter).await
            })?;
        }
        self.change(&device(number), async |it: &mut Device, emitter| {
            it.metered = metered;
            it.metered_changed(emitter).await?;
            it.state = ACTIVATED;
            it.state_changed(emitter).await
        })
    }

    /// What comes several times a minute from every Wi-Fi device: strength, speed, a scan.
    pub fn chatter(&self, number: usize) -> Result<()> {
        let strength = HashMap::from([("Strength", Variant::from(70_u8))]);
        self.tell(&access_point(number), ACCESS_POINT, strength)?;
        let scan = HashMap::from([
            ("Bitrate", Variant::from(54_000_u32)),
            ("LastScan", Variant::from(1_000_000_i64)),
        ]);
        self.tell(&device(number), WIRELESS, scan)
    }

    fn tell(&self, path: &str, of: &str, changed: HashMap<&str, Variant<'_>>) -> Result<()> {
        let body = (of, changed, Vec::<&str>::new());
        let properties = "org.freedesktop.DBus.Properties";
        let signal =
            self.connection
                .emit_signal(None::<&str>, path, properties, "PropertiesChanged", &body);
        Ok(self.runtime.block_on(signal)?)
    }

    fn is_wireless(&self, number: usize) -> bool {
        self.runtime
            .block_on(async {
                let server = self.connection.object_server();
                server.interface::<_, Wireless>(device(number)).await
            })
            .is_ok()
    }

    fn change<I: Interface>(
        &self,
        path: &str,
        change: impl AsyncFnOnce(&mut I, &SignalEmitter<'_>) -> zbus::Result<()>,
    ) -> Result<()> {
        self.runtime.block_on(async {
            let interface = self.connection.object_server().interface(path).await?;
            let mut state = interface.get_mut().await;
            Ok(change(&mut state, interface.signal_emitter()).await?)
        })
    }
}

/// NM_DEVICE_STATE_DISCONNECTED and NM_DEVICE_STATE_ACTIVATED.
const DISCONNECTED: u32 = 30;
const ACTIVATED: u32 = 100;

fn device(number: usize) -> String {
    format!("{PATH}/Devices/{number}")
}

fn access_point(number: usize) -> String {
    format!("{PATH}/AccessPoint/{number}")
}

fn path(text: String) -> OwnedObjectPath {
    ObjectPath::try_from(text)
        .expect("a path of letters, digits and slashes")
        .into()
}

/// So many devices.
struct Manager(usize);

#[zbus::interface(name = "org.freedesktop.NetworkManager")]
impl Manager {
    #[zbus(name = "GetDevices")]
    fn devices(&self) -> Vec<OwnedObjectPath> {
        (1..=self.0).map(|number| path(device(number))).collect()
    }
}

struct Device {
    interface: String,
    kind: u32,
    metered: u32,
    state: u32,
}

impl Device {
    fn new(interface: &str, kind: u32) -> Device {
        Device {
            interface: interface.to_owned(),
            kind,
            metered: 0,
            state: DISCONNECTED,
        }
    }
}

#[zbus::interface(name = "org.freedesktop.NetworkManager.Device")]
impl Device {
    #[zbus(property)]
    fn interface(&self) -> String {
        match self.kind {
            // The port that the modem is spoken to by.
            MODEM => "cdc-wdm0".to_owned(),
            _ => self.interface.clone(),
        }
    }

    #[zbus(property)]
    fn ip_interface(&self) -> String {
        match self.state {
            ACTIVATED => self.interface.clone(),
            _ => String::new(),
        }
    }

    #[zbus(property)]
    fn device_type(&self) -> u32 {
        self.kind
    }

    #[zbus(property)]
    fn metered(&self) -> u32 {
        self.metered
    }

    #[zbus(property)]
    fn state(&self) -> u32 {
        self.state
    }
}

struct Wireless {
    /// The number of the access point.
    connected: Option<usize>,
}

#[zbus::interface(name = "org.freedesktop.NetworkManager.Device.Wireless")]
impl Wireless {
    #[zbus(property)]
    fn active_access_point(&self) -> OwnedObjectPath {
        path(self.connected.map_or("/".to_owned(), access_point))
    }
}

struct AccessPoint {
    flags: [u32; 3],
}

#[zbus::interface(name = "org.freedesktop.NetworkManager.AccessPoint")]
impl AccessPoint {
    #[zbus(property)]
    fn flags(&self) -> u32 {
        self.flags[0]
    }

    #[zbus(property)]
    fn wpa_flags(&self) -> u32 {
        self.flags[1]
    }

    #[zbus(property)]
    fn rsn_flags(&self) -> u32 {
        self.flags[2]
    }
}
