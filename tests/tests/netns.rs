//! The lab's own ground: namespaces isolate, children die with their trial, skips are told.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, ExitCode};

use anyhow::{Result, ensure};
use sluss_tests::netns::{Netns, veth};
use sluss_tests::{trial, trials};

fn main() -> ExitCode {
    trials::main(&[
        trial!(joined_networks_talk),
        trial!(processes_die_when_dropped),
        trial!(own_process_numbers),
    ])
}

fn joined_networks_talk() -> Result<()> {
    let (a, b) = (Netns::new("a")?, Netns::new("b")?);
    veth((&a, "to-b"), (&b, "to-a"))?;
    a.ip("addr add 192.0.2.1/24 dev to-b")?;
    b.ip("addr add 192.0.2.2/24 dev to-a")?;
    let listener = b.run(|| TcpListener::bind("192.0.2.2:80"))?;
    let mut client = a.run(|| TcpStream::connect("192.0.2.2:80"))?;
    client.write_all(b"hello")?;
    drop(client);
    let mut said = String::new();
    listener.accept()?.0.read_to_string(&mut said)?;
    ensure!(said == "hello", "{said}");
    ensure!(
        TcpStream::connect("192.0.2.2:80").is_err(),
        "the outer network reaches the inner one"
    );
    Ok(())
}

fn processes_die_when_dropped() -> Result<()> {
    let own = Netns::own("own")?;
    let process = own.spawn(Command::new("sleep").arg("600"))?;
    let status = format!("/proc/{}/status", process.id());
    ensure!(std::fs::exists(&status)?);
    drop(process);
    ensure!(!std::fs::exists(&status)?);
    Ok(())
}

fn own_process_numbers() -> Result<()> {
    // First of its process namespace: the kernel ends all others with it.
    ensure!(std::process::id() == 1);
    ensure!(std::fs::read_link("/proc/self")? == std::path::Path::new("1"));
    Ok(())
}
