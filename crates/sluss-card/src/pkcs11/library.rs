//! One loaded PKCS#11 module, inside the worker process: its slots, and a session with each token that was seen.

mod fault;
mod objects;

use self::fault::fault;
use super::wire::{Fault, Key, PinState, Scheme, Token, Tries};
use crate::Pin;
use crate::applet::Padding;
use crate::key::Algorithm;
use aws_lc_rs::digest::{SHA256, SHA384, digest};
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::mechanism::elliptic_curve::{EcKdf, Ecdh1DeriveParams};
use cryptoki::mechanism::rsa::{PkcsMgfType, PkcsOaepParams, PkcsOaepSource};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, SessionState, UserType};
use cryptoki::slot::{Slot, SlotInfo, TokenInfo};
use cryptoki::types::RawAuthPin;
use std::collections::BTreeMap;
use std::path::Path;
use zeroize::Zeroizing;

/// `DigestInfo` of SHA-256, but for the digest (RFC 8017, 9.2, note 1).
const SHA256_DIGEST_INFO: [u8; 19] = [
    0x30, 0x31, 0x30, 0x0D, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05,
    0x00, 0x04, 0x20,
];
/// `CK_SLOT_INFO` has room for so many bytes of a slot's description.
const LONGEST_PLACE: usize = 64;

/// A module that was loaded and initialised.
pub(super) struct Library {
    pkcs11: Pkcs11,
    seen: BTreeMap<u64, Seen>,
}

/// A token that was looked at. Its session ends when it is pulled: a PIN that is shown to the session reaches no other token.
struct Seen {
    session: Session,
    serial: String,
    /// For a key that wants the PIN for each use (`CKA_ALWAYS_AUTHENTICATE`): kept until the next.
    pin: Option<Pin>,
}

impl Library {
    pub(super) fn load(module: &Path) -> Result<Self, Fault> {
        let unusable = |error: cryptoki::error::Error| Fault::Unusable(error.to_string());
        let pkcs11 = Pkcs11::new(module).map_err(unusable)?;
        let flags = CInitializeFlags::OS_LOCKING_OK;
        pkcs11
            .initialize(CInitializeArgs::new(flags))
            .map_err(unusable)?;
        let seen = BTreeMap::new();
        Ok(Self { pkcs11, seen })
    }

    /// All tokens, or those in the slots that are named after this reader.
    pub(super) fn look(&mut self, reader: Option<&str>) -> Result<Vec<Token>, Fault> {
        let mut tokens = Vec::new();
        let mut failed = None;
        for (slot, info) in self.slots(reader)? {
            match self.token(slot, &info) {
                Ok(token) => tokens.extend(token),
                // of no concern if there is another token that can be read
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        match failed {
            Some(error) if tokens.is_empty() => Err(error),
            Some(_) | None => Ok(tokens),
        }
    }

    fn slots(&self, reader: Option<&str>) -> Result<Vec<(Slot, SlotInfo)>, Fault> {
        let mut slots = Vec::new();
        for slot in self.pkcs11.get_all_slots().map_err(fault)? {
            slots.push((slot, self.pkcs11.get_slot_info(slot).map_err(fault)?));
        }
        let Some(reader) = reader else {
            return Ok(slots);
        };
        let (named, others): (Vec<_>, Vec<_>) = slots
            .into_iter()
            .partition(|(_, info)| is_named_after(info.slot_description(), reader));
        if named.is_empty() && !others.is_empty() {
            let names = others.iter().map(|(_, info)| info.slot_description());
            let names: Vec<_> = names.collect();
            return Err(Fault::Unusable(format!(
                "none of its slots is named after the reader {reader}, but {}",
                names.join(", ")
            )));
        }
        Ok(named)
    }

    fn token(&mut self, slot: Slot, info: &SlotInfo) -> Result<Option<Token>, Fault> {
        if !info.token_present() {
            return Ok(None);
        }
        let token = self.pkcs11.get_token_info(slot).map_err(fault)?;
        if !token.token_initialized() {
            return Ok(None);
        }
        let mechanisms = self.mechanisms(slot);
        let makes = if info.removable_device() || token.write_protected() {
            Vec::new()
        } else {
            objects::makes(&mechanisms)
        };
        let session = &self.seen(slot, token.serial_number())?.session;
        Ok(Some(Token {
            slot: slot.id(),
            place: info.slot_description().to_owned(),
            removable: info.removable_device(),
            serial: token.serial_number().to_owned(),
            label: token.label().to_owned(),
            pin: pin_state(&token, session)?,
            makes,
            keys: objects::keys(session, &mechanisms)?,
        }))
    }

    /// The token in the slot, with its session; a new session for a new token.
    fn seen(&mut self, slot: Slot, serial: &str) -> Result<&Seen, Fault> {
        let known = self
            .seen
            .remove(&slot.id())
            .filter(|seen| seen.serial == serial && seen.session.get_session_info().is_ok());
        let seen = match known {
            Some(seen) => seen,
            None => Seen {
                session: self.pkcs11.open_ro_session(slot).map_err(fault)?,
                serial: serial.to_owned(),
                pin: None,
            },
        };
        Ok(self.seen.entry(slot.id()).or_insert(seen))
    }

    pub(super) fn pin(&mut self, slot: u64) -> Result<PinState, Fault> {
        let seen = self.seen.get(&slot).ok_or(Fault::Gone)?;
        let token = self.pkcs11.get_token_info(slot_at(slot)?).map_err(fault)?;
        if token.serial_number() != seen.serial {
            return Err(Fault::Gone);
        }
        pin_state(&token, &seen.session)
    }

    pub(super) fn log_in(&mut self, slot: u64, pin: Option<Pin>) -> Result<(), Fault> {
        let seen = self.seen.get_mut(&slot).ok_or(Fault::Gone)?;
        if is_logged_in(&seen.session)? {
            // or the module would not look at the PIN
            seen.session.logout().map_err(fault)?;
        }
        let shown = log_in(&seen.session, UserType::User, pin.as_ref());
        match shown {
            Ok(()) => seen.pin = pin.filter(|_| objects::any_wants_pin_each_time(&seen.session)),
            Err(Fault::WrongPin(_)) => {
                let info = self.pkcs11.get_token_info(slot_at(slot)?).map_err(fault)?;
                return Err(match tries(&info) {
                    Tries::None => Fault::Blocked,
                    Tries::Last => Fault::WrongPin(Tries::Last),
                    // not every module tells; that one is lost is known
                    Tries::Low | Tries::All => Fault::WrongPin(Tries::Low),
                });
            }
            Err(other) => return Err(other),
        }
        Ok(())
    }

    pub(super) fn log_out(&mut self, slot: u64) -> Result<(), Fault> {
        let seen = self.seen.get_mut(&slot).ok_or(Fault::Gone)?;
        seen.pin = None;
        if is_logged_in(&seen.session)? {
            seen.session.logout().map_err(fault)?;
        }
        Ok(())
    }

    /// The token takes the raw point; OpenSC refuses one in DER, which the standard lets a token do (PKCS#11 2.40,
    /// mechanisms, 2.3.8).
    pub(super) fn derive(
        &mut self,
        slot: u64,
        id: &[u8],
        with: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, Fault> {
        let (session, key) = self.private_key(slot, id)?;
        let mechanism = Mechanism::Ecdh1Derive(Ecdh1DeriveParams::new(EcKdf::null(), with));
        // a point's X coordinate is as long as X25519's whole, and half of an uncompressed one
        let length = if with.len() == 32 { 32 } else { with.len() / 2 };
        let length = u64::try_from(length).map_err(|_| Fault::Unsupported)?;
        let template = [
            Attribute::Class(ObjectClass::SECRET_KEY),
            Attribute::KeyType(KeyType::GENERIC_SECRET),
            Attribute::Token(false),
            Attribute::Sensitive(false),
            Attribute::Extractable(true),
            Attribute::ValueLen(length.into()),
        ];
        let secret = session
            .derive_key(&mechanism, key, &template)
            .map_err(fault)?;
        // not a token's object, so it ends with the session
        let attributes = session.get_attributes(secret, &[AttributeType::Value]);
        let value = attributes
            .map_err(fault)?
            .into_iter()
            .find_map(|it| match it {
                Attribute::Value(value) => Some(Zeroizing::new(value)),
                _ => None,
            });
        value.ok_or_else(|| Fault::Nonsense("a derived key without a value".to_owned()))
    }

    /// What has no sound padding gives nothing, as if nothing had been encrypted: a reason is not told.
    pub(super) fn decrypt(
        &mut self,
        slot: u64,
        id: &[u8],
        padding: Padding,
        ciphertext: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, Fault> {
        let mechanism = match padding {
            Padding::OaepSha256 => Mechanism::RsaPkcsOaep(PkcsOaepParams::new(
                MechanismType::SHA256,
                PkcsMgfType::MGF1_SHA256,
                PkcsOaepSource::empty(),
            )),
            Padding::Pkcs1 => Mechanism::RsaPkcs,
        };
        let (session, key) = self.private_key(slot, id)?;
        let decrypted = if let Some(pin) = self.pin_for_one_use(slot, &session, key)? {
            session.decrypt_init(&mechanism, key).map_err(fault)?;
            log_in(&session, UserType::ContextSpecific, Some(&pin))?;
            session.decrypt_update(ciphertext).and_then(|mut plain| {
                plain.append(&mut session.decrypt_final()?);
                Ok(plain)
            })
        } else {
            session.decrypt(&mechanism, key, ciphertext)
        };
        match decrypted {
            Ok(plain) => Ok(Zeroizing::new(plain)),
            Err(error) if fault::is_bad_padding(&error) => Ok(Zeroizing::default()),
            Err(error) => Err(fault(error)),
        }
    }

    /// A token that does not hash gets the hash: the signature is the same.
    pub(super) fn sign(
        &mut self,
        slot: u64,
        id: &[u8],
        scheme: Scheme,
        message: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, Fault> {
        let mechanisms = self.mechanisms(slot_at(slot)?);
        let hashes = mechanisms.contains(&MechanismType::SHA256_RSA_PKCS);
        let hash = digest(&SHA256, message);
        let (mechanism, message) = match scheme {
            Scheme::EcdsaSha256 => (Mechanism::Ecdsa, hash.as_ref().to_vec()),
            Scheme::EcdsaSha384 => (Mechanism::Ecdsa, digest(&SHA384, message).as_ref().to_vec()),
            Scheme::RsaPkcs1Sha256 if hashes => (Mechanism::Sha256RsaPkcs, message.to_vec()),
            Scheme::RsaPkcs1Sha256 => (
                Mechanism::RsaPkcs,
                [&SHA256_DIGEST_INFO, hash.as_ref()].concat(),
            ),
        };
        let (session, key) = self.private_key(slot, id)?;
        let signature = if let Some(pin) = self.pin_for_one_use(slot, &session, key)? {
            session.sign_init(&mechanism, key).map_err(fault)?;
            log_in(&session, UserType::ContextSpecific, Some(&pin))?;
            session.sign_update(&message).map_err(fault)?;
            session.sign_final()
        } else {
            session.sign(&mechanism, key, &message)
        };
        signature.map(Zeroizing::new).map_err(fault)
    }

    pub(super) fn generate(
        &mut self,
        slot: u64,
        algorithm: Algorithm,
        id: Vec<u8>,
        label: String,
    ) -> Result<Key, Fault> {
        if !self.seen.contains_key(&slot) {
            return Err(Fault::Gone);
        }
        let slot = slot_at(slot)?;
        let mechanisms = self.mechanisms(slot);
        let (mechanism, curve) =
            objects::key_pair_generation(algorithm, &mechanisms).ok_or(Fault::Unsupported)?;
        let named = [
            Attribute::Token(true),
            Attribute::Id(id.clone()),
            Attribute::Label(label.into_bytes()),
        ];
        let public = [
            Attribute::EcParams(curve.to_vec()),
            Attribute::Private(false),
        ];
        let private = [
            Attribute::Private(true),
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
            Attribute::Derive(true),
        ];
        // the login is the whole process's, so this session has it too
        let session = self.pkcs11.open_rw_session(slot).map_err(fault)?;
        let taken = session.find_objects(&[Attribute::Id(id)]).map_err(fault)?;
        if !taken.is_empty() {
            return Err(Fault::Unsupported);
        }
        let (public, private) = session
            .generate_key_pair(
                &mechanism,
                &[&named[..], &public].concat(),
                &[&named[..], &private].concat(),
            )
            .map_err(fault)?;
        objects::key(&session, public, private)
    }

    /// A private key in a session of its own, which shares the login: what is begun in it and fails ends with it.
    fn private_key(&self, slot: u64, id: &[u8]) -> Result<(Session, ObjectHandle), Fault> {
        let seen = self.seen.get(&slot).ok_or(Fault::Gone)?;
        let logged_in = is_logged_in(&seen.session)?;
        let slot = slot_at(slot)?;
        let session = self.pkcs11.open_ro_session(slot).map_err(fault)?;
        let wanted = [
            Attribute::Class(ObjectClass::PRIVATE_KEY),
            Attribute::Id(id.to_vec()),
        ];
        match session.find_objects(&wanted).map_err(fault)?.first() {
            Some(&key) => Ok((session, key)),
            // without a login there are none to be seen
            None if logged_in => Err(Fault::NoKey),
            None => Err(Fault::NotLoggedIn),
        }
    }

    /// The PIN, if the key wants it for each use: then for this one.
    fn pin_for_one_use(
        &mut self,
        slot: u64,
        session: &Session,
        key: ObjectHandle,
    ) -> Result<Option<Pin>, Fault> {
        if !objects::wants_pin_each_time(session, key) {
            return Ok(None);
        }
        let pin = self.seen.get_mut(&slot).and_then(|seen| seen.pin.take());
        pin.map(Some).ok_or(Fault::NotLoggedIn)
    }

    fn mechanisms(&self, slot: Slot) -> Vec<MechanismType> {
        self.pkcs11.get_mechanism_list(slot).unwrap_or_default()
    }
}

fn log_in(session: &Session, user: UserType, pin: Option<&Pin>) -> Result<(), Fault> {
    match pin {
        Some(pin) => {
            let pin = RawAuthPin::new(Box::new(pin.as_bytes().to_vec()));
            session.login_with_raw(user, &pin)
        }
        None => session.login(user, None),
    }
    .map_err(fault)
}

fn is_logged_in(session: &Session) -> Result<bool, Fault> {
    let info = session.get_session_info().map_err(fault)?;
    Ok(matches!(
        info.session_state(),
        SessionState::RoUser | SessionState::RwUser
    ))
}

/// Whether a slot's description is the reader's PC/SC name, of which it has room for 64 bytes.
fn is_named_after(place: &str, reader: &str) -> bool {
    let reader = reader.as_bytes();
    let known = &reader[..reader.len().min(LONGEST_PLACE)];
    known.trim_ascii_end() == place.as_bytes().trim_ascii_end()
}

fn slot_at(slot: u64) -> Result<Slot, Fault> {
    Slot::try_from(slot).map_err(fault)
}

fn pin_state(token: &TokenInfo, session: &Session) -> Result<PinState, Fault> {
    Ok(PinState {
        tries: tries(token),
        shortest: short(token.min_pin_length()),
        // some tokens do not tell
        longest: match token.max_pin_length() {
            0 => u8::MAX,
            length => short(length),
        },
        pad: token.protected_authentication_path(),
        ready: !token.login_required() || is_logged_in(session)?,
    })
}

fn tries(token: &TokenInfo) -> Tries {
    if token.user_pin_locked() {
        Tries::None
    } else if token.user_pin_final_try() {
        Tries::Last
    } else if token.user_pin_count_low() {
        Tries::Low
    } else {
        Tries::All
    }
}

fn short(length: usize) -> u8 {
    u8::try_from(length).unwrap_or(u8::MAX)
}
