//! The command line.
//!
//! The help comes from [`text`], so that the compiler misses no translation.

use std::{
    ffi::OsString,
    io::{self, Write as _},
    path::PathBuf,
    time::Duration,
};

use clap::{
    Args as ArgGroup, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueHint,
    error::{ContextKind, ErrorKind},
};

use crate::{
    exit::Exit,
    text::{self, Help, Text, UsageError},
};

#[derive(Parser)]
#[command(
    name = "sluss",
    version,
    about = help(Help::Sluss),
    after_help = help(Help::ExitCodes),
    disable_help_subcommand = true,
    disable_help_flag = true,
    disable_version_flag = true,
)]
pub(crate) struct Args {
    #[arg(long, global = true, value_name = help(Help::Path), value_hint = ValueHint::FilePath,
          default_value = sluss_ipc::SOCKET_PATH, hide_default_value = true, help = help(Help::Socket))]
    pub(crate) socket: PathBuf,
    #[arg(short, long, global = true, action = clap::ArgAction::HelpShort, help = help(Help::Usage))]
    help: Option<bool>,
    #[arg(short = 'V', long, action = clap::ArgAction::Version, help = help(Help::Version))]
    version: Option<bool>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    #[command(about = help(Help::Status))]
    Status {
        #[arg(short, long, help = help(Help::Verbose), conflicts_with = "json")]
        verbose: bool,
        #[command(flatten)]
        format: Format,
        #[arg(long, help = help(Help::Check))]
        check: bool,
    },
    #[command(about = help(Help::Why))]
    Why {
        #[command(flatten)]
        format: Format,
    },
    #[command(about = help(Help::Doctor))]
    Doctor {
        #[command(flatten)]
        format: Format,
    },
    #[command(about = help(Help::Portal))]
    Portal {
        #[arg(long, help = help(Help::PortalRenew))]
        renew: bool,
        #[arg(long, help = help(Help::PortalAllPrograms))]
        all_programs: bool,
    },
    #[command(about = help(Help::Monitor))]
    Monitor {
        #[command(flatten)]
        format: Format,
    },
    #[command(about = help(Help::Up))]
    Up {
        #[command(flatten)]
        wait: Wait,
    },
    #[command(about = help(Help::Down))]
    Down {
        #[command(flatten)]
        wait: Wait,
    },
    #[command(about = help(Help::Unlock))]
    Unlock {
        #[arg(long, help = help(Help::LastTry))]
        last_try: bool,
    },
    #[command(about = help(Help::Lock))]
    Lock,
    #[command(about = help(Help::Card))]
    Card {
        #[command(flatten)]
        format: Format,
    },
    #[command(about = help(Help::Enroll))]
    Enroll(Box<EnrollArgs>),
    #[command(about = help(Help::Agent))]
    Agent {
        #[arg(long, value_name = help(Help::Program), value_hint = ValueHint::CommandName,
              default_value = "pinentry", hide_default_value = true, help = help(Help::Pinentry))]
        pinentry: OsString,
    },
    #[command(about = help(Help::Policy))]
    Policy {
        #[command(subcommand)]
        command: PolicyCommand,
    },
}

#[derive(Subcommand)]
pub(crate) enum PolicyCommand {
    #[command(about = help(Help::PolicyShow))]
    Show {
        #[command(flatten)]
        format: Format,
    },
    #[command(about = help(Help::PolicyCheck))]
    Check {
        #[arg(required = true, value_name = help(Help::File), value_hint = ValueHint::FilePath,
              help = help(Help::PolicyFiles))]
        files: Vec<PathBuf>,
    },
}

#[derive(ArgGroup)]
pub(crate) struct EnrollArgs {
    #[arg(long, value_name = help(Help::File), value_hint = ValueHint::FilePath, exclusive = true,
          help = help(Help::EnrollVerify))]
    pub(crate) verify: Option<PathBuf>,
    #[arg(long, help = help(Help::EnrollSurvey))]
    pub(crate) survey: bool,
    #[arg(long, value_name = help(Help::Address), help = help(Help::EnrollAddress))]
    pub(crate) address: Vec<String>,
    #[arg(long, value_name = help(Help::Name), help = help(Help::EnrollName))]
    pub(crate) name: Option<String>,
    #[arg(long, value_name = help(Help::Serial), help = help(Help::EnrollCard))]
    pub(crate) card: Option<String>,
    #[arg(long, value_name = help(Help::KeyName), help = help(Help::EnrollKey))]
    pub(crate) key: Option<String>,
    #[arg(long, help = help(Help::EnrollMake))]
    pub(crate) make: bool,
    /// Empty where it was said without a value: then the serial number is typed back.
    #[arg(long, value_name = help(Help::Serial), num_args = 0..=1, require_equals = true,
          default_missing_value = "", help = help(Help::EnrollReplace))]
    pub(crate) replace: Vec<String>,
    #[arg(long, value_name = help(Help::File), value_hint = ValueHint::FilePath,
          help = help(Help::EnrollPresharedKey))]
    pub(crate) preshared_key_file: Option<PathBuf>,
    #[arg(long, help = help(Help::LastTry))]
    pub(crate) last_try: bool,
    #[arg(long, value_name = help(Help::File), value_hint = ValueHint::FilePath, help = help(Help::EnrollOut))]
    pub(crate) out: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) format: Format,
}

#[derive(ArgGroup, Clone, Copy)]
pub(crate) struct Format {
    #[arg(long, help = help(Help::Json))]
    pub(crate) json: bool,
}

#[derive(ArgGroup)]
pub(crate) struct Wait {
    /// In whole seconds.
    #[arg(long, value_name = help(Help::Seconds), num_args = 0..=1, require_equals = true,
          default_missing_value = "60", value_parser = clap::value_parser!(u32), help = help(Help::Wait))]
    wait: Option<u32>,
}

impl Wait {
    pub(crate) fn limit(&self) -> Option<Duration> {
        self.wait.map(|seconds| Duration::from_secs(seconds.into()))
    }
}

/// Reads the command line.
pub(crate) fn parse() -> Result<Args, clap::Error> {
    let matches = localised(Args::command()).try_get_matches()?;
    Args::from_arg_matches(&matches)
}

/// Answers what clap could not take, or was asked to print.
pub(crate) fn complain(error: &clap::Error, text: &dyn Text) -> anyhow::Result<Exit> {
    if matches!(
        error.kind(),
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
    ) {
        let help = error.render().to_string();
        let help = help.replace("[OPTIONS]", text.help(Help::SomeOptions));
        writeln!(io::stdout(), "{}", help.trim_end())?;
        return Ok(Exit::Done);
    }
    let context = |kind| error.get(kind).map(ToString::to_string);
    let word =
        || context(ContextKind::InvalidSubcommand).or_else(|| context(ContextKind::InvalidArg));
    let fault = match error.kind() {
        ErrorKind::InvalidSubcommand | ErrorKind::UnknownArgument => UsageError::Unknown {
            word: word().unwrap_or_default(),
            nearest: context(ContextKind::SuggestedSubcommand)
                .or_else(|| context(ContextKind::SuggestedArg)),
        },
        ErrorKind::MissingSubcommand | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            UsageError::NoCommand
        }
        ErrorKind::MissingRequiredArgument => UsageError::Missing {
            word: word().unwrap_or_default(),
        },
        ErrorKind::InvalidValue | ErrorKind::ValueValidation => UsageError::BadValue {
            word: word().unwrap_or_default(),
            value: context(ContextKind::InvalidValue).unwrap_or_default(),
        },
        // clap may grow more kinds; what they have in common is the word at fault.
        _ => UsageError::Other {
            word: word().unwrap_or_default(),
        },
    };
    eprintln!("sluss: {}", text.usage_error(&fault));
    Ok(Exit::Usage)
}

/// Replaces the English that clap brings along.
fn localised(command: clap::Command) -> clap::Command {
    command
        .help_template(help(Help::Template))
        .subcommand_help_heading(help(Help::Commands))
        .subcommand_value_name(help(Help::OneCommand))
        .mut_args(|arg| {
            let heading = if arg.is_positional() {
                Help::Arguments
            } else {
                Help::Options
            };
            arg.help_heading(help(heading))
        })
        .mut_subcommands(localised)
}

fn help(help: Help) -> &'static str {
    text::chosen().help(help)
}
