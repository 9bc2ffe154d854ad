//! What can stand in files: the daemon's own, and those that are handed from one person to another.

use sluss_card::sealed::SealedKey;
use sluss_policy::{DeviceBinding, Policy, SignedRequest, Source};

pub(crate) fn read_sealed_key(bytes: &[u8]) {
    if let Ok(key) = SealedKey::parse(bytes) {
        assert_eq!(key.to_file(), bytes, "reads more than it keeps");
        assert!(!key.serial().contains(char::is_control));
        drop(key.challenge());
    }
}

pub(crate) fn read_policy(bytes: &[u8]) {
    let Some(source) = source(bytes) else { return };
    match Policy::parse(&[source]) {
        Ok(policy) => {
            let text = &policy.to_string();
            let again = Policy::parse(&[Source { text, ..source }]);
            assert_eq!(again, Ok(policy), "shown as another one");
        }
        Err(mistakes) => are_readable(&mistakes),
    }
}

pub(crate) fn read_request(bytes: &[u8]) {
    let Some(source) = source(bytes) else { return };
    match SignedRequest::parse(source) {
        Ok(request) => {
            let written = request.to_string();
            let text = written.as_str();
            let again = SignedRequest::parse(Source { text, ..source });
            let again = again.map(|request| request.to_string());
            assert_eq!(again.as_ref(), Ok(&written), "signed as something else");
        }
        Err(mistakes) => are_readable(&mistakes),
    }
}

pub(crate) fn read_device(bytes: &[u8]) {
    let Some(source) = source(bytes) else { return };
    match DeviceBinding::parse(source) {
        Ok(binding) => {
            let text = &binding.to_toml();
            let again = DeviceBinding::parse(Source { text, ..source });
            let again = again.map(|binding| binding.to_toml().to_string());
            assert_eq!(again.as_deref(), Ok(text.as_str()), "bound to another card");
        }
        Err(mistakes) => are_readable(&mistakes),
    }
}

fn source(bytes: &[u8]) -> Option<Source<'_>> {
    let text = str::from_utf8(bytes).ok()?;
    let file = "file";
    Some(Source { file, text })
}

fn are_readable(mistakes: &[sluss_policy::PolicyError]) {
    assert!((1..=51).contains(&mistakes.len()));
    for mistake in mistakes {
        let text = mistake.to_string();
        assert!(text.len() < 2000, "{text}");
    }
}
