//! How much a client wants a representation, as its `Accept` headers say (RFC 9110 12.5.1).

/// How much a client wants a content type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Preference {
    /// In thousandths; 0 for what it does not accept.
    pub(super) weight: u16,
    match_kind: RangeMatch,
}

/// By which kind of media range a content type is matched, the more specific the later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
enum RangeMatch {
    #[default]
    None,
    Anything,
    Type,
    Subtype,
    Version,
}

impl Preference {
    /// Of the content type `kind` for a client with the headers `accepted`, joined by commas. The most specific media range
    /// counts. Of the parameters of a range only `version` distinguishes what pen has.
    pub(super) fn of(accepted: &str, kind: &str) -> Preference {
        let ranges = split(accepted, ',').filter_map(|range| Preference::by_range(range, kind));
        ranges.max_by_key(|found| (found.match_kind, found.weight)).unwrap_or_default()
    }

    /// Whether the client accepts it by its name, and not only among others.
    pub(super) fn is_named(self) -> bool {
        self.weight > 0 && self.match_kind >= RangeMatch::Subtype
    }

    /// What one media range says of `kind`; `None` if it does not match, or has a weight that is none.
    fn by_range(range: &str, kind: &str) -> Option<Preference> {
        let (wanted, has) = (name(range), name(kind));
        let main = |name: &str| name.split('/').next().unwrap_or_default().to_owned();
        let mut match_kind = match () {
            () if wanted == has => RangeMatch::Subtype,
            () if wanted == "*/*" => RangeMatch::Anything,
            () if wanted.ends_with("/*") && main(&wanted) == main(&has) => RangeMatch::Type,
            () => return None,
        };
        if let Some(version) = parameter(range, "version") {
            if match_kind < RangeMatch::Subtype || parameter(kind, "version") != Some(version) {
                return None;
            }
            match_kind = RangeMatch::Version;
        }
        let weight = parameter(range, "q").map_or(Some(1000), weight)?;
        Some(Preference { weight, match_kind })
    }
}

/// The type and the subtype.
fn name(range: &str) -> String {
    split(range, ';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// The value of a parameter, without quotes around it.
fn parameter<'a>(range: &'a str, name: &str) -> Option<&'a str> {
    let mut parameters = split(range, ';').skip(1).filter_map(|text| text.split_once('='));
    let (_, value) = parameters.find(|(found, _)| found.trim().eq_ignore_ascii_case(name))?;
    let value = value.trim();
    Some(value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value))
}

/// A weight in thousandths: 0 to 1 with at most three digits behind the point.
fn weight(text: &str) -> Option<u16> {
    let (whole, rest) = text.split_once('.').unwrap_or((text, ""));
    let is_well_formed = rest.len() <= 3 && rest.bytes().all(|byte| byte.is_ascii_digit());
    let thousandths = format!("{rest:0<3}").parse::<u16>().ok().filter(|_| is_well_formed)?;
    match (whole, thousandths) {
        ("0", part) => Some(part),
        ("1", 0) => Some(1000),
        _ => None,
    }
}

/// The parts of a text between separators that are not within quotes.
fn split(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    text.split(move |c| {
        let separates = c == separator && !is_quoted;
        is_quoted ^= c == '"' && !is_escaped;
        is_escaped = c == '\\' && is_quoted && !is_escaped;
        separates
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPEN: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

    #[test]
    fn the_most_specific_range_counts() {
        let weights = |accepted: &str| [OPEN, TEXT].map(|kind| Preference::of(accepted, kind).weight);
        for (accepted, expected) in [
            ("", [0, 0]),
            ("text/html", [0, 0]),
            ("*/*", [1000, 1000]),
            ("*/*;q=0.1, text/*", [100, 1000]),
            ("text/plain", [0, 1000]),
            ("application/openmetrics-text;q=0, text/plain", [0, 1000]),
            ("application/openmetrics-text; Q=0.000 ,*/*", [0, 1000]),
            ("application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.75", [500, 750]),
            ("application/openmetrics-text;version=0.0.1,text/plain;q=0.5", [0, 500]),
            ("application/openmetrics-text;version=0.0.1;q=0.9,application/openmetrics-text;q=0.2", [200, 0]),
            ("Application/OpenMetrics-Text;version=\"1.0.0\";escaping=allow-utf-8;q=0.6", [600, 0]),
            ("text/plain;x=\"a,application/openmetrics-text;b\\\",c\";q=0.3", [0, 300]),
            // Weights that are none.
            ("text/plain;q=2, text/plain;q=-1, text/plain;q=0.1234, text/plain;q=1.5, text/plain;q=", [0, 0]),
            ("text/plain;q=0.+1, */*;q=.5, text/*;q=0.\u{663}", [0, 0]),
        ] {
            assert_eq!(weights(accepted), expected, "{accepted}");
        }
    }

    #[test]
    fn what_is_accepted_among_others_is_not_named() {
        for (accepted, named) in [
            ("application/openmetrics-text", true),
            ("application/openmetrics-text;version=1.0.0;q=0.1", true),
            ("application/openmetrics-text;q=0", false),
            ("application/*", false),
            ("*/*", false),
        ] {
            assert_eq!(Preference::of(accepted, OPEN).is_named(), named, "{accepted}");
        }
    }
}
