//! What `sluss portal` says, in each language.

use sluss_ipc::PortalOpened;

/// The words for the way to a login page; a part of [`super::Text`].
pub(crate) trait PortalText {
    /// For whom it is open, and for how long.
    fn portal_opened(&self, opened: &PortalOpened) -> String;
    /// There is no browser that could be started.
    fn no_browser(&self, url: &str) -> String;
    /// The page is shown by a browser that may not reach it.
    fn browser_elsewhere(&self) -> &'static str;
}
