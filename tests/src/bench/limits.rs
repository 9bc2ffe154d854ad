//! What must be so, as ratios within one run, and whether it is.

use serde::Serialize;

use super::cable::Setting;
use super::contestant::{AEAD, BARE, FORWARDER, OURS};
use super::record::{Figure, Part, Record};

/// One requirement.
#[derive(Clone, Debug, Serialize)]
pub struct Limit {
    pub what: String,
    pub setting: Setting,
    pub value: f64,
    pub bound: Bound,
    pub is_met: bool,
}

#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

impl Bound {
    fn admits(self, value: f64) -> bool {
        match self {
            Bound::AtMost(bound) => value <= bound,
            Bound::AtLeast(bound) => value >= bound,
        }
    }
}

/// Every requirement that the run can speak to.
pub fn judge(record: &Record, settings: &[Setting]) -> Vec<Limit> {
    let mut limits = Vec::new();
    for &setting in settings {
        let judge = Judge { record, setting };
        judge.costs(&mut limits);
        judge.speeds(&mut limits);
        judge.trips(&mut limits);
        judge.memory(&mut limits);
    }
    // Without traffic it does not matter over which cable there is none.
    let judge = Judge {
        record,
        setting: Setting::Default,
    };
    let wake_ups = judge.median(OURS, Part::Idle, Figure::WakeUps);
    judge.add(
        &mut limits,
        "idle wake-ups a second".to_owned(),
        wake_ups,
        Bound::AtMost(0.0),
    );
    limits
}

/// CPU seconds of both ends per GB, the two parts of the floor added.
pub fn floor(record: &Record, setting: Setting) -> Option<f64> {
    let aead = record.median(setting, AEAD, Part::Aead, Figure::CpuPerGb)?;
    let forwarder = record.median(setting, FORWARDER, Part::Tcp, Figure::CpuPerGb)?;
    Some(aead + forwarder)
}

struct Judge<'a> {
    record: &'a Record,
    setting: Setting,
}

impl Judge<'_> {
    fn costs(&self, limits: &mut Vec<Limit>) {
        let (of_go, of_rust) = match self.setting {
            Setting::Nic => (0.55, 0.28),
            Setting::Default => (0.45, 0.25),
        };
        for (peer, bound) in self.peers(of_go, of_rust) {
            let ratio = self.ratio(&peer, Part::Tcp, Figure::CpuPerGb);
            self.add(
                limits,
                format!("CPU per GB / {peer}"),
                ratio,
                Bound::AtMost(bound),
            );
        }
        let ours = self.median(OURS, Part::Tcp, Figure::CpuPerGb);
        let ratio = ours
            .zip(floor(self.record, self.setting))
            .map(|(ours, floor)| ours / floor);
        self.add(
            limits,
            "CPU per GB / (AEAD + forwarder)".to_owned(),
            ratio,
            Bound::AtMost(1.4),
        );
    }

    fn speeds(&self, limits: &mut Vec<Limit>) {
        for (peer, bound) in self.peers(1.8, 3.5) {
            let ratio = self.ratio(&peer, Part::Tcp, Figure::GigabitsPerSecond);
            self.add(
                limits,
                format!("throughput / {peer}"),
                ratio,
                Bound::AtLeast(bound),
            );
        }
        let best = self.best(Part::Udp64, Figure::PacketsPerSecond, f64::max);
        if let Some((peer, best)) = best {
            let ours = self.median(OURS, Part::Udp64, Figure::PacketsPerSecond);
            let ratio = ours.map(|ours| ours / best);
            self.add(
                limits,
                format!("64-byte packets / {peer}, the best peer"),
                ratio,
                Bound::AtLeast(2.0),
            );
        }
    }

    fn trips(&self, limits: &mut Vec<Limit>) {
        if let Some((peer, best)) = self.best(Part::Echo, Figure::P50, f64::min) {
            let ours = self.median(OURS, Part::Echo, Figure::P50);
            let ratio = ours.map(|ours| ours / best);
            self.add(
                limits,
                format!("idle round trip / {peer}, the best peer"),
                ratio,
                Bound::AtMost(1.0),
            );
        }
    }

    fn memory(&self, limits: &mut Vec<Limit>) {
        let peak = self.median(OURS, Part::Memory, Figure::PeakMemory);
        self.add(
            limits,
            "peak memory, MiB".to_owned(),
            peak,
            Bound::AtMost(24.0),
        );
    }

    /// The peers that a bound is set for: the newest wireguard-go there is, and the two in Rust.
    fn peers(&self, of_go: f64, of_rust: f64) -> Vec<(String, f64)> {
        let go = self
            .all_peers()
            .into_iter()
            .rfind(|peer| peer.starts_with("wireguard-go"));
        let rust = ["boringtun", "gotatun"].map(|peer| (peer.to_owned(), of_rust));
        go.map(|go| (go, of_go)).into_iter().chain(rust).collect()
    }

    /// Everybody but ours and the floors, in the order of the run.
    fn all_peers(&self) -> Vec<String> {
        let mut peers: Vec<String> = Vec::new();
        for seen in &self.record.observations {
            let name = &seen.contestant;
            if ![OURS, FORWARDER, BARE, AEAD].contains(&name.as_str()) && !peers.contains(name) {
                peers.push(name.clone());
            }
        }
        peers
    }

    /// The peer with the best median, and that.
    fn best(
        &self,
        part: Part,
        figure: Figure,
        better: fn(f64, f64) -> f64,
    ) -> Option<(String, f64)> {
        let medians = self
            .all_peers()
            .into_iter()
            .filter_map(|peer| Some((self.median(&peer, part, figure)?, peer)));
        medians
            .map(|(median, peer)| (peer, median))
            .reduce(|one, other| {
                if better(one.1, other.1) == one.1 {
                    one
                } else {
                    other
                }
            })
    }

    fn ratio(&self, peer: &str, part: Part, figure: Figure) -> Option<f64> {
        Some(self.median(OURS, part, figure)? / self.median(peer, part, figure)?)
    }

    fn median(&self, contestant: &str, part: Part, figure: Figure) -> Option<f64> {
        self.record.median(self.setting, contestant, part, figure)
    }

    fn add(&self, limits: &mut Vec<Limit>, what: String, value: Option<f64>, bound: Bound) {
        if let Some(value) = value {
            limits.push(Limit {
                what,
                setting: self.setting,
                value,
                bound,
                is_met: bound.admits(value),
            });
        }
    }
}
