//! Stand-in for pkgchk: see `pen_testbed`.
fn main() -> std::process::ExitCode {
    pen_testbed::pkgchk()
}
