//! Reload of the file of `-F`, and what it would change.

use super::plan::{Outcome, Plan};
use super::proposal::{Reload, ReloadProposal, ReloadSource};
use super::running::{State, World};
use crate::core::error::Error;
use std::sync::Arc;

impl State {
    /// Reads the file of `-F` again, all of it or nothing; without such a file, the TLS files. [`State::look_up_all`] is to
    /// follow, whatever the outcome.
    ///
    /// # Errors
    /// All that is wrong. Nothing has changed then.
    pub fn reload(&mut self, world: &mut dyn World) -> Outcome<Arc<Reload>> {
        let Some(file) = self.file.clone() else {
            let effects = if self.has_tls() { self.reload_tls(world)? } else { Vec::new() };
            return Ok((Arc::default(), effects));
        };
        let source = self.source(&file, world)?;
        let proposal = world.propose(&source).map_err(|error| vec![error])?;
        let ReloadProposal { config, named, blacklists, report, reload, replaced } = &*proposal;
        let plan = Plan {
            config: Arc::clone(config),
            rereads: true,
            blacklists: blacklists.clone(),
            replaced: replaced.clone(),
            ..Plan::default()
        };
        let effects = self.run_lines(plan, &file, &source.file_lines, report.clone(), world)?;
        self.file_named = Arc::clone(named);
        Ok((Arc::clone(reload), effects))
    }

    /// The changes that [`State::reload`] would make if `file` were that of `-F`.
    ///
    /// # Errors
    /// All that is wrong with the file.
    pub(super) fn diff(&self, file: Option<&str>, world: &mut dyn World) -> Result<Arc<Reload>, Vec<Error>> {
        let Some(file) = file.or(self.file.as_deref()) else {
            return Err(vec![Error::new("no file; name one, or start pen with -F").of("diff")]);
        };
        let source = self.source(file, world)?;
        let proposal = world.propose(&source).map_err(|error| vec![error])?;
        let plan = Plan { config: Arc::clone(&proposal.config), rereads: true, ..Plan::default() };
        let judged = self.judge_lines(&plan, file, &source.file_lines, proposal.report.clone(), world);
        judged.map(|_| Arc::clone(&proposal.reload))
    }

    fn source(&self, file: &str, world: &mut dyn World) -> Result<ReloadSource, Vec<Error>> {
        let file_lines = world.load(file, &self.services).map_err(|error| vec![error])?;
        Ok(ReloadSource {
            config: Arc::clone(&self.config),
            command_line: Arc::clone(&self.command_line),
            file_named: Arc::clone(&self.file_named),
            file: file.to_owned(),
            file_lines,
        })
    }
}
