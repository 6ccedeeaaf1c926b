//! Stand-in for pkginfo: see `pen_testbed`.
fn main() -> std::process::ExitCode {
    pen_testbed::pkginfo()
}
