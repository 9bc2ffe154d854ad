//! Random days: moves, loose contacts, dying beacons, sleep and cards, in any order.

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use sluss_tests::beacon::Beacon;
use sluss_tests::moment::{eventually, now};
use sluss_tests::stage::{Boot, PATIENCE, Stage};
use sluss_tests::world::{Place, Port};

use crate::moves::{set_in_two_buildings, sleep, tunnel_changes, wake};
use crate::places::by_tunnel;

/// How many sequences, and the seed of the first; `cargo xtask soak` says so.
const COUNT: &str = "SLUSS_SEQUENCES";
const SEED: &str = "SLUSS_SEED";
const STEPS: usize = 8;

/// Each ends in the right verdict, the tunnel as it should be, and the tunnel was not started or stopped more often than
/// there was a reason to.
pub(crate) fn random_sequences_end_right() -> Result<()> {
    let count = number(COUNT)?.unwrap_or(3);
    let first = number(SEED)?.unwrap_or(51_055);
    let (stage, annex) = set_in_two_buildings(Boot::LabClock)?;
    let mut day = Day {
        stage,
        annex,
        alive: true,
        card: false,
        wanted: false,
        changes: 0,
        told: Vec::new(),
    };
    let (mut made, mut reasons, mut ends) = (0, 0, BTreeMap::new());
    for seed in first..first + count {
        let mut random = fastrand::Rng::with_seed(seed);
        let begun = now();
        day.changes = 0;
        day.told.clear();
        for _ in 0..STEPS {
            day.step(&mut random)?;
        }
        let end = day.end(&mut random, begun);
        let end = end.with_context(|| format!("seed {seed}: {}", day.told.join(", ")))?;
        made += tunnel_changes(&day.stage, begun);
        reasons += day.changes;
        *ends.entry(end).or_insert(0) += 1;
    }
    println!(
        "measured {count} sequences from seed {first}: {made} starts and stops of the tunnel, with {reasons} reasons; \
         they ended {ends:?}"
    );
    day.stage.no_leak()
}

fn number(variable: &str) -> Result<Option<u64>> {
    let Ok(text) = std::env::var(variable) else {
        return Ok(None);
    };
    Ok(Some(text.parse().context(variable.to_owned())?))
}

/// The laptop in its world, and what a person knows of both.
struct Day {
    stage: Stage,
    annex: Beacon,
    /// Whether the beacons live.
    alive: bool,
    card: bool,
    /// Whether there was a reason for a tunnel after the last step.
    wanted: bool,
    /// How often that changed.
    changes: usize,
    told: Vec<String>,
}

impl Day {
    fn step(&mut self, random: &mut fastrand::Rng) -> Result<()> {
        let port = random.choice(Port::ALL).context("ports")?;
        match random.u8(0..20) {
            0..=7 => self.go(port, any_place(random))?,
            8..=9 => {
                self.told.push(format!("{port:?} pulled"));
                self.stage.world.unplug(port)?;
            }
            10..=12 => self.flap(port, random)?,
            13..=14 => self.turn_beacons()?,
            15..=16 => self.nap(port, random)?,
            _ => self.turn_card()?,
        }
        self.take_note();
        // How long a person stays: sometimes shorter than a verdict takes.
        thread::sleep(Duration::from_millis(random.u64(0..2500)));
        Ok(())
    }

    fn go(&mut self, port: Port, place: Place) -> Result<()> {
        self.told.push(format!("{port:?} to {place:?}"));
        self.stage.world.plug(port, place).map(drop)
    }

    fn flap(&mut self, port: Port, random: &mut fastrand::Rng) -> Result<()> {
        let times = random.usize(1..6);
        self.told.push(format!("{port:?} flaps {times} times"));
        if self.stage.world.place(port).is_none() {
            return Ok(());
        }
        for _ in 0..times {
            for is_there in [false, true] {
                self.stage.world.carrier(port, is_there)?;
                thread::sleep(Duration::from_millis(random.u64(20..400)));
            }
        }
        Ok(())
    }

    fn turn_beacons(&mut self) -> Result<()> {
        self.alive = !self.alive;
        let state = if self.alive { "live" } else { "die" };
        self.told.push(format!("the beacons {state}"));
        for beacon in [&mut self.stage.beacon, &mut self.annex] {
            if self.alive {
                beacon.start_again()?;
            } else {
                beacon.stop();
            }
        }
        Ok(())
    }

    /// The lid is shut, and opened where the laptop was or elsewhere.
    fn nap(&mut self, port: Port, random: &mut fastrand::Rng) -> Result<()> {
        self.told.push("sleep".to_owned());
        sleep(&mut self.stage)?;
        let hours = random.u64(0..10);
        self.stage
            .clock
            .jump(Duration::from_secs(hours * 3600 + 60))?;
        if random.bool() {
            self.go(port, any_place(random))?;
        }
        wake(&mut self.stage).map(drop)
    }

    fn turn_card(&mut self) -> Result<()> {
        self.card = !self.card;
        self.told
            .push(format!("card {}", if self.card { "in" } else { "out" }));
        if self.card {
            let inserted = now();
            self.stage.card.insert()?;
            self.stage.monitor.until(
                "key",
                &["locked", "awaiting-pin", "unlocked"],
                inserted,
                PATIENCE,
            )?;
            self.stage.laptop.unlock(&self.stage.card.identity().pin)?;
        } else {
            let removed = self.stage.card.remove()?;
            self.stage
                .monitor
                .until("key", &["absent"], removed, PATIENCE)?;
        }
        Ok(())
    }

    /// One more reason to start or stop, if there is one.
    fn take_note(&mut self) {
        let wanted = self.card && self.location() == "outside";
        self.changes += usize::from(wanted != self.wanted);
        self.wanted = wanted;
    }

    /// What a person would say.
    fn location(&self) -> &'static str {
        let places = Port::ALL.map(|port| self.stage.world.place(port));
        let mut places = places.into_iter().flatten().peekable();
        if places.peek().is_none() {
            "offline"
        } else if self.alive && places.any(Place::is_inside) {
            "inside"
        } else {
            "outside"
        }
    }

    /// The day ends somewhere, with a last move, so that beacons that came or went silently are asked once more.
    fn end(&mut self, random: &mut fastrand::Rng, begun: Duration) -> Result<&'static str> {
        self.go(
            random.choice(Port::ALL).context("ports")?,
            any_place(random),
        )?;
        self.take_note();
        let (location, tunnel) = (self.location(), if self.wanted { "up" } else { "down" });
        let mut last = serde_json::Value::Null;
        let right = eventually(
            "the right verdict, and no other",
            Duration::from_secs(30),
            || {
                last = self.stage.laptop.status()?;
                if last["key"]["state"] == "awaiting-pin" {
                    self.stage.laptop.unlock(&self.stage.card.identity().pin)?;
                }
                let right =
                    last["location"]["state"] == location && last["tunnel"]["state"] == tunnel;
                let changes = self.stage.monitor.since(begun);
                let calm = changes
                    .last()
                    .is_none_or(|change| now().saturating_sub(change.at) > Duration::from_secs(2));
                Ok((right && calm).then_some(()))
            },
        );
        right.with_context(|| format!("{location} and {tunnel}, but {last}"))?;
        let made = tunnel_changes(&self.stage, begun);
        ensure!(
            made <= self.changes,
            "{made} starts and stops with {} reasons: {:?}",
            self.changes,
            self.stage.monitor.since(begun)
        );
        match location {
            "outside" if self.wanted => by_tunnel(&self.stage)?,
            "inside" => drop(eventually("the page", PATIENCE, || {
                Ok(self.stage.page().ok())
            })?),
            _ => self.stage.no_page()?,
        }
        Ok(match location {
            "outside" if self.wanted => "outside, by the tunnel",
            other => other,
        })
    }
}

fn any_place(random: &mut fastrand::Rng) -> Place {
    let places = [
        Place::Home,
        Place::Phone,
        Place::Cafe,
        Place::Office,
        Place::Guest,
        Place::Annex,
    ];
    places[random.usize(0..places.len())]
}
