//! The comment with the command line that `write` puts first, as C pen does: there are scripts that restart pen from
//! it.

use super::Config;
use crate::core::error::one_line;
use crate::core::settings::Settings;
use std::fmt::Write as _;

impl Config {
    /// The lines that `write` saves this configuration in, in the file of that name.
    pub fn file_text(&self, file: &str) -> String {
        let mut text = format!("# {}\n", one_line(self.command_line(file)));
        self.commands().iter().for_each(|command| _ = writeln!(text, "{command}"));
        text
    }

    /// The command line that starts pen with this configuration from `file`: the options that C pen writes, in its
    /// order.
    pub fn command_line(&self, file: &str) -> String {
        let (settings, default) = (&self.settings, Settings::default());
        let mut line = String::from("pen");
        let mut option = |given: bool, letter: &str, value: &dyn Fn() -> String| {
            if given {
                line.push_str(&format!(" {letter}{}", value()));
            }
        };
        let alone = || String::new();
        option(settings.udp, "-U", &alone);
        option(settings.foreground, "-f", &alone);
        option(settings.enable_exit, "-X", &alone);
        let clients = settings.clients_max;
        option(clients != default.clients_max, "-c", &|| format!(" {clients}"));
        for (letter, endpoint) in [("-e", &settings.emergency), ("-B", &settings.abuse)] {
            let word = endpoint.as_ref().map(ToString::to_string).unwrap_or_default();
            option(endpoint.is_some(), letter, &|| format!(" {}", quoted_if_needed(&word)));
        }
        for (letter, path) in [("-j", &settings.chroot), ("-p", &settings.pidfile)] {
            let word = path.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
            option(path.is_some(), letter, &|| format!(" {}", quoted(&word)));
        }
        let user = settings.user.as_deref();
        option(user.is_some(), "-u", &|| format!(" {}", quoted(user.unwrap_or_default())));
        let connections = settings.conn_max;
        option(connections != default.conn_max, "-x", &|| format!(" {connections}"));
        option(true, "-F", &|| format!(" {}", quoted(file)));
        for (letter, address) in [("-C ", &settings.control), ("", &settings.listen)] {
            let word = address.as_ref().map(ToString::to_string).unwrap_or_default();
            option(address.is_some(), letter, &|| quoted_if_needed(&word));
        }
        line
    }
}

/// An address as C pen writes it, without quotes, unless a shell would take it for something else: the path of a socket may
/// hold anything, and whoever may give commands to pen must not give any to the shell that restarts it.
fn quoted_if_needed(address: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/.:-_[]".contains(c);
    if address.chars().all(plain) { address.to_owned() } else { quoted(address) }
}

/// Quotes a word for a shell.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use crate::core::config_file::tests::made_of;

    fn line(lines: &str) -> String {
        made_of(lines).0.command_line("/etc/pen's")
    }

    #[test]
    fn it_is_that_of_c_pen() {
        assert_eq!(line("listen 80\n"), "pen -F '/etc/pen'\\''s' 80");
        assert_eq!(
            line(
                "listen 127.0.0.1:80\nforeground\nenable_exit\nclients_max 3000\nemergency 127.0.0.1:7\n\
                 abuse 127.0.0.1:8\npidfile /run/pid\nuser nobody\nconn_max 600\ncontrol 127.0.0.1:88\n\
                 blacklist 7\nroundrobin\n"
            ),
            "pen -f -X -c 3000 -e 127.0.0.1:7 -B 127.0.0.1:8 -p '/run/pid' -u 'nobody' -x 600 \
             -F '/etc/pen'\\''s' -C 127.0.0.1:88 127.0.0.1:80"
        );
        assert_eq!(
            line("emergency \"/a b\"\nabuse /$(c)\ncontrol \"/d;e\"\nlisten [::1]:80\n"),
            "pen -e '/a b' -B '/$(c)' -F '/etc/pen'\\''s' -C '/d;e' [::1]:80"
        );
        assert_eq!(line("udp\nlisten 53\n"), "pen -U -F '/etc/pen'\\''s' 53");
    }
}
