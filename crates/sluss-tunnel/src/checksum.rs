//! The Internet checksum (RFC 1071), summed in whole machine words.

/// A ones' complement sum under way.
///
/// The words are added in the machine's byte order: the sum commutes with swapping the bytes of every word
/// (RFC 1071, 2 (B)), so only the bytes that come out of [`Sum::fold`] matter, and they are in network order.
#[derive(Clone, Copy, Default)]
pub(crate) struct Sum(u64);

impl Sum {
    /// Adds `bytes`. All but the last piece that is added must have even length.
    pub(crate) fn add(self, bytes: &[u8]) -> Sum {
        // Two lanes of 32 bits in 64: no carry is lost before 2^32 additions, far beyond any packet.
        let (mut low, mut high) = (0u64, 0u64);
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            let word = u64::from_ne_bytes(*word);
            low += word & 0xffff_ffff;
            high += word >> 32;
        }
        let mut tail = [0; 8];
        tail[..rest.len()].copy_from_slice(rest);
        let tail = u64::from_ne_bytes(tail);
        Sum(halve(self.0) + halve(low) + halve(high) + halve(tail))
    }

    /// Adds the pseudo-header of TCP and UDP: both addresses, the protocol, the length of header and payload.
    pub(crate) fn add_pseudo_header(self, addresses: &[u8], protocol: u8, length: usize) -> Sum {
        let [.., b, c, d] = (length as u32).to_be_bytes();
        // RFC 9293, 3.1 and RFC 8200, 8.1 differ in where the fields lie, not in the words that they add.
        self.add(addresses).add(&[0, protocol, 0, b, c, d])
    }

    /// The sum in 16 bits, as bytes of the packet. All of a correct packet sums to `[0xff, 0xff]`.
    pub(crate) fn fold(self) -> [u8; 2] {
        let mut sum = halve(self.0);
        while sum >> 16 != 0 {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        (sum as u16).to_ne_bytes()
    }

    /// The checksum field: the complement of the sum.
    pub(crate) fn checksum(self) -> [u8; 2] {
        self.fold().map(|byte| !byte)
    }

    /// The checksum field of a transport header, where UDP reserves zero for "none" (RFC 768).
    ///
    /// Ones' complement has two zeros, and TCP takes either.
    pub(crate) fn transport_checksum(self) -> [u8; 2] {
        match self.checksum() {
            [0, 0] => [0xff, 0xff],
            sum => sum,
        }
    }

    pub(crate) fn is_valid(self) -> bool {
        self.fold() == [0xff, 0xff]
    }
}

/// Folds 64 bits to at most 33, so that sums may be added without overflow.
fn halve(sum: u64) -> u64 {
    (sum & 0xffff_ffff) + (sum >> 32)
}

#[cfg(test)]
mod tests {
    use super::Sum;

    #[test]
    fn example_of_rfc_1071() {
        // RFC 1071, 3: the bytes 00 01 f2 03 f4 f5 f6 f7 sum to ddf2.
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(Sum::default().add(&bytes).fold(), [0xdd, 0xf2]);
    }

    #[test]
    fn agrees_with_tun_rs_at_every_length_and_split() {
        let bytes: Vec<u8> = (0..200u32).map(|i| (i * 151 + 7) as u8).collect();
        for length in 0..bytes.len() {
            let bytes = &bytes[..length];
            let theirs = tun_rs::checksum(bytes, 0).to_be_bytes();
            for split in (0..=length).step_by(2) {
                let (head, tail) = bytes.split_at(split);
                assert_eq!(Sum::default().add(head).add(tail).fold(), theirs);
            }
        }
    }

    #[test]
    fn all_ones_do_not_overflow() {
        let sum = (0..100_000).fold(Sum::default(), |sum, _| sum.add(&[0xff; 64]));
        assert_eq!(sum.fold(), [0xff, 0xff]);
    }
}
