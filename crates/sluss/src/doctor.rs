//! `sluss doctor`: has the daemon make every check, and makes the few that need no daemon where none answers.

mod local;

use std::path::Path;

use anyhow::Result;
use sluss_ipc::doctor::{self, Check, Diagnosis, Finding, Seen, Support};
use sluss_ipc::{Client, Error, Request, Response, SCHEMA};
use sluss_policy::Policy;

use crate::{
    args::Format,
    check,
    commands::{permitted, print, strange},
    exit::Exit,
    paint::Paint,
    report,
    text::Text,
};

pub(crate) fn run(socket: &Path, format: Format, text: &dyn Text) -> Result<Exit> {
    let (diagnosis, without_daemon) = match ask(socket) {
        Ok(response) => {
            let Response::Diagnosis(diagnosis) = permitted(response)? else {
                return strange();
            };
            (diagnosis, Exit::Done)
        }
        Err(_) => (alone(), Exit::NoDaemon),
    };
    let paint = Paint::for_stream(&std::io::stdout());
    print(format, &diagnosis, || {
        report::doctor(&diagnosis, text, paint)
    })?;
    Ok(match (without_daemon, diagnosis.is_fine()) {
        (Exit::Done, false) => Exit::NotSo,
        (exit, _) => exit,
    })
}

fn ask(socket: &Path) -> Result<Response, Error> {
    Client::connect(socket)?.call(&Request::Doctor)
}

/// What can be found out without the daemon; whom to call is known even so, if the policy can be read.
fn alone() -> Diagnosis {
    let links = local::links();
    let findings = Check::ALL.map(|check| match check {
        Check::Daemon => Seen::DaemonSilent.of(check),
        Check::Link => doctor::link(&links).of(check),
        Check::Address => match doctor::link(&links) {
            Seen::NoLink => Finding::not_run(check, Check::Link),
            _ => doctor::address(&links).of(check),
        },
        Check::CaptivePortal
        | Check::Clock
        | Check::Resolver
        | Check::Beacon
        | Check::Host
        | Check::Enrolment
        | Check::Card
        | Check::Pin
        | Check::GatewayUdp
        | Check::Handshake
        | Check::PathMtu
        | Check::InternalDns => Finding::not_run(check, Check::Daemon),
    });
    Diagnosis {
        schema: SCHEMA,
        findings: findings.to_vec(),
        support: check::installed_policy().as_ref().and_then(support),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

fn support(policy: &Policy) -> Option<Support> {
    let support = &policy.support;
    (*support != sluss_policy::Support::default()).then(|| Support {
        phone: support.phone.clone(),
        web: support.web.clone(),
        detour: support.detour.clone(),
    })
}
