//! A captive portal inside the internal prefix, its visitor, and everybody else.

use std::convert::Infallible;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::mount::{MsFlags, mount};
use sluss_platform::{Host, HostConfig, MARK, TunConfig, TunDevice, clock};
use sluss_supervisor::{HostMode, LinkId, Opening, Router, Time, Visitor};
use sluss_tests::capture::{Capture, Packet};
use sluss_tests::moment::eventually;
use sluss_tests::netns::{self, Netns};
use sluss_tests::skip;
use sluss_tunnel::Offload;
use socket2::Type;

use crate::street::{Laptop, Street, attack, config, is_internal, runtime, socket, soon};

const ROUTER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 20, 7, 1));
const PORTAL: &str = "10.20.0.80";
const PORTAL_V6: &str = "fd20::80";
const LAST_WORD: u16 = 4999;

/// Names the control group to join, or is empty, in the environment of a process that does what it reads.
const PERSON: &str = "SLUSS_TEST_PERSON";
/// Has a [`Visitor`] and milliseconds, in the environment of a process that is the daemon for that long.
const OPENER: &str = "SLUSS_TEST_OPENER";
const VISITOR: u32 = 1000;
const STRANGER: u32 = 1001;
const PATIENCE: Duration = Duration::from_secs(10);

/// A hotel's network, with all web servers of the world in it.
struct Hotel {
    netns: Netns,
    link: LinkId,
}

impl Hotel {
    fn new(laptop: &Laptop) -> Result<Hotel> {
        let netns = Netns::new("hotel")?;
        netns::veth((&laptop.netns, "eth0"), (&netns, "far"))?;
        netns.ip(&format!("addr add {ROUTER}/24 dev far"))?;
        netns.ip("addr add fd20:0:0:7::1/64 dev far")?;
        netns.ip(&format!("addr add {PORTAL} dev lo"))?;
        netns.ip(&format!("addr add {PORTAL_V6} dev lo"))?;
        for port in [22, 80, 443] {
            let listener = netns.run(|| TcpListener::bind(("::", port)))?;
            thread::spawn(move || listener.incoming().flatten().for_each(echo));
        }
        laptop.netns.ip("addr add 10.20.7.2/24 dev eth0")?;
        laptop.netns.ip("addr add fd20:0:0:7::2/64 dev eth0")?;
        laptop
            .netns
            .ip("-6 route add default via fd20:0:0:7::1 dev eth0 metric 100")?;
        laptop
            .netns
            .ip(&format!("route add default via {ROUTER} dev eth0"))?;
        let link = laptop.link("eth0")?.id;
        Ok(Hotel { netns, link })
    }

    fn open(&self, mode: HostMode, visitor: &Visitor, until: Time) -> HostConfig {
        opened(mode, &self.link, visitor, until)
    }

    /// Takes note of what comes for internal addresses, but for what a visitor may send.
    fn judge(&self) -> Result<Capture> {
        Capture::start(&self.netns, |packet| {
            let web = packet.protocol == 6 && [80, 443].contains(&packet.ports.1);
            !packet.outgoing && is_internal(packet.destination) && !web
        })
    }
}

fn echo(mut stream: TcpStream) {
    thread::spawn(move || {
        let mut byte = [0];
        while stream.read_exact(&mut byte).is_ok() && stream.write_all(&byte).is_ok() {}
    });
}

fn opened(mode: HostMode, link: &LinkId, visitor: &Visitor, until: Time) -> HostConfig {
    let mut config = config(mode);
    config.rules.routers = vec![Router {
        link: link.clone(),
        address: ROUTER,
    }];
    config.rules.opening = Some(Opening {
        link: link.clone(),
        visitor: visitor.clone(),
        until,
    });
    config
}

fn after(patience: Duration) -> Time {
    Time::since_boot(clock::boottime() + patience)
}

fn now() -> Time {
    after(Duration::ZERO)
}

/// Whoever sits at the laptop, as a process that tries what it is told.
struct Person {
    process: Child,
    orders: ChildStdin,
    reports: BufReader<ChildStdout>,
}

impl Person {
    fn new(user: Option<u32>, group: Option<&Group>) -> Result<Person> {
        let mut command = Command::new(std::env::current_exe()?);
        command
            .env(PERSON, group.map_or(Path::new(""), |group| &group.0))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        if let Some(user) = user {
            command.uid(user).gid(user);
        }
        let mut process = command.spawn()?;
        Ok(Person {
            orders: process.stdin.take().context("a pipe")?,
            reports: BufReader::new(process.stdout.take().context("a pipe")?),
            process,
        })
    }

    /// What comes of an order: "ok", or why not.
    fn does(&mut self, order: &str) -> Result<String> {
        writeln!(self.orders, "{order}")?;
        let mut report = String::new();
        self.reports.read_line(&mut report)?;
        ensure!(!report.is_empty(), "{order}: the person has gone");
        Ok(report.trim().to_owned())
    }

    fn can(&mut self, order: &str) -> Result<()> {
        let report = self.does(order)?;
        ensure!(report == "ok", "{order}: {report}");
        Ok(())
    }

    fn cannot(&mut self, order: &str) -> Result<()> {
        let report = self.does(order)?;
        ensure!(report != "ok", "{order}: got through");
        Ok(())
    }
}

impl Drop for Person {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub(crate) fn play_a_person_if_asked() -> Option<ExitCode> {
    let group = std::env::var_os(PERSON)?;
    if !group.is_empty() {
        fs::write(Path::new(&group).join("cgroup.procs"), "0").expect("it may be joined");
    }
    let mut held = None;
    for order in std::io::stdin().lines().map_while(Result::ok) {
        match act(&order, &mut held) {
            Ok(()) => println!("ok"),
            Err(error) => println!("{error:#}"),
        }
    }
    Some(ExitCode::SUCCESS)
}

fn act(order: &str, held: &mut Option<TcpStream>) -> Result<()> {
    const SOON: Duration = Duration::from_secs(2);
    let mut words = order.split(' ');
    let verb = words.next().context("an order")?;
    if verb == "say" {
        let stream = held.as_mut().context("nobody to say it to")?;
        stream.write_all(b"?")?;
        return Ok(stream.read_exact(&mut [0])?);
    }
    let to: SocketAddr = words.next().context("an address")?.parse()?;
    let link = words.next();
    match verb {
        "udp" => {
            let socket = socket(Type::DGRAM, to.ip(), link)?;
            socket.send_to(b"leak", &to.into())?;
        }
        "tcp" | "hold" => {
            let socket = socket(Type::STREAM, to.ip(), link)?;
            // The kernel alone answers here.
            socket.connect_timeout(&to.into(), SOON / 4)?;
            let stream = TcpStream::from(socket);
            stream.set_read_timeout(Some(SOON))?;
            if verb == "hold" {
                *held = Some(stream);
            }
        }
        _ => bail!("what is {verb}?"),
    }
    Ok(())
}

/// A control group of the machine's, for the time of a trial.
struct Group(PathBuf);

impl Group {
    const ROOT: &str = "/sys/fs/cgroup";

    /// None where the hierarchy cannot be had.
    fn new() -> Result<Option<Group>> {
        let root = Path::new(Self::ROOT);
        if !root.join("cgroup.controllers").exists()
            && mount(
                Some("none"),
                root,
                Some("cgroup2"),
                MsFlags::empty(),
                None::<&str>,
            )
            .is_err()
        {
            return Ok(None);
        }
        let whole = root.join(format!("sluss-lab-{:08x}", fastrand::u32(..)));
        match fs::create_dir_all(whole.join("sluss-portal.scope")) {
            Ok(()) => Ok(Some(Group(whole.join("sluss-portal.scope")))),
            Err(_) => Ok(None),
        }
    }

    fn visitor(&self) -> Visitor {
        let path = self.0.strip_prefix(Self::ROOT).unwrap_or(&self.0);
        Visitor::Cgroup(format!("/{}", path.display()))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let gone = || fs::remove_dir(&self.0).is_ok() || !self.0.exists();
        let _ = soon("the group is empty", gone);
        let _ = self.0.parent().map(fs::remove_dir);
    }
}

/// Who can be told apart on this machine: a visitor and a stranger by user, by control group, or both.
fn kinds(group: Option<&Group>) -> Result<Vec<(Visitor, Person, Person)>> {
    let mut kinds = Vec::new();
    if netns::has_several_users() {
        kinds.push((
            Visitor::Uid(VISITOR),
            Person::new(Some(VISITOR), None)?,
            Person::new(Some(STRANGER), None)?,
        ));
    }
    if let Some(group) = group {
        let person = Person::new(None, Some(group))?;
        kinds.push((group.visitor(), person, Person::new(None, None)?));
    }
    Ok(kinds)
}

pub(crate) fn a_visitor_speaks_to_the_portal_and_to_nothing_else() -> Result<()> {
    let mut laptop = Laptop::new()?;
    let hotel = Hotel::new(&laptop)?;
    let other = Street::new(&laptop.netns, "wlan0", 3)?;
    let _tun = TunDevice::create(TunConfig::NAME, Offload::None)?;
    let group = Group::new()?;
    let mut kinds = kinds(group.as_ref())?;
    if kinds.is_empty() {
        skip!("one user, and no control groups");
    }
    let (judge, at_other) = (hotel.judge()?, other.judge()?);
    for (visitor, person, stranger) in &mut kinds {
        println!("visitor: {visitor:?}");
        for mode in [HostMode::Closed, HostMode::Tunnelled] {
            laptop.apply(&hotel.open(mode, visitor, after(Duration::from_secs(60))))?;
            for strictness in ["0", "1", "2"] {
                for scope in ["all", "eth0"] {
                    let key = format!("ipv4.conf.{scope}.rp_filter");
                    laptop.netns.sysctl(&key, strictness)?;
                }
                person.can(&format!("tcp {PORTAL}:80"))?;
                person.can(&format!("hold {PORTAL}:443"))?;
                person.can("say")?;
            }
            person.can(&format!("hold [{PORTAL_V6}]:443"))?;
            person.can("say")?;
            person.cannot(&format!("tcp [{PORTAL_V6}]:22"))?;
            stranger.cannot(&format!("tcp [{PORTAL_V6}]:443"))?;
            stranger.cannot(&format!("tcp [{PORTAL_V6}]:443 eth0"))?;
            for way in ["", " eth0"] {
                person.cannot(&format!("tcp {PORTAL}:22{way}"))?;
                stranger.cannot(&format!("tcp {PORTAL}:80{way}"))?;
                stranger.cannot(&format!("tcp {PORTAL}:443{way}"))?;
            }
            person.cannot(&format!("udp {PORTAL}:443 eth0"))?;
            person.cannot("tcp 10.20.0.10:80 wlan0")?;
        }
        // At once, and what is open already too.
        laptop.apply(&config(HostMode::Closed))?;
        person.cannot("say")?;
        person.cannot(&format!("tcp {PORTAL}:80"))?;
        person.cannot(&format!("tcp {PORTAL}:80 eth0"))?;
    }
    drop(kinds);
    let stray = judge.packets();
    ensure!(stray.is_empty(), "{stray:?}");
    let stray = at_other.leaks()?;
    ensure!(stray.is_empty(), "{stray:?}");
    Ok(())
}

/// Attacks row 9: the exception ends by itself, with nobody there to end it.
pub(crate) fn the_kernel_ends_the_visit_of_a_dead_daemon() -> Result<()> {
    let laptop = Laptop::new()?;
    let hotel = Hotel::new(&laptop)?;
    let group = Group::new()?;
    let mut kinds = kinds(group.as_ref())?;
    if kinds.is_empty() {
        skip!("one user, and no control groups");
    }
    for (visitor, person, _) in &mut kinds {
        let who = match visitor {
            Visitor::Uid(user) => user.to_string(),
            Visitor::Cgroup(path) => path.clone(),
        };
        let mut daemon = Command::new(std::env::current_exe()?)
            .env(OPENER, format!("{} {who} 2000", hotel.link.index))
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        BufReader::new(daemon.stdout.take().context("a pipe")?).read_line(&mut line)?;
        // The standard library's kill is SIGKILL.
        daemon.kill()?;
        daemon.wait()?;
        ensure!(line == "applied\n", "{line}");
        let began = Instant::now();

        person.can(&format!("hold {PORTAL}:443"))?;
        person.can("say")?;
        eventually("the visit ends", PATIENCE, || {
            Ok((person.does("say")? != "ok").then_some(()))
        })?;
        println!(
            "measured visit of two seconds, daemon killed: over after {} ms, for {visitor:?}",
            began.elapsed().as_millis()
        );
        // Nor does anything come of what is still in the connection, or of another.
        let seen = Capture::start(&hotel.netns, |packet| {
            !packet.outgoing && is_internal(packet.destination)
        })?;
        person.cannot("say")?;
        person.cannot(&format!("tcp {PORTAL}:80"))?;
        person.cannot(&format!("tcp {PORTAL}:443 eth0"))?;
        ensure!(!attack("eth0")?.contains("sent"), "open");
        last_word(&seen)?;
        let stray: Vec<_> = seen
            .packets()
            .into_iter()
            .filter(|it| it.ports.1 != LAST_WORD)
            .collect();
        ensure!(stray.is_empty(), "{stray:?}");
    }
    Ok(())
}

pub(crate) fn play_the_opener_if_asked() -> Option<ExitCode> {
    let order = std::env::var(OPENER).ok()?;
    let play = || -> Result<Infallible> {
        let mut words = order.split(' ');
        let mut word = || words.next().context("three words");
        let link = LinkId {
            index: word()?.parse()?,
            name: "eth0".to_owned(),
        };
        let who = word()?;
        let visitor = who
            .parse()
            .map_or_else(|_| Visitor::Cgroup(who.to_owned()), Visitor::Uid);
        let until = after(Duration::from_millis(word()?.parse()?));
        let config = opened(HostMode::Closed, &link, &visitor, until);
        runtime()?.block_on(async { Host::open()?.apply(&config).await })?;
        println!("applied");
        loop {
            thread::park();
        }
    };
    let Err(error) = play();
    println!("{error:#}");
    Some(ExitCode::FAILURE)
}

/// The daemon applies what it likes meanwhile: the visit ends when it was to end, neither sooner nor later.
pub(crate) fn applying_again_neither_shortens_nor_prolongs_a_visit() -> Result<()> {
    let mut laptop = Laptop::new()?;
    let hotel = Hotel::new(&laptop)?;
    let group = Group::new()?;
    let Some((visitor, mut person, _)) = kinds(group.as_ref())?.pop() else {
        skip!("one user, and no control groups");
    };
    let until = after(Duration::from_secs(4));
    let mut cycle = [
        hotel.open(HostMode::Closed, &visitor, until),
        hotel.open(HostMode::Closed, &visitor, until),
    ];
    cycle[1].internal.push("10.30.0.0/16".parse()?);
    laptop.apply(&cycle[0])?;
    person.can(&format!("hold {PORTAL}:443"))?;
    let mut applied = 0;
    let ended = eventually("the visit ends", PATIENCE, || {
        applied += 1;
        laptop.apply(&cycle[applied % 2])?;
        // The daemon starts anew.
        laptop.another()?.apply(&cycle[applied % 2])?;
        let before = now();
        Ok((person.does("say")? != "ok").then_some(before))
    })?;
    // The last word may have been begun in time.
    let early = until.since(ended);
    ensure!(
        early < Duration::from_secs(1),
        "it ended {early:?} too soon"
    );
    println!("measured {applied} times applied during a visit of four seconds");

    // Renewed: the same visit with a later end.
    let until = after(Duration::from_secs(60));
    laptop.apply(&hotel.open(HostMode::Closed, &visitor, until))?;
    person.can(&format!("hold {PORTAL}:443"))?;
    person.can("say")?;
    let until = after(Duration::from_secs(90));
    laptop.apply(&hotel.open(HostMode::Closed, &visitor, until))?;
    person.can("say").context("renewed")?;
    // A visit that should be over already is none.
    laptop.apply(&hotel.open(HostMode::Closed, &visitor, now()))?;
    person.cannot("say")?;
    drop(person);
    Ok(())
}

/// The browser was closed while its visit was being arranged: the walls must stand all the same.
pub(crate) fn a_visitor_who_has_gone_opens_nothing() -> Result<()> {
    let mut laptop = Laptop::new()?;
    let hotel = Hotel::new(&laptop)?;
    let until = after(Duration::from_secs(60));
    for path in [
        "/sluss-lab-gone/sluss-portal.scope",
        "",
        "/",
        "\" } ; flush ruleset ; #",
        "/a\nflush ruleset\n",
    ] {
        laptop.remove()?;
        let visitor = Visitor::Cgroup(path.to_owned());
        laptop.apply(&hotel.open(HostMode::Closed, &visitor, until))?;
        let said = attack("eth0")?;
        ensure!(!said.contains("sent"), "{path:?}: {said}");
        // As after any other change: the next one needs no repair.
        laptop.apply(&config(HostMode::Closed))?;
        ensure!(!attack("eth0")?.contains("sent"), "{path:?}");
    }
    Ok(())
}

/// Sends what only the daemon may, and waits until it has come: all that was sent before has come too.
fn last_word(seen: &Capture) -> Result<()> {
    let socket = socket(Type::DGRAM, ROUTER, None)?;
    socket.set_mark(MARK)?;
    UdpSocket::from(socket).send_to(b"end", SocketAddr::new(ROUTER, LAST_WORD))?;
    let is_last = |packet: &Packet| packet.ports.1 == LAST_WORD;
    soon("the last word arrives", || {
        seen.packets().iter().any(is_last)
    })
}
