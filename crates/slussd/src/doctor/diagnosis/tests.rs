//! What a helpdesk sees on a laptop in each place, and what the doctor makes of it.
