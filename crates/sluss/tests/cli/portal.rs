//! `sluss portal`: what it starts, what it asks, and what it says, with a browser and a service manager that write down
//! how they were called.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    process::{Command, Output},
};

use sluss_ipc::{Call, PortalOpened, PortalPage, Refusal, Response, Role};
use tempfile::TempDir;

use crate::{DONE, NOT_SO, REFUSED, daemon::Daemon, ends, err, out};

/// A directory of programs; each writes its arguments, one a line, into a file beside it.
struct Programs(TempDir);

impl Programs {
    fn with(names: &[(&str, i32)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        for (name, exit) in names {
            let program = directory.path().join(name);
            let script = format!("#!/bin/sh\nprintf '%s\\n' \"$@\" > \"$0.called\"\nexit {exit}\n");
            fs::write(&program, script).unwrap();
            fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        }
        Self(directory)
    }

    fn run(&self, mut command: Command) -> Output {
        command.env("PATH", self.0.path());
        command.env_remove("XDG_RUNTIME_DIR").output().unwrap()
    }

    fn called(&self, name: &str) -> Option<Vec<String>> {
        let file = self.0.path().join(format!("{name}.called"));
        let arguments = fs::read_to_string(file).ok()?;
        Some(arguments.lines().map(str::to_owned).collect())
    }
}

fn opened(url: &str) -> Response {
    Response::PortalOpened(PortalOpened {
        page: PortalPage {
            link: "wlan0".to_owned(),
            url: url.to_owned(),
            login: None,
        },
        left_ms: 300_000,
        renewable: true,
        confined: false,
    })
}

#[test]
fn the_users_browser_goes_where_the_policy_says() {
    let programs = Programs::with(&[("xdg-open", 0)]);
    let daemon = Daemon::serving(|_| vec![opened("http://192.0.2.80/")]);
    let output = programs.run(daemon.command(&["portal"]));
    ends(&output, DONE);
    assert_eq!(
        out(&output),
        "The way to the login page on wlan0 is open for 5 minutes, for all your programs. \
         `sluss portal --renew` opens it once more.\n"
    );
    assert_eq!(programs.called("xdg-open").unwrap(), ["http://192.0.2.80/"]);
    assert_eq!(daemon.calls(), [Call::Portal]);
}

#[test]
fn nothing_but_a_web_address_reaches_a_command_line() {
    for url in [
        "file:///etc/shadow",
        "-e evil",
        "http://x/`id`",
        "http://x/ y",
        "http://x/\u{1b}[2J",
        "",
    ] {
        let programs = Programs::with(&[("xdg-open", 0)]);
        let daemon = Daemon::serving(move |_| vec![opened(url)]);
        let output = programs.run(daemon.command(&["portal"]));
        assert_ne!(output.status.code(), Some(DONE), "{url:?}");
        assert_eq!(programs.called("xdg-open"), None, "{url:?}");
    }
}

#[test]
fn without_a_browser_the_user_is_told_what_to_open() {
    for programs in [Programs::with(&[]), Programs::with(&[("xdg-open", 3)])] {
        let daemon = Daemon::serving(|_| vec![opened("http://192.0.2.80/")]);
        let output = programs.run(daemon.command(&["portal", "--all-programs"]));
        ends(&output, NOT_SO);
        assert!(
            out(&output).contains("go to http://192.0.2.80/ yourself"),
            "{}",
            out(&output)
        );
    }
}

#[test]
fn a_time_that_is_over_is_renewed_by_consent_only() {
    let programs = Programs::with(&[("xdg-open", 0)]);
    for (renewable, words) in [
        (true, "`sluss portal --renew` opens it once more."),
        (false, "for as long as it may be on this network."),
    ] {
        let refused = Response::Refused(Refusal::PortalSpent { renewable });
        let daemon = Daemon::serving(move |_| vec![refused.clone()]);
        let output = programs.run(daemon.command(&["portal"]));
        ends(&output, NOT_SO);
        assert!(err(&output).contains(words), "{}", err(&output));
    }
    assert_eq!(programs.called("xdg-open"), None);
}

#[test]
fn it_is_the_users_at_the_keyboard() {
    let daemon = Daemon::serving(|_| vec![opened("http://192.0.2.80/")]).with_role(Role::Observer);
    let output = Programs::with(&[]).run(daemon.command(&["portal"]));
    ends(&output, REFUSED);
    assert!(daemon.calls().is_empty());
}

/// systemd-run(1): the scope gets a name that the daemon knows, and the command starts anew in it.
#[test]
fn where_there_is_a_service_manager_it_starts_anew_in_a_scope() {
    let programs = Programs::with(&[("systemd-run", 0), ("xdg-open", 0)]);
    let runtime = tempfile::tempdir().unwrap();
    fs::create_dir(runtime.path().join("systemd")).unwrap();
    fs::write(runtime.path().join("systemd/private"), "").unwrap();
    let daemon = Daemon::serving(|_| vec![opened("http://192.0.2.80/")]);
    let mut command = daemon.command(&["portal", "--renew"]);
    command
        .env("PATH", programs.0.path())
        .env("XDG_RUNTIME_DIR", runtime.path());
    ends(&command.output().unwrap(), DONE);

    let arguments = programs.called("systemd-run").unwrap();
    let unit = arguments
        .iter()
        .find(|it| it.starts_with("--unit="))
        .unwrap();
    assert!(
        unit.starts_with("--unit=sluss-portal-") && unit.ends_with(".scope"),
        "{unit}"
    );
    for needed in ["--user", "--scope"] {
        assert!(arguments.iter().any(|it| it == needed), "{arguments:?}");
    }
    let end = arguments.iter().position(|it| it == "--").unwrap();
    assert_eq!(arguments[end + 1], env!("CARGO_BIN_EXE_sluss"));
    assert_eq!(arguments[end + 2], "portal");
    assert_eq!(arguments.last().unwrap(), "--renew");
    // The one that was started anew would ask, and show the page.
    assert!(daemon.calls().is_empty());
    assert_eq!(programs.called("xdg-open"), None);
}
