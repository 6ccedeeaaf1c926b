//! The source tree and cargo's target directory, both found when the task runs.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Result;

/// Where a task works.
pub(crate) struct Workspace {
    /// The top of the source tree, which may be read-only.
    pub(crate) top: PathBuf,
    /// Where cargo puts what it builds, and a task what it makes.
    pub(crate) target: PathBuf,
}

impl Workspace {
    /// Asks cargo, as CARGO_TARGET_DIR, build.target-dir or a configuration file may say. Not what this program was compiled
    /// with: a checkout may have been copied, with what was built in it.
    ///
    /// # Errors
    /// Where the current directory is in no such tree, or cargo does not answer.
    pub(crate) fn find() -> Result<Self> {
        let top = match std::env::var_os("CARGO_MANIFEST_DIR") {
            // Set by `cargo run`: the directory of this package.
            Some(package) => Path::new(&package).parent().map(Path::to_owned),
            None => std::env::current_dir()?.ancestors().find(|d| is_top(d)).map(Path::to_owned),
        };
        let top = top.filter(|top| is_top(top)).ok_or("not in the source tree of pen")?;
        let mut asked = Command::new(cargo());
        asked.current_dir(&top).args(["metadata", "--no-deps", "--format-version", "1", "--locked"]);
        let answer = asked.output().map_err(|e| format!("{}: {e}", cargo().display()))?;
        let metadata: serde_json::Value = serde_json::from_slice(&answer.stdout)
            .map_err(|_| format!("cargo metadata: {}", String::from_utf8_lossy(&answer.stderr).trim()))?;
        let target = metadata.get("target_directory").and_then(serde_json::Value::as_str);
        Ok(Self { top, target: target.ok_or("cargo metadata has no target_directory")?.into() })
    }

    /// A command at the top of the source tree.
    pub(crate) fn command(&self, program: impl Into<OsString>) -> Command {
        let mut command = Command::new(program.into());
        command.current_dir(&self.top);
        command
    }

    /// Builds the programs as they are delivered, and returns the directory that holds them.
    ///
    /// # Errors
    /// A build that fails.
    pub(crate) fn build(&self) -> Result<PathBuf> {
        let built = self
            .command("sh")
            .args(["tools/build.sh", "-d"])
            .stderr(std::process::Stdio::inherit())
            .output()?;
        let told = String::from_utf8(built.stdout)?;
        match built.status.success() {
            true => Ok(told.trim_end_matches('\n').into()),
            false => Err("the programs cannot be built".into()),
        }
    }
}

/// The cargo that runs this task, or the one on the path.
pub(crate) fn cargo() -> OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

fn is_top(directory: &Path) -> bool {
    directory.join("pkg/SUNWpen/pkginfo.tmpl").is_file() && directory.join("xtask").is_dir()
}
