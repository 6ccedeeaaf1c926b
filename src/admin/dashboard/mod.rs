//! The dashboard: one page that shows the servers and updates itself.
//!
//! It can be read without JavaScript. With it, the page requests [`data()`] every second: the same texts as in the page,
//! so that values are formatted only in [`view`].

mod contents;
mod data;
pub(super) mod history;
mod page;
mod server_history;
mod view;

pub use contents::PageContents;
pub(super) use data::data;
pub(super) use page::page;

/// The style sheet of the page.
pub(super) const STYLE: &str = include_str!("dashboard.css");
/// The script that updates the page.
pub(super) const SCRIPT: &str = include_str!("dashboard.js");
/// The icon of the page.
pub(super) const ICON: &str = include_str!("icon.svg");
