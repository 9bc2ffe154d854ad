//! All that another process has in its memory, and the search for what should not be there.

use std::fs::File;
use std::os::unix::fs::FileExt;

use anyhow::{Context, Result, bail, ensure};
use aws_lc_rs::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use memchr::memmem;

/// A process's memory at one moment. It has to be given memory that can be read: `slussd --secret-memory locked`.
pub struct Memory {
    /// What the kernel calls each area, and what it holds.
    areas: Vec<(String, Vec<u8>)>,
}

impl Memory {
    pub fn of(pid: u32) -> Result<Memory> {
        let file = File::open(format!("/proc/{pid}/mem"))?;
        let mut areas = Vec::new();
        for line in std::fs::read_to_string(format!("/proc/{pid}/maps"))?.lines() {
            let mut words = line.split_whitespace();
            let (Some(range), Some(access)) = (words.next(), words.next()) else {
                bail!("{line}")
            };
            // The kernel's own pages ([vvar], [vsyscall]) cannot be read by anybody.
            if !access.starts_with('r') || line.contains("[v") {
                continue;
            }
            let (from, to) = range.split_once('-').context("range")?;
            let (from, to) = (u64::from_str_radix(from, 16)?, u64::from_str_radix(to, 16)?);
            let mut bytes = vec![0; usize::try_from(to - from)?];
            file.read_exact_at(&mut bytes, from)
                .with_context(|| format!("memory at {from:x}: {line}"))?;
            let name = words.nth(3).unwrap_or("anonymous memory");
            areas.push((format!("{name} ({from:x})"), bytes));
        }
        ensure!(!areas.is_empty(), "no memory to be seen");
        Ok(Memory { areas })
    }

    pub fn contains(&self, wanted: &[u8]) -> bool {
        self.areas
            .iter()
            .any(|(_, area)| memmem::find(area, wanted).is_some())
    }

    /// Where a secret is, and in what form: all areas that have it.
    pub fn places_of(&self, secret: &[u8]) -> Vec<String> {
        let mut places = Vec::new();
        for (form, bytes) in forms(secret) {
            let found = self
                .areas
                .iter()
                .filter(|(_, area)| memmem::find(area, &bytes).is_some());
            places.extend(found.map(|(name, _)| format!("{form} in {name}")));
        }
        places
    }

    /// Keys that open this transport data message (whitepaper 5.4.6): every 32 bytes are tried.
    pub fn session_keys(&self, message: &[u8]) -> Vec<[u8; 32]> {
        let mut keys = Vec::new();
        for (_, area) in &self.areas {
            let (words, _) = area.as_chunks::<4>();
            for window in words.windows(8) {
                // No key has four zero bytes in a row: one in half a billion would be missed.
                if window.contains(&[0; 4]) {
                    continue;
                }
                let mut key = [0; 32];
                key.copy_from_slice(window.as_flattened());
                if opens(&key, message) && !keys.contains(&key) {
                    keys.push(key);
                }
            }
        }
        keys
    }

    pub fn kibibytes(&self) -> usize {
        self.areas.iter().map(|(_, area)| area.len() / 1024).sum()
    }
}

/// How a secret looks in memory or in a log: as it is, in hexadecimal, in base64, and as Rust prints bytes.
pub fn forms(secret: &[u8]) -> [(&'static str, Vec<u8>); 5] {
    let hexadecimal: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    let list: Vec<String> = secret.iter().map(u8::to_string).collect();
    [
        ("raw", secret.to_vec()),
        ("hexadecimal", hexadecimal.clone().into_bytes()),
        (
            "capital hexadecimal",
            hexadecimal.to_uppercase().into_bytes(),
        ),
        (
            "base64",
            STANDARD.encode(secret).trim_end_matches('=').into(),
        ),
        ("a list of numbers", list.join(", ").into_bytes()),
    ]
}

fn opens(key: &[u8; 32], message: &[u8]) -> bool {
    let Some((header, sealed)) = message.split_first_chunk::<16>() else {
        return false;
    };
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&header[8..]);
    UnboundKey::new(&CHACHA20_POLY1305, key).is_ok_and(|key| {
        let nonce = Nonce::assume_unique_for_key(nonce);
        LessSafeKey::new(key)
            .open_in_place(nonce, Aad::empty(), &mut sealed.to_vec())
            .is_ok()
    })
}
