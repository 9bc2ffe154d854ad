//! Letters: none is lost, no reader sleeps over one, what is urgent is known to be, and nobody waits for a closed mailbox.

use std::sync::Arc;

use loom::sync::{Condvar, Mutex};
use loom::thread;

use crate::mailbox::Mailbox;
use crate::{Waker, explore};

/// An eventfd: it stays rung until somebody hears it.
#[derive(Default)]
struct Bell {
    rung: Mutex<bool>,
    changed: Condvar,
}

impl Bell {
    fn wait(&self) {
        let mut rung = self.rung.lock().expect("no panic");
        while !*rung {
            rung = self.changed.wait(rung).expect("no panic");
        }
        *rung = false;
    }
}

impl Waker for Bell {
    fn wake(&self) {
        *self.rung.lock().expect("no panic") = true;
        self.changed.notify_all();
    }
}

fn mailbox<T>() -> (Arc<Mailbox<T>>, Arc<Bell>) {
    let bell = Arc::new(Bell::default());
    (Arc::new(Mailbox::new(bell.clone())), bell)
}

/// The reader's loop as both threads have it, until `enough`. That a wake-up is lost shows as a deadlock.
fn read<T>(mailbox: &Mailbox<T>, bell: &Bell, mut enough: impl FnMut(bool, Vec<T>) -> bool) {
    while !mailbox.is_closed() {
        let mut letters = Vec::new();
        let is_urgent = mailbox.take(&mut letters);
        if enough(is_urgent, letters) {
            return;
        }
        if mailbox.is_quiet() {
            bell.wait();
        }
    }
}

#[test]
fn letters_arrive_once_and_in_order() {
    explore(|| {
        let (mailbox, bell) = mailbox();
        let writer = thread::spawn({
            let mailbox = mailbox.clone();
            move || [1, 2].map(|letter| mailbox.post(letter))
        });
        let mut got = Vec::new();
        read(&mailbox, &bell, |is_urgent, letters| {
            assert!(!is_urgent);
            got.extend(letters);
            got.len() >= 2
        });
        writer.join().expect("no panic");
        assert_eq!(got, [1, 2]);
        assert!(mailbox.is_quiet());
    });
}

#[test]
fn two_writers_lose_nothing() {
    explore(|| {
        let (mailbox, bell) = mailbox();
        let writers = [1, 2].map(|letter| {
            let mailbox = mailbox.clone();
            thread::spawn(move || mailbox.post(letter))
        });
        let mut got = Vec::new();
        read(&mailbox, &bell, |_, letters| {
            got.extend(letters);
            got.len() >= 2
        });
        for writer in writers {
            writer.join().expect("no panic");
        }
        got.sort_unstable();
        assert_eq!(got, [1, 2]);
    });
}

/// A key is handed over and wiped.
#[derive(Debug, PartialEq, Eq)]
enum Letter {
    Key,
    Wipe,
    After,
}

fn hand_over_and_wipe(mailbox: &Arc<Mailbox<Letter>>) -> thread::JoinHandle<()> {
    let mailbox = mailbox.clone();
    thread::spawn(move || {
        mailbox.post(Letter::Key);
        mailbox.post_urgent(Letter::Wipe);
        mailbox.post(Letter::After);
    })
}

/// Whoever takes the letter that wipes a key forgets what is sealed with it, neither earlier nor later.
#[test]
fn a_wiped_key_is_known_to_be_urgent() {
    explore(|| {
        let (mailbox, bell) = mailbox();
        let control = hand_over_and_wipe(&mailbox);
        let mut got = Vec::new();
        read(&mailbox, &bell, |is_urgent, letters| {
            assert_eq!(is_urgent, letters.contains(&Letter::Wipe));
            got.extend(letters);
            got.len() >= 3
        });
        control.join().expect("no panic");
        assert_eq!(got, [Letter::Key, Letter::Wipe, Letter::After]);
    });
}

/// A sender that the network keeps waiting hears of it, and then sleeps over nothing.
#[test]
fn a_wiped_key_is_not_waited_over() {
    explore(|| {
        let (mailbox, bell) = mailbox();
        let control = hand_over_and_wipe(&mailbox);
        while mailbox.is_patient() {
            bell.wait();
        }
        let mut got = Vec::new();
        read(&mailbox, &bell, |_, letters| {
            got.extend(letters);
            got.len() >= 3
        });
        control.join().expect("no panic");
        assert!(mailbox.is_patient());
    });
}

#[test]
fn a_closed_mailbox_ends_its_reader() {
    explore(|| {
        let (mailbox, bell) = mailbox();
        let threads = [
            thread::spawn({
                let mailbox = mailbox.clone();
                move || mailbox.post(1)
            }),
            thread::spawn({
                let mailbox = mailbox.clone();
                move || mailbox.close()
            }),
        ];
        read(&mailbox, &bell, |_, _| false);
        for thread in threads {
            thread.join().expect("no panic");
        }
    });
}

/// A sender that waits for the network uses up the wake-up. It must not wait for another.
#[test]
fn a_closed_mailbox_ends_its_sender() {
    explore(|| {
        let (mailbox, bell) = mailbox::<()>();
        let owner = thread::spawn({
            let mailbox = mailbox.clone();
            move || mailbox.close()
        });
        while mailbox.is_patient() {
            bell.wait();
        }
        if mailbox.is_quiet() {
            bell.wait();
        }
        owner.join().expect("no panic");
    });
}

/// A letter may carry the way back for an answer. If the reader ends without it, it is dropped, and the question with it.
#[test]
fn nobody_waits_for_an_answer_that_does_not_come() {
    struct Question(Arc<Bell>);
    impl Drop for Question {
        fn drop(&mut self) {
            self.0.wake();
        }
    }
    explore(|| {
        let (mailbox, _) = mailbox();
        let reader = thread::spawn({
            let mailbox = mailbox.clone();
            move || {
                mailbox.take(&mut Vec::new());
                mailbox.close();
            }
        });
        let dropped = Arc::new(Bell::default());
        mailbox.post(Question(dropped.clone()));
        dropped.wait();
        reader.join().expect("no panic");
    });
}
