//! Desktop notifications (freedesktop.org, "Desktop Notifications Specification" 1.2): one at a time.

use std::collections::HashMap;

use sluss_ipc::Notice;
use tokio::sync::watch;
use zbus::{Connection, Variant, proxy};

use crate::text::Text;

#[proxy(
    interface = "org.freedesktop.Notifications",
    default_service = "org.freedesktop.Notifications",
    default_path = "/org/freedesktop/Notifications"
)]
trait Notifications {
    #[expect(clippy::too_many_arguments, reason = "the specification's")]
    fn notify(
        &self,
        app_name: &str,
        replaces_id: u32,
        app_icon: &str,
        summary: &str,
        body: &str,
        actions: &[&str],
        hints: HashMap<&str, Variant<'_>>,
        expire_timeout: i32,
    ) -> zbus::Result<u32>;
}

/// What a notification says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Told {
    Notice(Notice),
    /// A PIN is wanted, and there is no way to ask for it.
    Unaskable,
}

/// Shows the newest of what it is told, in the place of the one before, until the agent ends.
///
/// A desktop that shows no notifications, or slowly, holds up nothing but them.
pub(super) async fn show(mut told: watch::Receiver<Option<Told>>, text: &dyn Text) {
    let mut desk = None;
    let mut shown = 0;
    let mut is_mute = false;
    while told.changed().await.is_ok() {
        let Some(newest) = told.borrow_and_update().clone() else {
            continue;
        };
        match tell(&mut desk, shown, &newest, text).await {
            Ok(id) => (shown, is_mute) = (id, false),
            Err(error) => {
                // The next one may find another desktop.
                (desk, shown) = (None, 0);
                if !std::mem::replace(&mut is_mute, true) {
                    eprintln!("sluss agent: {}", text.no_notifications(&error.to_string()));
                }
            }
        }
    }
}

async fn tell(
    desk: &mut Option<NotificationsProxy<'static>>,
    shown: u32,
    told: &Told,
    text: &dyn Text,
) -> zbus::Result<u32> {
    let desk = match desk {
        Some(desk) => desk,
        None => desk.insert(NotificationsProxy::new(&Connection::session().await?).await?),
    };
    let (summary, body) = match told {
        Told::Notice(notice) => text.notice(notice),
        Told::Unaskable => text.unaskable(),
    };
    let hints = HashMap::from([
        ("urgency", Variant::U8(urgency(told))),
        ("category", Variant::from("network")),
    ]);
    let icon = "network-vpn";
    desk.notify("Sluss", shown, icon, &summary, body, &[], hints, -1)
        .await
}

/// 0 is low, 1 normal; 2 would stay until it is clicked away.
fn urgency(told: &Told) -> u8 {
    match told {
        Told::Notice(Notice::Connected { .. } | Notice::Inside) => 0,
        Told::Notice(
            Notice::CardPulled
            | Notice::CardMissed
            | Notice::CardUnusable { .. }
            | Notice::CardBlocked
            | Notice::NoCardService
            | Notice::GatewaySilent { .. }
            | Notice::TunnelFailed
            | Notice::LoginPage,
        )
        | Told::Unaskable => 1,
    }
}
