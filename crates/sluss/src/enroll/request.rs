//! The request as a file: saved whole or not at all, and checked by whoever receives it.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::Result;
use sluss_policy::{SignedRequest, Signer, Source};

use crate::{check, exit::Exit, text::Text};

/// One more than the parser takes, so that it says that the file is too large.
const MOST_BYTES: u64 = 64 * 1024 + 1;

/// A request that was read, and who has signed it.
pub(crate) struct Signed<'r> {
    pub(crate) request: &'r SignedRequest,
    /// None if nobody has.
    pub(crate) signer: Option<Signer>,
}

/// `sluss enroll --verify`: says what the request is, and prints the section that lets the laptop in.
pub(crate) fn verify(file: &Path, text: &dyn Text) -> Result<Exit> {
    let name = file.display().to_string();
    let mut content = String::new();
    if let Err(error) =
        File::open(file).and_then(|file| file.take(MOST_BYTES).read_to_string(&mut content))
    {
        eprintln!("sluss: {}", text.cannot_read(&name, &error));
        return Ok(Exit::NotSo);
    }
    let source = Source {
        file: &name,
        text: &content,
    };
    let request = match SignedRequest::parse(source) {
        Ok(request) => request,
        Err(mistakes) => {
            check::complain(&mistakes, text);
            return Ok(Exit::NotSo);
        }
    };
    match request.signature.verify(&request.request) {
        Ok(signer) => {
            let signed = Signed {
                request: &request,
                signer,
            };
            eprint!("{}", text.verified(&signed));
            io::stdout().write_all(request.request.peer().as_bytes())?;
            Ok(Exit::Done)
        }
        Err(fault) => {
            eprintln!("sluss: {}", text.signature_fault(fault));
            Ok(Exit::NotSo)
        }
    }
}

/// Saves the request beside `file` first, and gives it the name when it is on the disk.
pub(super) fn save(file: &Path, request: &str) -> io::Result<()> {
    let mut beside = file.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    // one that was left behind, or that somebody put there to be followed
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut new = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o644)
        .open(&beside)?;
    new.write_all(request.as_bytes())?;
    new.sync_all()?;
    fs::rename(&beside, file)
}
