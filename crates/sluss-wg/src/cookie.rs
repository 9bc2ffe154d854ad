//! mac1, mac2 and cookies: proof of knowing the responder's name, and under load of owning the source address (whitepaper 5.4.4, 5.4.7).

use core::time::Duration;
use std::net::{IpAddr, SocketAddr};

use chacha20poly1305::aead::{AeadInPlace, KeyInit};
use chacha20poly1305::{Tag, XChaCha20Poly1305};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::crypto::{Rng, Secret, hash, mac};
use crate::message::{CookieReply, Datagram, MAC, Macs};
use crate::{PublicKey, TAG, Time};

/// How long a cookie, and the secret that it is made from, is good for (whitepaper 5.4.7: two minutes).
const LIFETIME: Duration = Duration::from_secs(120);

type Cookie = Zeroizing<[u8; MAC]>;

/// The two keys that everybody can derive from a receiver's public key.
struct Labels {
    mac1: [u8; 32],
    cookie: [u8; 32],
}

impl Labels {
    fn of(receiver: &PublicKey) -> Self {
        Self {
            mac1: hash(&[b"mac1----", &receiver.0]),
            cookie: hash(&[b"cookie--", &receiver.0]),
        }
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new(&self.cookie.into())
    }
}

/// Checks the macs of what we receive, and hands out cookies.
pub(crate) struct Checker {
    labels: Labels,
    secret: Option<(Secret, Time)>,
}

impl Checker {
    pub(crate) fn new(us: &PublicKey) -> Self {
        Self {
            labels: Labels::of(us),
            secret: None,
        }
    }

    pub(crate) fn mac1_fits(&self, macs: &Macs<'_>) -> bool {
        // msg.mac1 := MAC(HASH(LABEL-MAC1 || S_m'^pub), msg_alpha)
        mac(&self.labels.mac1, &[macs.under_mac1])
            .ct_eq(macs.mac1)
            .into()
    }

    /// Whether mac2 was made with the cookie that `from` has from us.
    pub(crate) fn mac2_fits(&self, macs: &Macs<'_>, from: SocketAddr, now: Time) -> bool {
        let Some((secret, born)) = &self.secret else {
            return false;
        };
        let fits: bool = mac(&cookie(secret, from)[..], &[macs.under_mac2])
            .ct_eq(macs.mac2)
            .into();
        fits && now.saturating_since(*born) < LIFETIME
    }

    /// A cookie for whoever sent the handshake message that carried `mac1` from index `sender`.
    pub(crate) fn reply(
        &mut self,
        sender: u32,
        mac1: &[u8; MAC],
        from: SocketAddr,
        now: Time,
        rng: &mut Rng,
    ) -> Datagram {
        // R_m: a secret that changes every two minutes
        let fresh = self
            .secret
            .take()
            .filter(|(_, born)| now.saturating_since(*born) < LIFETIME);
        let (secret, _) = self
            .secret
            .insert(fresh.unwrap_or_else(|| (rng.draw(), now)));
        // t := MAC(R_m, A_m')
        let mut text = *cookie(secret, from);
        // msg.nonce := RAND(24); msg.cookie := XAEAD(HASH(LABEL-COOKIE || S_m^pub), msg.nonce, t, M)
        let mut nonce = [0; 24];
        nonce.copy_from_slice(&rng.draw()[..24]);
        let tag = self
            .labels
            .cipher()
            .encrypt_in_place_detached(&nonce.into(), mac1, &mut text);
        let mut encrypted_cookie = [0; MAC + TAG];
        encrypted_cookie[..MAC].copy_from_slice(&text);
        encrypted_cookie[MAC..].copy_from_slice(&tag.expect("16 bytes are not too long"));
        CookieReply {
            receiver: sender,
            nonce,
            encrypted_cookie,
        }
        .datagram()
    }
}

/// MAC(R, A): the address as it is on the wire, and the port.
fn cookie(secret: &Secret, address: SocketAddr) -> Cookie {
    let port = address.port().to_be_bytes();
    Zeroizing::new(match address.ip().to_canonical() {
        IpAddr::V4(ip) => mac(&secret[..], &[&ip.octets(), &port]),
        IpAddr::V6(ip) => mac(&secret[..], &[&ip.octets(), &port]),
    })
}

/// Puts the macs on what we send to one peer, and keeps the cookie it gave us.
pub(crate) struct Jar {
    labels: Labels,
    /// mac1 of the last handshake message, until a cookie has come for it.
    unanswered: Option<[u8; MAC]>,
    cookie: Option<(Cookie, Time)>,
}

impl Jar {
    pub(crate) fn new(them: &PublicKey) -> Self {
        Self {
            labels: Labels::of(them),
            unanswered: None,
            cookie: None,
        }
    }

    /// Writes mac1, and mac2 if there is a cookie that is still good.
    pub(crate) fn sign(&mut self, datagram: &mut Datagram, now: Time) {
        let (covered, mac1, mac2) = datagram.macs_mut();
        // msg.mac1 := MAC(HASH(LABEL-MAC1 || S_m'^pub), msg_alpha)
        let computed = mac(&self.labels.mac1, &[covered]);
        mac1.copy_from_slice(&computed);
        self.unanswered = Some(computed);
        // msg.mac2 := MAC(L_m, msg_beta), or zeros if there is no cookie or it is older than two minutes
        self.cookie
            .take_if(|(_, born)| now.saturating_since(*born) >= LIFETIME);
        if let Some((cookie, _)) = &self.cookie {
            mac2.copy_from_slice(&mac(&cookie[..], &[covered, mac1]));
        }
    }

    /// Takes a cookie that was made for the last mac1 we sent; each mac1 buys one.
    pub(crate) fn accept(&mut self, reply: &CookieReply, now: Time) {
        let Some(mac1) = &self.unanswered else { return };
        let (text, tag) = reply.encrypted_cookie.split_at(MAC);
        let mut cookie = Cookie::default();
        cookie.copy_from_slice(text);
        let opened = self.labels.cipher().decrypt_in_place_detached(
            &reply.nonce.into(),
            mac1,
            &mut cookie[..],
            Tag::from_slice(tag),
        );
        if opened.is_ok() {
            self.unanswered = None;
            self.cookie = Some((cookie, now));
        }
    }

    pub(crate) fn forget(&mut self) {
        (self.unanswered, self.cookie) = (None, None);
    }
}
