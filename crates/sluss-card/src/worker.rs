//! The card worker's threads: requests in, events out.
//!
//! One thread runs the desk and is the only one that tells events. The watcher and each operator have their own, since
//! they block inside PC/SC; none of them is ever waited for without a limit.

use crate::attend::Attendant;
use crate::connection::PcscLine;
use crate::desk::{Answer, Desk, Input, Output, Seat, Task};
use crate::keeper::{Era, Keeper};
use crate::line::Line;
use crate::operator::Operator;
use crate::pkcs11::{Launch, Module, TokenLine};
use crate::{Access, Command, Config, Error, Event, KeyId, Op, Vault, watcher};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::ffi::CString;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How long [`Cards::stop`] waits for operators to let go of their cards.
const FAREWELL: Duration = Duration::from_secs(1);
/// How long middleware may take to load and tell its tokens.
const LOADING: Duration = Duration::from_secs(30);
/// Of a request; keeps the arithmetic of time in bounds.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(3600);
/// Enough for PC/SC; the default of 2 MiB is address space that each hung thread would keep.
const STACK: usize = 256 * 1024;

/// The running worker. Dropping it stops it.
pub struct Cards {
    to_desk: Sender<Message>,
    desk: Option<JoinHandle<()>>,
}

/// A task, the era it is given in, and when it has to be done.
type Assignment = (Task, Era, Option<Instant>);

enum Message {
    Input(Input),
    Stop,
}

/// Starts the worker. Secrets that last longer than one operation lie in `vault`. `events` is called from one thread, in
/// order, and should only pass the event on.
///
/// No thread wakes without a reason: the watcher sleeps inside PC/SC until a card or reader changes.
///
/// # Errors
/// When the host gives no threads.
pub fn start(
    config: Config,
    vault: Box<dyn Vault>,
    events: impl FnMut(Event) + Send + 'static,
) -> io::Result<Cards> {
    let (to_desk, inbox) = mpsc::channel();
    let keeper = Arc::new(Keeper::new(vault));
    let desk = Desk::new(config.binding.is_some(), keeper.clone());
    let shell = Shell {
        to_desk: to_desk.clone(),
        operators: Operators::new(&config, keeper),
        events,
    };
    let desk = thread("card desk", move || shell.run(desk, &inbox))?;
    if let (Some(_), Access::Pkcs11(launch)) = (&config.binding, config.access) {
        let reports = to_desk.clone();
        thread("card tokens", move || {
            find_fixed_tokens(launch, |input| drop(reports.send(Message::Input(input))));
        })?;
    }
    let reports = to_desk.clone();
    // never joined: it may sleep in PC/SC for ever, holds no card, and ends with its next report or the process
    thread("card watcher", move || {
        watcher::watch(|input| reports.send(Message::Input(input)).is_ok())
    })?;
    Ok(Cards {
        to_desk,
        desk: Some(desk),
    })
}

impl Cards {
    /// Hands in a request; never blocks. It is answered exactly once, with `Timeout` when `timeout` has passed (an hour at
    /// most).
    pub fn send(&self, op: Op, command: Command, timeout: Duration) {
        let input = Input::Requested {
            op,
            command,
            deadline: Instant::now() + timeout.min(LONGEST_TIMEOUT),
        };
        // the desk lives as long as this handle
        let _ = self.to_desk.send(Message::Input(input));
    }

    /// Lets go of the cards, without resetting them under other programs. Requests in hand stay unanswered. Takes at most
    /// about a second, however PC/SC may hang.
    pub fn stop(self) {}
}

impl Drop for Cards {
    fn drop(&mut self) {
        let _ = self.to_desk.send(Message::Stop);
        if let Some(desk) = self.desk.take() {
            // a panic in there has been reported by the panic hook
            let _ = desk.join();
        }
    }
}

/// Carries out what the desk says.
struct Shell<E> {
    to_desk: Sender<Message>,
    operators: Operators,
    events: E,
}

impl<E: FnMut(Event)> Shell<E> {
    fn run(mut self, mut desk: Desk, inbox: &Receiver<Message>) {
        loop {
            let message = match desk.deadline() {
                Some(deadline) => {
                    inbox.recv_timeout(deadline.saturating_duration_since(Instant::now()))
                }
                None => inbox
                    .recv()
                    .map_err(|mpsc::RecvError| RecvTimeoutError::Disconnected),
            };
            let input = match message {
                Ok(Message::Input(input)) => input,
                Err(RecvTimeoutError::Timeout) => Input::DeadlineReached,
                Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => break,
            };
            for output in desk.handle(input, Instant::now()) {
                match output {
                    Output::Tell(event) => (self.events)(event),
                    Output::Seat { seat, reader } => {
                        self.operators.seat(seat, reader, &self.to_desk)
                    }
                    Output::Assign {
                        seat,
                        task,
                        era,
                        deadline,
                    } => self.operators.assign(seat, (task, era, deadline)),
                    Output::Dismiss { seat } => self.operators.dismiss(seat),
                }
            }
        }
        desk.close();
        self.operators.farewell();
    }
}

/// The operators' threads. One that was dismissed ends when PC/SC lets go of it.
struct Operators {
    /// `None` when no card is bound, and so nobody is ever seated.
    attendant: Option<Arc<Attendant>>,
    access: Access,
    tasks: BTreeMap<Seat, Sender<Assignment>>,
    /// Each thread has a clone of the sender; when all are gone, so are the threads.
    alive: (Sender<Infallible>, Receiver<Infallible>),
}

impl Operators {
    fn new(config: &Config, keeper: Arc<Keeper>) -> Self {
        Self {
            attendant: Attendant::new(config, keeper).map(Arc::new),
            access: config.access.clone(),
            tasks: BTreeMap::new(),
            alive: mpsc::channel(),
        }
    }

    fn seat(&mut self, seat: Seat, reader: String, to_desk: &Sender<Message>) {
        let Some(attendant) = self.attendant.clone() else {
            return;
        };
        let access = self.access.clone();
        let (tasks, mine) = mpsc::channel::<Assignment>();
        let (alive, to_desk) = (self.alive.0.clone(), to_desk.clone());
        let answer = move |answer| to_desk.send(Message::Input(Input::Answered { seat, answer }));
        let refuse = answer.clone();
        let spawned = thread("card operator", move || {
            let mut operator =
                Operator::new(attendant.clone(), line(attendant.key(), access, reader));
            while let Ok((task, era, deadline)) = mine.recv() {
                if answer(operator.perform(task, era, deadline)).is_err() {
                    break;
                }
            }
            drop(operator);
            drop(alive);
        });
        match spawned {
            Ok(_) => drop(self.tasks.insert(seat, tasks)),
            Err(_) => drop(refuse(Answer::Look(Err(Error::Service(
                pcsc::Error::NoMemory,
            ))))),
        }
    }

    fn assign(&self, seat: Seat, assignment: Assignment) {
        if let Some(operator) = self.tasks.get(&seat) {
            // only a thread that panicked is gone, and its request runs into its deadline
            let _ = operator.send(assignment);
        }
    }

    fn dismiss(&mut self, seat: Seat) {
        self.tasks.remove(&seat);
    }

    /// Waits until all have let go, but not for those that hang.
    fn farewell(self) {
        drop(self.tasks);
        let (mine, alive) = self.alive;
        drop(mine);
        let _ = alive.recv_timeout(FAREWELL);
    }
}

/// The way to the card in this reader that has a key of this name.
fn line(key: &KeyId, access: Access, reader: String) -> Box<dyn Line> {
    match (key, access) {
        (KeyId::Pkcs11(id), Access::Pkcs11(launch)) => {
            Box::new(TokenLine::new(reader, id.clone(), launch))
        }
        (KeyId::OpenPgp | KeyId::Piv, Access::Pkcs11(_))
        | (KeyId::OpenPgp | KeyId::Piv | KeyId::Pkcs11(_), Access::Pcsc) => {
            // PC/SC's own names have no zero inside
            let name = CString::new(reader).unwrap_or_default();
            Box::new(PcscLine::new(name, key.clone()))
        }
    }
}

/// Reports the tokens that nobody can pull, and so no reader tells of.
fn find_fixed_tokens(launch: Launch, report: impl Fn(Input)) {
    let deadline = Some(Instant::now() + LOADING);
    match Module::new(launch).look(None, deadline) {
        Ok(tokens) => tokens
            .into_iter()
            .filter(|token| !token.removable)
            .for_each(|token| report(Input::TokenPresent { place: token.place })),
        Err(error) => tracing::warn!(%error, "the PKCS#11 module does not tell its tokens"),
    }
}

fn thread(name: &str, body: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    thread::Builder::new()
        .name(name.to_owned())
        .stack_size(STACK)
        .spawn(body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AfterUse, Item, PinLife};
    use std::sync::atomic::{AtomicBool, Ordering};

    /// Notes that it was emptied.
    struct Watched(Arc<AtomicBool>);

    impl Vault for Watched {
        fn fill(&mut self, _: Item, _: usize, _: &mut dyn FnMut(&mut [u8])) -> io::Result<()> {
            Ok(())
        }
        fn show(&self, _: Item, _: &mut dyn FnMut(&[u8])) {}
        fn wipe(&mut self, _: Item) {}
        fn release(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }

    #[test]
    fn nothing_is_kept_when_the_worker_has_stopped() {
        let config = Config {
            binding: None,
            access: Access::Pcsc,
            pin: PinLife::UntilLock,
            after_use: AfterUse::Keep,
            allow_factory_pin: false,
            certificate: None,
        };
        let emptied = Arc::new(AtomicBool::new(false));
        let cards = start(config, Box::new(Watched(emptied.clone())), |_| {}).unwrap();
        cards.stop();
        assert!(emptied.load(Ordering::SeqCst));
    }
}
