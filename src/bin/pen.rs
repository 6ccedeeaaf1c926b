//! pen
fn main() {}
