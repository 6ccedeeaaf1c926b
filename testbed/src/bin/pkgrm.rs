//! Stand-in for pkgrm: see `pen_testbed`.
fn main() -> std::process::ExitCode {
    pen_testbed::pkgrm()
}
