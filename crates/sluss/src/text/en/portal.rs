//! What `sluss portal` says in English.

use sluss_ipc::PortalOpened;

use super::English;
use crate::text::{Text as _, plain, portal::PortalText};

impl PortalText for English {
    fn portal_opened(&self, opened: &PortalOpened) -> String {
        let whom = match opened.confined {
            true => "the browser that starts now, and for nothing else",
            false => "all your programs",
        };
        let again = match opened.renewable {
            true => " `sluss portal --renew` opens it once more.",
            false => "",
        };
        format!(
            "The way to the login page on {} is open for {}, for {whom}.{again}",
            plain(&opened.page.link),
            self.span(opened.left_ms)
        )
    }

    fn no_browser(&self, url: &str) -> String {
        format!(
            "No browser could be started. Call `sluss portal --all-programs` and go to {} yourself.",
            plain(url)
        )
    }

    fn browser_elsewhere(&self) -> &'static str {
        "Your browser was open already, so it may not reach the page. Close it and call `sluss portal` again, or `sluss portal --all-programs`."
    }
}
