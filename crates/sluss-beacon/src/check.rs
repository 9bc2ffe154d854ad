//! `sluss-beacon check`: what is wrong with a beacon before it starts, and what the policy says of it.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use sluss_beacon::{Config, Identity};

use crate::{KEY, files, say, serve, since_epoch};

/// Other programs than root's may not listen below.
const FIRST_FREE_PORT: u16 = 1024;

/// Prints the part of the policy that belongs to this beacon. What keeps it from serving is a failure.
pub(crate) fn run(path: &Path) -> Result<ExitCode> {
    let (config, identity) = files::read_config(path)?;
    for what in hints(&config) {
        warn(&what);
    }
    let faults = faults(path, &config, &identity)?;
    for what in &faults {
        warn(what);
    }
    let absent = serve::absent(&config.listen);
    for ip in &absent {
        warn(&format!("this host does not have the address {ip}"));
    }
    if absent.is_empty() {
        policy(&config, &identity)?;
    }
    match faults.is_empty() && absent.is_empty() {
        true => Ok(ExitCode::SUCCESS),
        false => Ok(ExitCode::FAILURE),
    }
}

/// What the unit needs besides, which cannot be seen from here.
fn hints(config: &Config) -> Vec<String> {
    let mut hints: Vec<_> = config
        .listen
        .iter()
        .filter(|address| address.port() < FIRST_FREE_PORT)
        .map(|address| {
            format!("{address}: this port needs a right: see 'Other ports' in docs/beacon.md")
        })
        .collect();
    if config.key != Path::new(KEY) {
        let line = files::load_credential(&config.key);
        hints.push(format!(
            "the key is not {KEY}: the unit needs {line}, see 'Other ports' in docs/beacon.md"
        ));
    }
    hints
}

fn faults(path: &Path, config: &Config, identity: &Identity) -> Result<Vec<String>> {
    let mut faults = Vec::new();
    for file in [Some(path), config.certificate.as_deref()]
        .into_iter()
        .flatten()
    {
        if !files::is_open_to_all(file)? {
            let file = file.display();
            faults.push(format!(
                "{file}: the beacon's user cannot read it: chmod 644 {file}"
            ));
        }
    }
    faults.extend(certificate_out_of_date(identity)?);
    Ok(faults)
}

/// What to say if laptops will not take the certificate today.
pub(crate) fn certificate_out_of_date(identity: &Identity) -> Result<Option<String>> {
    let Some((_, not_before, not_after)) = identity.certificate() else {
        return Ok(None);
    };
    let now = since_epoch()?;
    let state = match (now < not_before, now > not_after) {
        (true, _) => "is not valid yet",
        (false, true) => "has expired",
        (false, false) => return Ok(None),
    };
    Ok(Some(format!(
        "the certificate {state}: laptops will not take it"
    )))
}

fn policy(config: &Config, identity: &Identity) -> Result<()> {
    let name = toml::Value::String(config.name.to_string());
    say(format_args!("[[beacon]]\nname = {name}"))?;
    let addresses: Vec<_> = config
        .listen
        .iter()
        .map(|address| format!("\"{address}\""))
        .collect();
    say(format_args!("addresses = [{}]", addresses.join(", ")))?;
    say(format_args!("pins = [\"{}\"]", identity.pin()))?;
    if let Some((pin, ..)) = identity.certificate() {
        say(format_args!("# or by its certificate: pins = [\"{pin}\"]"))?;
    }
    Ok(())
}

fn warn(what: &str) {
    eprintln!("sluss-beacon: {what}");
}
