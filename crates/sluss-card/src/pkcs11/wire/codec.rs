//! Numbers, byte strings and lists to bytes and back.

use zeroize::Zeroizing;

/// Room for any message with a secret in it, so that no growing buffer leaves a copy behind.
const ROOM: usize = 4096;

/// The bytes are not a message.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::pkcs11) struct Malformed;

pub(super) struct Encoder(Zeroizing<Vec<u8>>);

impl Encoder {
    pub(super) fn new() -> Self {
        Self(Zeroizing::new(Vec::with_capacity(ROOM)))
    }

    pub(super) fn finish(self) -> Zeroizing<Vec<u8>> {
        self.0
    }

    pub(super) fn byte(&mut self, value: u8) -> &mut Self {
        self.0.push(value);
        self
    }

    pub(super) fn flag(&mut self, value: bool) -> &mut Self {
        self.byte(u8::from(value))
    }

    pub(super) fn number(&mut self, value: u64) -> &mut Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    pub(super) fn length(&mut self, value: usize) -> &mut Self {
        // longer than a frame may be is refused there
        self.0
            .extend(u32::try_from(value).unwrap_or(u32::MAX).to_be_bytes());
        self
    }

    pub(super) fn bytes(&mut self, value: &[u8]) -> &mut Self {
        self.length(value.len());
        self.0.extend_from_slice(value);
        self
    }

    /// Without what would play tricks on a terminal: modules may say anything.
    pub(super) fn text(&mut self, value: &str) -> &mut Self {
        let plain: String = value.chars().filter(|it| !it.is_control()).collect();
        self.bytes(plain.as_bytes())
    }

    pub(super) fn option(&mut self, value: Option<&[u8]>) -> &mut Self {
        match value {
            Some(value) => self.flag(true).bytes(value),
            None => self.flag(false),
        }
    }
}

pub(super) struct Decoder<'a>(&'a [u8]);

impl<'a> Decoder<'a> {
    pub(super) fn new(payload: &'a [u8]) -> Self {
        Self(payload)
    }

    /// Nothing may be left over.
    pub(super) fn finish(self) -> Result<(), Malformed> {
        self.0.is_empty().then_some(()).ok_or(Malformed)
    }

    pub(super) fn byte(&mut self) -> Result<u8, Malformed> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(super) fn flag(&mut self) -> Result<bool, Malformed> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Malformed),
        }
    }

    pub(super) fn number(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_be_bytes)
    }

    pub(super) fn length(&mut self) -> Result<usize, Malformed> {
        self.array().map(u32::from_be_bytes).map(|it| it as usize)
    }

    pub(super) fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let length = self.length()?;
        let (bytes, rest) = self.0.split_at_checked(length).ok_or(Malformed)?;
        self.0 = rest;
        Ok(bytes)
    }

    pub(super) fn text(&mut self) -> Result<String, Malformed> {
        let text = str::from_utf8(self.bytes()?).map_err(|_| Malformed)?;
        if text.contains(char::is_control) {
            return Err(Malformed);
        }
        Ok(text.to_owned())
    }

    pub(super) fn option(&mut self) -> Result<Option<&'a [u8]>, Malformed> {
        self.flag()?.then(|| self.bytes()).transpose()
    }

    pub(super) fn optional_text(&mut self) -> Result<Option<String>, Malformed> {
        self.flag()?.then(|| self.text()).transpose()
    }

    /// As many items as the length in front says; each takes a byte at least, so that no length makes us reserve memory.
    pub(super) fn list<T>(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Result<T, Malformed>,
    ) -> Result<Vec<T>, Malformed> {
        let length = self.length()?;
        let mut items = Vec::new();
        for _ in 0..length {
            items.push(item(self)?);
        }
        Ok(items)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (array, rest) = self.0.split_first_chunk().ok_or(Malformed)?;
        self.0 = rest;
        Ok(*array)
    }
}
