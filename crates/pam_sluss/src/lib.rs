//! The PAM module that hands the PIN typed at login to the daemon, so that nobody types it twice.
//!
//! It never decides a login: whatever happens, it answers `PAM_IGNORE`. It asks nothing and needs nobody: where the daemon is
//! missing or hangs, a login takes a second longer and is otherwise as before.
//!
//! The stack reaches it only by a success jump from the module that has tried the PIN on the card (docs/login.md), because
//! after any other way in, `PAM_AUTHTOK` is a password, and a password sent to a card costs a try. On top of that it keeps away
//! from services and logins where nobody sits at this laptop ([`rules`]).
//!
//! | PAM calls | when | what happens |
//! |---|---|---|
//! | `pam_sm_authenticate` | the card module has succeeded | the PIN is put by ([`stash`]), since later it cannot be had any more |
//! | `pam_sm_open_session` | login | it is handed over, and where policy says so the login waits for the tunnel |
//! | `pam_sm_setcred`, reinitialize or refresh | screen unlock | it is handed over |
//! | `pam_sm_setcred`, delete; the end of the transaction | | what is left of it is wiped |

mod conduct;
mod daemon;
mod error;
mod outlook;
mod pam;
mod rules;
mod stash;
