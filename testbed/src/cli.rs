//! Code shared by the commands: exit statuses, usage errors, questions to the user.

use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

/// A command that ends with this exit status; the message, if any, has the reason.
#[derive(Debug)]
pub(crate) struct Exit {
    pub(crate) status: u8,
    pub(crate) message: String,
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Exit {}

/// An error that makes the command end with `status`.
pub(crate) fn exit(status: u8, message: impl Into<String>) -> anyhow::Error {
    Exit { status, message: message.into() }.into()
}

/// Runs a command: the status it returns, or 1 (2 for a bad command line) and one line on stderr.
pub(crate) fn run(name: &str, main: fn(lexopt::Parser) -> anyhow::Result<u8>) -> ExitCode {
    match main(lexopt::Parser::from_env()) {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            let status = match (error.downcast_ref::<Exit>(), error.downcast_ref::<lexopt::Error>()) {
                (Some(exit), _) => exit.status,
                (None, Some(_)) => 2,
                (None, None) => 1,
            };
            let message = format!("{error:#}");
            if !message.is_empty() {
                eprintln!("{name}: {message}");
            }
            ExitCode::from(status)
        }
    }
}

/// Asks a question with the answers y and n on the terminal or a pipe; end of file is a no.
pub(crate) fn confirm(question: &str) -> anyhow::Result<bool> {
    loop {
        print!("{question} [y,n,?] ");
        io::stdout().flush()?;
        let mut answer = String::new();
        if io::stdin().read_line(&mut answer)? == 0 {
            println!();
            return Ok(false);
        }
        match answer.trim() {
            "y" | "yes" | "Y" => return Ok(true),
            "n" | "no" | "N" | "q" => return Ok(false),
            _ => println!("Enter y or n."),
        }
    }
}
