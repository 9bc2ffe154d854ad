//! A beacon on a Debian of its own, set up by docs/beacon.md alone.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use sluss_tests::artifacts;
use sluss_tests::beacon::Identity;
use sluss_tests::container::{Container, Disk};
use sluss_tests::moment::eventually;
use sluss_tests::netns::{Netns, veth};

const PAGE: &str = include_str!("../../../docs/beacon.md");

const PATIENCE: Duration = Duration::from_secs(10);

/// Where the page's own example has it.
const BEACON: &str = "10.20.0.53:8443";
const BEACON_V6: &str = "[fd20::53]:8443";

const WITHOUT_PRIVATE_USERS: &str = "mkdir -p /etc/systemd/system/sluss-beacon.service.d
printf '[Service]\nPrivateUsers=no\n' >/etc/systemd/system/sluss-beacon.service.d/chroot.conf";

/// Types what the page says on the beacon's host, and then on a laptop; nothing else but the addresses is given.
pub(crate) fn the_page_sets_up_a_beacon() -> Result<()> {
    let disk = Disk::new(Path::new("/run/lab"))?;
    let [host, laptop] = street()?;
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    // What the page calls the release.
    disk.install(&artifacts::sluss_beacon()?, "root/release/sluss-beacon")?;
    for (from, to) in [
        (
            "systemd/sluss-beacon.service",
            "root/release/sluss-beacon.service",
        ),
        (
            "packaging/examples/sluss-beacon.toml",
            "root/release/sluss-beacon.toml",
        ),
    ] {
        disk.install(&repository.join(from), to)?;
    }
    let host = disk.boot(&host)?;
    // Where this machine is itself in a chroot, the kernel makes none.
    let has_user_namespaces = host.run("unshare", &["--user", "true"]).is_ok();
    if !has_user_namespaces {
        println!("measured without PrivateUsers=, since there are no user namespaces here");
        host.run("sh", &["-ec", WITHOUT_PRIVATE_USERS])?;
    }

    let mut said = String::new();
    for script in on_host("Set one up")? {
        said += &host.run("sh", &["-ec", &format!("cd /root/release\n{script}")])?;
    }
    let pin = said
        .lines()
        .find_map(|line| line.strip_prefix("pins = [\"")?.strip_suffix("\"]"))
        .with_context(|| format!("no pin was told:\n{said}"))?
        .to_owned();
    ensure!(said.contains("name = \"town hall\""), "{said}");
    ensure!(said.contains(BEACON_V6), "{said}");

    // As its own user, who may not read the key's file.
    let status = host.run(
        "systemctl",
        &[
            "show",
            "--property=User,DynamicUser,MainPID",
            "sluss-beacon",
        ],
    )?;
    ensure!(status.contains("DynamicUser=yes"), "{status}");
    let mode = host.run("stat", &["--format=%a %U", "/etc/sluss-beacon.key"])?;
    ensure!(mode.trim() == "600 root", "{mode}");

    for address in [BEACON, BEACON_V6] {
        let told = probe(&laptop, address, &["--pin", &pin])?;
        ensure!(
            told.contains("is the beacon town hall")
                && told.contains("it saw this socket as it is"),
            "{told}"
        );
    }
    let stranger = Identity::new()?;
    let told = probe(&laptop, BEACON, &["--pin", stranger.pin()])
        .expect_err("another key is pinned")
        .to_string();
    ensure!(
        told.contains("another key") && told.contains(&pin),
        "{told}"
    );

    eventually("the service manager is told who came", PATIENCE, || {
        let told = host.run(
            "systemctl",
            &["show", "--property=StatusText", "sluss-beacon"],
        )?;
        Ok(told.contains("answered 2, declined 1,").then_some(()))
    })?;

    let pin = a_new_key_takes_over(&host, &laptop, &pin)?;
    if has_user_namespaces {
        it_is_as_locked_up_as_it_says(&host)?;
    }
    a_key_may_lie_in_another_place(&host, &laptop, &pin)
}

/// The page's steps for a new key: both pins are in the policy, and only then the beacon changes. Gives the new pin.
fn a_new_key_takes_over(host: &Container, laptop: &Netns, old: &str) -> Result<String> {
    let mut scripts = on_host("A new key")?.into_iter();
    let prepare = scripts
        .next()
        .context("a step before the policy is rolled out")?;
    let new = host.run("sh", &["-ec", prepare])?.trim().to_owned();
    let both = ["--pin", old, "--pin", new.as_str()];
    probe(laptop, BEACON, &both)?;
    for script in scripts {
        host.run("sh", &["-ec", script])?;
    }
    probe(laptop, BEACON, &both)?;
    probe(laptop, BEACON, &["--pin", &new])?;
    ensure!(
        probe(laptop, BEACON, &["--pin", old]).is_err(),
        "the old key is still there"
    );
    Ok(new)
}

/// As the page's example has it, for which it shows a drop-in.
fn a_key_may_lie_in_another_place(host: &Container, laptop: &Netns, pin: &str) -> Result<()> {
    let drop_in = "[Service]\nLoadCredential=\nLoadCredential=town.key:/etc/keys/town.key\n";
    for line in drop_in.lines().chain(["key = \"/etc/keys/town.key\""]) {
        ensure!(PAGE.contains(&format!("\n    {line}\n")), "{line}");
    }
    let script = format!(
        "mkdir -p /etc/keys /etc/systemd/system/sluss-beacon.service.d
         mv /etc/sluss-beacon.key /etc/keys/town.key
         sed -i 's|^key = .*|key = \"/etc/keys/town.key\"|' /etc/sluss-beacon.toml
         printf '{drop_in}' > /etc/systemd/system/sluss-beacon.service.d/override.conf
         systemctl daemon-reload
         sluss-beacon check && systemctl restart sluss-beacon"
    );
    host.run("sh", &["-ec", &script])?;
    probe(laptop, BEACON, &["--pin", pin]).map(|_| ())
}

fn it_is_as_locked_up_as_it_says(host: &Container) -> Result<()> {
    let unit = "sluss-beacon.service";
    host.run("systemd-analyze", &["verify", "--man=no", unit])?;
    let told = host.run("systemd-analyze", &["security", "--no-pager", unit])?;
    let level = told
        .lines()
        .find_map(|line| {
            line.split("Overall exposure level")
                .nth(1)?
                .split(": ")
                .nth(1)
        })
        .and_then(|rest| rest.split_whitespace().next())
        .with_context(|| told.clone())?;
    println!("measured exposure by systemd-analyze security: {level}");
    ensure!(level.parse::<f64>()? <= 1.1, "{told}");
    ensure!(
        PAGE.contains(&format!("exposure {level}")),
        "the page says otherwise than {level}"
    );
    Ok(())
}

pub(crate) fn a_key_that_others_can_read_is_refused() -> Result<()> {
    let folder = Path::new("/run/lab");
    std::fs::create_dir_all(folder)?;
    let key = folder.join("key");
    let run = |arguments: &[&str]| -> Result<(bool, String)> {
        let output = Command::new(artifacts::sluss_beacon()?)
            .args(arguments)
            .arg(&key)
            .output()?;
        Ok((output.status.success(), String::from_utf8(output.stderr)?))
    };
    ensure!(run(&["key", "generate"])?.0);
    let text = std::fs::read(&key)?;
    let (again, told) = run(&["key", "generate"])?;
    ensure!(!again && told.contains("there is a key already"), "{told}");
    ensure!(std::fs::read(&key)? == text, "the key was overwritten");

    let open = std::os::unix::fs::PermissionsExt::from_mode(0o640);
    std::fs::set_permissions(&key, open)?;
    let (read, told) = run(&["key", "pin"])?;
    ensure!(
        !read && told.contains("chmod 600") && told.contains("/run/lab/key"),
        "{told}"
    );
    Ok(())
}

/// The beacon's host and a laptop, joined by a cable.
fn street() -> Result<[Netns; 2]> {
    let [host, laptop] = [Netns::new("beacon")?, Netns::new("visitor")?];
    veth((&host, "eth0"), (&laptop, "eth0"))?;
    for (netns, v4, v6) in [
        (&host, "10.20.0.53/16", "fd20::53/64"),
        (&laptop, "10.20.3.7/16", "fd20::307/64"),
    ] {
        netns.ip(&format!("addr add {v4} dev eth0"))?;
        netns.ip(&format!("addr add {v6} dev eth0 nodad"))?;
    }
    Ok([host, laptop])
}

/// As a laptop asks; an error is what it printed.
fn probe(laptop: &Netns, address: &str, pins: &[&str]) -> Result<String> {
    let _: SocketAddr = address.parse()?;
    let mut command = Command::new(artifacts::sluss_beacon()?);
    let output = laptop.output(command.args(["probe", address]).args(pins))?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8(said)?;
    ensure!(output.status.success(), "{said}");
    Ok(said)
}

/// What the page has one type on the beacon's host, as root, in the section of this name.
fn on_host(name: &str) -> Result<Vec<&'static str>> {
    let section = PAGE
        .split("\n## ")
        .find(|section| section.starts_with(name))
        .with_context(|| format!("no section {name}"))?;
    let scripts: Vec<_> = section
        .split("```sh\n")
        .skip(1)
        .filter_map(|block| block.split("```").next())
        .collect();
    ensure!(!scripts.is_empty(), "nothing to type in {name}");
    Ok(scripts)
}
