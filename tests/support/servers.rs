//! The reply to the control command `servers`.

/// A line of the reply to `servers`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServerLine {
    pub(crate) number: usize,
    pub(crate) address: String,
    pub(crate) port: u16,
    pub(crate) conn: i64,
    pub(crate) max: i64,
    pub(crate) hard: i64,
    pub(crate) weight: i64,
    pub(crate) prio: i64,
    pub(crate) sx: u64,
    pub(crate) rx: u64,
}

impl ServerLine {
    pub(crate) fn parse(line: &str) -> ServerLine {
        let words: Vec<&str> = line.split(' ').collect();
        let field = |name: &str| {
            let at = words.iter().position(|w| *w == name).unwrap_or_else(|| panic!("no {name} in {line:?}"));
            words[at + 1]
        };
        let number = |name: &str| field(name).parse().unwrap_or_else(|e| panic!("{name} in {line:?}: {e}"));
        ServerLine {
            number: words[0].parse().unwrap(),
            address: field("addr").to_owned(),
            port: field("port").parse().unwrap(),
            conn: number("conn"),
            max: number("max"),
            hard: number("hard"),
            weight: number("weight"),
            prio: number("prio"),
            sx: field("sx").parse().unwrap(),
            rx: field("rx").parse().unwrap(),
        }
    }
}
