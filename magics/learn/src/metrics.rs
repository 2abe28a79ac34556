//! How good a classifier is on its validation images.

use serde::{Deserialize, Serialize};

/// Figures of one validation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// Number of validation images.
    pub n: usize,
    pub accuracy: f64,
    /// `sqrt(p(1−p)/n)` of the accuracy.
    pub standard_error: f64,
    /// Accuracy of always answering the most frequent class of the validation images.
    pub majority_baseline: f64,
    /// Mean recall of the classes that have validation images.
    pub balanced_accuracy: f64,
    /// `confusion[actual][predicted]`
    pub confusion: Vec<Vec<u64>>,
}

impl Metrics {
    /// `actual` and `predicted` are indices below `classes`; others are left out.
    pub fn new(actual: &[usize], predicted: &[usize], classes: usize) -> Self {
        let mut confusion = vec![vec![0u64; classes]; classes];
        for (a, p) in actual.iter().zip(predicted) {
            if let Some(cell) = confusion.get_mut(*a).and_then(|r| r.get_mut(*p)) {
                *cell += 1;
            }
        }
        Self::from_confusion(confusion)
    }

    pub fn from_confusion(confusion: Vec<Vec<u64>>) -> Self {
        let totals: Vec<u64> = confusion.iter().map(|r| r.iter().sum()).collect();
        let n: u64 = totals.iter().sum();
        let right: u64 = confusion.iter().enumerate().filter_map(|(k, r)| r.get(k)).sum();
        let of = |a: u64, b: u64| if b == 0 { 0.0 } else { a as f64 / b as f64 };
        let accuracy = of(right, n);
        let recalls: Vec<f64> = confusion
            .iter()
            .zip(&totals)
            .enumerate()
            .filter(|(_, (_, t))| **t > 0)
            .map(|(k, (r, t))| of(r.get(k).copied().unwrap_or(0), *t))
            .collect();
        Self {
            n: n as usize,
            accuracy,
            standard_error: (accuracy * (1.0 - accuracy) / (n.max(1)) as f64).sqrt(),
            majority_baseline: of(totals.iter().copied().max().unwrap_or(0), n),
            balanced_accuracy: recalls.iter().sum::<f64>() / recalls.len().max(1) as f64,
            confusion,
        }
    }

    /// Recall of a class; none without validation images.
    pub fn recall(&self, class: usize) -> Option<f64> {
        let row = self.confusion.get(class)?;
        ratio(*row.get(class)?, row.iter().sum())
    }

    /// Precision of a class; none when it was never predicted.
    pub fn precision(&self, class: usize) -> Option<f64> {
        let hit = *self.confusion.get(class)?.get(class)?;
        ratio(hit, self.confusion.iter().filter_map(|r| r.get(class)).sum())
    }

    /// Pairs (actual, predicted, count) that differ, the most frequent first.
    pub fn most_confused(&self) -> Vec<(usize, usize, u64)> {
        let mut out: Vec<(usize, usize, u64)> = Vec::new();
        for (a, row) in self.confusion.iter().enumerate() {
            out.extend(row.iter().enumerate().filter(|(p, c)| *p != a && **c > 0).map(|(p, c)| (a, p, *c)));
        }
        out.sort_by(|x, y| y.2.cmp(&x.2).then(x.0.cmp(&y.0)).then(x.1.cmp(&y.1)));
        out
    }
}

fn ratio(a: u64, b: u64) -> Option<f64> {
    (b > 0).then(|| a as f64 / b as f64)
}

/// The class with the highest probability; the first of equals.
pub fn best(probabilities: &[f64]) -> usize {
    let mut at = 0;
    for (i, p) in probabilities.iter().enumerate() {
        if *p > probabilities[at] {
            at = i;
        }
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_majority_does_not_pass_for_skill() {
        // 547 of 754 in one class, all called that: accuracy is the baseline, balanced accuracy a coin.
        let actual: Vec<usize> = (0..754).map(|i| usize::from(i >= 547)).collect();
        let m = Metrics::new(&actual, &vec![0; 754], 2);
        assert!((m.accuracy - 547.0 / 754.0).abs() < 1e-12 && m.accuracy == m.majority_baseline);
        assert_eq!(m.balanced_accuracy, 0.5);
        assert!((m.standard_error - 0.016259).abs() < 1e-5, "{}", m.standard_error);
        assert_eq!((m.recall(0), m.recall(1), m.precision(1)), (Some(1.0), Some(0.0), None));
        assert_eq!(m.most_confused(), [(1, 0, 207)]);
    }

    #[test]
    fn nothing_to_measure_is_no_division_by_zero() {
        let m = Metrics::new(&[], &[], 3);
        assert_eq!(
            (m.accuracy, m.standard_error, m.majority_baseline, m.balanced_accuracy),
            (0.0, 0.0, 0.0, 0.0)
        );
        assert_eq!(best(&[0.2, 0.4, 0.4]), 1);
    }
}
