//! weblog
