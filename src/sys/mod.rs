//! The operating system beneath pen: the only home of `unsafe`.

pub mod socket;
