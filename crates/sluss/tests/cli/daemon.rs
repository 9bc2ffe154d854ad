//! A daemon that answers from a script, on a socket of its own, through the real server.

use std::{
    io::Write as _,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::{Arc, Mutex},
    thread,
};

use sluss_ipc::enroll::Order;
use sluss_ipc::{
    Algorithm, BeaconKind, Call, Card, CardKind, Endpoint, EndpointState, Evidence, Gateway, Host,
    HostMode, InsideRule, Intent, Key, KeyMode, Link, Location, LocationRules, Medium, Outcome,
    OutsideReason, PacketReport, PathMtu, PathVerdict, Portal, Request, Resolution, Response, Role,
    SCHEMA, Segmentation, Status, Traffic, TunOffload, Tunnel,
    server::{self, Answer, Listener},
};
use tempfile::TempDir;
use tokio::{
    runtime,
    sync::{mpsc, oneshot},
};

/// What the daemon was asked, and how it behaves.
#[derive(Default)]
struct Record {
    calls: Vec<Call>,
    pins: Vec<Vec<u8>>,
    orders: Vec<Order>,
    holds_monitors: bool,
    held: Vec<Answer>,
}

pub(crate) struct Daemon {
    record: Arc<Mutex<Record>>,
    role: Arc<Mutex<Role>>,
    socket: PathBuf,
    _stop: oneshot::Sender<()>,
    _directory: TempDir,
}

impl Daemon {
    /// Answers each call with what `script` says. A monitor is hung up on after the last change.
    pub(crate) fn serving(mut script: impl FnMut(Call) -> Vec<Response> + Send + 'static) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("slussd.sock");
        let record = Arc::new(Mutex::new(Record::default()));
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let (calls, mut incoming) = mpsc::channel(1);
        let listener = {
            let _context = runtime.enter();
            Listener::bind(&socket).unwrap()
        };
        let role = Arc::new(Mutex::new(Role::Admin));
        let current = Arc::clone(&role);
        let roles = move |_| *current.lock().unwrap();
        let recorder = Arc::clone(&record);
        let answering = async move {
            while let Some(server::Incoming {
                request, answer, ..
            }) = incoming.recv().await
            {
                let call = request.call();
                let mut record = recorder.lock().unwrap();
                record.calls.push(call);
                if let Request::Unlock { pin: Some(pin), .. } = &request {
                    record.pins.push(pin.bytes().to_vec());
                }
                if let Request::Enroll(order) = request {
                    record.orders.push(*order);
                }
                for response in script(call) {
                    assert!(answer.send(response));
                }
                if call == Call::Monitor && record.holds_monitors {
                    record.held.push(answer);
                }
            }
        };
        let (stop, stopped) = oneshot::channel::<()>();
        thread::spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    ended = server::serve(listener, roles, calls) => ended.unwrap(),
                    () = answering => {}
                    // The daemon's value is gone.
                    _ = stopped => {}
                }
            });
        });
        Self {
            record,
            role,
            socket,
            _stop: stop,
            _directory: directory,
        }
    }

    pub(crate) fn with_role(self, role: Role) -> Self {
        *self.role.lock().unwrap() = role;
        self
    }

    /// Monitors are kept open after the last change, as a working daemon does.
    pub(crate) fn holding_monitors(self) -> Self {
        self.record.lock().unwrap().holds_monitors = true;
        self
    }

    pub(crate) fn calls(&self) -> Vec<Call> {
        self.record.lock().unwrap().calls.clone()
    }

    pub(crate) fn pins(&self) -> Vec<Vec<u8>> {
        self.record.lock().unwrap().pins.clone()
    }

    /// The orders to enrol that came since this was last asked.
    pub(crate) fn orders(&self) -> Vec<Order> {
        std::mem::take(&mut self.record.lock().unwrap().orders)
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        sluss(&self.socket, args)
    }

    pub(crate) fn sluss(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// With `input` on standard input, which is no terminal.
    pub(crate) fn with_input(&self, args: &[&str], input: &str) -> Output {
        let mut command = self.command(args);
        let pipe = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = pipe.spawn().unwrap();
        // The command may end without having read it.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        child.wait_with_output().unwrap()
    }
}

/// The shipped command in a locale that does not depend on who runs the tests.
pub(crate) fn sluss(socket: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sluss"));
    command.args(args).env("LC_ALL", "C").stdin(Stdio::null());
    if !args.is_empty() {
        command.arg("--socket").arg(socket);
    }
    command
}

/// At home on Wi-Fi with the card in: the tunnel is up.
pub(crate) fn home() -> Status {
    Status {
        schema: SCHEMA,
        location: Location::Outside {
            reason: OutsideReason::NoProof,
            links: vec!["wlan0".to_owned()],
        },
        location_age_ms: Some(12_000),
        rules: Some(LocationRules {
            require: BeaconKind::Tls,
            quorum: 1,
            inside: InsideRule::NoTunnel,
            probe_timeout_ms: 800,
        }),
        links: vec![Link {
            name: "wlan0".to_owned(),
            medium: Medium::Wireless { open: false },
            metered: false,
            addresses: vec![IpAddr::from([192, 168, 1, 50])],
        }],
        portal: Portal::Absent,
        key: Key::Unlocked,
        tunnel: Tunnel::Up,
        intent: Intent::Automatic,
        host: Host::Applied {
            mode: HostMode::Tunnelled,
        },
        gateway: Some(Gateway {
            name: "vpn.example.se".to_owned(),
            address: Some(SocketAddr::from(([198, 51, 100, 2], 51820))),
            endpoints: vec![Endpoint {
                name: "vpn.example.se:51820".to_owned(),
                priority: 1,
                resolution: Resolution::Resolved { age_ms: 60_000 },
                addresses: vec![SocketAddr::from(([198, 51, 100, 2], 51820))],
                state: EndpointState::InUse,
            }],
        }),
        card: Some(Card {
            reader: "ACS ACR39U 00 00".to_owned(),
            serial: "0006:12345678".to_owned(),
            kind: CardKind::OpenPgp,
            mode: KeyMode::Held,
            algorithm: Algorithm::X25519,
            tries_left: Some(3),
        }),
        traffic: Some(Traffic {
            received_bytes: 1_440_000,
            sent_bytes: 84_000,
            handshake_age_ms: Some(40_000),
            unanswered_handshakes: 0,
        }),
        packets: Some(PacketReport {
            mtu: 1420,
            policy_mtu: 1420,
            path: Some(PathMtu {
                mtu: 1420,
                verdict: PathVerdict::Confirmed,
                age_ms: 40_000,
            }),
            tun: TunOffload::TcpAndUdp,
            send: Segmentation::Offloaded,
            receive: true,
        }),
        evidence: vec![Evidence {
            link: "wlan0".to_owned(),
            beacon: "city hall".to_owned(),
            kind: BeaconKind::Beacon,
            site: None,
            address: SocketAddr::from(([10, 20, 0, 53], 8443)),
            outcome: Outcome::NoAnswer,
            age_ms: 12_000,
        }],
        deadline: None,
        warnings: Vec::new(),
        version: "0.1.0".to_owned(),
    }
}

/// In the office, on the cable.
pub(crate) fn office() -> Status {
    Status {
        location: Location::Inside {
            link: Some("eth0".to_owned()),
            beacon: Some("city hall".to_owned()),
        },
        tunnel: Tunnel::Down {
            reason: sluss_ipc::DownReason::NotNeeded,
        },
        host: Host::Applied {
            mode: HostMode::Inside {
                link: Some("eth0".to_owned()),
            },
        },
        traffic: None,
        packets: None,
        ..home()
    }
}

/// As at home, before the network came.
pub(crate) fn wlan_lost() -> Status {
    Status {
        location: Location::Offline,
        ..home()
    }
}
