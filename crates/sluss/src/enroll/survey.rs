//! `sluss enroll --survey` in words: each card with its keys, and what the laptop is bound to.

use sluss_ipc::enroll::Survey;

use crate::{
    enroll::Undecided,
    text::{Text, enroll::other_card, plain},
};

pub(crate) fn survey(survey: &Survey, text: &dyn Text) -> String {
    let mut lines = Vec::new();
    for card in &survey.cards {
        let (reader, serial) = (plain(&card.reader), plain(&card.serial));
        lines.push(format!("{reader}: {} {serial}", card.kind.name()));
        for key in &card.keys {
            lines.push(format!("  {}: {}", plain(&key.id), text.place(key)));
        }
    }
    for other in &survey.others {
        lines.push(other_card(other, text));
    }
    if lines.is_empty() {
        lines.push(text.undecided(&Undecided::NoCard(&[])));
    }
    lines.push(text.bound(survey.bound.as_ref()));
    lines.join("\n") + "\n"
}
