//! Sees cards come and go, asleep inside PC/SC in between.
//!
//! One thread, blocked in `SCardGetStatusChange` without a timeout: nothing wakes it but a reader or card. When the service
//! is absent it is looked for with growing pauses; after a restart nothing of the old context is used, since pcsc-lite
//! calls it valid for ever.

use crate::Error;
use crate::desk::Input;
use pcsc::{Context, PNP_NOTIFICATION, ReaderState, Scope, State};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::ffi::CString;
use std::time::{Duration, Instant};

/// First pause when the service does not answer; doubled up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(8);

/// Nobody listens any more.
struct Unheard;

/// Runs until `report` returns false.
pub(crate) fn watch(mut report: impl FnMut(Input) -> bool) {
    let Err(Unheard) = seek(&mut |input| if report(input) { Ok(()) } else { Err(Unheard) });
}

/// Looks for the service whenever it is not there.
fn seek(report: &mut impl FnMut(Input) -> Result<(), Unheard>) -> Result<Infallible, Unheard> {
    let mut lost = false;
    let mut pause = FIRST_PAUSE;
    loop {
        let begun = Instant::now();
        let reason = match Context::establish(Scope::System) {
            Ok(context) => {
                report(Input::ServiceFound)?;
                lost = false;
                watch_readers(&context, report)?
            }
            Err(reason) => reason,
        };
        if !std::mem::replace(&mut lost, true) {
            let reason = Error::Service(reason);
            report(Input::ServiceLost { reason })?;
        }
        // one that comes and goes all the time is not run after
        if begun.elapsed() > LONGEST_PAUSE {
            pause = FIRST_PAUSE;
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Reports until the service fails, and gives what it said then.
fn watch_readers(
    context: &Context,
    report: &mut impl FnMut(Input) -> Result<(), Unheard>,
) -> Result<pcsc::Error, Unheard> {
    let mut states = vec![ReaderState::new(PNP_NOTIFICATION(), State::UNAWARE)];
    let mut roster = Roster::default();
    loop {
        let names = match context.list_readers_owned().or_else(none_is_empty) {
            Ok(names) => names,
            Err(reason) => return Ok(reason),
        };
        for input in roster.keep(|reader| names.iter().any(|name| name.to_string_lossy() == reader))
        {
            report(input)?;
        }
        states.retain(|state| {
            state.name() == PNP_NOTIFICATION() || names.iter().any(|name| **name == *state.name())
        });
        for name in names {
            if !states.iter().any(|state| *state.name() == *name) {
                states.push(ReaderState::new(name, State::UNAWARE));
            }
        }
        // with a new reader in the list this returns at once, so that we sleep only on a list that is complete
        match context.get_status_change(None, &mut states) {
            Ok(()) => {}
            Err(pcsc::Error::Timeout | pcsc::Error::Cancelled | pcsc::Error::UnknownReader) => {
                continue;
            }
            Err(reason) => return Ok(reason),
        }
        for state in &mut states {
            if state.name() != PNP_NOTIFICATION() && state.event_state().contains(State::CHANGED) {
                let seen = Seen {
                    present: state.event_state().contains(State::PRESENT),
                    count: state.event_count(),
                };
                for input in roster.update(&state.name().to_string_lossy(), seen) {
                    report(input)?;
                }
            }
            state.sync_current_state();
        }
    }
}

/// Windows calls it an error that there is no reader.
fn none_is_empty(error: pcsc::Error) -> Result<Vec<CString>, pcsc::Error> {
    match error {
        pcsc::Error::NoReadersAvailable => Ok(Vec::new()),
        other => Err(other),
    }
}

/// What PC/SC says of one reader.
#[derive(Clone, Copy)]
struct Seen {
    present: bool,
    /// Counts insertions and removals, so that a pull between two looks is not missed.
    count: u32,
}

/// What was seen last, and so what has happened since.
#[derive(Default)]
struct Roster(BTreeMap<String, Seen>);

impl Roster {
    fn update(&mut self, reader: &str, seen: Seen) -> Vec<Input> {
        let before = self.0.insert(reader.to_owned(), seen);
        let pulled = before
            .is_some_and(|before| before.present && (!seen.present || before.count != seen.count));
        let absent = pulled.then(|| Input::CardAbsent {
            reader: reader.to_owned(),
        });
        let present = seen.present.then(|| Input::CardPresent {
            reader: reader.to_owned(),
        });
        absent.into_iter().chain(present).collect()
    }

    /// Drops the readers that are gone.
    fn keep(&mut self, still_there: impl Fn(&str) -> bool) -> Vec<Input> {
        let gone = self.0.extract_if(.., |reader, _| !still_there(reader));
        gone.filter(|(_, seen)| seen.present)
            .map(|(reader, _)| Input::CardAbsent { reader })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(inputs: Vec<Input>) -> Vec<String> {
        let line = |input| match input {
            Input::CardPresent { reader } => format!("{reader} in"),
            Input::CardAbsent { reader } => format!("{reader} out"),
            _ => panic!("a roster tells of cards only"),
        };
        inputs.into_iter().map(line).collect()
    }

    #[test]
    fn a_pull_between_two_looks_is_not_missed() {
        let mut roster = Roster::default();
        assert_eq!(
            told(roster.update(
                "a",
                Seen {
                    present: false,
                    count: 0
                }
            )),
            [""; 0]
        );
        assert_eq!(
            told(roster.update(
                "a",
                Seen {
                    present: true,
                    count: 1
                }
            )),
            ["a in"]
        );
        assert_eq!(
            told(roster.update(
                "a",
                Seen {
                    present: true,
                    count: 3
                }
            )),
            ["a out", "a in"]
        );
        assert_eq!(
            told(roster.update(
                "a",
                Seen {
                    present: false,
                    count: 4
                }
            )),
            ["a out"]
        );
    }

    #[test]
    fn other_changes_of_a_reader_are_no_pull() {
        let mut roster = Roster::default();
        roster.update(
            "a",
            Seen {
                present: true,
                count: 1,
            },
        );
        assert_eq!(
            told(roster.update(
                "a",
                Seen {
                    present: true,
                    count: 1
                }
            )),
            ["a in"]
        );
    }

    #[test]
    fn a_reader_that_is_unplugged_takes_its_card_along() {
        let mut roster = Roster::default();
        roster.update(
            "a",
            Seen {
                present: true,
                count: 1,
            },
        );
        roster.update(
            "b",
            Seen {
                present: true,
                count: 1,
            },
        );
        roster.update(
            "c",
            Seen {
                present: false,
                count: 0,
            },
        );
        assert_eq!(told(roster.keep(|reader| reader == "b")), ["a out"]);
        assert_eq!(
            told(roster.update(
                "a",
                Seen {
                    present: true,
                    count: 1
                }
            )),
            ["a in"]
        );
    }
}
