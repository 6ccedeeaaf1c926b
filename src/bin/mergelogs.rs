//! mergelogs
fn main() {}
