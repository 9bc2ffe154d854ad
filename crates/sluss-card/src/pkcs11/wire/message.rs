//! What is asked of a worker, and what it answers.

use crate::Pin;
use crate::applet::Padding;
use crate::key::{Algorithm, CardKey};
use zeroize::Zeroizing;

/// A token in one of the module's slots, as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// The module's number for the slot.
    pub slot: u64,
    /// What the module calls the slot: for a card, the PC/SC name of its reader, up to 64 bytes of it.
    pub place: String,
    /// Whether the token can be pulled; one that cannot is always present.
    pub removable: bool,
    /// The manufacturer's serial number, as the token gives it.
    pub serial: String,
    /// What its issuer called it.
    pub label: String,
    /// How it stands with the PIN.
    pub pin: PinState,
    /// Keys that it may make, the best first: none on a card, whose issuer makes them.
    pub makes: Vec<Algorithm>,
    /// What can be seen now: private keys show only after login.
    pub keys: Vec<Key>,
}

/// How it stands with a token's PIN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PinState {
    /// How many wrong ones it would take.
    pub tries: Tries,
    /// Fewest bytes.
    pub shortest: u8,
    /// Most bytes.
    pub longest: u8,
    /// Whether it is typed on the reader's own keys.
    pub pad: bool,
    /// Whether the keys can be used now: this worker is logged in, or the token wants no PIN at all.
    pub ready: bool,
}

/// What a token's flags say about its PIN (PKCS#11 2.40, 3.2: `CKF_USER_PIN_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tries {
    /// No sign of a wrong PIN.
    All,
    /// A wrong PIN was entered since the last right one.
    Low,
    /// One wrong PIN more blocks it.
    Last,
    /// It is blocked.
    None,
}

/// A key of a token, known by its `CKA_ID`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// `CKA_ID`.
    pub id: Vec<u8>,
    /// `CKA_LABEL`; may be empty.
    pub label: String,
    /// Its public half.
    pub public: CardKey,
    /// What it may do; `None` as long as the private half does not show.
    pub uses: Option<Uses>,
    /// X.509 in DER, with the same `CKA_ID`.
    pub certificate: Option<Vec<u8>>,
}

/// What a private key may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Uses {
    /// `CKA_DERIVE`: Diffie-Hellman.
    pub derive: bool,
    /// `CKA_DECRYPT`: RSA decryption, PKCS#1 v1.5.
    pub decrypt: bool,
    /// As `decrypt`, and the token also lists `CKM_RSA_PKCS_OAEP`.
    pub decrypt_oaep: bool,
    /// `CKA_SIGN`.
    pub sign: bool,
    /// `CKA_ALWAYS_AUTHENTICATE`: the PIN serves for one use.
    pub pin_each_time: bool,
}

/// How a private key signs a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// RSASSA-PKCS1-v1_5 with SHA-256 (RFC 8017, 8.2).
    RsaPkcs1Sha256,
    /// ECDSA with SHA-256 (FIPS 186-5, 6); the signature is r and s, each as long as the curve's field.
    EcdsaSha256,
    /// The same with SHA-384.
    EcdsaSha384,
}

pub(in crate::pkcs11) enum Request {
    /// All tokens with their keys, or those in the slots that are named after this reader.
    Look {
        reader: Option<String>,
    },
    /// How it stands with the PIN of the token that this worker first saw in the slot.
    Pin {
        slot: u64,
    },
    /// Show the PIN to the token that this worker first saw in the slot; `None` when it is typed on the reader.
    LogIn {
        slot: u64,
        pin: Option<Pin>,
    },
    LogOut {
        slot: u64,
    },
    /// `with` is a raw point: 32 bytes of X25519, or uncompressed (SEC 1, 2.3.3).
    Derive {
        slot: u64,
        key: Vec<u8>,
        with: Vec<u8>,
    },
    Decrypt {
        slot: u64,
        key: Vec<u8>,
        padding: Padding,
        ciphertext: Vec<u8>,
    },
    Sign {
        slot: u64,
        key: Vec<u8>,
        scheme: Scheme,
        message: Vec<u8>,
    },
    /// A key pair that stays on the token, private half never to be read; refused where the `CKA_ID` is taken.
    Generate {
        slot: u64,
        algorithm: Algorithm,
        id: Vec<u8>,
        label: String,
    },
}

pub(in crate::pkcs11) enum Response {
    Tokens(Vec<Token>),
    Pin(PinState),
    Done,
    /// What was derived, decrypted or signed.
    Bytes(Zeroizing<Vec<u8>>),
    Key(Key),
    Failed(Fault),
}

/// Why a worker could not do what was asked, by what the module said.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The token left, or another one is in its place.
    #[error("the token is gone")]
    Gone,
    /// The module does not know such cards.
    #[error("the PKCS#11 module does not know this card")]
    Foreign,
    /// A PIN is needed first.
    #[error("the token is not logged in")]
    NotLoggedIn,
    /// The token refused the PIN; how it stands now.
    #[error("wrong PIN")]
    WrongPin(Tries),
    /// Of the wrong length or with characters that the token does not know; nothing was spent.
    #[error("no PIN of this token looks like this")]
    BadPin,
    /// Too many wrong PINs.
    #[error("the PIN is blocked")]
    Blocked,
    /// Nothing was typed on the reader's keys.
    #[error("no PIN was typed on the reader")]
    Declined,
    /// No key with this `CKA_ID`.
    #[error("the token has no such key")]
    NoKey,
    /// Module, token or key cannot do this.
    #[error("the token cannot do this")]
    Unsupported,
    /// The module cannot be loaded or started; what the host or the module said.
    #[error("the PKCS#11 module cannot be used: {0}")]
    Unusable(String),
    /// Something else; function and return value in the standard's names.
    #[error("the PKCS#11 module failed: {0}")]
    Failed(String),
    /// What came out cannot be right.
    #[error("the PKCS#11 module gave nonsense: {0}")]
    Nonsense(String),
}
