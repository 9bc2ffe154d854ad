//! What was seen: one number each, with where it comes from; and what they come to over the rounds.

use std::collections::BTreeMap;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::cable::Setting;

/// A part of the benchmark, which can be run on its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// One TCP stream.
    Tcp,
    /// Four TCP streams.
    TcpFour,
    /// One TCP stream, sent by the end that received before.
    TcpReverse,
    /// One TCP stream in each direction at once.
    TcpBoth,
    /// IP packets of 64 bytes, as many as arrive with less than 1 % lost.
    Udp64,
    /// The same with 1,400 bytes.
    Udp1400,
    /// Round trips without other traffic.
    Echo,
    /// Round trips beside a TCP stream.
    EchoLoaded,
    /// Memory after all of the above.
    Memory,
    /// Memory and wake-ups without traffic.
    Idle,
    /// Sealing and opening alone.
    Aead,
}

/// What is read off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Figure {
    GigabitsPerSecond,
    /// CPU seconds for each 10^9 bytes that the application received.
    CpuPerGbSender,
    CpuPerGbReceiver,
    /// Both ends.
    CpuPerGb,
    /// The whole machine, the load itself included.
    CpuPerGbMachine,
    PacketsPerSecond,
    /// CPU microseconds for each packet that arrived, both ends.
    CpuPerPacket,
    /// Round trip, microseconds.
    P50,
    P99,
    /// Resident memory of the larger end, MiB.
    PeakMemory,
    Memory,
    /// Of the busier end, each second.
    WakeUps,
    /// Nanoseconds for a packet of 1,420 bytes.
    Seal,
    Open,
}

/// One number.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Observation {
    pub round: u32,
    pub setting: Setting,
    pub contestant: String,
    pub part: Part,
    pub figure: Figure,
    pub value: f64,
}

/// All numbers of a run.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Record {
    pub observations: Vec<Observation>,
}

impl Record {
    /// Writes down what is seen of one contestant.
    pub fn scribe(
        &mut self,
        round: u32,
        setting: Setting,
        contestant: &str,
    ) -> impl FnMut(Part, Figure, f64) {
        move |part, figure, value| {
            self.observations.push(Observation {
                round,
                setting,
                contestant: contestant.to_owned(),
                part,
                figure,
                value,
            });
        }
    }

    /// Everybody of whom there is an observation, in the order of their first.
    pub fn contestants(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for seen in &self.observations {
            if !names.contains(&seen.contestant.as_str()) {
                names.push(&seen.contestant);
            }
        }
        names
    }

    /// What each figure comes to over the rounds.
    pub fn medians(&self) -> Vec<Median> {
        let mut values: BTreeMap<(Setting, &str, Part, Figure), Vec<f64>> = BTreeMap::new();
        for seen in &self.observations {
            let key = (
                seen.setting,
                seen.contestant.as_str(),
                seen.part,
                seen.figure,
            );
            values.entry(key).or_default().push(seen.value);
        }
        let medians = values.into_iter().filter_map(|(key, values)| {
            let (setting, contestant, part, figure) = key;
            Some(Median {
                setting,
                contestant: contestant.to_owned(),
                part,
                figure,
                least: values.iter().copied().fold(f64::INFINITY, f64::min),
                most: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
                median: median(values)?,
            })
        });
        medians.collect()
    }

    /// The median over the rounds, if there is any observation; of an even number the mean of the two in the middle.
    pub fn median(
        &self,
        setting: Setting,
        contestant: &str,
        part: Part,
        figure: Figure,
    ) -> Option<f64> {
        let matching = self.observations.iter().filter(|seen| {
            (seen.setting, seen.part, seen.figure) == (setting, part, figure)
                && seen.contestant == contestant
        });
        median(matching.map(|seen| seen.value).collect())
    }
}

/// What the rounds come to.
#[derive(Clone, Debug, Serialize)]
pub struct Median {
    pub setting: Setting,
    pub contestant: String,
    pub part: Part,
    pub figure: Figure,
    pub median: f64,
    pub least: f64,
    pub most: f64,
}

pub fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    let lower = values[(values.len() - 1) / 2];
    Some(f64::midpoint(lower, upper))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_in_the_middle() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![3.0]), Some(3.0));
        assert_eq!(median(vec![9.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![9.0, 1.0, 2.0, 4.0]), Some(3.0));
    }
}
