//! Stand-in for svcprop: see `pen_testbed`.
fn main() -> std::process::ExitCode {
    pen_testbed::svcprop()
}
