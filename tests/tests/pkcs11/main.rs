//! Tokens behind PKCS#11: SoftHSM, OpenSC over the rig's cards, and a module that misbehaves. The worker process is this
//! program itself, confined as the daemon's is.

mod enrolment;
mod misbehaviour;
mod opensc;
mod softhsm;
mod token;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use sluss_card::pkcs11::Launch;
use sluss_card::{Access, AfterUse, Binding, Config, KeyId, KeySource, PinLife};
use sluss_tests::{trial, trials};
use slussd::pkcs11;

use enrolment::{
    a_card_behind_middleware_is_bound, a_token_makes_a_held_key, keys_that_are_there_are_bound,
};
use misbehaviour::{
    ERRAND, a_crash_costs_the_request_alone, a_hang_costs_the_request_alone,
    a_hang_does_not_keep_the_daemon_from_stopping, a_module_that_cannot_be_loaded_is_named,
    a_worker_ends_with_its_daemon, a_worker_has_nothing_of_the_daemon, an_idle_worker_sleeps,
    be_a_daemon, lies_of_a_module_are_found_out, what_a_module_remembers_ends_with_its_process,
};
use opensc::{
    a_card_may_be_told_to_forget_after_each_use, a_held_key_on_an_openpgp_card,
    a_kept_pin_outlasts_other_programs, a_restart_of_pcscd_is_survived, a_sealed_key_by_piv,
    a_wrong_pin_costs_one_try, another_card_is_told, other_programs_never_look_like_a_pull,
    the_card_in_the_right_reader_serves,
};
use softhsm::{
    a_held_key_computes_what_x25519_does, a_key_may_want_the_pin_for_each_use,
    a_sealed_key_opens_by_every_kind_of_key, keys_are_listed_with_what_they_may_do,
    oaep_is_refused_where_the_token_has_none,
};

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    if let [role, module] = &arguments[..]
        && role == pkcs11::ROLE
    {
        return pkcs11::work(Path::new(module)).map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS);
    }
    if let [errand, module] = &arguments[..]
        && errand == ERRAND
    {
        return be_a_daemon(Path::new(module)).map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS);
    }
    // A place of each trial's own, and one of the few things that a worker gets of its daemon's environment.
    if std::env::var_os(token::CONFIGURATION.0).is_none() {
        let (name, path) = token::CONFIGURATION;
        let again = std::env::current_exe().and_then(|program| {
            Command::new(program)
                .args(arguments)
                .env(name, path)
                .status()
        });
        return match again {
            Ok(status) if status.success() => ExitCode::SUCCESS,
            Ok(_) | Err(_) => ExitCode::FAILURE,
        };
    }
    trials::main(&[
        trial!(keys_are_listed_with_what_they_may_do),
        trial!(a_held_key_computes_what_x25519_does),
        trial!(a_sealed_key_opens_by_every_kind_of_key),
        trial!(a_key_may_want_the_pin_for_each_use),
        trial!(oaep_is_refused_where_the_token_has_none),
        trial!(a_held_key_on_an_openpgp_card),
        trial!(a_wrong_pin_costs_one_try),
        trial!(another_card_is_told),
        trial!(a_sealed_key_by_piv),
        trial!(other_programs_never_look_like_a_pull),
        trial!(a_kept_pin_outlasts_other_programs),
        trial!(a_card_may_be_told_to_forget_after_each_use),
        trial!(the_card_in_the_right_reader_serves),
        trial!(a_restart_of_pcscd_is_survived),
        trial!(a_token_makes_a_held_key),
        trial!(keys_that_are_there_are_bound),
        trial!(a_card_behind_middleware_is_bound),
        trial!(a_hang_costs_the_request_alone),
        trial!(a_hang_does_not_keep_the_daemon_from_stopping),
        trial!(a_crash_costs_the_request_alone),
        trial!(lies_of_a_module_are_found_out),
        trial!(a_module_that_cannot_be_loaded_is_named),
        trial!(a_worker_has_nothing_of_the_daemon),
        trial!(a_worker_ends_with_its_daemon),
        trial!(an_idle_worker_sleeps),
        trial!(what_a_module_remembers_ends_with_its_process),
    ])
}

/// Workers for this module.
fn launch(module: &Path) -> Launch {
    pkcs11::launch(Path::new("/proc/self/exe"), module.to_owned())
}

/// The settings of a laptop that is bound to this key.
fn bound_to(
    module: &Path,
    serial: &str,
    id: &[u8],
    public_key: [u8; 32],
    source: KeySource,
) -> Config {
    Config {
        binding: Some(Binding {
            serial: serial.to_owned(),
            public_key,
            id: KeyId::Pkcs11(id.to_vec()),
            source,
        }),
        access: Access::Pkcs11(launch(module)),
        pin: PinLife::Ask,
        after_use: AfterUse::Keep,
        allow_factory_pin: true,
        certificate: None,
    }
}

/// The first file of these that exists.
fn first_of(paths: impl IntoIterator<Item = PathBuf>) -> Option<PathBuf> {
    paths.into_iter().find(|path| path.exists())
}
