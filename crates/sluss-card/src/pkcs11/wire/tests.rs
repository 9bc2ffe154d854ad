//! What one end writes the other reads; what nobody wrote is refused, and costs nothing.

use super::codec::Malformed;
use super::*;
use crate::applet::Padding;
use crate::key::{Algorithm, CardKey};
use crate::{Pin, script::hex};

fn requests() -> Vec<Request> {
    let pin = Pin::new(b"271828".to_vec().into()).unwrap();
    vec![
        Request::Look { reader: None },
        Request::Look {
            reader: Some("Läsare 00 00".to_owned()),
        },
        Request::Pin { slot: 7 },
        Request::LogIn {
            slot: u64::MAX,
            pin: Some(pin),
        },
        Request::LogIn { slot: 0, pin: None },
        Request::LogOut { slot: 1 },
        Request::Derive {
            slot: 1,
            key: vec![1, 2],
            with: vec![9; 32],
        },
        Request::Decrypt {
            slot: 1,
            key: vec![1],
            padding: Padding::OaepSha256,
            ciphertext: vec![3; 256],
        },
        Request::Decrypt {
            slot: 1,
            key: vec![1],
            padding: Padding::Pkcs1,
            ciphertext: Vec::new(),
        },
        Request::Sign {
            slot: 1,
            key: vec![1],
            scheme: Scheme::RsaPkcs1Sha256,
            message: b"m".to_vec(),
        },
        Request::Sign {
            slot: 1,
            key: vec![1],
            scheme: Scheme::EcdsaSha256,
            message: Vec::new(),
        },
        Request::Sign {
            slot: 1,
            key: vec![1],
            scheme: Scheme::EcdsaSha384,
            message: Vec::new(),
        },
        Request::Generate {
            slot: 1,
            algorithm: Algorithm::X25519,
            id: b"sluss".to_vec(),
            label: "Sluss".to_owned(),
        },
    ]
}

fn responses() -> Vec<Response> {
    let uses = Uses {
        derive: true,
        decrypt: false,
        decrypt_oaep: false,
        sign: true,
        pin_each_time: false,
    };
    let key = Key {
        id: vec![0x45],
        label: "Legitimering".to_owned(),
        public: CardKey::X25519([9; 32]),
        uses: Some(uses),
        certificate: Some(hex("30 03 02 01 01")),
    };
    let pin = PinState {
        tries: Tries::Last,
        shortest: 6,
        longest: 8,
        pad: true,
        ready: false,
    };
    let token = Token {
        slot: 3,
        place: "Reader 00 00".to_owned(),
        removable: true,
        serial: "0123".to_owned(),
        label: "Kim Exempel (PIN 1)".to_owned(),
        pin,
        makes: vec![Algorithm::X25519, Algorithm::Rsa4096],
        keys: vec![
            key.clone(),
            Key {
                uses: None,
                certificate: None,
                ..key.clone()
            },
        ],
    };
    let faults = [
        Fault::Gone,
        Fault::Foreign,
        Fault::NotLoggedIn,
        Fault::WrongPin(Tries::Low),
        Fault::BadPin,
        Fault::Blocked,
        Fault::Declined,
        Fault::NoKey,
        Fault::Unsupported,
        Fault::Unusable("no such file".to_owned()),
        Fault::Failed("C_DeriveKey".to_owned()),
        Fault::Nonsense("no value".to_owned()),
    ];
    let mut responses = vec![
        Response::Tokens(vec![token.clone(), token]),
        Response::Tokens(Vec::new()),
        Response::Pin(pin),
        Response::Done,
        Response::Bytes(vec![1, 2, 3].into()),
        Response::Key(key),
    ];
    responses.extend(faults.map(Response::Failed));
    responses
}

/// Reads a message and writes it again.
type Again = fn(&[u8]) -> Result<Vec<u8>, Malformed>;

/// Both kinds of message, as bytes.
fn messages() -> Vec<(Vec<u8>, Again)> {
    let request: Again = |bytes| Ok(Request::decode(bytes)?.encode().to_vec());
    let response: Again = |bytes| Ok(Response::decode(bytes)?.encode().to_vec());
    let requests = requests()
        .into_iter()
        .map(|it| (it.encode().to_vec(), request));
    let responses = responses()
        .into_iter()
        .map(|it| (it.encode().to_vec(), response));
    requests.chain(responses).collect()
}

#[test]
fn what_is_written_is_read() {
    for (bytes, again) in messages() {
        assert_eq!(again(&bytes), Ok(bytes));
    }
    // not by a mistake that is made both ways
    let Ok(Response::Tokens(tokens)) = Response::decode(&responses()[0].encode()) else {
        panic!("tokens became something else")
    };
    let Response::Tokens(written) = &responses()[0] else {
        panic!("the first response has changed")
    };
    assert_eq!(&tokens, written);
}

#[test]
fn a_message_is_whole_or_none() {
    for (bytes, again) in messages() {
        for length in 0..bytes.len() {
            assert_eq!(
                again(&bytes[..length]),
                Err(Malformed),
                "{length} of {bytes:02X?}"
            );
        }
        let longer = [&bytes[..], &[0]].concat();
        assert_eq!(again(&longer), Err(Malformed));
    }
}

/// A worker that its module has taken over may say anything.
#[test]
fn no_byte_makes_a_message_that_is_read_otherwise_than_written() {
    for (bytes, again) in messages() {
        for at in 0..bytes.len() {
            for value in [0x00, 0x01, 0x02, 0x7F, 0x80, 0xFF] {
                let mut other = bytes.clone();
                other[at] = value;
                if let Ok(written) = again(&other) {
                    assert_eq!(written, other);
                }
            }
        }
    }
}

/// What a token calls itself ends up on terminals and in logs.
#[test]
fn no_text_plays_tricks_on_a_terminal() {
    let said = Fault::Failed("\x1b[2Jall is well\r\n".to_owned());
    let Ok(Response::Failed(Fault::Failed(heard))) =
        Response::decode(&Response::Failed(said).encode())
    else {
        panic!("a fault became something else")
    };
    assert_eq!(heard, "[2Jall is well");
    // a worker that leaves it in is not one of ours any more
    let mut forged = Response::Failed(Fault::Failed("x".to_owned())).encode();
    let last = forged.last_mut().unwrap();
    *last = 0x1B;
    assert!(Response::decode(&forged).is_err());
}

#[test]
fn a_frame_is_bounded_both_ways() {
    let mut stream = Vec::new();
    write_frame(&mut stream, b"hello").unwrap();
    assert_eq!(stream, b"\0\0\0\x05hello");
    assert_eq!(read_frame(&mut &stream[..]).unwrap()[..], *b"hello");
    let kind = |bytes: &[u8]| read_frame(&mut &*bytes).err().unwrap().kind();
    assert_eq!(kind(b"\0\0\0\x05hell"), io::ErrorKind::UnexpectedEof);
    assert_eq!(kind(b"\0\0\0"), io::ErrorKind::UnexpectedEof);
    assert_eq!(kind(&[0xFF; 64]), io::ErrorKind::InvalidData);
    let too_long = vec![0; LONGEST_FRAME + 1];
    assert!(write_frame(&mut stream, &too_long).is_err());
}
