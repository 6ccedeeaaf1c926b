//! Pen: a load balancer for simple TCP and UDP protocols, and the programs around it.
//!
//! Dependencies point one way: `bin` -> [`cli`], [`app`] -> [`control`], [`net`], [`weblog`], [`sys`] -> [`core`] -> std.

pub mod admin;
pub mod app;
pub mod cli;
pub mod control;
pub mod core;
pub mod net;
pub mod sys;
pub mod weblog;
