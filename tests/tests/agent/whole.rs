//! The agent with the shipped daemon, a card and a gateway.

use anyhow::{Result, ensure};
use sluss_tests::moment::now;
use sluss_tests::stage::{Boot, PATIENCE, Stage};
use sluss_tests::world::{Place as Network, Port};

use crate::standin::{Desktop, Pinentries, Place};

/// The user at the screen puts the card in, mistypes once, and is connected; pulls it, and is told; and changes her mind.
pub(crate) fn one_pin_from_the_drawer_to_the_tunnel() -> Result<()> {
    let mut stage = Stage::set(Boot::Plain)?;
    let place = Place::with_daemon_at(stage.laptop.socket())?;
    let pinentries = Pinentries::new(&place)?;
    let desktop = Desktop::start(&place)?;
    let mut agent = place.agent(&pinentries.program)?;
    agent.env("DBUS_SESSION_BUS_ADDRESS", &desktop.address);
    let _agent = place.start(&mut agent)?;
    stage.logind.log_in(nix::unistd::geteuid().as_raw())?;

    stage.world.plug(Port::WiFi, Network::Home)?;
    let inserted = now();
    stage.card.insert()?;
    let mut pinentry = pinentries.next()?;
    let dialog = pinentry.dialog()?;
    ensure!(
        dialog
            .setting("SETDESC")
            .contains(&stage.card.identity().serial)
    );
    pinentry.types("000000")?;
    let mut pinentry = pinentries.next()?;
    let error = pinentry.dialog()?.setting("SETERROR").to_owned();
    ensure!(error == "Wrong PIN. 2 PIN tries left.", "{error}");
    pinentry.types(&stage.card.identity().pin)?;
    pinentry.is_ended()?;
    stage.monitor.until("tunnel", &["up"], inserted, PATIENCE)?;
    stage.page()?;
    let connected = desktop.shows(1)?;
    ensure!(
        connected.summary == "Connected to vpn.example.se",
        "{connected:?}"
    );

    stage.card.remove()?;
    let pulled = desktop.shows(2)?;
    ensure!(pulled.summary == "Disconnected", "{pulled:?}");
    ensure!(pulled.replaces > 0, "{pulled:?}");

    // Back in, and out again before the PIN is typed: the window goes with the card.
    stage.card.insert()?;
    let mut pinentry = pinentries.next()?;
    pinentry.dialog()?;
    stage.card.remove()?;
    pinentry.is_ended()?;

    // Cancelled: not asked again, though the card is looked at anew.
    let inserted = now();
    stage.card.insert()?;
    let mut pinentry = pinentries.next()?;
    pinentry.dialog()?;
    pinentry.cancels()?;
    pinentry.is_ended()?;
    stage
        .monitor
        .until("key", &["declined"], inserted, PATIENCE)?;
    ensure!(pinentries.none_was_started());
    Ok(())
}
