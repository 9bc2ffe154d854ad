//! Should the tunnel be up? A pure function of policy and events.
