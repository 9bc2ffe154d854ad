//! The laptop's binding on disk, where its preshared key stays until a tunnel needs it.

use std::path::{Path, PathBuf};

use sluss_platform::files;
use sluss_policy::{DeviceBinding, PolicyError, PresharedKey, Source};
use zeroize::Zeroizing;

/// Where it is.
pub fn file(state_dir: &Path) -> PathBuf {
    state_dir.join("device.toml")
}

/// The binding without its preshared key: none if the laptop is not enrolled yet. One that is there and wrong is an error:
/// somebody must look.
pub fn read(state_dir: &Path) -> anyhow::Result<Option<DeviceBinding>> {
    Ok(read_all(state_dir)?.map(|mut binding| {
        binding.preshared_key = None;
        binding
    }))
}

/// The preshared key, for as long as it is used.
pub(crate) fn preshared_key(state_dir: &Path) -> anyhow::Result<Option<PresharedKey>> {
    Ok(read_all(state_dir)?.and_then(|binding| binding.preshared_key))
}

fn read_all(state_dir: &Path) -> anyhow::Result<Option<DeviceBinding>> {
    let path = file(state_dir);
    if !path.exists() {
        return Ok(None);
    }
    let text = Zeroizing::new(files::read_trusted(&path)?);
    let file = path.display().to_string();
    let source = Source {
        file: &file,
        text: &text,
    };
    let binding = DeviceBinding::parse(source).map_err(|errors| mistakes(&errors))?;
    Ok(Some(binding))
}

/// All that is wrong with a file of ours, for the log.
pub fn mistakes(errors: &[PolicyError]) -> anyhow::Error {
    let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
    anyhow::anyhow!("{}", lines.join("\n"))
}
