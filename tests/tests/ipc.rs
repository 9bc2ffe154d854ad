//! The socket as an attacker meets it: bad frames, floods, other users, squatters, and what a PIN leaves behind.

use std::io::{Read, Seek, SeekFrom, Write};
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use sluss_ipc::enroll::Order;
use sluss_ipc::server::{self, Answer, Incoming, Listener};
use sluss_ipc::{
    Algorithm, BeaconKind, Call, Card, CardKind, Client, Decoder, DownReason, Endpoint,
    EndpointState, Error, Evidence, Gateway, Host, HostMode, InsideRule, Intent, Key, KeyMode,
    Link, Location, LocationRules, Medium, Message, Notice, Outcome, OutsideReason, PacketReport,
    PathMtu, PathVerdict, Peer, Pin, Portal, PortalPage, Prompt, PromptId, PromptReason, Refusal,
    Request, RequestFault, Resolution, Response, Role, SCHEMA, Segmentation, Status, Traffic,
    TunOffload, Tunnel, encode,
};
use sluss_tests::moment::eventually;
use sluss_tests::netns::has_several_users;
use sluss_tests::{skip, trial, trials};
use tokio::sync::mpsc;

const SOON: Duration = Duration::from_secs(10);
/// The user at the keyboard, another one, and one more.
const ALICE: u32 = 1000;
const MALLORY: u32 = 1001;
/// What a process of another user is to do: its first argument.
const ASK: &str = "ask-as-another-user";
const SQUAT: &str = "squat-the-socket";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let errand = match arguments.get(1).map(String::as_str) {
        Some(ASK) => ask_everything(Path::new(&arguments[2])),
        Some(SQUAT) => squat(Path::new(&arguments[2])),
        _ => {
            return trials::main(&[
                trial!(bad_frames_get_a_named_refusal_and_an_end),
                trial!(a_frame_may_come_byte_by_byte),
                trial!(random_and_mutated_frames_harm_nobody),
                trial!(a_flood_of_connections_is_bounded_by_user),
                trial!(who_may_call_what),
                trial!(an_observer_learns_no_name_address_or_serial),
                trial!(a_monitor_is_redacted_when_the_session_changes),
                trial!(a_monitor_that_does_not_read_is_given_up),
                trial!(a_daemon_that_hangs_costs_no_more_than_the_budget),
                trial!(a_squatted_socket_is_refused),
                trial!(the_socket_takes_no_place_but_a_dead_one),
                trial!(a_pin_leaves_nothing_behind),
            ]);
        }
    };
    match errand {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn bad_frames_get_a_named_refusal_and_an_end() -> Result<()> {
    let daemon = Daemon::start()?;
    let oversized = (4 * 1024 + 1_u32).to_be_bytes().to_vec();
    let json = |text: &str| {
        [
            &u32::try_from(text.len()).unwrap_or(0).to_be_bytes(),
            text.as_bytes(),
        ]
        .concat()
    };
    let too_deep = "[".repeat(4000);
    for (bytes, fault) in [
        (oversized, RequestFault::Oversized),
        (u32::MAX.to_be_bytes().to_vec(), RequestFault::Oversized),
        (0_u32.to_be_bytes().to_vec(), RequestFault::Malformed),
        (json("not json"), RequestFault::Malformed),
        (json("\"reboot\""), RequestFault::Malformed),
        (json("\"status\"x"), RequestFault::Malformed),
        (json(r#"{"up":null,"down":null}"#), RequestFault::Malformed),
        (
            json(r#"{"unlock":{"pin":[49],"last_try":true,"run":"/bin/sh"}}"#),
            RequestFault::Malformed,
        ),
        (
            json(r#"{"unlock":{"pin":[],"last_try":true}}"#),
            RequestFault::Malformed,
        ),
        (
            json(r#"{"unlock":{"pin":[256],"last_try":true}}"#),
            RequestFault::Malformed,
        ),
        (
            json(r#"{"unlock":{"pin":"123456","last_try":true}}"#),
            RequestFault::Malformed,
        ),
        (json(&too_deep), RequestFault::Malformed),
        (json("\"status\u{0}\""), RequestFault::Malformed),
        (vec![0, 0], RequestFault::Truncated),
        (json("\"status\"")[..9].to_vec(), RequestFault::Truncated),
    ] {
        let mut stream = daemon.connect()?;
        stream.write_all(&bytes)?;
        if fault == RequestFault::Truncated {
            stream.shutdown(std::net::Shutdown::Write)?;
        }
        let refusal = receive(&mut stream)?;
        ensure!(
            refusal == Some(Response::Refused(Refusal::BadRequest { fault })),
            "{bytes:?} was answered by {refusal:?}"
        );
        ensure!(
            receive(&mut stream)?.is_none(),
            "{bytes:?}: the connection lives on"
        );
    }
    // Two at once: the second is out of turn if it comes before the first is answered, and is answered otherwise.
    let mut stream = daemon.connect()?;
    stream.write_all(
        &[
            encode(&Request::Monitor)?.as_slice(),
            encode(&Request::Status)?.as_slice(),
        ]
        .concat(),
    )?;
    let refused = eventually("out of turn", SOON, || match receive(&mut stream)? {
        Some(Response::Refused(refusal)) => Ok(Some(refusal)),
        Some(_) => Ok(None),
        None => bail!("closed without a word"),
    })?;
    ensure!(
        refused
            == Refusal::BadRequest {
                fault: RequestFault::OutOfTurn
            }
    );

    ensure!(daemon.is_well(), "the server has suffered");
    Ok(())
}

fn a_frame_may_come_byte_by_byte() -> Result<()> {
    let daemon = Daemon::start()?;
    let mut stream = daemon.connect()?;
    for _ in 0..2 {
        for byte in encode(&Request::Status)?.iter() {
            stream.write_all(&[*byte])?;
        }
        ensure!(matches!(receive(&mut stream)?, Some(Response::Status(_))));
    }
    Ok(())
}

fn random_and_mutated_frames_harm_nobody() -> Result<()> {
    let mut dice = Dice::seeded();
    let pin = Pin::new(b"123456".to_vec().into()).context("PIN")?;
    let good = [
        encode(&Request::Status)?.to_vec(),
        encode(&Request::Monitor)?.to_vec(),
        encode(&Request::Unlock {
            pin: Some(pin),
            last_try: false,
        })?
        .to_vec(),
    ];
    let mut understood = 0;
    for _ in 0..50_000 {
        let stream = dice.stream(&good);
        understood += decode::<Request>(&stream);
        understood += decode::<Response>(&stream);
    }
    ensure!(
        understood > 100,
        "the mutations are too wild to reach the parser: {understood} understood"
    );

    let daemon = Daemon::start()?;
    let mut attack = |connections: usize| -> Result<()> {
        for _ in 0..connections {
            let mut stream = daemon.connect()?;
            // The server may have hung up before everything is written.
            let _ = stream.write_all(&dice.stream(&good));
            let _ = stream.shutdown(std::net::Shutdown::Write);
            let _ = stream.read_to_end(&mut Vec::new());
        }
        Ok(())
    };
    // What is allocated once is no growth.
    attack(200)?;
    let before = resident_kib()?;
    attack(2_000)?;
    let grown = resident_kib()?.saturating_sub(before);
    ensure!(grown < 1024, "2,000 bad connections cost {grown} KiB");
    ensure!(daemon.is_well(), "the server has suffered");
    println!("measured 2,000 bad connections: {grown} KiB more");
    Ok(())
}

fn a_flood_of_connections_is_bounded_by_user() -> Result<()> {
    if !has_several_users() {
        skip!("needs a second user: root, or subordinate ids");
    }
    let daemon = Daemon::start()?;
    let before = resident_kib()?;
    let mut held = Vec::new();
    let mut refused = 0;
    for _ in 0..200 {
        let mut stream = daemon.connect()?;
        // Announced, never sent: the most that a connection can make the server hold.
        let _ = stream.write_all(&4096_u32.to_be_bytes());
        stream.set_read_timeout(Some(Duration::from_millis(20)))?;
        match receive(&mut stream) {
            Ok(Some(Response::Refused(Refusal::TooManyConnections))) => refused += 1,
            Ok(Some(other)) => bail!("an announcement was answered by {other:?}"),
            Ok(None) => bail!("refused without a word"),
            Err(_) => held.push(stream),
        }
    }
    ensure!(
        held.len() == 16 && refused == 184,
        "{} held, {refused} refused",
        held.len()
    );
    let grown = resident_kib()?.saturating_sub(before);
    ensure!(grown < 2048, "a flood costs {grown} KiB");

    let others = as_user(MALLORY, ASK, &daemon.socket)?.wait_with_output()?;
    ensure!(
        others.status.success(),
        "another user is locked out: {}",
        String::from_utf8_lossy(&others.stderr)
    );

    drop(held);
    eventually("the places are free again", SOON, || {
        Ok(daemon.is_well().then_some(()))
    })
}

fn who_may_call_what() -> Result<()> {
    if !has_several_users() {
        skip!("needs a second user: root, or subordinate ids");
    }
    let everybody = vec![Call::Status, Call::Monitor, Call::Agent];
    let mut but_root = Call::ALL.to_vec();
    but_root.retain(|call| !matches!(call, Call::HandOver | Call::Survey | Call::Enroll));
    for (user, may) in [
        (MALLORY, everybody),
        (ALICE, but_root),
        (0, Call::ALL.to_vec()),
    ] {
        let daemon = Daemon::start()?;
        let said = as_user(user, ASK, &daemon.socket)?.wait_with_output()?;
        ensure!(
            said.status.success(),
            "{}",
            String::from_utf8_lossy(&said.stderr)
        );
        ensure!(
            daemon.calls() == may,
            "user {user} reached the engine with {:?}",
            daemon.calls()
        );
        let said = String::from_utf8_lossy(&said.stdout).into_owned();
        let refused = said
            .lines()
            .filter(|line| line.contains("NotAllowed"))
            .count();
        ensure!(
            refused == Call::ALL.len() - may.len(),
            "user {user} was told: {said}"
        );
    }
    Ok(())
}

fn an_observer_learns_no_name_address_or_serial() -> Result<()> {
    let secrets = [
        "wlan0",
        "city hall",
        "198.51.100.2",
        "51820",
        "vpn.example.se",
        "192.168.1.50",
        "10.20.0.53",
        "192.0.2.80",
        "wifi.hotel.example",
        "0006:12345678",
        "ACS",
        "1440000",
        "40000",
    ];
    let told = |daemon: &Daemon| -> Result<String> {
        let mut text = String::new();
        let mut stream = daemon.connect()?;
        for request in [Request::Status, Request::Monitor] {
            stream.write_all(&encode(&request)?)?;
            text += &raw(&mut stream)?;
        }
        // What changes while the observer watches.
        daemon.announce(&office());
        while !text.contains(r#""state":"inside""#) {
            text += &raw(&mut stream)?;
        }
        Ok(text)
    };
    let daemon = Daemon::start()?;
    let everything = told(&daemon)?;
    for secret in &secrets {
        ensure!(
            everything.contains(secret),
            "{secret} is not even told to root: {everything}"
        );
    }
    let daemon = Daemon::start()?;
    daemon.everybody_is(Role::Observer);
    let observed = told(&daemon)?;
    for secret in &secrets {
        ensure!(!observed.contains(secret), "{secret} in {observed}");
    }
    ensure!(observed.contains(r#""state":"up""#), "{observed}");
    Ok(())
}

fn a_monitor_is_redacted_when_the_session_changes() -> Result<()> {
    let daemon = Daemon::start()?;
    let mut stream = daemon.connect()?;
    stream.write_all(&encode(&Request::Monitor)?)?;
    ensure!(raw(&mut stream)?.contains("wlan0"));
    daemon.everybody_is(Role::Observer);
    daemon.announce(&office());
    let mut text = String::new();
    while !text.contains(r#""state":"inside""#) {
        text = raw(&mut stream)?;
    }
    ensure!(!text.contains("eth0"), "{text}");
    Ok(())
}

fn a_monitor_that_does_not_read_is_given_up() -> Result<()> {
    let daemon = Daemon::start()?;
    let mut stream = daemon.connect()?;
    stream.write_all(&encode(&Request::Monitor)?)?;
    ensure!(raw(&mut stream)?.contains("changed"));
    let before = resident_kib()?;
    let mut announced = 0;
    while daemon.monitors() > 0 {
        daemon.announce(&office());
        announced += 1;
        ensure!(announced < 100_000, "still fed after {announced} changes");
    }
    let grown = resident_kib()?.saturating_sub(before);
    ensure!(
        grown < 4096,
        "a monitor that does not read costs {grown} KiB"
    );
    println!("measured monitor given up after {announced} unread changes, {grown} KiB");
    ensure!(daemon.is_well());
    Ok(())
}

/// What a login may have to bear.
fn a_daemon_that_hangs_costs_no_more_than_the_budget() -> Result<()> {
    const BUDGET: Duration = Duration::from_millis(300);
    let socket = Path::new("/run/hangs.sock");
    let listener = UnixListener::bind(socket)?;
    let asked = || -> Result<(Duration, Error)> {
        let started = Instant::now();
        let outcome = Client::connect_within(socket, BUDGET)
            .and_then(|mut client| client.call(&Request::Status));
        let error = outcome.err().context("answered by nobody")?;
        Ok((started.elapsed(), error))
    };
    let in_time = |took: Duration| BUDGET <= took && took < 2 * BUDGET;
    // Connected, never answered.
    let (took, error) = asked()?;
    ensure!(matches!(error, Error::Silent), "{error}");
    ensure!(in_time(took), "{took:?}");
    // Answered a byte at a time, for ever.
    let dripping = listener.try_clone()?;
    std::thread::spawn(move || -> Result<()> {
        // The one before is still in the queue.
        drop(dripping.accept()?);
        let (mut stream, _) = dripping.accept()?;
        stream.write_all(&1000_u32.to_be_bytes())?;
        loop {
            stream.write_all(b" ")?;
            std::thread::sleep(BUDGET / 10);
        }
    });
    let (took, error) = asked()?;
    ensure!(matches!(error, Error::Silent), "{error}");
    ensure!(in_time(took), "{took:?}");
    // Not even accepted, since the queue is full.
    nix::sys::socket::listen(&listener, nix::sys::socket::Backlog::new(0)?)?;
    let queued = UnixStream::connect(socket)?;
    let (took, error) = asked()?;
    ensure!(matches!(error, Error::Silent), "{error}");
    ensure!(in_time(took), "{took:?}");
    drop(queued);
    Ok(())
}

fn a_squatted_socket_is_refused() -> Result<()> {
    if !has_several_users() {
        skip!("needs a second user: root, or subordinate ids");
    }
    let directory = PathBuf::from("/run/squat");
    std::fs::create_dir(&directory)?;
    std::fs::set_permissions(&directory, std::fs::Permissions::from_mode(0o777))?;
    let socket = directory.join("slussd.sock");
    let mut squatter = as_user(MALLORY, SQUAT, &socket)?;
    let refused = eventually("squatted", SOON, || match Client::connect(&socket) {
        Err(Error::NoDaemon { .. }) => Ok(None),
        Err(error) => Ok(Some(error)),
        Ok(_) => bail!("the squatter was taken for the daemon"),
    });
    squatter.kill()?;
    squatter.wait()?;
    let refused = refused?;
    ensure!(
        matches!(refused, Error::Impostor { uid: MALLORY, .. }),
        "{refused}"
    );
    Ok(())
}

fn the_socket_takes_no_place_but_a_dead_one() -> Result<()> {
    let runtime = runtime()?;
    let _context = runtime.enter();
    let directory = PathBuf::from("/run/sluss-test");
    let socket = directory.join("slussd.sock");

    let listener = Listener::bind(&socket)?;
    let mode = |path: &Path| anyhow::Ok(std::fs::metadata(path)?.permissions().mode() & 0o777);
    ensure!(mode(&socket)? == 0o666 && mode(&directory)? == 0o755);
    ensure!(
        matches!(Listener::bind(&socket), Err(Error::InUse { .. })),
        "two daemons at one socket"
    );
    drop(listener);
    ensure!(!socket.exists(), "the socket outlives its daemon");

    // A daemon that was killed leaves a socket that nobody listens to.
    drop(UnixListener::bind(&socket)?);
    ensure!(socket.exists());
    drop(Listener::bind(&socket)?);

    std::fs::write(&socket, "precious")?;
    ensure!(matches!(
        Listener::bind(&socket),
        Err(Error::NotASocket { .. })
    ));
    ensure!(std::fs::read_to_string(&socket)? == "precious");
    std::fs::remove_file(&socket)?;

    let target = directory.join("target");
    std::fs::write(&target, "precious")?;
    std::os::unix::fs::symlink(&target, &socket)?;
    ensure!(
        matches!(Listener::bind(&socket), Err(Error::NotASocket { .. })),
        "a symlink was followed"
    );
    ensure!(std::fs::read_to_string(&target)? == "precious");
    Ok(())
}

fn a_pin_leaves_nothing_behind() -> Result<()> {
    // Their ends are searched for: the allocator writes over the beginning of what is freed.
    const PIN: Needle = Needle::new(*b"a long PIN, of which the end is x7Qp$2mZ!v9K");
    const PLANTED: Needle = Needle::new(*b"planted, not to be wiped, as is p1@nt3d!s3cr");
    let planted = PLANTED.bytes();
    ensure!(
        in_memory(&PLANTED.end())?,
        "the search does not find what is there"
    );
    drop(planted);

    let daemon = Daemon::start()?;
    for _ in 0..10 {
        let mut client = Client::connect(&daemon.socket)?;
        let pin = Pin::new(PIN.bytes().into()).context("PIN")?;
        ensure!(
            client.call(&Request::Unlock {
                pin: Some(pin),
                last_try: false
            })? == Response::Done
        );
    }
    ensure!(daemon.calls() == [Call::Unlock; 10]);
    for _ in 0..10 {
        let mut client = Client::connect(&daemon.socket)?;
        let pin = Pin::new(PIN.bytes().into()).context("PIN")?;
        let handed = client.call(&Request::HandOver { pin, uid: ALICE })?;
        ensure!(matches!(handed, Response::HandedOver { .. }));
    }
    ensure!(!in_memory(&PIN.end())?, "the PIN is still in memory");
    ensure!(
        !in_memory(&PIN.end_as_json())?,
        "the PIN's frame is still in memory"
    );
    Ok(())
}

/// Something to search memory for, kept with all bits turned so that the search does not find the needle itself.
struct Needle([u8; Self::LENGTH]);

impl Needle {
    const LENGTH: usize = 44;
    const END: usize = 12;

    const fn new(bytes: [u8; Self::LENGTH]) -> Self {
        let mut turned = [0; Self::LENGTH];
        let mut at = 0;
        while at < bytes.len() {
            turned[at] = !bytes[at];
            at += 1;
        }
        Self(turned)
    }

    /// As it is, in one allocation.
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(Self::LENGTH);
        bytes.extend(self.0.iter().map(|byte| !byte));
        bytes
    }

    /// The end, still turned.
    fn end(&self) -> Vec<u8> {
        self.0[Self::LENGTH - Self::END..].to_vec()
    }

    /// The end as it stands in a frame, turned.
    fn end_as_json(&self) -> Vec<u8> {
        let numbers: Vec<String> = self.end().iter().map(|byte| (!byte).to_string()).collect();
        numbers.join(",").bytes().map(|byte| !byte).collect()
    }
}

/// Whether this process holds, anywhere that it can write, the bytes whose complement is `needle`.
fn in_memory(needle: &[u8]) -> Result<bool> {
    let mut memory = std::fs::File::open("/proc/self/mem")?;
    for line in std::fs::read_to_string("/proc/self/maps")?.lines() {
        let mut fields = line.split_whitespace();
        let (Some(range), Some(rights)) = (fields.next(), fields.next()) else {
            continue;
        };
        if !rights.starts_with("rw") {
            continue;
        }
        let (start, end) = range.split_once('-').context("range")?;
        let (start, end) = (
            u64::from_str_radix(start, 16)?,
            u64::from_str_radix(end, 16)?,
        );
        memory.seek(SeekFrom::Start(start))?;
        let mut region = vec![0; usize::try_from(end - start)?];
        // Guard pages and the like cannot be read, and hold nothing.
        if memory.read_exact(&mut region).is_err() {
            continue;
        }
        let found = region
            .windows(needle.len())
            .any(|bytes| bytes.iter().zip(needle).all(|(a, b)| *a == !b));
        // Nothing of what was read may be found the next time.
        region.fill(0);
        if found {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The real server, with an engine that says yes to everything it is allowed to hear.
struct Daemon {
    socket: PathBuf,
    record: Arc<Record>,
    _runtime: tokio::runtime::Runtime,
}

#[derive(Default)]
struct Record {
    calls: Mutex<Vec<Call>>,
    monitors: Mutex<Vec<Answer>>,
    /// 0: as the kernel says; else one more than the index into [`ROLES`].
    role: AtomicU32,
}

const ROLES: [Role; 3] = [Role::Observer, Role::Operator, Role::Admin];

impl Daemon {
    fn start() -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let socket = PathBuf::from(format!(
            "/run/sluss-{}/slussd.sock",
            COUNT.fetch_add(1, Ordering::Relaxed)
        ));
        let runtime = runtime()?;
        let listener = {
            let _context = runtime.enter();
            Listener::bind(&socket)?
        };
        let record = Arc::new(Record::default());
        let roles = Arc::clone(&record);
        let role = move |peer: Peer| match roles.role.load(Ordering::Relaxed) {
            0 => Role::of(peer, Some(ALICE)),
            index => ROLES[index as usize - 1],
        };
        let (calls, mut incoming) = mpsc::channel::<Incoming>(1);
        runtime.spawn(server::serve(listener, role, calls));
        let engine = Arc::clone(&record);
        runtime.spawn(async move {
            while let Some(Incoming {
                request, answer, ..
            }) = incoming.recv().await
            {
                engine.answer(&request, answer);
            }
        });
        Ok(Self {
            socket,
            record,
            _runtime: runtime,
        })
    }

    fn connect(&self) -> Result<UnixStream> {
        let stream = UnixStream::connect(&self.socket)?;
        stream.set_read_timeout(Some(SOON))?;
        Ok(stream)
    }

    fn calls(&self) -> Vec<Call> {
        lock(&self.record.calls).clone()
    }

    fn monitors(&self) -> usize {
        lock(&self.record.monitors).len()
    }

    fn everybody_is(&self, role: Role) {
        let index = ROLES
            .iter()
            .position(|one| *one == role)
            .unwrap_or_default();
        self.record.role.store(
            u32::try_from(index).unwrap_or_default() + 1,
            Ordering::Relaxed,
        );
    }

    fn announce(&self, status: &Status) {
        lock(&self.record.monitors).retain(|monitor| {
            let changes = status.changes(None, 0);
            changes
                .into_iter()
                .all(|change| monitor.send(Response::Change(change)))
        });
    }

    /// Whether a good request is still answered.
    fn is_well(&self) -> bool {
        Client::connect(&self.socket)
            .and_then(|mut client| client.call(&Request::Status))
            .is_ok_and(|response| matches!(response, Response::Status(_)))
    }
}

impl Record {
    fn answer(&self, request: &Request, answer: Answer) {
        lock(&self.calls).push(request.call());
        match request.call() {
            Call::Status => drop(answer.send(Response::Status(home()))),
            Call::Why => drop(answer.send(Response::Why(home().why()))),
            Call::Monitor => {
                for change in home().changes(None, 0) {
                    answer.send(Response::Change(change));
                }
                let mut monitors = lock(&self.monitors);
                monitors.retain(|monitor| !monitor.is_closed());
                monitors.push(answer);
            }
            Call::Agent => {
                let id = PromptId(7);
                answer.send(Response::Prompt(prompt(id)));
                answer.send(Response::Notice(Notice::CardBlocked));
                answer.send(Response::PromptWithdrawn { id });
            }
            Call::HandOver => drop(answer.send(Response::HandedOver { wait_ms: None })),
            Call::Survey | Call::Enroll => drop(answer.send(Response::Done)),
            Call::Up
            | Call::Down
            | Call::Unlock
            | Call::Lock
            | Call::Card
            | Call::Policy
            | Call::Doctor
            | Call::Portal
            | Call::Decline => drop(answer.send(Response::Done)),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?)
}

fn prompt(id: PromptId) -> Prompt {
    Prompt {
        id,
        serial: "0006:12345678".to_owned(),
        reader: "ACS ACR39U 00 00".to_owned(),
        tries_left: Some(1),
        last_try: true,
        pin_pad: false,
        reason: PromptReason::Needed,
    }
}

/// At home, connected; every field that can be told is there.
fn home() -> Status {
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
        portal: Portal::Found {
            page: Some(PortalPage {
                link: "wlan0".to_owned(),
                url: "http://192.0.2.80/".to_owned(),
                login: Some("https://wifi.hotel.example/".to_owned()),
            }),
            may_open: true,
        },
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

fn office() -> Status {
    Status {
        location: Location::Inside {
            link: Some("eth0".to_owned()),
            beacon: Some("city hall".to_owned()),
        },
        tunnel: Tunnel::Down {
            reason: DownReason::NotNeeded,
        },
        host: Host::Applied {
            mode: HostMode::Inside {
                link: Some("eth0".to_owned()),
            },
        },
        ..home()
    }
}

/// The next frame's JSON as it came.
fn raw(stream: &mut UnixStream) -> Result<String> {
    let mut header = [0; 4];
    stream.read_exact(&mut header)?;
    let mut json = vec![0; u32::from_be_bytes(header) as usize];
    stream.read_exact(&mut json)?;
    Ok(String::from_utf8(json)?)
}

/// The next response; None at the end of the stream.
fn receive(stream: &mut UnixStream) -> Result<Option<Response>> {
    let mut decoder = Decoder::<Response>::new();
    loop {
        let read = stream.read(decoder.space())?;
        if read == 0 {
            ensure!(!decoder.is_mid_frame(), "the server cut a frame short");
            return Ok(None);
        }
        if let Some(response) = decoder.advance(read)? {
            return Ok(Some(response));
        }
    }
}

/// How many messages of `stream` are understood before the first that is not.
fn decode<M: Message>(mut stream: &[u8]) -> usize {
    let mut decoder = Decoder::<M>::new();
    let mut understood = 0;
    while !stream.is_empty() {
        let space = decoder.space();
        assert!(
            !space.is_empty() && space.len() <= M::LIMIT,
            "a space of {} bytes",
            space.len()
        );
        let count = space.len().min(stream.len());
        space[..count].copy_from_slice(&stream[..count]);
        stream = &stream[count..];
        match decoder.advance(count) {
            Ok(message) => understood += usize::from(message.is_some()),
            Err(Error::Oversized { .. } | Error::Malformed { .. }) => break,
            Err(error) => panic!("not an error of the stream: {error}"),
        }
    }
    understood
}

/// This program as another user, on an errand at `socket`.
fn as_user(user: u32, errand: &str, socket: &Path) -> Result<std::process::Child> {
    // Other users may not enter the folders that the program was built in.
    let program = PathBuf::from(format!("/run/ipc-{user}"));
    if !program.exists() {
        std::fs::copy(std::env::current_exe()?, &program)?;
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755))?;
    }
    let mut command = Command::new(program);
    command.arg(errand).arg(socket).uid(user).gid(user);
    Ok(command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?)
}

/// Makes every call there is, and says what came back.
fn ask_everything(socket: &Path) -> Result<()> {
    let pin = || Pin::new(b"123456".to_vec().into()).context("PIN");
    for call in Call::ALL {
        let request = match call {
            Call::Status => Request::Status,
            Call::Why => Request::Why,
            Call::Monitor => Request::Monitor,
            Call::Up => Request::Up,
            Call::Down => Request::Down,
            Call::Unlock => Request::Unlock {
                pin: Some(pin()?),
                last_try: true,
            },
            Call::Lock => Request::Lock,
            Call::Card => Request::Card,
            Call::Policy => Request::Policy,
            Call::Doctor => Request::Doctor,
            Call::Portal => Request::Portal { renew: false },
            Call::Agent => Request::Agent,
            Call::Decline => Request::Decline {
                prompt: PromptId(1),
            },
            Call::HandOver => Request::HandOver {
                pin: pin()?,
                uid: MALLORY,
            },
            Call::Survey => Request::Survey,
            Call::Enroll => Request::Enroll(Box::new(order()?)),
        };
        println!("{call:?}: {:?}", Client::connect(socket)?.call(&request)?);
    }
    Ok(())
}

/// An order as `sluss enroll` gives it.
fn order() -> Result<Order> {
    Ok(Order {
        serial: "0006:12345678".to_owned(),
        key: "openpgp:dec".to_owned(),
        make: None,
        replace: Vec::new(),
        device: "laptop".to_owned(),
        addresses: vec!["10.20.255.7/32".to_owned()],
        preshared_key: None,
        pin: Pin::new(b"123456".to_vec().into()),
        last_try: false,
        admin_pin: None,
    })
}

/// Listens where the daemon should.
fn squat(socket: &Path) -> Result<()> {
    let listener = UnixListener::bind(socket)?;
    std::fs::set_permissions(socket, std::fs::Permissions::from_mode(0o666))?;
    for stream in listener.incoming() {
        drop(stream?);
    }
    Ok(())
}

fn resident_kib() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .context("VmRSS")?;
    Ok(line.split_whitespace().nth(1).context("VmRSS")?.parse()?)
}

/// Random numbers from a printed seed (SplitMix64).
struct Dice(u64);

impl Dice {
    fn seeded() -> Self {
        const SEED: u64 = 0x5153_2055_7465;
        println!("seed {SEED:#x}");
        Self(SEED)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).unwrap_or_default()
    }

    /// A stream of frames: good ones with a few bytes changed, cut, doubled or inserted, or nothing but noise.
    fn stream(&mut self, good: &[Vec<u8>]) -> Vec<u8> {
        let mut stream: Vec<u8> = Vec::new();
        for _ in 0..=self.below(3) {
            stream.extend(&good[self.below(good.len())]);
        }
        match self.below(6) {
            0 => {
                stream = (0..self.below(300))
                    .map(|_| self.next().to_le_bytes()[0])
                    .collect()
            }
            1 => stream.truncate(self.below(stream.len())),
            2 => {
                let at = self.below(stream.len());
                stream.extend_from_within(at..);
            }
            3 => {
                let at = self.below(stream.len());
                stream.insert(at, self.next().to_le_bytes()[0]);
            }
            _ => {
                for _ in 0..=self.below(3) {
                    let at = self.below(stream.len());
                    stream[at] ^= 1 << self.below(8);
                }
            }
        }
        stream
    }
}
