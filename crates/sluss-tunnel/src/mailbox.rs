//! Letters from one thread to another, which looks at one flag per batch and locks only if something came.

use std::mem;
use std::sync::{Arc, PoisonError};

use crate::Waker;
use crate::sync::{AtomicBool, Mutex, MutexGuard, Ordering};

/// Where one thread finds what others have to tell it.
pub(crate) struct Mailbox<T> {
    arrived: AtomicBool,
    /// One of the letters that have arrived cannot wait for a network that is stuck.
    urgent: AtomicBool,
    closed: AtomicBool,
    letters: Mutex<Vec<T>>,
    reader: Arc<dyn Waker>,
}

impl<T> Mailbox<T> {
    pub(crate) fn new(reader: Arc<dyn Waker>) -> Mailbox<T> {
        Mailbox {
            arrived: AtomicBool::new(false),
            urgent: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            letters: Mutex::default(),
            reader,
        }
    }

    /// Leaves a letter and wakes the reader. Once the mailbox is closed, letters are dropped.
    pub(crate) fn post(&self, letter: T) {
        self.leave(letter, false);
    }

    /// Leaves a letter for which the reader drops what it has not sent yet.
    pub(crate) fn post_urgent(&self, letter: T) {
        self.leave(letter, true);
    }

    /// Swaps all letters, in the order in which they came, for the empty `into`. Costs one load if there are none.
    /// Says whether one of them was urgent.
    pub(crate) fn take(&self, into: &mut Vec<T>) -> bool {
        debug_assert!(into.is_empty());
        if !self.arrived.load(Ordering::Acquire) {
            return false;
        }
        let mut letters = self.lock();
        self.arrived.store(false, Ordering::Relaxed);
        mem::swap(&mut *letters, into);
        self.urgent.swap(false, Ordering::Relaxed)
    }

    /// Tells the reader to end, or the writers that it has ended. Letters that nobody has read are dropped.
    pub(crate) fn close(&self) {
        let mut letters = self.lock();
        self.closed.store(true, Ordering::Release);
        letters.clear();
        drop(letters);
        self.reader.wake();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Whether the reader may sleep: if so now, whatever comes later wakes it.
    pub(crate) fn is_quiet(&self) -> bool {
        !self.arrived.load(Ordering::Acquire) && !self.is_closed()
    }

    /// Whether the reader may go on trying to send.
    pub(crate) fn is_patient(&self) -> bool {
        !self.urgent.load(Ordering::Acquire) && !self.is_closed()
    }

    fn leave(&self, letter: T, is_urgent: bool) {
        let mut letters = self.lock();
        if self.is_closed() {
            return;
        }
        letters.push(letter);
        if is_urgent {
            self.urgent.store(true, Ordering::Release);
        }
        self.arrived.store(true, Ordering::Release);
        drop(letters);
        self.reader.wake();
    }

    fn lock(&self) -> MutexGuard<'_, Vec<T>> {
        // A push or a swap cannot leave the list half done.
        self.letters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
