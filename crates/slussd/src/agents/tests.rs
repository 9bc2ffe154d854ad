//! Who is asked, over a real socket.

use std::path::PathBuf;

use nix::unistd::getuid;
use sluss_ipc::server::{self, Incoming, Listener};
use sluss_ipc::{Client, PromptReason, Request, Role};
use tokio::sync::mpsc;

use super::*;

/// A daemon's socket, and the agents that wait at it.
struct Office {
    socket: PathBuf,
    calls: mpsc::Receiver<Incoming>,
    agents: Agents,
    me: Option<u32>,
}

impl Office {
    fn open(name: &str) -> Self {
        let socket = std::env::temp_dir().join(format!("sluss-{name}-{}", std::process::id()));
        let listener = Listener::bind(&socket).expect("a socket");
        let (sender, calls) = mpsc::channel(4);
        tokio::spawn(server::serve(listener, |_| Role::Operator, sender));
        Self {
            socket,
            calls,
            agents: Agents::default(),
            me: Some(getuid().as_raw()),
        }
    }

    /// An agent of this user connects while `user` is at the screen.
    async fn admit(&mut self, user: Option<u32>) -> Waiting {
        let mut client = Client::connect(&self.socket).expect("a daemon");
        client.send(&Request::Agent).expect("a call");
        let incoming = self.calls.recv().await.expect("a call");
        self.agents.admit(incoming.answer, user);
        Waiting(client)
    }
}

/// The far end of one agent.
struct Waiting(Client);

impl Waiting {
    async fn told(self) -> (Self, Response) {
        let waiting = tokio::task::spawn_blocking(move || {
            let mut client = self.0;
            let response = client.receive().expect("an answer");
            (Self(client), response)
        });
        waiting.await.expect("told")
    }
}

fn prompt(id: u64) -> Prompt {
    Prompt {
        id: PromptId(id),
        serial: "0006:12345678".into(),
        reader: "Reader".into(),
        tries_left: None,
        last_try: false,
        pin_pad: false,
        reason: PromptReason::Needed,
    }
}

#[tokio::test]
async fn the_user_at_the_screen_is_asked_also_when_the_agent_comes_late() {
    let mut office = Office::open("late");
    office.agents.prompt(prompt(1), office.me);
    let agent = office.admit(office.me).await;
    assert_eq!(agent.told().await.1, Response::Prompt(prompt(1)));
}

#[tokio::test]
async fn of_two_agents_of_one_user_one_is_asked() {
    let mut office = Office::open("two");
    let first = office.admit(office.me).await;
    let second = office.admit(office.me).await;
    office.agents.prompt(prompt(1), office.me);
    assert_eq!(first.told().await.1, Response::Prompt(prompt(1)));
    // The first thing that the second hears is the end of it.
    office.agents.withdraw(PromptId(1));
    let withdrawn = Response::PromptWithdrawn { id: PromptId(1) };
    assert_eq!(second.told().await.1, withdrawn);
}

#[tokio::test]
async fn when_another_user_comes_to_the_screen_the_prompt_is_closed_and_opens_again_later() {
    let mut office = Office::open("switch");
    let other = office.me.map(|uid| uid + 1);
    let agent = office.admit(office.me).await;
    office.agents.prompt(prompt(1), office.me);
    office.agents.change_user(other);
    office.agents.prompt(prompt(2), other);
    office.agents.change_user(office.me);
    let (agent, first) = agent.told().await;
    assert_eq!(first, Response::Prompt(prompt(1)));
    let (agent, second) = agent.told().await;
    assert_eq!(second, Response::PromptWithdrawn { id: PromptId(1) });
    let (agent, third) = agent.told().await;
    assert_eq!(third, Response::PromptWithdrawn { id: PromptId(2) });
    assert_eq!(agent.told().await.1, Response::Prompt(prompt(2)));
}

#[tokio::test]
async fn a_prompt_that_was_withdrawn_is_not_shown_to_who_comes_later() {
    let mut office = Office::open("gone");
    office.agents.prompt(prompt(1), office.me);
    office.agents.withdraw(PromptId(1));
    let agent = office.admit(office.me).await;
    office.agents.prompt(prompt(2), office.me);
    assert_eq!(agent.told().await.1, Response::Prompt(prompt(2)));
}
