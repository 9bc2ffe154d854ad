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
    let mut report = |input| if report(input) { Ok(()) } else { Err(Unheard) };
    let Err(Unheard) = seek(PcscReaders::connect, std::thread::sleep, &mut report);
}

/// What the watcher needs of the host's smart card service, as long as that lives.
trait Readers {
    /// All readers there are.
    fn list(&mut self) -> Result<Vec<CString>, pcsc::Error>;

    /// Sleeps until something about these readers changes, or one comes; gives what has changed since the call before. The
    /// first time that it hears of a reader it tells at once.
    fn wait(&mut self, names: Vec<CString>) -> Result<Vec<(String, Seen)>, pcsc::Error>;
}

/// Looks for the service whenever it is not there.
fn seek<R: Readers>(
    connect: impl Fn() -> Result<R, pcsc::Error>,
    mut sleep: impl FnMut(Duration),
    report: &mut impl FnMut(Input) -> Result<(), Unheard>,
) -> Result<Infallible, Unheard> {
    let mut lost = false;
    let mut pause = FIRST_PAUSE;
    loop {
        let begun = Instant::now();
        let reason = match connect() {
            Ok(readers) => {
                report(Input::ServiceFound)?;
                lost = false;
                watch_readers(readers, report)?
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
        sleep(pause);
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Reports until the service fails, and gives what it said then.
fn watch_readers(
    mut readers: impl Readers,
    report: &mut impl FnMut(Input) -> Result<(), Unheard>,
) -> Result<pcsc::Error, Unheard> {
    let mut roster = Roster::default();
    loop {
        let names = match readers.list() {
            Ok(names) => names,
            Err(reason) => return Ok(reason),
        };
        for input in roster.keep(|reader| names.iter().any(|name| name.to_string_lossy() == reader))
        {
            report(input)?;
        }
        // with a new reader in the list this returns at once, so that we sleep only on a list that is complete
        let changes = match readers.wait(names) {
            Ok(changes) => changes,
            Err(pcsc::Error::Timeout | pcsc::Error::Cancelled | pcsc::Error::UnknownReader) => {
                continue;
            }
            Err(reason) => return Ok(reason),
        };
        for (reader, seen) in changes {
            for input in roster.update(&reader, seen) {
                report(input)?;
            }
        }
    }
}

/// The host's own.
struct PcscReaders {
    context: Context,
    states: Vec<ReaderState>,
}

impl PcscReaders {
    fn connect() -> Result<Self, pcsc::Error> {
        Ok(Self {
            context: Context::establish(Scope::System)?,
            states: vec![ReaderState::new(PNP_NOTIFICATION(), State::UNAWARE)],
        })
    }
}

impl Readers for PcscReaders {
    fn list(&mut self) -> Result<Vec<CString>, pcsc::Error> {
        match self.context.list_readers_owned() {
            // Windows calls it an error that there is none
            Err(pcsc::Error::NoReadersAvailable) => Ok(Vec::new()),
            listed => listed,
        }
    }

    fn wait(&mut self, names: Vec<CString>) -> Result<Vec<(String, Seen)>, pcsc::Error> {
        let states = &mut self.states;
        states.retain(|state| {
            state.name() == PNP_NOTIFICATION() || names.iter().any(|name| **name == *state.name())
        });
        for name in names {
            if !states.iter().any(|state| *state.name() == *name) {
                states.push(ReaderState::new(name, State::UNAWARE));
            }
        }
        self.context.get_status_change(None, states)?;
        let mut changes = Vec::new();
        for state in states {
            if state.name() != PNP_NOTIFICATION() && state.event_state().contains(State::CHANGED) {
                let seen = Seen {
                    present: state.event_state().contains(State::PRESENT),
                    count: state.event_count(),
                };
                changes.push((state.name().to_string_lossy().into_owned(), seen));
            }
            state.sync_current_state();
        }
        Ok(changes)
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
mod tests;
