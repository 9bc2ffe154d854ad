//! One prompt: from the daemon's wish for a PIN to the card's answer.

use std::{ffi::OsString, io, path::PathBuf};

use sluss_ipc::{Client, Error, Pin, Prompt, PromptReason, Refusal, Request, Response};
use tokio::{select, sync::watch, task::spawn_blocking};

use super::pinentry::{self, Answer, Dialog, Pinentry};
use crate::{
    commands::CARD_PATIENCE,
    text::{Text, agent::Button},
};

/// What each prompt needs.
pub(super) struct Means {
    pub(super) socket: PathBuf,
    pub(super) pinentry: OsString,
    pub(super) text: &'static dyn Text,
}

/// How a prompt ended.
pub(super) enum Outcome {
    /// Answered, declined or withdrawn.
    Over,
    /// Answered, and this was wrong with it: told with the next prompt.
    Refused(Refusal),
    /// There is no way to ask here.
    Unaskable(pinentry::Error),
}

/// What the user decided.
enum Decision {
    Pin(Option<Pin>),
    OnPad,
    Cancel,
    Withdrawn,
}

/// Asks until the card has seen a PIN, the user does not want to, or `withdrawn` becomes true.
pub(super) async fn ask(
    means: &Means,
    prompt: &Prompt,
    error: Option<Refusal>,
    mut withdrawn: watch::Receiver<bool>,
) -> Outcome {
    let started = select! {
        biased;
        // An error is the agent's end.
        _ = withdrawn.wait_for(|withdrawn| *withdrawn) => return Outcome::Over,
        started = Pinentry::start(&means.pinentry) => started,
    };
    let mut pinentry = match started {
        Ok(pinentry) => pinentry,
        Err(error) => return Outcome::Unaskable(error),
    };
    let outcome = converse(means, &mut pinentry, prompt, error, withdrawn).await;
    pinentry.end().await;
    outcome.unwrap_or_else(Outcome::Unaskable)
}

async fn converse(
    means: &Means,
    pinentry: &mut Pinentry,
    prompt: &Prompt,
    mut error: Option<Refusal>,
    mut withdrawn: watch::Receiver<bool>,
) -> Result<Outcome, pinentry::Error> {
    loop {
        let decision = select! {
            biased;
            _ = withdrawn.wait_for(|withdrawn| *withdrawn) => Decision::Withdrawn,
            decision = decide(means.text, pinentry, prompt, error) => decision?,
        };
        let answer = match decision {
            Decision::Withdrawn => return Ok(Outcome::Over),
            Decision::Cancel => {
                let decline = Request::Decline { prompt: prompt.id };
                // A daemon that has gone meanwhile has nothing open.
                drop(call(means, decline).await);
                return Ok(Outcome::Over);
            }
            Decision::Pin(None) => Ok(Response::Refused(Refusal::PinFormat)),
            // From here on it is the card's: withdrawn or not, the answer is waited for.
            Decision::Pin(Some(pin)) => call(means, unlock(Some(pin), prompt)).await,
            Decision::OnPad => type_on_pad(means, pinentry, prompt).await,
        };
        match answer {
            Ok(Response::Refused(refusal @ (Refusal::PinFormat | Refusal::Busy))) => {
                error = Some(refusal);
            }
            Ok(Response::Refused(refusal)) => return Ok(Outcome::Refused(refusal)),
            // Whoever has no answer, and whoever has a good one, waits for the next prompt.
            Ok(_) | Err(_) => return Ok(Outcome::Over),
        }
    }
}

/// Everything that is the user's to say.
async fn decide(
    text: &dyn Text,
    pinentry: &mut Pinentry,
    prompt: &Prompt,
    error: Option<Refusal>,
) -> Result<Decision, pinentry::Error> {
    let error = error.map(|refusal| text.refusal(refusal));
    let dialog = |description, ok| Dialog {
        description,
        error: error.as_deref(),
        ok: text.button(ok),
        cancel: text.button(Button::Cancel),
    };
    if prompt.last_try {
        let question = dialog(text.prompt_last_try(), Button::SpendLastTry);
        if let Answer::Cancelled = pinentry.confirm(question).await? {
            return Ok(Decision::Cancel);
        }
    }
    let mut description = text.prompt(prompt);
    // What was wrong with the last one says it already, and so did the question about the last one.
    if let (Some(tries), None, false) = (prompt.tries_left, &error, prompt.last_try) {
        description += &format!("\n{}", text.tries_left(tries));
    }
    if !prompt.pin_pad {
        let question = dialog(&description, Button::Ok);
        return Ok(
            match pinentry.pin(question, text.ask_pin().trim_end()).await? {
                Answer::Given(pin) => Decision::Pin(Pin::new(pin)),
                Answer::Cancelled => Decision::Cancel,
            },
        );
    }
    // A reader that waited in vain is not made to wait again and again.
    if prompt.reason == PromptReason::Again && !prompt.last_try {
        let question = dialog(&description, Button::Again);
        if let Answer::Cancelled = pinentry.confirm(question).await? {
            return Ok(Decision::Cancel);
        }
    }
    Ok(Decision::OnPad)
}

/// Says that the reader waits for the PIN, as long as it does.
async fn type_on_pad(
    means: &Means,
    pinentry: &mut Pinentry,
    prompt: &Prompt,
) -> Result<Response, Error> {
    let unlocked = call(means, unlock(None, prompt));
    let description = means.text.prompt_on_pad(prompt);
    let message = pinentry.message(Dialog {
        description: &description,
        error: None,
        ok: means.text.button(Button::Ok),
        cancel: means.text.button(Button::Cancel),
    });
    tokio::pin!(unlocked);
    select! {
        answer = &mut unlocked => answer,
        // Read, or not shown: the reader waits all the same.
        _ = message => unlocked.await,
    }
}

fn unlock(pin: Option<Pin>, prompt: &Prompt) -> Request {
    Request::Unlock {
        pin,
        last_try: prompt.last_try,
    }
}

/// A call of its own, beside the agent's line.
async fn call(means: &Means, request: Request) -> Result<Response, Error> {
    let socket = means.socket.clone();
    let called = spawn_blocking(move || {
        let mut client = Client::connect(&socket)?;
        client.set_patience(Some(CARD_PATIENCE));
        client.call(&request)
    });
    called.await.map_err(io::Error::other)?
}
