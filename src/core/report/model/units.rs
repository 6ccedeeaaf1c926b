//! Conversion of units.

use crate::core::Millis;

/// Seconds with three decimals, of a time in milliseconds.
pub(crate) fn seconds(millis: Millis) -> f64 {
    millis as f64 / 1000.0
}
