//! Which servers are for which server name, where pen relays TLS without ending it: the setting `sni_server`.

use super::addr::Host;
use super::error::Error;
use super::number_set::NumberSet;
use std::collections::HashMap;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// The servers of one name, or of the names that a pattern matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SniRoute {
    /// A host name in lower case, or `*.` in front of one for all names that are one label longer.
    pub pattern: String,
    /// The servers, by number or name.
    pub servers: Vec<String>,
}

impl SniRoute {
    /// What is expected, for errors.
    pub const FORM: &'static str = "a host name, or *. and a host name, and servers";

    /// Parses a pattern and servers, with blanks between.
    pub fn parse(text: &str) -> Option<Self> {
        let mut words = text.split_whitespace();
        let pattern = words.next()?.to_ascii_lowercase();
        let name = pattern.strip_prefix("*.").unwrap_or(&pattern);
        let is_name = matches!(Host::parse(name), Ok(Host::Name(_)));
        let servers: Vec<String> = words.map(str::to_owned).collect();
        (is_name && !servers.is_empty()).then_some(SniRoute { pattern, servers })
    }
}

impl fmt::Display for SniRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.pattern, self.servers.join(" "))
    }
}

/// The routes of a configuration, in the order in which their patterns were first named.
#[derive(Debug, Clone, Default)]
pub struct SniRouteList {
    routes: Vec<SniRoute>,
    /// The place of each pattern: a file may name as many as it has lines.
    places: HashMap<String, usize>,
}

impl SniRouteList {
    /// Adds a route. One of the same pattern is replaced.
    pub fn add(&mut self, route: &SniRoute) {
        match self.places.get(&route.pattern).and_then(|place| self.routes.get_mut(*place)) {
            Some(known) => known.clone_from(route),
            None => {
                self.places.insert(route.pattern.clone(), self.routes.len());
                self.routes.push(route.clone());
            }
        }
    }

    /// Removes all routes.
    pub fn clear(&mut self) {
        *self = SniRouteList::default();
    }
}

impl Deref for SniRouteList {
    type Target = [SniRoute];

    fn deref(&self) -> &[SniRoute] {
        &self.routes
    }
}

impl PartialEq for SniRouteList {
    fn eq(&self, other: &Self) -> bool {
        self.routes == other.routes
    }
}

impl Eq for SniRouteList {}

/// The routes, with the slots of their servers.
#[derive(Debug)]
pub struct SniRoutes {
    patterns: HashMap<String, Arc<NumberSet>>,
    /// The servers that no pattern names.
    others: Arc<NumberSet>,
}

impl SniRoutes {
    /// Resolves routes among `count` slots; `slot` gives the slot of a server.
    ///
    /// # Errors
    /// A server that there is not.
    pub fn new(
        routes: &[SniRoute],
        count: usize,
        slot: impl Fn(&str) -> Result<usize, Error>,
    ) -> Result<Self, Error> {
        let mut patterns = HashMap::new();
        let mut named = NumberSet::default();
        for route in routes {
            let mut servers = NumberSet::default();
            for server in &route.servers {
                let n = slot(server).map_err(|error| error.of(&format!("sni_server {}", route.pattern)))?;
                servers.insert(n);
                named.insert(n);
            }
            patterns.insert(route.pattern.clone(), Arc::new(servers));
        }
        let mut others = NumberSet::default();
        (0..count).filter(|n| !named.contains(*n)).for_each(|n| others.insert(n));
        Ok(SniRoutes { patterns, others: Arc::new(others) })
    }

    /// Whether a pattern names server `n`, one of the slots.
    pub fn names(&self, n: usize) -> bool {
        !self.others.contains(n)
    }

    /// The servers for a client that asks for `name`: those of the name itself, or of the pattern that matches it; otherwise
    /// those that no pattern names.
    pub fn servers(&self, name: Option<&str>) -> &Arc<NumberSet> {
        let name = name.map(str::to_ascii_lowercase).unwrap_or_default();
        let wildcard = || self.patterns.get(&format!("*.{}", name.split_once('.')?.1));
        self.patterns.get(&name).or_else(wildcard).unwrap_or(&self.others)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_keeps_its_place_however_many_there_are() {
        let route = |text: String| SniRoute::parse(&text).unwrap();
        let mut list = SniRouteList::default();
        // A list that is searched for each takes minutes.
        for round in 0..2 {
            (0..100_000).for_each(|n| list.add(&route(format!("h{n}.example.com {round}"))));
        }
        assert_eq!(list.len(), 100_000);
        assert_eq!(list[70_000], route("h70000.example.com 1".into()));
        list.clear();
        assert_eq!(list, SniRouteList::default());
    }

    #[test]
    fn an_exact_name_comes_before_a_pattern_and_others_get_the_servers_without_a_route() {
        let routes = ["www.example.com 0", "*.Example.com 1 2"].map(|text| SniRoute::parse(text).unwrap());
        let routes = SniRoutes::new(&routes, 5, |word| Ok(word.parse().unwrap())).unwrap();
        let servers = |name| (0..5).filter(|n| routes.servers(name).contains(*n)).collect::<Vec<_>>();
        assert_eq!(servers(Some("WWW.example.com")), [0]);
        assert_eq!(servers(Some("mail.example.com")), [1, 2]);
        for name in [Some("a.mail.example.com"), Some("example.com"), Some("com"), None] {
            assert_eq!(servers(name), [3, 4], "{name:?}");
        }
    }

    #[test]
    fn a_route_has_a_name_and_servers() {
        assert_eq!(SniRoute::parse(" *.A.b  web 1 ").unwrap().to_string(), "*.a.b web 1");
        for text in ["", "a.b", "*.1.2.3.4 0", "a/b 0", "*. 0", "a*b 0", "10.0.0.1 0"] {
            assert_eq!(SniRoute::parse(text), None, "{text}");
        }
    }
}
