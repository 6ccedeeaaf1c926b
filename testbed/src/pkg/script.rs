//! Runs the scripts of a package: procedure scripts, class action scripts, checkinstall.

use std::fs::{self, File};
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Context;
use nix::unistd::{User, geteuid};

use super::Root;
use super::params::Params;
use crate::cli;

/// The shell that runs every script, whatever the script's first line says.
const SHELL: &str = "/sbin/sh";

/// The directory of the system's class action scripts, for classes whose script is not in the package.
const SYSTEM_SCRIPTS: &str = "/usr/sadm/install/scripts";

/// The environment that every script of a package gets.
pub(crate) struct Scripts {
    /// The directory install/ of the package.
    pub(crate) dir: PathBuf,
    pub(crate) env: Params,
    /// -v: trace the commands.
    pub(crate) trace: bool,
    /// Whether a script has warned: the package is then partially installed or removed.
    pub(crate) warned: bool,
    /// The reboot that a script has requested.
    reboot: Option<Reboot>,
}

/// When the system has to be rebooted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Reboot {
    /// After all packages.
    InTheEnd,
    /// After this one.
    AtOnce,
}

impl Scripts {
    pub(crate) fn new(dir: PathBuf, info: &Params, root: &Root, package: &str, trace: bool) -> Scripts {
        let mut env = info.clone();
        let base = basedir(info);
        env.set("CLIENT_BASEDIR", &base);
        env.set("BASEDIR", &root.join(&base).display().to_string());
        env.set("PKGINST", package);
        env.set("PKGSAV", &root.package(package).join("save").display().to_string());
        env.set("PATH", "/sbin:/usr/sbin:/usr/bin:/usr/sadm/install/bin");
        if let Some(root) = root.alternate() {
            env.set("PKG_INSTALL_ROOT", &root.display().to_string());
        }
        Scripts { dir, env, trace, warned: false, reboot: None }
    }

    /// The script of a class: the package's own, else the system's.
    pub(crate) fn class(&self, prefix: &str, class: &str) -> Option<PathBuf> {
        let name = format!("{prefix}.{class}");
        [self.dir.join(&name), Path::new(SYSTEM_SCRIPTS).join(&name)].into_iter().find(|path| path.is_file())
    }

    /// Runs a procedure script (preinstall, ...) if the package has it.
    pub(crate) fn procedure(&mut self, name: &str) -> anyhow::Result<()> {
        let path = self.dir.join(name);
        if !path.is_file() {
            return Ok(());
        }
        println!("## Executing {name} script.");
        self.run(&path, &[], None)
    }

    /// Runs a class action script with `lines` on its standard input.
    pub(crate) fn class_action(&mut self, path: &Path, args: &[&str], lines: &str) -> anyhow::Result<()> {
        self.run(path, args, Some(lines))
    }

    /// Runs checkinstall as the unprivileged user of pkgadd(1M); adopts the parameters that it writes.
    pub(crate) fn checkinstall(&mut self) -> anyhow::Result<()> {
        let script = self.dir.join("checkinstall");
        if !script.is_file() {
            return Ok(());
        }
        println!("## Executing checkinstall script.");
        // The user can read neither the package nor root's files, and gets copies.
        let dir = tempfile::tempdir_in("/var/tmp")?;
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755))?;
        let (copy, answers) = (dir.path().join("checkinstall"), dir.path().join("answers"));
        fs::copy(&script, &copy)?;
        fs::set_permissions(&copy, fs::Permissions::from_mode(0o644))?;
        self.env.write(&answers)?;
        let mut command = self.command(&copy, &[answers.as_os_str().to_string_lossy().as_ref()]);
        command.stdin(Stdio::null());
        let user = ["install", "noaccess", "nobody"]
            .into_iter()
            .find_map(|name| User::from_name(name).ok().flatten());
        if let (true, Some(user)) = (geteuid().is_root(), user) {
            nix::unistd::chown(&answers, Some(user.uid), Some(user.gid))?;
            command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
        }
        let status = command.status()?.code().unwrap_or(3);
        self.judge("checkinstall", status)?;
        for (name, value) in Params::read(&answers)?.iter() {
            self.env.set(name, value);
        }
        Ok(())
    }

    fn command(&self, script: &Path, args: &[&str]) -> Command {
        let mut command = Command::new(SHELL);
        command.env_clear().envs(self.env.iter());
        for name in ["TZ", "LANG", "LC_ALL", "TMPDIR"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        if self.trace {
            command.arg("-x");
        }
        command.arg(script).args(args).current_dir("/");
        // As in pkgadd(1M): the script's standard output and standard error are both pkgadd's standard output. (If that
        // is a terminal, pkgadd opens /dev/tty instead, which is the same terminal.)
        match std::io::stdout().as_fd().try_clone_to_owned() {
            Ok(output) => _ = command.stderr(output),
            Err(error) => eprintln!("WARNING: {error}"),
        }
        command
    }

    fn run(&mut self, script: &Path, args: &[&str], input: Option<&str>) -> anyhow::Result<()> {
        let name = script.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut command = self.command(script, args);
        match input {
            None => _ = command.stdin(File::open("/dev/null")?),
            Some(lines) => {
                let mut file = tempfile::tempfile()?;
                file.write_all(lines.as_bytes())?;
                std::io::Seek::rewind(&mut file)?;
                command.stdin(file);
            }
        }
        let status = command.status().with_context(|| script.display().to_string())?.code().unwrap_or(3);
        self.judge(&name, status)
    }

    /// Interprets the exit status of a script, see pkgadd(1M): its last digit is 0 for success, 1 for a fatal error, 2
    /// for a warning, 3 for an interrupt, 4 and 5 for actions that the administration file forbids; 10 or 20 is added
    /// to request a reboot.
    fn judge(&mut self, name: &str, status: i32) -> anyhow::Result<()> {
        let reboot = match status {
            10..=19 => Some(Reboot::InTheEnd),
            20..=29 => Some(Reboot::AtOnce),
            _ => None,
        };
        let failed = || format!("ERROR: {name} script did not complete successfully");
        match status {
            0 | 10 | 20 => {}
            2 | 12 | 22 => {
                eprintln!("{}", failed());
                self.warned = true;
            }
            3 | 13 | 23 => return Err(cli::exit(u8::try_from(status)?, "")),
            1 | 4 | 5 | 11 | 14 | 15 | 21 | 24 | 25 | 99 => {
                return Err(cli::exit(u8::try_from(status)?, failed()));
            }
            _ => return Err(cli::exit(1, failed())),
        }
        self.reboot = self.reboot.max(reboot);
        Ok(())
    }

    /// The exit status of the command at its end.
    pub(crate) fn status(&self) -> u8 {
        let reboot = match self.reboot {
            None => 0,
            Some(Reboot::InTheEnd) => 10,
            Some(Reboot::AtOnce) => 20,
        };
        reboot + if self.warned { 2 } else { 0 }
    }
}

/// BASEDIR of a pkginfo(4) file, `/` when it has none.
pub(crate) fn basedir(info: &Params) -> String {
    info.get("BASEDIR").filter(|base| !base.is_empty()).unwrap_or("/").to_owned()
}

/// The absolute path of an object on the target system.
pub(crate) fn absolute(base: &str, path: &str) -> String {
    match path.starts_with('/') {
        true => path.to_owned(),
        false => format!("{}/{path}", base.trim_end_matches('/')),
    }
}
