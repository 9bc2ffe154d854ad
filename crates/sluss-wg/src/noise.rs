//! The handshake, Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s (whitepaper 5.4.2 and 5.4.3), with static keys left outside.
//!
//! Each step carries the paper's line. `S` is a static key, `E` an ephemeral one, `i` the initiator, `r` the responder,
//! `C` the chaining key, `H` the transcript hash, `Q` the pre-shared key. `DH(S, ·)` with our own static key is never
//! computed here: it comes as an argument.

use x25519_dalek::StaticSecret;

use crate::crypto::{Cipher, Secret, hash, kdf};
use crate::key::{DhError, PublicKey, SharedSecret};
use crate::message::{Initiation, Response};
use crate::{TAG, Tai64n};

const CONSTRUCTION: &[u8] = b"Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s";
const IDENTIFIER: &[u8] = b"WireGuard v1 zx2c4 Jason@zx2c4.com";

/// The transport keys of a session, from where we stand (whitepaper 5.4.5).
pub(crate) struct Keys {
    pub(crate) send: Secret,
    pub(crate) receive: Secret,
}

/// What an initiator remembers of an initiation. Finishing does not consume it: a forged response must cost nothing.
pub(crate) struct Sent {
    index: u32,
    ephemeral: StaticSecret,
    transcript: Transcript,
}

/// Writes message 1. `ss` is DH(S_i, S_r).
pub(crate) fn initiate(
    us: &PublicKey,
    them: &PublicKey,
    ss: &SharedSecret,
    ephemeral: StaticSecret,
    index: u32,
    stamp: Tai64n,
) -> Result<(Sent, Initiation), DhError> {
    // C := HASH(CONSTRUCTION); H := HASH(C || IDENTIFIER); H := HASH(H || S_r^pub)
    let mut transcript = Transcript::new(them);
    // (E_i^priv, E_i^pub) := DH-GENERATE(); C := KDF1(C, E_i^pub); msg.ephemeral := E_i^pub; H := HASH(H || msg.ephemeral)
    let public = x25519_dalek::PublicKey::from(&ephemeral).to_bytes();
    transcript.mix_ephemeral(&public);
    // (C, k) := KDF2(C, DH(E_i^priv, S_r^pub))
    let key = transcript.mix_key(&dh(&ephemeral, &them.0)?);
    // msg.static := AEAD(k, 0, S_i^pub, H); H := HASH(H || msg.static)
    let encrypted_static = transcript.seal(&key, &us.0);
    // (C, k) := KDF2(C, DH(S_i^priv, S_r^pub))
    let key = transcript.mix_key(ss);
    // msg.timestamp := AEAD(k, 0, TIMESTAMP(), H); H := HASH(H || msg.timestamp)
    let encrypted_stamp = transcript.seal(&key, &stamp.0);

    let message = Initiation {
        sender: index,
        ephemeral: public,
        encrypted_static,
        encrypted_stamp,
    };
    Ok((
        Sent {
            index,
            ephemeral,
            transcript,
        },
        message,
    ))
}

impl Sent {
    /// Our index, by which the response finds us.
    pub(crate) fn index(&self) -> u32 {
        self.index
    }

    /// Reads message 2. `se` is DH(S_i, E_r). `None` if the message is not from the peer.
    pub(crate) fn finish(
        &self,
        reply: &Response,
        se: &SharedSecret,
        psk: &[u8; 32],
    ) -> Option<Keys> {
        let mut transcript = self.transcript.clone();
        // C := KDF1(C, E_r^pub); H := HASH(H || msg.ephemeral)
        transcript.mix_ephemeral(&reply.ephemeral);
        // C := KDF1(C, DH(E_i^priv, E_r^pub)); C := KDF1(C, DH(S_i^priv, E_r^pub))
        transcript.mix_chain(&dh(&self.ephemeral, &reply.ephemeral).ok()?);
        transcript.mix_chain(se);
        // (C, t, k) := KDF3(C, Q); H := HASH(H || t)
        let key = transcript.mix_psk(psk);
        // the plaintext of AEAD(k, 0, e, H) is empty; H := HASH(H || msg.empty)
        let [] = transcript.open(&key, &reply.encrypted_nothing)?;
        // (T_i^send, T_i^recv) := KDF2(C, e)
        let [send, receive] = transcript.split();
        Some(Keys { send, receive })
    }
}

/// Message 1 once its sender is known, but not yet that the sender has the key to that name.
pub(crate) struct Claimed {
    pub(crate) by: PublicKey,
    sender: u32,
    ephemeral: [u8; 32],
    encrypted_stamp: [u8; 28],
    transcript: Transcript,
}

/// Message 1, authenticated, ready to be answered.
pub(crate) struct Received {
    pub(crate) stamp: Tai64n,
    by: PublicKey,
    sender: u32,
    ephemeral: [u8; 32],
    transcript: Transcript,
}

impl Claimed {
    /// Reads message 1 as far as the sender's name. `es` is DH(S_r, E_i). `None` if it was not made for us.
    pub(crate) fn read(us: &PublicKey, message: &Initiation, es: &SharedSecret) -> Option<Self> {
        // C := HASH(CONSTRUCTION); H := HASH(C || IDENTIFIER); H := HASH(H || S_r^pub)
        let mut transcript = Transcript::new(us);
        // C := KDF1(C, E_i^pub); H := HASH(H || msg.ephemeral)
        transcript.mix_ephemeral(&message.ephemeral);
        // (C, k) := KDF2(C, DH(E_i, S_r))
        let key = transcript.mix_key(es);
        // S_i^pub is the plaintext of msg.static; H := HASH(H || msg.static)
        let by = PublicKey(transcript.open(&key, &message.encrypted_static)?);
        let Initiation {
            sender,
            ephemeral,
            encrypted_stamp,
            encrypted_static: _,
        } = *message;
        Some(Self {
            by,
            sender,
            ephemeral,
            encrypted_stamp,
            transcript,
        })
    }

    /// Reads the rest of message 1. `ss` is DH(S_r, S_i). `None` if the sender is not who it claims to be.
    pub(crate) fn authenticate(mut self, ss: &SharedSecret) -> Option<Received> {
        // (C, k) := KDF2(C, DH(S_i, S_r))
        let key = self.transcript.mix_key(ss);
        // TIMESTAMP is the plaintext of msg.timestamp; H := HASH(H || msg.timestamp)
        let stamp = Tai64n(self.transcript.open(&key, &self.encrypted_stamp)?);
        let Self {
            by,
            sender,
            ephemeral,
            transcript,
            encrypted_stamp: _,
        } = self;
        Some(Received {
            stamp,
            by,
            sender,
            ephemeral,
            transcript,
        })
    }
}

impl Received {
    /// The index by which the initiator wants to be called.
    pub(crate) fn sender(&self) -> u32 {
        self.sender
    }

    /// Writes message 2.
    pub(crate) fn respond(
        self,
        ephemeral: &StaticSecret,
        psk: &[u8; 32],
        index: u32,
    ) -> Result<(Response, Keys), DhError> {
        let mut transcript = self.transcript;
        // (E_r^priv, E_r^pub) := DH-GENERATE(); C := KDF1(C, E_r^pub); msg.ephemeral := E_r^pub; H := HASH(H || msg.ephemeral)
        let public = x25519_dalek::PublicKey::from(ephemeral).to_bytes();
        transcript.mix_ephemeral(&public);
        // C := KDF1(C, DH(E_r^priv, E_i^pub)); C := KDF1(C, DH(E_r^priv, S_i^pub))
        transcript.mix_chain(&dh(ephemeral, &self.ephemeral)?);
        transcript.mix_chain(&dh(ephemeral, &self.by.0)?);
        // (C, t, k) := KDF3(C, Q); H := HASH(H || t)
        let key = transcript.mix_psk(psk);
        // msg.empty := AEAD(k, 0, e, H); H := HASH(H || msg.empty)
        let encrypted_nothing = transcript.seal(&key, &[]);
        // (T_r^recv, T_r^send) := KDF2(C, e)
        let [receive, send] = transcript.split();

        let message = Response {
            sender: index,
            receiver: self.sender,
            ephemeral: public,
            encrypted_nothing,
        };
        Ok((message, Keys { send, receive }))
    }
}

/// The running chaining key `C` and hash `H` of one handshake.
#[derive(Clone)]
struct Transcript {
    chain: Secret,
    hash: [u8; 32],
}

impl Transcript {
    fn new(responder: &PublicKey) -> Self {
        let chain = hash(&[CONSTRUCTION]);
        let hash = hash(&[&hash(&[&chain, IDENTIFIER]), &responder.0]);
        Self {
            chain: Secret::new(chain),
            hash,
        }
    }

    fn mix_hash(&mut self, data: &[u8]) {
        self.hash = hash(&[&self.hash, data]);
    }

    fn mix_ephemeral(&mut self, public: &[u8; 32]) {
        [self.chain] = kdf(&self.chain, public);
        self.mix_hash(public);
    }

    fn mix_chain(&mut self, secret: &SharedSecret) {
        [self.chain] = kdf(&self.chain, secret.bytes());
    }

    fn mix_key(&mut self, secret: &SharedSecret) -> Secret {
        let key;
        [self.chain, key] = kdf(&self.chain, secret.bytes());
        key
    }

    fn mix_psk(&mut self, psk: &[u8; 32]) -> Secret {
        let (temporary, key);
        [self.chain, temporary, key] = kdf(&self.chain, psk);
        self.mix_hash(&temporary[..]);
        key
    }

    /// AEAD(key, 0, plain, H), mixed into H. `M` is `N` + [`TAG`].
    fn seal<const N: usize, const M: usize>(&mut self, key: &Secret, plain: &[u8; N]) -> [u8; M] {
        const { assert!(M == N + TAG) };
        let mut sealed = [0; M];
        sealed[..N].copy_from_slice(plain);
        Cipher::new(key).seal(0, &self.hash, &mut sealed);
        self.mix_hash(&sealed);
        sealed
    }

    /// The plaintext of AEAD(key, 0, ·, H), whose ciphertext is mixed into H.
    fn open<const N: usize, const M: usize>(
        &mut self,
        key: &Secret,
        sealed: &[u8; M],
    ) -> Option<[u8; N]> {
        const { assert!(M == N + TAG) };
        let mut text = *sealed;
        let plain = *Cipher::new(key)
            .open(0, &self.hash, &mut text)?
            .first_chunk()?;
        self.mix_hash(sealed);
        Some(plain)
    }

    /// What the initiator sends with, and what it receives with.
    fn split(&self) -> [Secret; 2] {
        kdf(&self.chain, &[])
    }
}

fn dh(secret: &StaticSecret, public: &[u8; 32]) -> Result<SharedSecret, DhError> {
    secret
        .diffie_hellman(&x25519_dalek::PublicKey::from(*public))
        .try_into()
}
