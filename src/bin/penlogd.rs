//! penlogd
fn main() {}
