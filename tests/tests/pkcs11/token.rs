//! A token of SoftHSM: made for one trial, with keys that OpenSC's pkcs11-tool makes in it.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use sluss_card::Pin;
use sluss_card::pkcs11::{Key, Launch, Module, Token};
use sluss_tests::skip;

use crate::first_of;

/// Where SoftHSM is told to look, and where: in the trial's own `/run`.
pub(crate) const CONFIGURATION: (&str, &str) = ("SOFTHSM2_CONF", "/run/softhsm2.conf");
/// The user's PIN.
pub(crate) const PIN: &str = "271828";
/// Where its tokens lie.
const TOKENS: &str = "/run/softhsm-tokens";
const LABEL: &str = "Kim Exempel";

/// SoftHSM's module.
pub(crate) fn module() -> Result<PathBuf> {
    let found = first_of(["/usr/lib/softhsm/libsofthsm2.so".into()]);
    let Some(module) = found else {
        skip!("SoftHSM is not installed: apt-get install softhsm2")
    };
    Ok(module)
}

/// Makes the token.
pub(crate) fn make() -> Result<()> {
    std::fs::create_dir_all(TOKENS)?;
    let configuration = format!("directories.tokendir = {TOKENS}\nlog.level = ERROR\n");
    std::fs::write(CONFIGURATION.1, configuration)?;
    run(Command::new("softhsm2-util")
        .args(["--init-token", "--free", "--label", LABEL])
        .args(["--pin", PIN, "--so-pin", "314159"]))
}

/// Makes a key pair in it: what pkcs11-tool is to be told.
pub(crate) fn make_key(id: &str, arguments: &[&str]) -> Result<()> {
    run(Command::new("pkcs11-tool")
        .arg("--module")
        .arg(module()?)
        .args(["--login", "--pin", PIN, "--keypairgen", "--id", id])
        .args(arguments))
}

/// The token as a worker of ours sees it.
pub(crate) fn look(launch: &Launch) -> Result<Token> {
    let tokens = Module::new(launch.clone()).look(None, None)?;
    let mut tokens = tokens.into_iter().filter(|token| token.label == LABEL);
    tokens.next().context("there is no token")
}

/// A key of it.
pub(crate) fn key<'a>(token: &'a Token, id: &[u8]) -> Result<&'a Key> {
    let mut keys = token.keys.iter();
    keys.find(|key| key.id == id)
        .context("there is no such key")
}

pub(crate) fn pin(digits: &str) -> Result<Pin> {
    Ok(Pin::new(digits.as_bytes().to_vec().into())?)
}

/// Asks the module as another program would.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {said}");
    Ok(())
}
