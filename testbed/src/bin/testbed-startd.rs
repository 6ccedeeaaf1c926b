//! Stand-in for svc.startd: see `pen_testbed`.
fn main() -> std::process::ExitCode {
    pen_testbed::startd()
}
