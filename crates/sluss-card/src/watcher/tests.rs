//! Readers and a service made of words: what no virtual reader can do, and what would take too long.

use super::*;
use std::cell::RefCell;
use std::collections::VecDeque;

/// What the service says next.
#[derive(Clone, Copy)]
enum Line {
    /// The readers there are.
    List(&'static [&'static str]),
    /// What has changed: reader, whether a card is in, count.
    Wait(&'static [(&'static str, bool, u32)]),
    Fail(pcsc::Error),
    /// Connecting fails.
    Absent,
    Connected,
}
use Line::{Absent, Connected, Fail, List, Wait};

struct Script<'a>(&'a RefCell<VecDeque<Line>>);

impl Readers for Script<'_> {
    fn list(&mut self) -> Result<Vec<CString>, pcsc::Error> {
        match self.0.borrow_mut().pop_front() {
            Some(List(names)) => Ok(names
                .iter()
                .map(|name| CString::new(*name).unwrap())
                .collect()),
            Some(Fail(error)) => Err(error),
            _ => panic!("list the readers?"),
        }
    }

    fn wait(&mut self, _: Vec<CString>) -> Result<Vec<(String, Seen)>, pcsc::Error> {
        let seen = |&(name, present, count): &(&str, bool, u32)| {
            (String::from(name), Seen { present, count })
        };
        match self.0.borrow_mut().pop_front() {
            Some(Wait(changes)) => Ok(changes.iter().map(seen).collect()),
            Some(Fail(error)) => Err(error),
            _ => panic!("wait?"),
        }
    }
}

/// What is told while the service says this; it ends when the service has no more to say.
fn told(script: &[Line]) -> Vec<String> {
    let script = RefCell::new(script.iter().copied().collect::<VecDeque<_>>());
    let told = RefCell::new(Vec::new());
    let tell = |words: String| told.borrow_mut().push(words);
    let connect = || match script.borrow_mut().pop_front() {
        Some(Connected) => Ok(Script(&script)),
        Some(Absent) => Err(pcsc::Error::NoService),
        _ => panic!("connect?"),
    };
    let mut report = |input| {
        tell(match input {
            Input::CardPresent { reader } => format!("{reader} in"),
            Input::CardAbsent { reader } => format!("{reader} out"),
            Input::ServiceFound => "found".into(),
            Input::ServiceLost { .. } => "lost".into(),
            _ => panic!("a watcher tells of readers only"),
        });
        if script.borrow().is_empty() {
            Err(Unheard)
        } else {
            Ok(())
        }
    };
    let sleep = |pause: Duration| tell(format!("{} ms", pause.as_millis()));
    let Err(Unheard) = seek(connect, sleep, &mut report);
    told.into_inner()
}

#[test]
fn a_pull_between_two_looks_is_not_missed() {
    let script = [
        Connected,
        List(&["a"]),
        Wait(&[("a", false, 0)]),
        List(&["a"]),
        Wait(&[("a", true, 1)]),
        List(&["a"]),
        Wait(&[("a", true, 3)]),
        List(&["a"]),
        Wait(&[("a", false, 4)]),
    ];
    assert_eq!(told(&script), ["found", "a in", "a out", "a in", "a out"]);
}

#[test]
fn other_changes_of_a_reader_are_no_pull() {
    // another program connects, which the reader tells; then a reset
    let script = [
        Connected,
        List(&["a"]),
        Wait(&[("a", true, 1)]),
        List(&["a"]),
        Wait(&[("a", true, 1)]),
        List(&["a"]),
        Wait(&[("a", false, 2)]),
    ];
    assert_eq!(told(&script), ["found", "a in", "a in", "a out"]);
}

#[test]
fn a_reader_that_is_unplugged_takes_its_card_along() {
    let script = [
        Connected,
        List(&["a", "b", "c"]),
        Wait(&[("a", true, 1), ("b", true, 1), ("c", false, 0)]),
        // no word of it but that it is not in the list
        List(&["b"]),
        Wait(&[]),
        // back, with the card still in it
        List(&["a", "b"]),
        Wait(&[("a", true, 1)]),
        // this time the service says so itself, and asks for a reader that has just gone
        List(&["a", "b"]),
        Wait(&[("a", false, 2)]),
        List(&["a", "b"]),
        Fail(pcsc::Error::UnknownReader),
        List(&["b"]),
        Wait(&[("b", false, 2)]),
    ];
    assert_eq!(
        told(&script),
        ["found", "a in", "b in", "a out", "a in", "a out", "b out"]
    );
}

#[test]
fn the_last_reader_may_go_and_another_come() {
    let script = [
        Connected,
        List(&["a"]),
        Wait(&[("a", true, 1)]),
        List(&[]),
        Wait(&[]),
        List(&["z"]),
        Wait(&[("z", true, 1)]),
    ];
    assert_eq!(told(&script), ["found", "a in", "a out", "z in"]);
}

#[test]
fn a_service_that_stops_is_told_once_and_looked_for_ever_less_often() {
    let mut script = vec![
        Connected,
        List(&["a"]),
        Wait(&[("a", true, 1)]),
        List(&["a"]),
        Fail(pcsc::Error::CommError),
    ];
    script.extend([Absent; 9]);
    // back, and the card has to be told anew
    script.extend([Connected, List(&["a"]), Wait(&[("a", true, 1)])]);
    let expected = [
        "found", "a in", "lost", "100 ms", "200 ms", "400 ms", "800 ms", "1600 ms", "3200 ms",
        "6400 ms", "8000 ms", "8000 ms", "8000 ms", "found", "a in",
    ];
    assert_eq!(told(&script), expected);
}

#[test]
fn a_service_that_was_never_there_is_told() {
    let script = [Absent, Absent, Connected];
    assert_eq!(told(&script), ["lost", "100 ms", "200 ms", "found"]);
}
