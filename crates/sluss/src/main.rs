//! The command: asks the daemon, and tells a person in English or Swedish.

mod agent;
mod args;
mod check;
mod commands;
mod doctor;
mod enroll;
mod exit;
mod keyboard;
mod paint;
mod portal;
mod report;
mod text;

use std::process::ExitCode;

fn main() -> ExitCode {
    let text = text::chosen();
    let done = match args::parse() {
        Ok(args) => commands::run(args, text),
        Err(error) => args::complain(&error, text),
    };
    done.unwrap_or_else(|error| exit::explain(&error, text))
        .into()
}
