//! Names of services and instances, smf(5), and the abbreviations that the commands accept.

use std::fmt;

use anyhow::bail;

use super::repo::Repository;

/// `svc:/network/pen` or `svc:/network/pen:default`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Fmri {
    pub(crate) service: String,
    pub(crate) instance: Option<String>,
}

impl Fmri {
    pub(crate) fn new(service: &str, instance: Option<&str>) -> Fmri {
        Fmri { service: service.to_owned(), instance: instance.map(str::to_owned) }
    }

    /// Reads a full name: `svc:/...` or `svc://localhost/...`.
    pub(crate) fn parse(text: &str) -> anyhow::Result<Fmri> {
        let rest = text.strip_prefix("svc://localhost/").or_else(|| text.strip_prefix("svc:/"));
        let Some(rest) = rest.filter(|rest| !rest.is_empty()) else {
            bail!("\"{text}\" is not a service FMRI (svc:/NAME or svc:/NAME:INSTANCE)");
        };
        Ok(match rest.split_once(':') {
            Some((service, instance)) => Fmri::new(service, Some(instance)),
            None => Fmri::new(rest, None),
        })
    }

    pub(crate) fn of_service(&self) -> Fmri {
        Fmri::new(&self.service, None)
    }

    /// The log of an instance, as svc.startd(1M) names it.
    pub(crate) fn log(&self) -> String {
        let instance = self.instance.as_deref().unwrap_or("default");
        format!("/var/svc/log/{}:{instance}.log", self.service.replace('/', "-"))
    }

    /// Whether an operand of a command matches this name: in full, abbreviated, or as a glob pattern.
    fn is_meant_by(&self, operand: &str) -> bool {
        let full = operand.replace("svc://localhost/", "svc:/");
        if operand.contains(['*', '?', '[']) {
            let pattern = if full.starts_with("svc:") { full } else { format!("svc:/{full}") };
            return glob::Pattern::new(&pattern).is_ok_and(|pattern| pattern.matches(&self.to_string()));
        }
        if let Some(rest) = full.strip_prefix("svc:/") {
            return rest == self.to_string().trim_start_matches("svc:/");
        }
        let tail = |name: &str| {
            self.service == name || self.service.strip_suffix(name).is_some_and(|rest| rest.ends_with('/'))
        };
        match (operand.split_once(':'), self.instance.as_deref()) {
            (Some((service, wanted)), Some(instance)) => {
                (service.is_empty() || tail(service)) && (wanted.is_empty() || wanted == instance)
            }
            (Some((service, "")), None) => tail(service),
            (Some(_), None) => false,
            (None, Some(instance)) => operand == instance,
            (None, None) => tail(operand),
        }
    }
}

impl fmt::Display for Fmri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "svc:/{}", self.service)?;
        match &self.instance {
            Some(instance) => write!(f, ":{instance}"),
            None => Ok(()),
        }
    }
}

/// The instances that an operand matches: a service matches all of its instances.
pub(crate) fn instances(repo: &Repository, operand: &str) -> Vec<Fmri> {
    let mut found: Vec<Fmri> = Vec::new();
    for fmri in repo.instances() {
        if fmri.is_meant_by(operand) || fmri.of_service().is_meant_by(operand) {
            found.push(fmri);
        }
    }
    found
}

/// The services and instances that an operand matches directly.
pub(crate) fn entities(repo: &Repository, operand: &str) -> Vec<Fmri> {
    let services = repo.services.keys().map(|service| Fmri::new(service, None));
    services.chain(repo.instances()).filter(|fmri| fmri.is_meant_by(operand)).collect()
}

/// The one service or instance that an operand matches.
pub(crate) fn entity(repo: &Repository, operand: &str) -> anyhow::Result<Fmri> {
    let found = entities(repo, operand);
    match found.as_slice() {
        [one] => Ok(one.clone()),
        [] => bail!("Pattern '{operand}' doesn't match any instances or services"),
        many => {
            let names: Vec<String> = many.iter().map(Fmri::to_string).collect();
            bail!("Pattern '{operand}' matches multiple instances or services: {}", names.join(" "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_the_abbreviations_of_the_manual() {
        let instance = Fmri::parse("svc:/network/smtp:sendmail").unwrap();
        for good in [
            "sendmail",
            ":sendmail",
            "smtp:sendmail",
            "svc:/network/smtp:sendmail",
            "*smtp*",
            "network/smtp:*",
        ] {
            assert!(instance.is_meant_by(good), "{good}");
        }
        let service = instance.of_service();
        for good in ["smtp", "network/smtp", "svc:/network/smtp", "svc://localhost/network/smtp"] {
            assert!(service.is_meant_by(good), "{good}");
        }
        for bad in ["mail", "network", "network/smt", "svc:/smtp", "mtp"] {
            assert!(!service.is_meant_by(bad) && !instance.is_meant_by(bad), "{bad}");
        }
        assert_eq!(instance.log(), "/var/svc/log/network-smtp:sendmail.log");
    }
}
