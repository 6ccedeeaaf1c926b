//! The control language: any line is a command or a refusal of one line, and a command prints as what it was.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pen::core::addr::Services;
use pen::core::command::{Command, ServerRef};
use pen::core::config::{Config, Phase};

fuzz_target!(|text: &str| {
    let services = Services::parse("");
    let mut config = Config::default();
    for line in text.lines() {
        match Command::parse(line, &services) {
            Ok(None) => {}
            Ok(Some(command)) => {
                let printed = command.to_string();
                assert_eq!(Command::parse(&printed, &services), Ok(Some(command.clone())), "{printed}");
                // A table of servers as large as allowed is slow rather than wrong.
                if !matches!(command, Command::Server(ServerRef::Slot(n), _) if n > 1000) {
                    let _ = config.apply(&command, Phase::Start);
                }
            }
            Err(refusal) => assert!(!refusal.to_string().contains('\n')),
        }
    }
    let mut again = Config::default();
    for command in config.commands() {
        let read = Command::parse(&command.to_string(), &services);
        assert!(again.apply(&read.unwrap().unwrap(), Phase::Start).is_ok());
    }
    assert_eq!(again.commands(), config.commands());
});
