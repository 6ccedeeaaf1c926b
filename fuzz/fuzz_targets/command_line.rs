//! Command lines of pen and penctl: anything is options or a refusal of one line each.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pen::cli::{Stop, pen as balancer, penctl};
use pen::core::addr::Services;

fn one_line_each(stop: Stop) {
    if matches!(stop, Stop::Errors(_)) {
        let errors = stop.lines();
        assert!(
            errors.iter().all(|error| !error.is_empty() && !error.contains(char::is_control)),
            "{errors:?}"
        );
    }
}

fuzz_target!(|text: &str| {
    let services = Services::parse("");
    let argv = || std::iter::once("pen").chain(text.split('\0')).map(std::ffi::OsString::from);
    match balancer::parse(argv(), &services) {
        Ok(options) => {
            for (n, operand) in options.servers.iter().enumerate() {
                let _ = balancer::server(n, operand, Some(80), &services);
            }
            one_line_each(options.errors.into());
        }
        Err(stop) => one_line_each(stop),
    }
    if let Err(stop) = penctl::parse(argv(), None, &services) {
        one_line_each(stop);
    }
});
