//! What `sluss portal` says in Swedish.

use sluss_ipc::PortalOpened;

use super::Swedish;
use crate::text::{Text as _, plain, portal::PortalText};

impl PortalText for Swedish {
    fn portal_opened(&self, opened: &PortalOpened) -> String {
        let whom = match opened.confined {
            true => "webbläsaren som nu startar, och för inget annat",
            false => "alla dina program",
        };
        let again = match opened.renewable {
            true => " `sluss portal --renew` öppnar den en gång till.",
            false => "",
        };
        format!(
            "Vägen till inloggningssidan på {} är öppen i {}, för {whom}.{again}",
            plain(&opened.page.link),
            self.span(opened.left_ms)
        )
    }

    fn no_browser(&self, url: &str) -> String {
        format!(
            "Ingen webbläsare kunde startas. Kör `sluss portal --all-programs` och gå själv till {}.",
            plain(url)
        )
    }

    fn browser_elsewhere(&self) -> &'static str {
        "Din webbläsare var redan öppen, så den når kanske inte sidan. Stäng den och kör `sluss portal` igen, eller `sluss portal --all-programs`."
    }
}
