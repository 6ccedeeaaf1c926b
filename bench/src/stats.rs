//! Medians, ratios within a round, and the uncertainty of a median.

/// The median; `None` without values.
pub(crate) fn median(values: &[f64]) -> Option<f64> {
    let sorted = sorted(values);
    let half = sorted.len() / 2;
    let high = *sorted.get(half)?;
    Some(if sorted.len().is_multiple_of(2) { (sorted.get(half.checked_sub(1)?)? + high) / 2.0 } else { high })
}

/// a/b for every round that has both.
pub(crate) fn ratios(a: &[Option<f64>], b: &[Option<f64>]) -> Vec<f64> {
    a.iter()
        .zip(b)
        .filter_map(|(a, b)| Some(((*a)?, (*b)?)))
        .filter(|(_, b)| *b > 0.0)
        .map(|(a, b)| a / b)
        .collect()
}

/// The 95 % confidence interval of the median by order statistics (sign test), for any distribution; the full range
/// below six values.
pub(crate) fn interval(values: &[f64]) -> Option<(f64, f64)> {
    let sorted = sorted(values);
    let n = sorted.len() as f64;
    let skip = (n / 2.0 - 0.98 * n.sqrt()).floor().max(0.0) as usize;
    Some((*sorted.get(skip)?, *sorted.get(sorted.len() - 1 - skip)?))
}

/// The noise: how far the ratio of a contender to itself strays from 1, at the far end of the median's interval. `None`
/// below three rounds, which are not enough.
pub(crate) fn noise(control: &[f64]) -> Option<f64> {
    let (low, high) = interval(control).filter(|_| control.len() >= 3)?;
    Some((1.0 - low).abs().max((high - 1.0).abs()))
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }

    #[test]
    fn ratios_need_both_sides() {
        assert_eq!(ratios(&[Some(2.0), None, Some(6.0)], &[Some(1.0), Some(1.0), Some(3.0)]), [2.0, 2.0]);
        assert!(ratios(&[Some(1.0)], &[Some(0.0)]).is_empty());
    }

    #[test]
    fn interval_narrows_with_rounds() {
        assert_eq!(interval(&[1.0, 2.0, 3.0]), Some((1.0, 3.0)));
        let many: Vec<f64> = (0..100).map(f64::from).collect();
        assert_eq!(interval(&many), Some((40.0, 59.0)));
        assert_eq!(noise(&[1.0]), None);
        assert!(noise(&[0.9, 1.0, 1.05]).is_some_and(|n| (n - 0.1).abs() < 1e-9));
    }
}
