//! Stand-in for pkgadd: see `pen_testbed`.
fn main() -> std::process::ExitCode {
    pen_testbed::pkgadd()
}
