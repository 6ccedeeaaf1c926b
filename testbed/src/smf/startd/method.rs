//! Methods, smf_method(5): the command, its user and its environment.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use nix::sys::signal::Signal;
use nix::unistd::User;

use super::super::RESTARTER;
use super::super::fmri::Fmri;
use super::super::repo::{Group, Groups};

/// A method, ready to run.
pub(crate) enum Method {
    /// `:true`
    True,
    /// `:kill`, with its signal.
    Kill(Signal),
    Run(Run),
}

/// A command in its context.
pub(crate) struct Run {
    /// The exec string with its tokens replaced.
    pub(crate) exec: String,
    /// The command line: the commands that drop privileges, then a shell that becomes the method.
    pub(crate) argv: Vec<String>,
    pub(crate) env: Vec<(String, String)>,
    pub(crate) dir: PathBuf,
}

/// The timeout of a method in seconds; `None` for no limit.
pub(crate) fn timeout(groups: &Groups, name: &str) -> Option<u64> {
    groups.get(name)?.get("timeout_seconds")?.parse().ok().filter(|seconds| *seconds > 0)
}

/// Prepares a method of an instance; None when it has no such method.
pub(crate) fn prepare(groups: &Groups, fmri: &Fmri, name: &str) -> anyhow::Result<Option<Method>> {
    let Some(group) = groups.get(name).filter(|group| group.kind == "method") else { return Ok(None) };
    let exec = group.get("exec").with_context(|| format!("method {name} has no exec"))?;
    if exec == ":true" {
        return Ok(Some(Method::True));
    }
    if let Some(rest) = exec.strip_prefix(":kill") {
        let signal = match rest.trim().trim_start_matches('-') {
            "" => Signal::SIGTERM,
            number if number.parse::<i32>().is_ok() => Signal::try_from(number.parse::<i32>()?)?,
            name => format!("SIG{}", name.trim_start_matches("SIG")).parse()?,
        };
        return Ok(Some(Method::Kill(signal)));
    }
    let exec = expand(exec, groups, fmri, name)?;
    let context = groups.get("method_context");
    let context = Some(group).filter(|group| group.get("user").is_some()).or(context);
    let mut run = Run { exec: exec.clone(), argv: Vec::new(), env: Vec::new(), dir: PathBuf::from("/") };
    let environment =
        [group.properties.get("environment"), context.and_then(|group| group.properties.get("environment"))];
    let environment = environment.into_iter().flatten().next();
    run.env.push(("PATH".into(), "/usr/sbin:/usr/bin".into()));
    for variable in environment.into_iter().flat_map(|property| &property.values) {
        if let Some((name, value)) = variable.split_once('=') {
            run.env.retain(|(known, _)| known != name);
            run.env.push((name.to_owned(), value.to_owned()));
        }
    }
    let fixed = [
        ("SMF_FMRI", fmri.to_string()),
        ("SMF_METHOD", name.to_owned()),
        ("SMF_RESTARTER", RESTARTER.to_owned()),
        ("SMF_ZONENAME", "global".to_owned()),
    ];
    run.env.extend(fixed.into_iter().map(|(name, value)| (name.to_owned(), value)));
    if let Some(context) = context {
        credential(context, &mut run)?;
    }
    run.argv.extend(["/bin/sh".into(), "-c".into(), format!("exec {exec}")]);
    Ok(Some(Method::Run(run)))
}

/// Replaces the tokens of an exec string.
fn expand(exec: &str, groups: &Groups, fmri: &Fmri, name: &str) -> anyhow::Result<String> {
    let mut text = String::new();
    let mut rest = exec;
    while let Some((before, after)) = rest.split_once('%') {
        text.push_str(before);
        let token = after.chars().next().with_context(|| format!("{exec}: % at the end"))?;
        rest = after.get(token.len_utf8()..).unwrap_or_default();
        match token {
            '%' => text.push('%'),
            'r' => text.push_str("svc.startd"),
            'm' => text.push_str(name),
            's' => text.push_str(&fmri.service),
            'i' => text.push_str(fmri.instance.as_deref().unwrap_or_default()),
            'f' => text.push_str(&fmri.to_string()),
            '{' => {
                let (inside, after) = rest.split_once('}').with_context(|| format!("{exec}: no }}"))?;
                rest = after;
                text.push_str(
                    &values(inside, groups).with_context(|| format!("{exec}: no property {inside}"))?,
                );
            }
            other => bail!("{exec}: unknown token %{other}"),
        }
    }
    text.push_str(rest);
    Ok(text)
}

/// `%{prop[:,]}`: the values of a property, quoted for the shell.
fn values(inside: &str, groups: &Groups) -> Option<String> {
    let (name, separator) = match inside {
        name if name.ends_with(',') => (name.trim_end_matches(','), ","),
        name if name.ends_with(':') => (name.trim_end_matches(':'), ":"),
        name => (name, " "),
    };
    let (pg, property) = name.split_once('/').unwrap_or(("application", name));
    let values = &groups.get(pg)?.properties.get(property)?.values;
    let quoted = values.iter().map(|value| {
        let mut text = String::new();
        for letter in value.chars() {
            if matches!(
                letter,
                ';' | '&' | '(' | ')' | '|' | '^' | '<' | '>' | '\n' | ' ' | '\t' | '\\' | '"' | '\''
            ) {
                text.push('\\');
            }
            text.push(letter);
        }
        text
    });
    Some(quoted.collect::<Vec<_>>().join(separator))
}

/// Converts a method credential into a setpriv(1) command, and sets the working directory.
///
/// The privileges become Linux capabilities: inheritable and ambient, so that they survive exec as the inheritable set
/// of Solaris does. A method that runs as root with a limited set keeps it across setuid(2), as a privilege-aware
/// process does.
fn credential(context: &Group, run: &mut Run) -> anyhow::Result<()> {
    let get = |name: &str| context.get(name).filter(|value| !value.is_empty() && *value != ":default");
    let user_name = get("user").unwrap_or("root");
    let user = match user_name.parse() {
        Ok(uid) => User::from_uid(nix::unistd::Uid::from_raw(uid))?,
        Err(_) => User::from_name(user_name)?,
    };
    let user = user.with_context(|| format!("method credential: no user {user_name}"))?;
    let home = if user.dir.is_dir() { user.dir.clone() } else { PathBuf::from("/") };
    run.dir = match get("working_directory") {
        None | Some(":home") => home,
        Some(dir) if Path::new(dir).is_dir() => PathBuf::from(dir),
        Some(dir) => bail!("method context: no directory {dir}"),
    };
    let root = user.uid.is_root();
    if !signals_other_sessions(get("privileges")) {
        run.env.push((NO_PROC_SESSION.into(), "1".into()));
    }
    let caps = capabilities(get("privileges"), root)?;
    let limit = capabilities(get("limit_privileges"), true)?;
    if root && caps.is_none() && limit.is_none() && get("group").is_none() {
        return Ok(());
    }
    let mut argv = vec!["/usr/bin/setpriv".to_owned()];
    argv.push(format!("--reuid={}", user.uid));
    argv.push(match get("group") {
        Some(group) => format!("--regid={group}"),
        None => format!("--regid={}", user.gid),
    });
    argv.push(match get("supp_groups") {
        Some(groups) => format!(
            "--groups={}",
            groups.split([',', ' ']).filter(|g| !g.is_empty()).collect::<Vec<_>>().join(",")
        ),
        None => "--init-groups".to_owned(),
    });
    let bound = if root { caps.clone().or(limit) } else { limit };
    if let Some(caps) = caps {
        argv.push(format!("--inh-caps={caps}"));
        argv.push(format!("--ambient-caps={caps}"));
        if root {
            argv.push("--securebits=+no_setuid_fixup".to_owned());
        }
    }
    if let Some(bound) = bound {
        argv.push(format!("--bounding-set={bound}"));
    }
    argv.push("--".to_owned());
    run.argv = argv;
    Ok(())
}

/// Set in the environment of a method without proc_session: Linux cannot forbid it to signal processes of other
/// sessions, so smf_kill_contract of smf_include.sh refuses instead.
const NO_PROC_SESSION: &str = "TESTBED_NO_PROC_SESSION";

/// Whether a privilege set contains proc_session, which is one of the basic privileges.
fn signals_other_sessions(set: Option<&str>) -> bool {
    set.unwrap_or("basic").split([',', ' ']).fold(false, |holds, word| {
        match word.to_ascii_lowercase().trim_start_matches("priv_") {
            "basic" | "all" | "zone" | "proc_session" => true,
            "!proc_session" | "-proc_session" | "none" => false,
            _ => holds,
        }
    })
}

/// The capabilities of a privilege set, as a list for setpriv(1); None for all of them.
fn capabilities(set: Option<&str>, all_by_default: bool) -> anyhow::Result<Option<String>> {
    let set = match set {
        None if all_by_default => return Ok(None),
        None => "basic",
        Some(set) => set,
    };
    let words = || set.split([',', ' ']).filter(|word| !word.is_empty());
    let reads_and_searches =
        ["file_dac_read", "file_dac_search"].iter().all(|name| words().any(|word| word == *name));
    let mut caps = String::from("-all");
    for privilege in words() {
        let (remove, name) = match privilege.strip_prefix(['!', '-']) {
            Some(name) => (true, name),
            None => (false, privilege),
        };
        let names: &[&str] = match name.to_ascii_lowercase().trim_start_matches("priv_") {
            "all" | "zone" if !remove => return Ok(None),
            "basic" | "file_link_any" | "file_read" | "file_write" | "net_access" | "proc_exec"
            | "proc_fork" | "proc_info" | "proc_session" | "file_chown_self" | "none" => &[],
            "net_privaddr" => &["net_bind_service"],
            "net_rawaccess" | "net_icmpaccess" => &["net_raw"],
            "file_chown" => &["chown"],
            // One capability covers both, so it is not used for only one of them.
            "file_dac_read" | "file_dac_search" if reads_and_searches || remove => &["dac_read_search"],
            "file_dac_read" | "file_dac_search" => &[],
            "file_dac_write" | "file_dac_execute" => &["dac_override"],
            "file_owner" => &["fowner"],
            "file_setid" => &["fsetid"],
            "proc_setid" => &["setuid", "setgid"],
            "proc_chroot" => &["sys_chroot"],
            "proc_owner" => &["kill"],
            "proc_priocntl" => &["sys_nice"],
            "sys_resource" => &["sys_resource"],
            "sys_net_config" => &["net_admin"],
            "proc_taskid" | "proc_audit" | "proc_lock_memory" => &[],
            _ => bail!("method credential: privilege {name} is not known here"),
        };
        for name in names {
            match remove {
                true => caps = caps.replace(&format!(",+{name}"), ""),
                false => caps.push_str(&format!(",+{name}")),
            }
        }
    }
    Ok(Some(caps))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::smf::repo::Property;

    #[test]
    fn expands_tokens() {
        let mut groups = Groups::new();
        let mut group = Group::new("application");
        group.set("servers", Property::new("astring", vec!["a b".into(), "c;d".into()]).unwrap());
        groups.insert("pen".into(), group);
        let fmri = Fmri::parse("svc:/network/pen:default").unwrap();
        let text = expand("/m %m %i %s %f 100%% %{pen/servers:}", &groups, &fmri, "start").unwrap();
        assert_eq!(text, "/m start default network/pen svc:/network/pen:default 100% a\\ b:c\\;d");
        assert!(expand("%{pen/none}", &groups, &fmri, "start").is_err());
        assert!(expand("%z", &groups, &fmri, "start").is_err());
    }

    #[test]
    fn maps_privileges() {
        assert_eq!(
            capabilities(Some("basic,!proc_exec,net_privaddr"), false).unwrap().unwrap(),
            "-all,+net_bind_service"
        );
        assert_eq!(capabilities(None, false).unwrap().unwrap(), "-all");
        assert_eq!(capabilities(None, true).unwrap(), None);
        assert!(capabilities(Some("basic,nonsense"), false).is_err());
        let both = capabilities(Some("basic,file_dac_read,file_dac_search"), false).unwrap().unwrap();
        assert!(both.contains("dac_read_search"), "{both}");
        assert_eq!(capabilities(Some("basic,file_dac_read"), false).unwrap().unwrap(), "-all");
    }

    #[test]
    fn knows_who_may_signal_other_sessions() {
        for (set, may) in [
            (None, true),
            (Some("basic,net_privaddr"), true),
            (Some("basic,!proc_session"), false),
            (Some("basic,-proc_session,net_privaddr"), false),
            (Some("none,proc_session"), true),
            (Some("net_privaddr"), false),
        ] {
            assert_eq!(signals_other_sessions(set), may, "{set:?}");
        }
    }
}
