//! The memory in which the card worker keeps a PIN and an unwrapped key.

use std::io;

use sluss_card::{Item, Vault};
use sluss_platform::secret::{Area, Kind};
use tracing::warn;

/// One area of memory for each item, made when there is something to keep.
pub(crate) struct HostVault {
    /// None: the best that this kernel has.
    kind: Option<Kind>,
    pin: Option<Area>,
    key: Option<Area>,
}

impl HostVault {
    pub(crate) fn new(kind: Option<Kind>) -> Self {
        Self {
            kind,
            pin: None,
            key: None,
        }
    }

    fn drawer(&mut self, item: Item) -> &mut Option<Area> {
        match item {
            Item::Pin => &mut self.pin,
            Item::Key => &mut self.key,
        }
    }
}

impl Vault for HostVault {
    fn fill(&mut self, item: Item, length: usize, by: &mut dyn FnMut(&mut [u8])) -> io::Result<()> {
        self.wipe(item);
        let area = match self.kind {
            Some(kind) => Area::of_kind(kind, length),
            None => Area::new(length),
        };
        let mut area = area.map_err(|error| {
            warn!(%error, "there is no memory to keep a secret in");
            io::Error::other(error)
        })?;
        area.write(|bytes| by(bytes));
        *self.drawer(item) = Some(area);
        Ok(())
    }

    fn show(&self, item: Item, to: &mut dyn FnMut(&[u8])) {
        let drawer = match item {
            Item::Pin => &self.pin,
            Item::Key => &self.key,
        };
        if let Some(area) = drawer {
            area.read(|bytes| to(bytes));
        }
    }

    fn wipe(&mut self, item: Item) {
        // Wiped as it is dropped.
        *self.drawer(item) = None;
    }

    fn release(&mut self) {
        self.wipe(Item::Pin);
        self.wipe(Item::Key);
    }
}
