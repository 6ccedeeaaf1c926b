//! penctl
fn main() {}
