//! How commands and reloads change the state.

mod commands;
mod errors;
mod properties;
mod reload;
mod server_slots;
mod servers;

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::core::Millis;
use crate::core::addr::{Endpoint, Host, Services};
use crate::core::backend::Standing;
use crate::core::command::Command;
use crate::core::config::{Config, Phase};
use crate::core::config_file::{self, FileLines};
use crate::core::error::Error;
use crate::core::log_target::LogTarget;
use crate::core::report::model::{ServerRow, ServerWalk, WalkOrder};
use crate::core::report::replies;
use crate::core::settings::{AdminState, ReloadMode};

/// A world with files that refuses the need with that number.
#[derive(Debug, Default)]
struct TestWorld {
    files: HashMap<String, String>,
    refuses: Option<usize>,
    /// What could not be met, as is known before.
    impossible: Vec<Need>,
    met: Vec<Need>,
    /// What was proposed from.
    sources: Vec<ReloadSource>,
    now: Millis,
}

impl World for TestWorld {
    fn load(&mut self, file: &str, services: &Services) -> Result<Arc<FileLines>, Error> {
        let read = |file: &str| match self.files.get(file) {
            Some(text) => Ok(text.clone().into()),
            None => Err(io::ErrorKind::NotFound.into()),
        };
        Ok(Arc::new(config_file::load(file, services, &read)))
    }

    fn propose(&mut self, source: &ReloadSource) -> Result<Arc<ReloadProposal>, Error> {
        self.sources.push(source.clone());
        Ok(Arc::new(source.propose()))
    }

    fn check(&mut self, need: &Need) -> Result<(), Vec<Error>> {
        if self.impossible.contains(need) { Err(vec![Error::new("impossible")]) } else { Ok(()) }
    }

    fn meet(&mut self, need: &Need) -> Result<(), Vec<Error>> {
        if self.refuses == Some(self.met.len()) {
            return Err(vec![Error::new("refused")]);
        }
        self.met.push(need.clone());
        Ok(())
    }

    fn is_own(&self, listening: &Endpoint, host: &Host, port: u16) -> bool {
        listening.host == *host && listening.port == port
    }

    fn now(&self) -> Millis {
        self.now
    }
}

fn config(lines: &str) -> Config {
    let read = |_: &str| Ok(lines.into());
    let lines = config_file::tests::load("f", &Services::default(), &read).unwrap();
    let mut config = Config::default();
    assert_eq!(config_file::tests::apply(&mut config, &lines, Phase::Start).unwrap().notices, []);
    while config.servers.last() == Some(&Default::default()) {
        config.servers.pop();
    }
    config
}

fn state(lines: &str) -> State {
    let start = Start {
        config: config(lines),
        file: Some("f".into()),
        descriptors: 1000,
        pid: 7,
        tls: lines.contains("ssl_certfile"),
        ..Start::default()
    };
    State::new(start, 1)
}

/// The output of `write`.
fn written(state: &mut State) -> String {
    let mut world = TestWorld::default();
    state.apply(&Command::Write(None), &mut world).unwrap();
    match world.met.pop() {
        Some(Need::Write(file, config)) => {
            assert_eq!(file, "f");
            config.file_text(&file)
        }
        other => panic!("{other:?}"),
    }
}

fn apply(state: &mut State, world: &mut TestWorld, line: &str) -> Result<(Answer, Vec<Effect>), Vec<Error>> {
    let command = Command::parse(line, &Services::default()).unwrap().unwrap();
    state.apply(&command, world)
}

/// The reply to a command whose reply is text.
fn reply(state: &mut State, line: &str) -> String {
    reply_of(state, &mut TestWorld::default(), line)
}

fn reply_of(state: &mut State, world: &mut TestWorld, line: &str) -> String {
    match apply(state, world, line) {
        Ok((Answer::Text(text), _)) => text,
        Ok((Answer::Diff(reload), _)) => reload.to_string(),
        other => panic!("{other:?}"),
    }
}

/// The reply to `servers`.
fn servers(state: &State) -> String {
    let servers = ServerWalk::new(WalkOrder::ByNumber).step(state.snapshot(), usize::MAX);
    servers.iter().map(|backend| replies::server(&ServerRow::new(backend, 1))).collect()
}

fn refusal(state: &mut State, world: &mut TestWorld, line: &str) -> String {
    let errors = apply(state, world, line).unwrap_err();
    errors.iter().map(|e| format!("{e}\n")).collect()
}
