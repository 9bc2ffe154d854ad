//! Rank, site and quorum.
