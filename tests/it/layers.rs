//! Dependencies point one way: bin -> cli, app -> control, net, weblog, sys -> core -> std.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use crate::support::tree;

/// What each part of `src` may use of the others. Parts of a layer use those below; net and control never each other.
const MAY_USE: [(&str, &[&str]); 8] = [
    ("core", &[]),
    ("sys", &[]),
    ("weblog", &["core", "sys"]),
    ("control", &["core", "sys"]),
    ("admin", &["core", "sys"]),
    ("net", &["core", "sys", "weblog"]),
    ("cli", &["core", "weblog"]),
    ("app", &["admin", "cli", "control", "core", "net", "sys", "weblog"]),
];

/// The sources below a directory of the tree, by their names there, and their texts.
fn sources(part: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut paths = vec![tree::top().join(part)];
    while let Some(path) = paths.pop() {
        if path.is_dir() {
            paths.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        if path.extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        let name = path.strip_prefix(tree::top()).unwrap().to_str().unwrap().to_owned();
        found.push((name, fs::read_to_string(path).unwrap()));
    }
    assert!(!found.is_empty(), "{part} has no sources");
    found
}

fn uses(part: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (_, text) in sources(part) {
        let parts = text
            .split("crate::")
            .skip(1)
            .map(|rest| rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>());
        found.extend(parts.filter(|part| MAY_USE.iter().any(|(name, _)| name == part)));
    }
    found
}

#[test]
fn dependencies_point_one_way() {
    for (part, allowed) in MAY_USE {
        let mut found = uses(&format!("src/{part}"));
        found.remove(part);
        let allowed: BTreeSet<String> = allowed.iter().map(|part| (*part).to_owned()).collect();
        assert!(found.is_subset(&allowed), "src/{part} uses {found:?}; allowed is {allowed:?}");
    }
}

/// Parts whose files must not import each other, directly or around a circle.
const WITHOUT_CIRCLES: [&str; 1] = ["src"];

#[test]
fn no_files_import_each_other() {
    for part in WITHOUT_CIRCLES {
        let files = sources(part);
        let imports: BTreeMap<String, BTreeSet<String>> =
            files.iter().map(|(name, text)| (module(name), imported(&module(name), text, &files))).collect();
        for start in imports.keys() {
            let mut reached = BTreeSet::new();
            let mut next: Vec<&String> = imports[start].iter().collect();
            while let Some(module) = next.pop() {
                if reached.insert(module) {
                    next.extend(&imports[module]);
                }
            }
            assert!(!reached.contains(start), "{start} imports itself around a circle: {imports:#?}");
        }
    }
}

/// The path of a file's module: `crate::sys::log` for `src/sys/log/mod.rs`.
fn module(name: &str) -> String {
    let path = name.strip_prefix("src/").unwrap().strip_suffix(".rs").unwrap();
    format!("crate::{}", path.strip_suffix("/mod").unwrap_or(path).replace('/', "::"))
}

/// The modules of `files` that the file of `module` imports or names in a path, outside its tests.
fn imported(module: &str, text: &str, files: &[(String, String)]) -> BTreeSet<String> {
    let modules: BTreeSet<String> = files.iter().map(|(name, _)| self::module(name)).collect();
    let mut found = BTreeSet::new();
    let text = without_tests(text);
    let mut lines = text.lines().map(code);
    while let Some(line) = lines.next() {
        let line = without_visibility(line);
        let paths = match line.strip_prefix("use ") {
            Some(first) => {
                let mut tree = first.to_owned();
                while !tree.ends_with(';') {
                    tree.push_str(lines.next().unwrap());
                }
                leaves(tree.trim_end_matches(';'))
            }
            None => inline_paths(line),
        };
        found.extend(paths.iter().filter_map(|path| resolve(module, path, &modules)));
    }
    found.remove(module);
    found
}

/// A source without what only tests have.
fn without_tests(text: &str) -> String {
    const ONLY_TESTS: &str = "#[cfg(test)]";
    let mut lines = text.lines();
    let mut kept = String::new();
    while let Some(line) = lines.next() {
        if line == ONLY_TESTS {
            // A declaration ends with its line or with a brace at its beginning.
            lines.find(|line| line.ends_with(';') && !line.starts_with(' ') || *line == "}").unwrap();
        } else {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    kept
}

/// A line without its comment and without spaces around it.
fn code(line: &str) -> &str {
    line.split("//").next().unwrap().trim()
}

/// An item without `pub`, `pub(super)`, `pub(crate)` or `pub(in PATH)`.
fn without_visibility(line: &str) -> &str {
    let Some(item) = line.strip_prefix("pub") else { return line };
    let item = if item.starts_with('(') { item.split_once(')').map_or(item, |(_, item)| item) } else { item };
    item.trim_start()
}

/// The paths in a line of code. Those of macros, which begin with `$crate`, belong to the files that call them.
fn inline_paths(line: &str) -> Vec<String> {
    let is_path = |c: char| c.is_alphanumeric() || "_:$".contains(c);
    let words = line.split(|c| !is_path(c)).filter(|word| word.contains("::") && !word.starts_with('$'));
    words.map(str::to_owned).collect()
}

#[test]
fn every_form_of_an_import_is_found() {
    let names = ["src/a/mod.rs", "src/a/b.rs", "src/a/b/c.rs", "src/d.rs"];
    let files = names.map(|name| (name.to_owned(), String::new()));
    for (line, expected) in [
        ("use crate::d::D;", "crate::d"),
        ("pub use crate::d::D;", "crate::d"),
        ("pub(super) use crate::d::D;", "crate::d"),
        ("pub(crate) use crate::d::D;", "crate::d"),
        ("pub(in crate::a) use crate::d::D;", "crate::d"),
        ("pub(crate) use crate::{\n    d::{D, E},\n};", "crate::d"),
        ("#[cfg(test)]\nmod tests;\nuse crate::d::D;", "crate::d"),
        ("#[cfg(test)]\nmod tests {\n    f();\n}\nuse crate::d::D;", "crate::d"),
        ("    let d = crate::d::new();", "crate::d"),
        ("    field: Vec<crate::d::D>,", "crate::d"),
        ("    super::f()", "crate::a"),
        ("    super::super::d::new()", "crate::d"),
        ("    c::new()", "crate::a::b::c"),
        ("    self::c::new()", "crate::a::b::c"),
    ] {
        let found = imported("crate::a::b", line, &files);
        assert_eq!(found, BTreeSet::from([expected.to_owned()]), "{line}");
    }
    for line in [
        "/// See [`crate::d::D`].",
        "pub(in crate::a) struct D;",
        "#[cfg(test)]\nuse crate::d::D;",
        "#[cfg(test)]\nmod tests {\n    use crate::d::D;\n}",
        "#[cfg(test)]\npub(super) mod tests {\n    use crate::d::D;\n}",
        "    $crate::d::new()",
        "    other::c::new()",
    ] {
        assert_eq!(imported("crate::a::b", line, &files), BTreeSet::new(), "{line}");
    }
}

/// The paths that a use tree stands for.
fn leaves(tree: &str) -> Vec<String> {
    let Some((prefix, rest)) = tree.split_once('{') else { return vec![tree.trim().to_owned()] };
    let inner = rest.rsplit_once('}').unwrap().0;
    let (mut depth, mut start, mut parts) = (0, 0, Vec::new());
    for (at, c) in inner.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&inner[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&inner[start..]);
    let parts = parts.into_iter().map(str::trim).filter(|part| !part.is_empty());
    parts.flat_map(|part| leaves(&format!("{prefix}{part}"))).collect()
}

/// The innermost of `modules` that a path, used in `module`, leads to or through.
fn resolve(module: &str, path: &str, modules: &BTreeSet<String>) -> Option<String> {
    let mut at = module.to_owned();
    let mut words = path.split("::").map(|word| word.split(' ').next().unwrap()).peekable();
    match *words.peek()? {
        "crate" => at = words.next()?.to_owned(),
        "self" => _ = words.next(),
        "super" => {
            while words.peek() == Some(&"super") {
                words.next();
                at = at.rsplit_once("::")?.0.to_owned();
            }
        }
        child if modules.contains(&format!("{module}::{child}")) => {}
        _ => return None,
    }
    for word in words {
        let inner = format!("{at}::{word}");
        if !modules.contains(&inner) {
            break;
        }
        at = inner;
    }
    modules.contains(&at).then_some(at)
}

/// Types that each system has in its own form, under one name: a build contains one of them.
const ONE_FOR_EACH_SYSTEM: [&str; 8] =
    ["ControlBuffer", "Grant", "KernelPipe", "MessageBuffer", "PolledFd", "PolledLane", "ReadyPort", "Ring"];

/// A reader does not have to find out which of several types a name stands for.
#[test]
fn no_two_types_share_a_name() {
    for (part, expected) in
        [("src", &ONE_FOR_EACH_SYSTEM[..]), ("bench/src", &[]), ("testbed/src", &[]), ("xtask/src", &[])]
    {
        let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, text) in sources(part) {
            for declared in types(&text) {
                places.entry(declared).or_default().push(name.clone());
            }
        }
        places.retain(|_, places| places.len() > 1);
        let shared: Vec<&str> = places.keys().map(String::as_str).collect();
        assert_eq!(shared, expected, "types that share a name: {places:#?}");
    }
}

/// The types and traits that a source declares, also in its functions, its tests and by the macros of the tables, but no
/// associated types.
fn types(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    // The indentation of the trait or implementation around the line.
    let mut inside = None;
    let mut in_table = false;
    for line in text.lines() {
        let indent = line.len() - line.trim_start().len();
        if inside == Some(indent) && line.trim_start().starts_with('}') {
            inside = None;
        }
        let item = without_visibility(code(line));
        let item = item.strip_prefix("unsafe ").unwrap_or(item);
        let mut words = item.split(|c: char| !c.is_alphanumeric() && c != '_');
        let first = words.next().unwrap_or_default();
        let declares = match first {
            "struct" | "enum" | "union" | "trait" => true,
            "type" => inside.is_none(),
            _ => false,
        };
        if declares {
            found.extend(words.next().filter(|name| !name.is_empty()).map(str::to_owned));
        }
        if matches!(first, "impl" | "trait") && !item.ends_with('}') {
            inside = Some(indent);
        }
        if in_table && !item.is_empty() && !item.starts_with('#') {
            found.push(first.to_owned());
            in_table = false;
        }
        in_table |= item.ends_with("keywords! {") || item.ends_with("table! {");
    }
    found
}

#[test]
fn every_form_of_a_type_is_found() {
    for text in [
        "struct A;",
        "pub struct A<'a>(&'a str);",
        "pub(in crate::a) enum A {}",
        "union A {",
        "unsafe trait A: B {}",
        "type A = B;",
        "    struct A {",
        "impl B for C {\n    type Output = D;\n}\ntype A = B;",
        "mod tests {\n    impl B for C {\n        type D = E;\n    }\n    type A = B;\n}",
        "trait A {\n    type B;\n}",
        "impl B for C {}\ntype A = B;",
        "keywords! {\n    /// A comment.\n    #[must_use]\n    A {\n        /// A word.\n        B = \"b\",",
        "table::table! {\n    A {\n        b: usize = 0,",
        "pub enum $name {\nenum A {",
    ] {
        assert_eq!(types(text), ["A"], "{text}");
    }
}

/// A file has one subject and is read in one go.
#[test]
fn files_are_short() {
    let mut lengths: Vec<(usize, String)> =
        sources("src").into_iter().map(|(name, text)| (text.lines().count(), name)).collect();
    lengths.sort_unstable();
    let long: Vec<_> = lengths.iter().filter(|(length, _)| *length > 500).collect();
    assert!(long.is_empty(), "expected at most 500 lines, got {long:?}");
    let (median, _) = lengths[lengths.len() / 2];
    assert!(median < 160, "expected a median below 160 lines, got {median}");
}

#[test]
fn the_core_is_pure() {
    for (name, text) in sources("src/core") {
        // A Duration is a number; only a clock is impure.
        for word in ["tokio::", "std::fs", "Instant", "SystemTime", "TcpStream", "UdpSocket"] {
            assert!(!text.contains(word), "{name} has {word}");
        }
    }
}

#[test]
fn what_lasts_a_while_is_measured_by_the_monotonic_clock() {
    const SHOW_THE_DATE: [&str; 4] = [
        "src/app/clock.rs",
        "src/net/connection_log.rs",
        "src/net/filter/request_log.rs",
        "src/net/tls/file_stamp.rs",
    ];
    let clocks = ["SystemTime", "UNIX_EPOCH", "jiff::", "CLOCK_REALTIME", "gettimeofday", "libc::time"];
    let found: BTreeSet<String> = ["src/net", "src/app"]
        .into_iter()
        .flat_map(sources)
        .filter(|(_, text)| clocks.iter().any(|clock| text.contains(clock)))
        .map(|(name, _)| name)
        .collect();
    let allowed: BTreeSet<String> = SHOW_THE_DATE.map(str::to_owned).into();
    assert_eq!(
        found, allowed,
        "only what shows a date, or compares one with a file's, may read the wall clock: an administrator or NTP \
         sets it back and forth, and blacklist times, timeouts and clients' ages must not move with it"
    );
}

/// A socket that others send to is bound where its port is taken for pen alone (SO_EXCLBIND on Solaris and illumos).
#[test]
fn all_listeners_are_bound_in_one_place() {
    /// What binds otherwise, and why that is no listener.
    const OTHERS: [(&str, &str); 4] = [
        ("src/sys/listen/unix.rs", "a Unix socket, which has no port"),
        ("src/sys/resolve.rs", "asks for the source address that routing chooses"),
        ("src/sys/socket.rs", "the source address of a connection or datagram to a server"),
        ("src/weblog/sink/udp.rs", "any port, to send the web log from"),
    ];
    /// Functions of pen's own, whose files are looked at like all others, and the setting `listen`.
    const OWN: [&str; 4] = ["DatagramSocket::bind(", "receiver::bind(", "setup::bind(", "Settings::listen("];
    let binds = |text: &str| {
        // Tests have servers and clients of their own.
        let text = text.split("#[cfg(test)]").next().unwrap_or_default();
        text.lines().any(|line| {
            let line = line.split("//").next().unwrap_or_default();
            let line = OWN.iter().fold(line.to_owned(), |line, own| line.replace(own, ""));
            [".bind(", "::bind(", ".listen(", "::listen("].iter().any(|call| line.contains(call))
        })
    };
    let found: BTreeSet<String> = sources("src")
        .into_iter()
        .filter(|(name, text)| !name.contains("tests") && name != "src/sys/listen/mod.rs" && binds(text))
        .map(|(name, _)| name)
        .collect();
    let allowed: BTreeSet<String> = OTHERS.map(|(name, _)| name.to_owned()).into();
    assert_eq!(found, allowed, "sockets that wait for clients are made by sys::listen");
}
