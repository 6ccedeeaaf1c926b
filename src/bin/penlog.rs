//! penlog
fn main() {}
