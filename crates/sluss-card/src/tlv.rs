//! BER-TLV as cards use it (ISO 7816-4, 5.2.2): tags of one or two bytes, lengths up to 65,535.

/// Data that is not BER-TLV: a tag or length that makes no sense, or an object that ends beyond its template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

/// The value of the first object with this tag, not looking inside others. `None` when the template is sound without it.
///
/// # Errors
/// [`Malformed`] when the data breaks off or makes no sense before the object is found.
pub fn find(mut template: &[u8], tag: u16) -> Result<Option<&[u8]>, Malformed> {
    // 00 has no meaning between objects (ISO 7816-4, 5.2.2.1)
    while let Some(start) = template.iter().position(|&byte| byte != 0) {
        let (found, value, rest) = split_object(&template[start..])?;
        if found == tag {
            return Ok(Some(value));
        }
        template = rest;
    }
    Ok(None)
}

/// Writes one object.
///
/// # Panics
/// Never on what cards take: a value over 65,535 bytes is cut off.
pub fn wrap(tag: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len()).unwrap_or(u16::MAX);
    let mut object = Vec::with_capacity(5 + value.len());
    let [tag_high, tag_low] = tag.to_be_bytes();
    if tag_high != 0 {
        object.push(tag_high);
    }
    object.push(tag_low);
    let [high, low] = length.to_be_bytes();
    match length {
        0..=0x7F => object.push(low),
        0x80..=0xFF => object.extend([0x81, low]),
        0x100.. => object.extend([0x82, high, low]),
    }
    object.extend_from_slice(&value[..usize::from(length)]);
    object
}

/// Takes the first object off: its tag, its value, and what follows.
pub(crate) fn split_object(data: &[u8]) -> Result<(u16, &[u8], &[u8]), Malformed> {
    let (tag, data) = match *data {
        // the low five bits all set: the tag goes on in the next byte, whose top bit would say "and on"
        [first, second, ref rest @ ..] if first & 0x1F == 0x1F && second & 0x80 == 0 => {
            (u16::from_be_bytes([first, second]), rest)
        }
        [first, ref rest @ ..] if first & 0x1F != 0x1F => (u16::from(first), rest),
        _ => return Err(Malformed),
    };
    let (length, data) = match *data {
        [length @ 0..=0x7F, ref rest @ ..] => (usize::from(length), rest),
        [0x81, length, ref rest @ ..] => (usize::from(length), rest),
        [0x82, high, low, ref rest @ ..] => (usize::from(u16::from_be_bytes([high, low])), rest),
        _ => return Err(Malformed),
    };
    let (value, rest) = data.split_at_checked(length).ok_or(Malformed)?;
    Ok((tag, value, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_public_key_template_of_a_card() {
        // recorded: GENERATE ASYMMETRIC KEY PAIR 81 on an OpenPGP card with Cv25519
        let answer = [&[0x7F, 0x49, 0x22, 0x86, 0x20][..], &[0xAB; 32]].concat();
        let template = find(&answer, 0x7F49).unwrap().unwrap();
        assert_eq!(find(template, 0x86).unwrap().unwrap(), [0xAB; 32]);
        assert_eq!(find(template, 0x87).unwrap(), None);
    }

    #[test]
    fn what_is_wrapped_is_found_at_every_length_form() {
        for length in [0, 1, 0x7F, 0x80, 0xFF, 0x100, 0xFFFF] {
            let value = vec![0x5A; length];
            let data = [
                wrap(0x5F52, b"before"),
                wrap(0x86, &value),
                wrap(0x73, b"after"),
            ]
            .concat();
            assert_eq!(
                find(&data, 0x86).unwrap().unwrap(),
                value,
                "length {length}"
            );
        }
    }

    #[test]
    fn a_value_that_ends_beyond_its_template_is_malformed() {
        for bad in [
            &[0x86][..],
            &[0x86, 2, 0],
            &[0x86, 0x81],
            &[0x86, 0x82, 1],
            &[0x86, 0x80],
            &[0x7F],
            &[0x86, 0x83, 0, 0, 1, 0],
        ] {
            assert_eq!(find(bad, 0x99), Err(Malformed), "{bad:02X?}");
        }
    }

    #[test]
    fn filler_between_objects_is_skipped() {
        assert_eq!(
            find(&[0, 0, 0x81, 1, 7, 0, 0, 0x82, 1, 8, 0], 0x82),
            Ok(Some(&[8][..]))
        );
        assert_eq!(find(&[0, 0, 0], 0x82), Ok(None));
    }
}
