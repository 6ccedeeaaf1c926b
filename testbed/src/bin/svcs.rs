//! Stand-in for svcs: see `pen_testbed`.
fn main() -> std::process::ExitCode {
    pen_testbed::svcs()
}
