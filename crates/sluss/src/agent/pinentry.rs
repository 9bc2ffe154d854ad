//! The installed pinentry: a program that asks for PINs on whatever screen there is.

use std::{env, ffi::OsStr, io, process::Stdio, time::Duration};

use nix::{
    sys::{
        signal::{Signal, kill},
        termios::{SetArg, Termios, tcgetattr, tcsetattr},
    },
    unistd::{Pid, ttyname},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::timeout,
};
use zeroize::Zeroizing;

use super::assuan::{self, Lines, Malformed, Reply};

/// How long it may take for what needs no person.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long it may take to put the screen in order when it is told to end.
const FAREWELL: Duration = Duration::from_secs(1);

/// More lines than any answer has.
const MANY: usize = 64;

#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("pinentry cannot be started: {0}")]
    Start(io::Error),
    #[error("pinentry ended")]
    Ended,
    #[error("pinentry does not answer")]
    Silent,
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// As when there is neither a display nor a terminal.
    #[error("pinentry cannot ask here (error {0})")]
    Refused(u32),
    #[error("pinentry cannot be talked to: {0}")]
    Io(#[from] io::Error),
}

/// What the user did.
pub(super) enum Answer<T> {
    Given(T),
    Cancelled,
}

/// What a dialog shows.
pub(super) struct Dialog<'a> {
    pub(super) description: &'a str,
    /// What was wrong the last time.
    pub(super) error: Option<&'a str>,
    pub(super) ok: &'a str,
    pub(super) cancel: &'a str,
}

/// A running pinentry.
pub(super) struct Pinentry {
    child: Child,
    input: ChildStdin,
    output: ChildStdout,
    lines: Lines,
    /// How the terminal was, if there is one: not every pinentry puts it back when it is told to end.
    terminal: Option<Termios>,
}

impl Pinentry {
    pub(super) async fn start(program: &OsStr) -> Result<Self, Error> {
        let terminal = tcgetattr(io::stdin()).ok();
        let mut child = Command::new(program)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // A last resort: `end` is kinder.
            .kill_on_drop(true)
            .spawn()
            .map_err(Error::Start)?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(Error::Ended);
        };
        let mut pinentry = Self {
            child,
            input,
            output,
            lines: Lines::new(),
            terminal,
        };
        timeout(PATIENCE, pinentry.introduce())
            .await
            .map_err(|_| Error::Silent)??;
        Ok(pinentry)
    }

    /// Asks for a PIN, which is shown as dots at most.
    pub(super) async fn pin(
        &mut self,
        dialog: Dialog<'_>,
        prompt: &str,
    ) -> Result<Answer<Zeroizing<Vec<u8>>>, Error> {
        self.prepare(&dialog).await?;
        self.tell("SETPROMPT", prompt).await?;
        match self.ask("GETPIN").await {
            Ok(pin) => Ok(Answer::Given(pin)),
            Err(error) => cancelled(error),
        }
    }

    /// Asks a question that is answered by one of two buttons.
    pub(super) async fn confirm(&mut self, dialog: Dialog<'_>) -> Result<Answer<()>, Error> {
        self.prepare(&dialog).await?;
        match self.ask("CONFIRM").await {
            Ok(_) => Ok(Answer::Given(())),
            Err(error) => cancelled(error),
        }
    }

    /// Shows a text until the user has read it.
    pub(super) async fn message(&mut self, dialog: Dialog<'_>) -> Result<(), Error> {
        self.prepare(&dialog).await?;
        self.ask("MESSAGE").await.map(drop)
    }

    /// Closes its window, if it shows one, and waits until it has ended.
    pub(super) async fn end(mut self) {
        // Its own id, which stays its own until it has been waited for. SIGTERM, so that it can clear the screen.
        let id = self.child.id().and_then(|id| i32::try_from(id).ok());
        if let Some(id) = id {
            let _ = kill(Pid::from_raw(id), Signal::SIGTERM);
        }
        if timeout(FAREWELL, self.child.wait()).await.is_err() {
            let _ = self.child.kill().await;
        }
        if let Some(before) = &self.terminal
            && tcgetattr(io::stdin()).is_ok_and(|now| now != *before)
        {
            let _ = tcsetattr(io::stdin(), SetArg::TCSADRAIN, before);
        }
    }

    async fn introduce(&mut self) -> Result<(), Error> {
        self.answer().await?;
        let locale = |name: &str| {
            ["LC_ALL", name, "LANG"]
                .into_iter()
                .filter_map(|name| env::var(name).ok())
                .find(|value| !value.is_empty())
        };
        let options = [
            (
                "ttyname",
                ttyname(io::stdin())
                    .ok()
                    .and_then(|path| path.into_os_string().into_string().ok()),
            ),
            ("ttytype", env::var("TERM").ok()),
            ("lc-ctype", locale("LC_CTYPE")),
            ("lc-messages", locale("LC_MESSAGES")),
        ];
        for (name, value) in options {
            let Some(value) = value else { continue };
            match self.tell("OPTION", &format!("{name}={value}")).await {
                // Not every pinentry knows every option.
                Ok(()) | Err(Error::Refused(_)) => {}
                Err(error) => return Err(error),
            }
        }
        self.tell("SETTITLE", "Sluss").await
    }

    async fn prepare(&mut self, dialog: &Dialog<'_>) -> Result<(), Error> {
        self.tell("SETDESC", dialog.description).await?;
        self.tell("SETOK", dialog.ok).await?;
        self.tell("SETCANCEL", dialog.cancel).await?;
        if let Some(error) = dialog.error {
            self.tell("SETERROR", error).await?;
        }
        Ok(())
    }

    async fn tell(&mut self, command: &str, argument: &str) -> Result<(), Error> {
        let command = format!("{command} {}", assuan::escape(argument));
        timeout(PATIENCE, self.ask(&command))
            .await
            .map_err(|_| Error::Silent)?
            .map(drop)
    }

    async fn ask(&mut self, command: &str) -> Result<Zeroizing<Vec<u8>>, Error> {
        self.input
            .write_all(format!("{command}\n").as_bytes())
            .await?;
        self.answer().await
    }

    /// The data up to the line that ends the answer.
    async fn answer(&mut self) -> Result<Zeroizing<Vec<u8>>, Error> {
        let mut data = Zeroizing::new(Vec::with_capacity(assuan::LONGEST));
        for _ in 0..MANY {
            match self.line().await? {
                Reply::Ok => return Ok(data),
                Reply::Failed { code } => return Err(Error::Refused(code)),
                // Never grown: a reallocation would leave a copy behind.
                Reply::Data(more) if data.len() + more.len() > data.capacity() => break,
                Reply::Data(more) => data.extend_from_slice(&more),
                Reply::Inquiry => self.input.write_all(b"CAN\n").await?,
                Reply::Aside => {}
            }
        }
        Err(Malformed.into())
    }

    async fn line(&mut self) -> Result<Reply, Error> {
        loop {
            if let Some(reply) = self.lines.next()? {
                return Ok(reply);
            }
            match self.output.read(self.lines.space()).await? {
                0 => return Err(Error::Ended),
                count => self.lines.advance(count),
            }
        }
    }
}

fn cancelled<T>(error: Error) -> Result<Answer<T>, Error> {
    match error {
        Error::Refused(code) if assuan::is_cancel(code) => Ok(Answer::Cancelled),
        error => Err(error),
    }
}
