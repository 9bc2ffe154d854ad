//! The worker process: one request, one response, until the daemon hangs up.

use super::library::Library;
use super::wire::{self, Fault, Request, Response};
use std::io::{self, ErrorKind, Read, Write};
use std::path::Path;
use zeroize::Zeroizing;

/// Serves one module until the other end is gone. Whoever calls this has confined the process before: the module is not ours.
///
/// # Errors
/// When the other end does not keep to the protocol, or cannot be written to.
pub fn serve(module: &Path, stream: &mut (impl Read + Write)) -> io::Result<()> {
    let mut library = None;
    loop {
        let payload = match wire::read_frame(stream) {
            Ok(payload) => payload,
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(error),
        };
        let request = Request::decode(&payload).map_err(|_| ErrorKind::InvalidData)?;
        drop(payload);
        let response = respond(&mut library, module, request).unwrap_or_else(Response::Failed);
        wire::write_frame(stream, &response.encode())?;
    }
}

/// The module is loaded with the first request, so that its failure to load is an answer like any other.
fn respond(
    library: &mut Option<Library>,
    module: &Path,
    request: Request,
) -> Result<Response, Fault> {
    let library = match library {
        Some(library) => library,
        none => none.insert(Library::load(module)?),
    };
    let bytes = |bytes: Zeroizing<Vec<u8>>| Response::Bytes(bytes);
    match request {
        Request::Look { reader } => library.look(reader.as_deref()).map(Response::Tokens),
        Request::Pin { slot } => library.pin(slot).map(Response::Pin),
        Request::LogIn { slot, pin } => library.log_in(slot, pin).map(|()| Response::Done),
        Request::LogOut { slot } => library.log_out(slot).map(|()| Response::Done),
        Request::Derive { slot, key, with } => library.derive(slot, &key, &with).map(bytes),
        Request::Decrypt {
            slot,
            key,
            padding,
            ciphertext,
        } => library.decrypt(slot, &key, padding, &ciphertext).map(bytes),
        Request::Sign {
            slot,
            key,
            scheme,
            message,
        } => library.sign(slot, &key, scheme, &message).map(bytes),
        Request::Generate {
            slot,
            algorithm,
            id,
            label,
        } => library
            .generate(slot, algorithm, id, label)
            .map(Response::Key),
    }
}
