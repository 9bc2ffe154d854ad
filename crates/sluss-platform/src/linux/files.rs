//! Files that decide what the daemon does: read only if nobody else could have written them, written whole or not at all.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use nix::unistd::geteuid;
use zeroize::Zeroize;

use crate::{Error, Result};

/// No file that Sluss reads comes near this; a larger one is a mistake or an attack.
const LARGEST: u64 = 1 << 20;

/// The policy as it lies on disk: the file at `path`, then the `*.toml` of the directory beside it that has the same name
/// and ends in `.d`, in name order. A missing directory is an empty one; a missing file is an error.
pub fn read_policy(path: &Path) -> Result<Vec<(PathBuf, String)>> {
    let mut sources = vec![(path.to_owned(), read_trusted(path)?)];
    for part in policy_parts(&path.with_extension("d"))? {
        let text = read_trusted(&part)?;
        sources.push((part, text));
    }
    Ok(sources)
}

/// The text of a file that only root, or the user that this process runs as, can have written.
///
/// Refused: what [`read_trusted_bytes`] refuses, and text that is not UTF-8.
pub fn read_trusted(path: &Path) -> Result<String> {
    String::from_utf8(read_trusted_bytes(path)?).map_err(|error| {
        error.into_bytes().zeroize();
        untrusted(path, "not UTF-8")
    })
}

/// The content of a file that only root, or the user that this process runs as, can have written.
///
/// Refused: a symbolic link, anything but a regular file, an owner other than these two, and write permission for the
/// group or for others, on the file or on the directory that holds it; more than 1 MiB.
pub fn read_trusted_bytes(path: &Path) -> Result<Vec<u8>> {
    let file_error = |cause| Error::File {
        path: path.to_owned(),
        cause,
    };
    let holder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) | None => Path::new("."),
    };
    trust(holder, &fs::metadata(holder).map_err(file_error)?)?;

    // Without NONBLOCK a named pipe in this place would hold the daemon for ever.
    let mut file = OpenOptions::new()
        .read(true)
        .custom_flags((OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits())
        .open(path)
        .map_err(file_error)?;
    let metadata = file.metadata().map_err(file_error)?;
    if !metadata.is_file() {
        return Err(untrusted(path, "not a regular file"));
    }
    trust(path, &metadata)?;

    // Room enough at once: a content that moves leaves a copy behind, and it may be secret.
    let expected = usize::try_from(metadata.len().min(LARGEST)).unwrap_or_default();
    let mut content = Vec::with_capacity(expected + 1);
    (&mut file)
        .take(LARGEST + 1)
        .read_to_end(&mut content)
        .map_err(file_error)?;
    if content.len() as u64 > LARGEST {
        content.zeroize();
        return Err(untrusted(path, "larger than 1 MiB"));
    }
    Ok(content)
}

/// Where a library that policy names really is, if only root, or the user that this process runs as, can have put it there.
///
/// Refused: a path that is not absolute; anything but a regular file in the end; and an owner or write permission as in
/// [`read_trusted`], on the file and on each directory above it.
pub fn trusted_library(path: &Path) -> Result<PathBuf> {
    let file_error = |cause| Error::File {
        path: path.to_owned(),
        cause,
    };
    if !path.is_absolute() {
        return Err(untrusted(path, "not an absolute path"));
    }
    let real = path.canonicalize().map_err(file_error)?;
    if !real.is_file() {
        return Err(untrusted(path, "not a regular file"));
    }
    for part in real.ancestors() {
        trust(part, &fs::metadata(part).map_err(file_error)?)?;
    }
    Ok(real)
}

/// Replaces the file at `path` in one step and so that it survives a power cut: readers see the old or the new, never
/// half of one. Only the owner may read it. Its directory is made if it is not there.
pub fn write_private(path: &Path, contents: &[u8]) -> Result<()> {
    replace(path, contents).map_err(|cause| Error::File {
        path: path.to_owned(),
        cause,
    })
}

fn replace(path: &Path, contents: &[u8]) -> io::Result<()> {
    let holder = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(holder)?;
    let draft = path.with_extension("draft");
    // Left by a crash between two steps; `create_new` below then refuses whatever else somebody might put there.
    match fs::remove_file(&draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&draft)?;
    file.write_all(contents)?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    File::open(holder)?.sync_all()
}

fn policy_parts(directory: &Path) -> Result<Vec<PathBuf>> {
    let file_error = |cause| Error::File {
        path: directory.to_owned(),
        cause,
    };
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(file_error(error)),
    };
    let mut parts = Vec::new();
    for entry in entries {
        let part = entry.map_err(file_error)?.path();
        if part.extension().is_some_and(|it| it == "toml") {
            parts.push(part);
        }
    }
    parts.sort();
    Ok(parts)
}

fn trust(path: &Path, metadata: &Metadata) -> Result<()> {
    if metadata.uid() != 0 && metadata.uid() != geteuid().as_raw() {
        return Err(untrusted(path, "neither root nor this user owns it"));
    }
    if metadata.mode() & 0o022 != 0 {
        return Err(untrusted(path, "others may write to it"));
    }
    Ok(())
}

fn untrusted(path: &Path, why: &'static str) -> Error {
    Error::Untrusted {
        path: path.to_owned(),
        why,
    }
}

#[cfg(test)]
mod tests;
