//! Keeps what outlasts one operation, a PIN that the card accepted and an unwrapped key, until somebody says wipe.
//!
//! Operators work on threads that may hang and be given up. Each task carries the *era* it was given in; every wipe begins a
//! new one, and nothing that was begun before it is kept afterwards.

use crate::{Error, Item, Pin, PinEntry, SharedSecret, Vault, x25519};
use std::sync::{Mutex, MutexGuard, PoisonError};
use zeroize::Zeroizing;

/// The time between two wipes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Era(u64);

/// Shared by the desk and its operators; never locked while a card is waited for.
pub(crate) struct Keeper(Mutex<Kept>);

struct Kept {
    vault: Box<dyn Vault>,
    era: Era,
    pin: bool,
    key: bool,
}

impl Keeper {
    pub(crate) fn new(vault: Box<dyn Vault>) -> Self {
        Self(Mutex::new(Kept {
            vault,
            era: Era(0),
            pin: false,
            key: false,
        }))
    }

    pub(crate) fn era(&self) -> Era {
        self.lock().era
    }

    pub(crate) fn has_pin(&self) -> bool {
        self.lock().pin
    }

    pub(crate) fn has_key(&self) -> bool {
        self.lock().key
    }

    /// Keeps a PIN that the card has accepted. One that cannot be kept is only typed again.
    pub(crate) fn keep_pin(&self, era: Era, pin: &Pin) {
        let mut kept = self.lock();
        if kept.era != era {
            return;
        }
        let pin = pin.as_bytes();
        let filled = kept.vault.fill(Item::Pin, pin.len(), &mut |place| {
            place.copy_from_slice(pin)
        });
        kept.pin = filled.is_ok();
        if let Err(error) = filled {
            tracing::warn!(%error, "no locked memory: the PIN is not kept");
        }
    }

    /// A copy for one use.
    pub(crate) fn pin(&self) -> Option<PinEntry> {
        let kept = self.lock();
        let mut copy = None;
        if kept.pin {
            kept.vault.show(Item::Pin, &mut |pin| {
                copy = Pin::new(Zeroizing::new(pin.to_vec())).ok();
            });
        }
        copy.map(PinEntry::Typed)
    }

    pub(crate) fn drop_pin(&self) {
        let mut kept = self.lock();
        kept.pin = false;
        kept.vault.wipe(Item::Pin);
    }

    /// Keeps the WireGuard key that `open` writes, which it alone does: there is no other copy.
    ///
    /// # Errors
    /// What `open` says; [`Error::NoMemory`]; [`Error::Locked`] when all was wiped since the task began.
    pub(crate) fn keep_key(
        &self,
        era: Era,
        open: impl FnOnce(&mut [u8; 32]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut kept = self.lock();
        if kept.era != era {
            return Err(Error::Locked);
        }
        let mut open = Some(open);
        let mut opened = Err(Error::NoMemory);
        let filled = kept.vault.fill(Item::Key, 32, &mut |place| {
            if let (Some(open), Ok(place)) = (open.take(), place.try_into()) {
                opened = open(place);
            }
        });
        if let Err(error) = filled {
            tracing::warn!(%error, "no locked memory for the key");
            opened = Err(Error::NoMemory);
        }
        kept.key = opened.is_ok();
        if opened.is_err() {
            kept.vault.wipe(Item::Key);
        }
        opened
    }

    /// The Diffie-Hellman with the kept key, if there is one.
    pub(crate) fn agree(&self, with: &[u8; 32]) -> Option<Result<SharedSecret, Error>> {
        let kept = self.lock();
        let mut agreed = None;
        if kept.key {
            kept.vault.show(Item::Key, &mut |key| {
                agreed = key.try_into().ok().map(|key| x25519::agree(key, with));
            });
        }
        agreed
    }

    /// Wipes everything; what is begun already will not be kept.
    pub(crate) fn wipe(&self) {
        let mut kept = self.lock();
        kept.forget();
        kept.vault.wipe(Item::Pin);
        kept.vault.wipe(Item::Key);
    }

    /// The same, and gives the memory back.
    pub(crate) fn release(&self) {
        let mut kept = self.lock();
        kept.forget();
        kept.vault.release();
    }

    /// A panic elsewhere must not keep us from wiping.
    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn forget(&mut self) {
        self.era = Era(self.era.0 + 1);
        (self.pin, self.key) = (false, false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::HeapVault;

    fn keeper() -> Keeper {
        Keeper::new(Box::new(HeapVault::default()))
    }

    fn pin() -> Pin {
        Pin::new(b"123456".to_vec().into()).unwrap()
    }

    fn kept(keeper: &Keeper) -> Option<Vec<u8>> {
        match keeper.pin()? {
            PinEntry::Typed(pin) => Some(pin.as_bytes().to_vec()),
            PinEntry::OnPad => None,
        }
    }

    fn write(key: &mut [u8; 32]) -> Result<(), Error> {
        *key = [7; 32];
        Ok(())
    }

    #[test]
    fn what_is_kept_is_used_until_it_is_wiped() {
        let wipes: [fn(&Keeper); 2] = [Keeper::wipe, Keeper::release];
        for wipe in wipes {
            let keeper = keeper();
            assert!(kept(&keeper).is_none() && keeper.agree(&[9; 32]).is_none());
            keeper.keep_pin(keeper.era(), &pin());
            keeper.keep_key(keeper.era(), write).unwrap();
            assert_eq!(kept(&keeper).unwrap(), b"123456");
            let theirs = x25519::public_key(&[3; 32]);
            let secret = keeper.agree(&theirs).unwrap().unwrap();
            let ours = x25519::public_key(&[7; 32]);
            assert_eq!(
                secret.as_bytes(),
                x25519::agree(&[3; 32], &ours).unwrap().as_bytes()
            );
            wipe(&keeper);
            assert!(!keeper.has_pin() && !keeper.has_key());
            assert!(kept(&keeper).is_none() && keeper.agree(&theirs).is_none());
        }
    }

    #[test]
    fn what_was_begun_before_a_wipe_is_not_kept_after_it() {
        let keeper = keeper();
        let before = keeper.era();
        keeper.wipe();
        keeper.keep_pin(before, &pin());
        assert_eq!(keeper.keep_key(before, write), Err(Error::Locked));
        assert!(!keeper.has_pin() && !keeper.has_key());
    }

    #[test]
    fn a_key_that_does_not_open_leaves_nothing_behind() {
        let keeper = keeper();
        keeper.keep_key(keeper.era(), write).unwrap();
        let refused = keeper.keep_key(keeper.era(), |place| {
            *place = [7; 32];
            Err(Error::OtherKey)
        });
        assert_eq!(refused, Err(Error::OtherKey));
        assert!(keeper.agree(&[9; 32]).is_none());
        let vault = &keeper.lock().vault;
        vault.show(Item::Key, &mut |_| panic!("it is still there"));
    }

    /// A host that locks no memory.
    struct Poor;

    impl Vault for Poor {
        fn fill(&mut self, _: Item, _: usize, _: &mut dyn FnMut(&mut [u8])) -> std::io::Result<()> {
            Err(std::io::ErrorKind::OutOfMemory.into())
        }
        fn show(&self, _: Item, _: &mut dyn FnMut(&[u8])) {}
        fn wipe(&mut self, _: Item) {}
        fn release(&mut self) {}
    }

    #[test]
    fn without_locked_memory_nothing_is_kept() {
        let keeper = Keeper::new(Box::new(Poor));
        keeper.keep_pin(keeper.era(), &pin());
        assert_eq!(keeper.keep_key(keeper.era(), write), Err(Error::NoMemory));
        assert!(!keeper.has_pin() && !keeper.has_key());
    }
}
