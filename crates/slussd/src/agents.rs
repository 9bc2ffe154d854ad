//! The agents that wait in users' sessions: the one of the user at the screen is asked for the PIN, and told what is new.

use sluss_ipc::server::Answer;
use sluss_ipc::{Notices, Prompt, PromptId, Response, Status};

/// Everybody who waits, the one who came first at the front.
#[derive(Default)]
pub(crate) struct Agents {
    waiting: Vec<Agent>,
    open: Option<Prompt>,
}

struct Agent {
    answer: Answer,
    notices: Notices,
}

impl Agents {
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// `user` is at the screen.
    pub(crate) fn admit(&mut self, answer: Answer, user: Option<u32>) {
        self.waiting.push(Agent {
            answer,
            notices: Notices::default(),
        });
        self.ask(user);
    }

    /// Asks the user; an earlier prompt is replaced.
    pub(crate) fn prompt(&mut self, prompt: Prompt, user: Option<u32>) {
        self.open = Some(prompt);
        self.ask(user);
    }

    pub(crate) fn withdraw(&mut self, id: PromptId) {
        if self.open.take_if(|prompt| prompt.id == id).is_some() {
            self.close(id);
        }
    }

    /// Whatever is asked is no longer of interest.
    pub(crate) fn withdraw_all(&mut self) {
        if let Some(prompt) = self.open.take() {
            self.close(prompt.id);
        }
    }

    /// Another user is at the screen: who was asked before is not any more.
    pub(crate) fn change_user(&mut self, user: Option<u32>) {
        if let Some(prompt) = &self.open {
            self.close(prompt.id);
        }
        self.ask(user);
    }

    /// Tells the user what is worth it.
    pub(crate) fn tell(&mut self, status: &Status, user: Option<u32>) {
        if let Some(agent) = self.agent_of(user)
            && let Some(notice) = agent.notices.observe(status)
        {
            agent.answer.send(Response::Notice(notice));
        }
    }

    /// One prompt at a time: of several agents of one user, one is asked.
    fn ask(&mut self, user: Option<u32>) {
        let prompt = self.open.clone();
        if let (Some(agent), Some(prompt)) = (self.agent_of(user), prompt) {
            agent.answer.send(Response::Prompt(prompt));
        }
    }

    fn close(&self, id: PromptId) {
        for agent in &self.waiting {
            agent.answer.send(Response::PromptWithdrawn { id });
        }
    }

    fn agent_of(&mut self, user: Option<u32>) -> Option<&mut Agent> {
        self.waiting.retain(|agent| !agent.answer.is_closed());
        let user = user?;
        self.waiting
            .iter_mut()
            .find(|agent| agent.answer.peer().uid == user)
    }
}

#[cfg(test)]
mod tests;
