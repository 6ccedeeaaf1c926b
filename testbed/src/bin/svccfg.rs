//! Stand-in for svccfg: see `pen_testbed`.
fn main() -> std::process::ExitCode {
    pen_testbed::svccfg()
}
