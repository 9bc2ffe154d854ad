//! Where a peer may be found: groups of addresses, by priority.

use std::collections::BTreeSet;
use std::net::SocketAddr;

/// Groups of addresses, the best group first. The addresses of one group are equal, in the order of preference; those of the
/// next are for when nobody answers at the first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Endpoints(Vec<Vec<SocketAddr>>);

impl Endpoints {
    /// An address counts where it is named first; a group without any is left out.
    pub fn new(groups: impl IntoIterator<Item = Vec<SocketAddr>>) -> Self {
        let mut seen = BTreeSet::new();
        let mut only_new = |mut group: Vec<SocketAddr>| {
            group.retain(|address| seen.insert(*address));
            group
        };
        let groups = groups.into_iter().map(&mut only_new);
        Self(groups.filter(|group| !group.is_empty()).collect())
    }

    pub fn groups(&self) -> &[Vec<SocketAddr>] {
        &self.0
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The best of all.
    pub fn first(&self) -> Option<SocketAddr> {
        self.0.first()?.first().copied()
    }

    /// In which group an address is; 0 is the best.
    pub fn group_of(&self, address: SocketAddr) -> Option<usize> {
        self.0.iter().position(|group| group.contains(&address))
    }
}

impl From<SocketAddr> for Endpoints {
    fn from(only: SocketAddr) -> Self {
        Self(vec![vec![only]])
    }
}

impl From<Option<SocketAddr>> for Endpoints {
    fn from(only: Option<SocketAddr>) -> Self {
        only.map(Self::from).unwrap_or_default()
    }
}
