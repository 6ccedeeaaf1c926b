//! Stand-in for svcadm: see `pen_testbed`.
fn main() -> std::process::ExitCode {
    pen_testbed::svcadm()
}
