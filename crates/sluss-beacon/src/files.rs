//! The configuration, the key and the certificate as files.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, ensure};
use sluss_beacon::{Config, Identity};
use zeroize::Zeroizing;

/// More than any chain of certificates.
const LONGEST: u64 = 64 * 1024;

/// Reads the configuration, and what it names.
pub(crate) fn read_config(path: &Path) -> Result<(Config, Identity)> {
    let text = read(path)?;
    let text = std::str::from_utf8(&text).with_context(|| path.display().to_string())?;
    let config: Config = text.parse().with_context(|| path.display().to_string())?;
    let identity = read_identity(&config.key, config.certificate.as_deref())?;
    Ok((config, identity))
}

/// Reads a key, and the certificate for it.
pub(crate) fn read_identity(key: &Path, certificate: Option<&Path>) -> Result<Identity> {
    let secret = read_key(key)?;
    let chain = certificate.map(read).transpose()?;
    let bare = Identity::from_pem(&secret, None).with_context(|| key.display().to_string())?;
    match (certificate, chain) {
        (Some(path), Some(chain)) => {
            Identity::from_pem(&secret, Some(&chain)).with_context(|| path.display().to_string())
        }
        _ => Ok(bare),
    }
}

/// Writes a new key for its owner alone.
pub(crate) fn write_key(path: &Path, key: &str) -> Result<()> {
    let write = || {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)?;
        file.write_all(key.as_bytes())?;
        file.sync_all()
    };
    write().map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => anyhow!(
            "{0}: there is a key already; `sluss-beacon key pin {0}` shows its pin",
            path.display()
        ),
        ErrorKind::PermissionDenied => anyhow!("{}: {error}: run it as root", path.display()),
        _ => anyhow!("{}: cannot write a new key: {error}", path.display()),
    })
}

/// What a service manager hands over under the file's name goes first: it was private where it came from.
fn read_key(path: &Path) -> Result<Zeroizing<Vec<u8>>> {
    if let Some(credential) = credential(path, std::env::var_os("CREDENTIALS_DIRECTORY"))
        && credential.exists()
    {
        return read(&credential);
    }
    let file = File::open(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => anyhow!(
            "{0}: there is no key; `sluss-beacon key generate {0}` makes one",
            path.display()
        ),
        ErrorKind::PermissionDenied => anyhow!(
            "{0}: {error}: run it as root; the unit needs {1}",
            path.display(),
            load_credential(path)
        ),
        _ => anyhow!("{}: {error}", path.display()),
    })?;
    let about = file.metadata()?;
    let ours = [0, nix::unistd::geteuid().as_raw()].contains(&about.uid());
    ensure!(
        ours && about.mode() & 0o077 == 0,
        "{}: this key is not private: it must belong to root or to this user, and be closed to others (chmod 600)",
        path.display()
    );
    read_open(file).with_context(|| path.display().to_string())
}

/// What the unit has to say of a key: how its user gets at it.
pub(crate) fn load_credential(key: &Path) -> String {
    let name = key.file_name().unwrap_or_default();
    format!("LoadCredential={}:{}", name.display(), key.display())
}

/// Whether users without any right can read it, as the service's own is one.
pub(crate) fn is_open_to_all(path: &Path) -> Result<bool> {
    let about = std::fs::metadata(path).with_context(|| path.display().to_string())?;
    Ok(about.mode() & 0o004 != 0)
}

fn credential(path: &Path, directory: Option<OsString>) -> Option<PathBuf> {
    Some(Path::new(&directory?).join(path.file_name()?))
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>> {
    let file = File::open(path).map_err(|error| match error.kind() {
        ErrorKind::PermissionDenied => anyhow!(
            "{}: {error}: the beacon's user must read it (chmod 644)",
            path.display()
        ),
        _ => anyhow!("{}: {error}", path.display()),
    })?;
    read_open(file).with_context(|| path.display().to_string())
}

fn read_open(file: File) -> Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(Vec::new());
    file.take(LONGEST + 1).read_to_end(&mut bytes)?;
    ensure!(bytes.len() as u64 <= LONGEST, "this file is too long");
    Ok(bytes)
}
