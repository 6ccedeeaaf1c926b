//! The source tree and cargo's target directory, both determined when the task runs.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Result;

/// The directories of a task.
pub(crate) struct Workspace {
    /// The top of the source tree, which may be read-only.
    pub(crate) top: PathBuf,
    /// The directory for the build output of cargo and of tasks.
    pub(crate) target: PathBuf,
}

impl Workspace {
    /// Asks cargo, since CARGO_TARGET_DIR, build.target-dir or a configuration file may change it. The paths compiled
    /// into this program are not used: a checkout may have been copied together with its build output.
    ///
    /// # Errors
    /// The current directory is in no such tree, or cargo does not answer.
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

    /// Builds the programs as delivered, and returns their directory.
    ///
    /// # Errors
    /// The build fails.
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
