//! Letters from one thread to another, which looks at one flag per batch and locks only if something came.

use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::Waker;

/// Where one thread finds what others have to tell it.
pub(crate) struct Mailbox<T> {
    arrived: AtomicBool,
    closed: AtomicBool,
    letters: Mutex<Vec<T>>,
    reader: Arc<dyn Waker>,
}

impl<T> Mailbox<T> {
    pub(crate) fn new(reader: Arc<dyn Waker>) -> Mailbox<T> {
        Mailbox {
            arrived: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            letters: Mutex::default(),
            reader,
        }
    }

    /// Leaves a letter and wakes the reader.
    pub(crate) fn post(&self, letter: T) {
        let mut letters = self.lock();
        letters.push(letter);
        self.arrived.store(true, Ordering::Release);
        drop(letters);
        self.reader.wake();
    }

    /// Swaps all letters, in the order in which they came, for the empty `into`. Costs one load if there are none.
    pub(crate) fn take(&self, into: &mut Vec<T>) {
        debug_assert!(into.is_empty());
        if self.arrived.load(Ordering::Acquire) {
            let mut letters = self.lock();
            self.arrived.store(false, Ordering::Relaxed);
            mem::swap(&mut *letters, into);
        }
    }

    /// Tells the reader to end.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.reader.wake();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<T>> {
        // A push or a swap cannot leave the list half done.
        self.letters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
