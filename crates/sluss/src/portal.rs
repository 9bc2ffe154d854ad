//! `sluss portal`: has the way to the network's login page opened, and the user's browser go there.
//!
//! Where the user has a service manager, the command starts itself anew in a scope of its own: the daemon then opens the
//! way for that control group alone, and what the browser loads in it is all that gets out. The daemon starts nothing.

use std::{
    fs,
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use anyhow::Result;
use sluss_ipc::{Client, PortalOpened, Request, Response};

use crate::{
    commands::{permitted, strange},
    exit::Exit,
    text::Text,
};

/// The name by which the daemon knows a scope that was made for this.
const SCOPE: &str = "sluss-portal-";

/// A browser that has not handed the address on to another by then is one that we started.
const HANDED_ON: Duration = Duration::from_secs(5);

pub(crate) fn run(socket: &Path, renew: bool, all: bool, text: &dyn Text) -> Result<Exit> {
    if !all && scope().is_none() {
        // Does not come back unless there is no such manager.
        start_anew(socket, renew);
    }
    let request = Request::Portal { renew };
    let Response::PortalOpened(opened) = permitted(Client::connect(socket)?.call(&request)?)?
    else {
        return strange();
    };
    println!("{}", text.portal_opened(&opened));
    browse(&opened, text)
}

/// This very command, in a scope of its own. Comes back if that cannot be.
fn start_anew(socket: &Path, renew: bool) {
    let has_manager = std::env::var_os("XDG_RUNTIME_DIR")
        .is_some_and(|runtime| Path::new(&runtime).join("systemd/private").exists());
    let Some(program) = std::env::current_exe().ok().filter(|_| has_manager) else {
        return;
    };
    let unit = format!("--unit={SCOPE}{}.scope", std::process::id());
    let mut anew = Command::new("systemd-run");
    anew.args([
        "--user",
        "--scope",
        "--quiet",
        "--collect",
        "--slice=app.slice",
    ])
    .args([&unit, "--"])
    .arg(program)
    .args(["portal", "--all-programs", "--socket"])
    .arg(socket)
    .args(renew.then_some("--renew"));
    // Without systemd-run it is all programs after all, and the user is told so.
    let _ = anew.exec();
}

/// The path of the scope that we are in, if it was made for this.
fn scope() -> Option<String> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    let (_, name) = path.rsplit_once('/')?;
    name.starts_with(SCOPE).then(|| path.to_owned())
}

/// Shows the page by the user's own browser.
fn browse(opened: &PortalOpened, text: &dyn Text) -> Result<Exit> {
    let url = &opened.page.url;
    // The policy's own word, but a browser's command line is no place for surprises.
    let is_plain = |c: char| c.is_ascii_graphic() && !"\"'\\`<>".contains(c);
    let is_web = url.starts_with("http://") || url.starts_with("https://");
    let browser = match is_web && url.chars().all(is_plain) {
        true => Command::new("xdg-open")
            .arg(url)
            .stdin(Stdio::null())
            .spawn(),
        false => return strange(),
    };
    let Ok(browser) = browser else {
        println!("{}", text.no_browser(url));
        return Ok(Exit::NotSo);
    };
    match soon(browser) {
        Some(status) if !status.success() => {
            println!("{}", text.no_browser(url));
            Ok(Exit::NotSo)
        }
        Some(_) if opened.confined && is_alone() => {
            println!("{}", text.browser_elsewhere());
            Ok(Exit::NotSo)
        }
        Some(_) | None => Ok(Exit::Done),
    }
}

/// How it ended; None if it goes on.
fn soon(mut child: Child) -> Option<ExitStatus> {
    let (tell, told) = mpsc::channel();
    thread::spawn(move || tell.send(child.wait()));
    told.recv_timeout(HANDED_ON).ok()?.ok()
}

/// Whether nothing else is in our scope: the page was handed on to a browser that had been running before.
fn is_alone() -> bool {
    let processes = scope()
        .and_then(|path| fs::read_to_string(format!("/sys/fs/cgroup{path}/cgroup.procs")).ok());
    processes.is_some_and(|processes| processes.lines().count() <= 1)
}
