//! `sluss agent`: in the user's session it asks for the PIN when the daemon wants it, and shows what is worth a notification.
//!
//! ```text
//! slussd ──► line ──► run ──► asking ──► pinentry
//!   ▲                  └────► notifier ──► desktop
//!   └── the PIN, on a connection of its own
//! ```

mod asking;
mod assuan;
mod line;
mod notifier;
mod pinentry;

use std::{ffi::OsString, path::Path, rc::Rc, time::Duration};

use anyhow::{Context as _, Result};
use nix::sys::prctl;
use sluss_ipc::{Prompt, PromptId, PromptReason, Refusal, Response};
use tokio::{
    runtime, select,
    signal::unix::{SignalKind, signal},
    sync::{mpsc, watch},
    task::{JoinHandle, LocalSet, spawn_local},
    time::timeout,
};

use crate::{
    exit::{Exit, Refused, StrangeAnswer},
    text::Text,
};
use asking::{Means, Outcome};
use notifier::Told;

/// How long a window may take to close at the end.
const CLOSING: Duration = Duration::from_secs(3);

/// Runs until SIGTERM, or until the user's terminal goes away.
pub(crate) fn run(socket: &Path, pinentry: OsString, text: &'static dyn Text) -> Result<Exit> {
    // From here on a PIN may be in memory: neither a core dump nor a debugger of the user's shall have it.
    prctl::set_dumpable(false)?;
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let means = Means {
        socket: socket.to_owned(),
        pinentry,
        text,
    };
    let done = LocalSet::new().block_on(&runtime, attend(means));
    // A call that waits for a card is nobody's any more.
    runtime.shutdown_background();
    done
}

async fn attend(means: Means) -> Result<Exit> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let (said, mut heard) = mpsc::channel(4);
    let mut line = spawn_local(line::attend(means.socket.clone(), said));
    let (tell, told) = watch::channel(None);
    let text = means.text;
    spawn_local(notifier::show(told, text));
    let mut agent = Agent {
        means: Rc::new(means),
        tell,
        asking: None,
        next: None,
        refused: None,
    };
    let done = loop {
        select! {
            biased;
            _ = terminate.recv() => break Ok(Exit::Done),
            _ = interrupt.recv() => break Ok(Exit::Done),
            _ = hangup.recv() => break Ok(Exit::Done),
            outcome = agent.asked() => agent.ended(outcome),
            Some(said) = heard.recv() => if let Err(error) = agent.hear(said) {
                break Err(error);
            },
            ended = &mut line => break ended
                .context("the line to the daemon")
                .and_then(|ended| Ok(ended?))
                .map(|()| Exit::Done),
        }
    };
    agent.close().await;
    done
}

struct Agent {
    means: Rc<Means>,
    tell: watch::Sender<Option<Told>>,
    asking: Option<Asking>,
    /// Comes when the one before has ended.
    next: Option<Prompt>,
    /// What was wrong with the last PIN that came from here.
    refused: Option<Refusal>,
}

/// A prompt that is open, or whose PIN the card is checking.
struct Asking {
    id: PromptId,
    withdraw: watch::Sender<bool>,
    task: JoinHandle<Outcome>,
}

impl Asking {
    /// Closes the window, if it is still there.
    fn close(&self) {
        // It may have ended just now.
        let _ = self.withdraw.send(true);
    }
}

impl Agent {
    fn hear(&mut self, said: Option<Response>) -> Result<()> {
        let Some(response) = said else {
            self.withdraw();
            return Ok(());
        };
        match response {
            Response::Prompt(prompt) => {
                self.withdraw();
                self.next = Some(prompt);
                self.ask_next();
            }
            Response::PromptWithdrawn { id } => {
                self.next.take_if(|next| next.id == id);
                if let Some(asking) = self.asking.as_ref().filter(|asking| asking.id == id) {
                    asking.close();
                }
            }
            Response::Notice(notice) => drop(self.tell.send(Some(Told::Notice(notice)))),
            Response::Refused(refusal) => return Err(Refused(refusal).into()),
            Response::Status(_)
            | Response::Why(_)
            | Response::Diagnosis(_)
            | Response::PortalOpened(_)
            | Response::Change(_)
            | Response::Card(_)
            | Response::Policy(_)
            | Response::HandedOver { .. }
            | Response::Survey(_)
            | Response::Enrolled(_)
            | Response::Done => return Err(StrangeAnswer.into()),
        }
        Ok(())
    }

    /// Closes what is open, and forgets what would come.
    fn withdraw(&mut self) {
        self.next = None;
        if let Some(asking) = &self.asking {
            asking.close();
        }
    }

    fn ask_next(&mut self) {
        if self.asking.is_some() {
            return;
        }
        let Some(prompt) = self.next.take() else {
            return;
        };
        let refused = self
            .refused
            .take()
            .filter(|_| prompt.reason == PromptReason::Again);
        let (withdraw, withdrawn) = watch::channel(false);
        let means = Rc::clone(&self.means);
        let id = prompt.id;
        let task =
            spawn_local(async move { asking::ask(&means, &prompt, refused, withdrawn).await });
        self.asking = Some(Asking { id, withdraw, task });
    }

    /// How the open prompt ended; never, if there is none.
    async fn asked(&mut self) -> Outcome {
        match &mut self.asking {
            // The task is not cancelled by us, and what panics has said so.
            Some(asking) => (&mut asking.task).await.unwrap_or(Outcome::Over),
            None => std::future::pending().await,
        }
    }

    fn ended(&mut self, outcome: Outcome) {
        self.asking = None;
        match outcome {
            Outcome::Over => self.refused = None,
            Outcome::Refused(refusal) => self.refused = Some(refusal),
            Outcome::Unaskable(error) => {
                let (summary, body) = self.means.text.unaskable();
                eprintln!("sluss agent: {summary}. {body} ({error})");
                let _ = self.tell.send(Some(Told::Unaskable));
            }
        }
        self.ask_next();
    }

    /// Leaves no window behind.
    async fn close(mut self) {
        self.withdraw();
        if let Some(asking) = self.asking.take() {
            let _ = timeout(CLOSING, asking.task).await;
        }
    }
}
