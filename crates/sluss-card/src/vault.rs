//! Where secrets lie between two uses: memory that the host locks, handed in from outside.

use std::io;
use zeroize::Zeroizing;

/// What a vault keeps; at most one of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Item {
    /// A PIN that the card accepted, at most [`crate::Pin::MAX`] bytes.
    Pin,
    /// An unwrapped WireGuard key, 32 bytes.
    Key,
}

/// Memory that is neither swapped nor dumped. What is kept in it is wiped by [`Vault::wipe`], [`Vault::release`] and drop.
pub trait Vault: Send {
    /// Keeps what `by` writes, in place of what was kept. `by` is called once, with `length` zero bytes of that memory, so
    /// that no other copy has to be.
    ///
    /// # Errors
    /// When the host has no such memory to give; then nothing is kept, and `by` was not called.
    fn fill(&mut self, item: Item, length: usize, by: &mut dyn FnMut(&mut [u8])) -> io::Result<()>;

    /// Shows what is kept, if anything is. The bytes must not be copied to where they are not wiped.
    fn show(&self, item: Item, to: &mut dyn FnMut(&[u8]));

    /// Wipes it.
    fn wipe(&mut self, item: Item);

    /// Wipes everything and gives the memory back, so that it is in no image of a sleeping machine. It is taken anew by the
    /// next [`Vault::fill`].
    fn release(&mut self);
}

/// Ordinary memory, wiped but neither locked nor kept out of dumps: for tests, and hosts that have nothing better.
#[derive(Default)]
pub struct HeapVault {
    pin: Option<Zeroizing<Vec<u8>>>,
    key: Option<Zeroizing<Vec<u8>>>,
}

impl HeapVault {
    fn drawer(&mut self, item: Item) -> &mut Option<Zeroizing<Vec<u8>>> {
        match item {
            Item::Pin => &mut self.pin,
            Item::Key => &mut self.key,
        }
    }
}

impl Vault for HeapVault {
    fn fill(&mut self, item: Item, length: usize, by: &mut dyn FnMut(&mut [u8])) -> io::Result<()> {
        by(self.drawer(item).insert(Zeroizing::new(vec![0; length])));
        Ok(())
    }

    fn show(&self, item: Item, to: &mut dyn FnMut(&[u8])) {
        let drawer = match item {
            Item::Pin => &self.pin,
            Item::Key => &self.key,
        };
        if let Some(secret) = drawer {
            to(secret);
        }
    }

    fn wipe(&mut self, item: Item) {
        *self.drawer(item) = None;
    }

    fn release(&mut self) {
        *self = Self::default();
    }
}
