//! Multinomial logistic regression with an L2 penalty on standardised features, as scikit-learn's
//! `LogisticRegression(C, solver="lbfgs")` after `StandardScaler`: the intercept is not penalised,
//! and two classes are fitted as one binary model, not as a softmax over two.
//!
//! All arithmetic is f64 in a fixed order: the result does not depend on the number of threads.

pub mod lbfgs;

use dds_core::{Cancel, Error, Result};
use rayon::prelude::*;

/// Samples of one partial sum; partial sums are added in order, so that threads change nothing.
const CHUNK: usize = 64;
/// A feature with a smaller standard deviation counts as constant and is not scaled.
const CONSTANT: f64 = 1e-12;
/// Converged when no component of the gradient of the mean loss is larger.
const TOLERANCE: f64 = 1e-8;
/// Most iterations of the optimiser; a few dozen are usual.
const MAX_ITERATIONS: usize = 2000;

/// Mean and standard deviation (ddof 0) of each feature over the training samples.
#[derive(Clone, Debug, PartialEq)]
pub struct Standardiser {
    pub mean: Vec<f64>,
    pub std: Vec<f64>,
}

impl Standardiser {
    /// `x` is `n` rows of `width` features.
    pub fn fit(x: &[f64], width: usize) -> Self {
        let n = (x.len() / width.max(1)).max(1) as f64;
        let mut mean = vec![0.0; width];
        for row in x.chunks_exact(width) {
            mean.iter_mut().zip(row).for_each(|(m, v)| *m += v);
        }
        mean.iter_mut().for_each(|m| *m /= n);
        let mut std = vec![0.0; width];
        for row in x.chunks_exact(width) {
            std.iter_mut().zip(row).zip(&mean).for_each(|((s, v), m)| *s += (v - m) * (v - m));
        }
        for s in &mut std {
            *s = (*s / n).sqrt();
            if s.is_nan() || *s <= CONSTANT {
                *s = 1.0;
            }
        }
        Self { mean, std }
    }

    pub fn apply(&self, x: &mut [f64]) {
        for row in x.chunks_exact_mut(self.mean.len()) {
            row.iter_mut().zip(&self.mean).zip(&self.std).for_each(|((v, m), s)| *v = (*v - m) / s);
        }
    }
}

/// A fitted model: logits are `weight · x + bias`.
#[derive(Clone, Debug)]
pub struct Fit {
    /// `[classes, width]`, row-major.
    pub weight: Vec<f64>,
    /// `[classes]`
    pub bias: Vec<f64>,
    pub iterations: usize,
    /// Whether the gradient fell below the tolerance.
    pub converged: bool,
}

/// Fits `n` rows of `width` standardised features with labels `0..classes`. `c` is the inverse
/// strength of the penalty, as in scikit-learn: it minimises `Σ loss + |W|² / (2c)`.
///
/// A class without samples gets no weight and a bias far below the others. Errors: `Usage` when `c`
/// is not positive or fewer than two classes have samples, `Interrupted`.
pub fn fit(x: &[f64], width: usize, y: &[usize], classes: usize, c: f64, cancel: &Cancel) -> Result<Fit> {
    if !(c.is_finite() && c > 0.0) {
        return Err(Error::usage(format!("C must be a positive number, not {c}")).hint("0.1 is a good start"));
    }
    if width == 0 || x.len() != y.len() * width || y.iter().any(|l| *l >= classes) {
        return Err(Error::internal("features and labels do not fit together"));
    }
    let present: Vec<usize> = (0..classes).filter(|k| y.contains(k)).collect();
    if present.len() < 2 {
        return Err(Error::usage("all training images are of one class: there is nothing to tell apart")
            .hint("add images of another class, or change labels or split of the data set"));
    }
    let place: Vec<usize> = (0..classes).map(|k| present.iter().position(|p| *p == k).unwrap_or(0)).collect();
    let labels: Vec<usize> = y.iter().map(|l| place[*l]).collect();
    // One row of parameters stands for two classes.
    let rows = if present.len() == 2 { 1 } else { present.len() };
    let problem = Problem { x, width, labels: &labels, rows, penalty: 1.0 / (c * y.len() as f64) };
    let start = vec![0.0; rows * (width + 1)];
    let found = lbfgs::minimise(start, TOLERANCE, MAX_ITERATIONS, |theta, gradient| {
        cancel.check()?;
        Ok(problem.value(theta, gradient))
    })?;

    let mut weight = vec![0.0; classes * width];
    let mut bias = vec![f64::NAN; classes];
    for (row, class) in present.iter().skip(present.len() - rows).enumerate() {
        let theta = &found.point[row * (width + 1)..(row + 1) * (width + 1)];
        weight[class * width..(class + 1) * width].copy_from_slice(&theta[..width]);
        bias[*class] = theta[width];
    }
    if rows == 1 {
        bias[present[0]] = 0.0;
    }
    let lowest = bias.iter().copied().filter(|b| !b.is_nan()).fold(0.0, f64::min);
    bias.iter_mut().filter(|b| b.is_nan()).for_each(|b| *b = lowest - 100.0);
    Ok(Fit { weight, bias, iterations: found.iterations, converged: found.converged })
}

struct Problem<'a> {
    x: &'a [f64],
    width: usize,
    labels: &'a [usize],
    rows: usize,
    /// `1 / (c·n)`: the objective is divided by the number of samples.
    penalty: f64,
}

impl Problem<'_> {
    /// Mean loss plus penalty at `theta` (`rows × (width + 1)`, the bias last); writes the gradient.
    fn value(&self, theta: &[f64], gradient: &mut [f64]) -> f64 {
        let n = self.labels.len() as f64;
        let parts: Vec<(f64, Vec<f64>)> = self
            .x
            .par_chunks(CHUNK * self.width)
            .zip(self.labels.par_chunks(CHUNK))
            .map(|(x, labels)| self.part(theta, x, labels))
            .collect();
        gradient.fill(0.0);
        let mut value = 0.0;
        for (loss, part) in &parts {
            value += loss / n;
            gradient.iter_mut().zip(part).for_each(|(g, p)| *g += p / n);
        }
        let stride = self.width + 1;
        for (g, t) in gradient.chunks_exact_mut(stride).zip(theta.chunks_exact(stride)) {
            for (g, t) in g.iter_mut().zip(t).take(self.width) {
                *g += self.penalty * t;
                value += 0.5 * self.penalty * t * t;
            }
        }
        value
    }

    fn part(&self, theta: &[f64], x: &[f64], labels: &[usize]) -> (f64, Vec<f64>) {
        let stride = self.width + 1;
        let mut gradient = vec![0.0; theta.len()];
        let mut loss = 0.0;
        let mut z = vec![0.0; self.rows];
        for (x, &label) in x.chunks_exact(self.width).zip(labels) {
            for (z, t) in z.iter_mut().zip(theta.chunks_exact(stride)) {
                *z = dot(&t[..self.width], x) + t[self.width];
            }
            if self.rows == 1 {
                // Binary: label 1 has the logit z, label 0 has 0.
                let target = label as f64;
                loss += softplus(z[0]) - target * z[0];
                z[0] = sigmoid(z[0]) - target;
            } else {
                loss -= z[label];
                loss += softmax(&mut z);
                z[label] -= 1.0;
            }
            for (d, g) in z.iter().zip(gradient.chunks_exact_mut(stride)) {
                g[..self.width].iter_mut().zip(x).for_each(|(g, x)| *g += d * x);
                g[self.width] += d;
            }
        }
        (loss, gradient)
    }
}

/// Turns logits into probabilities in place; gives `log Σ exp`.
pub fn softmax(z: &mut [f64]) -> f64 {
    let top = z.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut sum = 0.0;
    for v in z.iter_mut() {
        *v = (*v - top).exp();
        sum += *v;
    }
    z.iter_mut().for_each(|v| *v /= sum);
    top + sum.ln()
}

fn softplus(z: f64) -> f64 {
    z.max(0.0) + (-z.abs()).exp().ln_1p()
}

fn sigmoid(z: f64) -> f64 {
    if z >= 0.0 { 1.0 / (1.0 + (-z).exp()) } else { z.exp() / (1.0 + z.exp()) }
}

/// Eight running sums, so that the compiler may use vector registers; the order is fixed.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut sums = [0.0f64; 8];
    let (a8, b8) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest: f64 = a8.remainder().iter().zip(b8.remainder()).map(|(a, b)| a * b).sum();
    for (a, b) in a8.zip(b8) {
        for i in 0..8 {
            sums[i] += a[i] * b[i];
        }
    }
    sums.iter().sum::<f64>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_constant_feature_is_safe() {
        let x = [1.0, 7.0, 3.0, 7.0, 5.0, 7.0];
        let s = Standardiser::fit(&x, 2);
        assert_eq!((s.mean[1], s.std[1]), (7.0, 1.0));
        let mut z = x;
        s.apply(&mut z);
        assert!((z[0] + 1.5f64.sqrt()).abs() < 1e-12 && z[1] == 0.0, "{z:?}");
    }

    #[test]
    fn an_absent_class_is_never_chosen() {
        let x: Vec<f64> = (0..30).map(|i| f64::from(i % 3)).collect();
        let y: Vec<usize> = (0..30).map(|i| [0, 1, 3][i % 3]).collect();
        let f = fit(&x, 1, &y, 4, 1.0, &Cancel::default()).unwrap();
        let mut z: Vec<f64> = (0..4).map(|k| f.weight[k] * 1.0 + f.bias[k]).collect();
        softmax(&mut z);
        assert!(f.converged && z[2] < 1e-30 && (z.iter().sum::<f64>() - 1.0).abs() < 1e-12, "{z:?}");
    }

    #[test]
    fn nonsense_is_refused() {
        let go = |y: &[usize], c| fit(&[1.0, 2.0, 3.0], 1, y, 2, c, &Cancel::default());
        assert!(go(&[0, 0, 0], 1.0).unwrap_err().message.contains("one class"));
        for c in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(go(&[0, 1, 0], c).is_err());
        }
        let cancel = Cancel::default();
        cancel.cancel();
        let e = fit(&[1.0, 2.0], 1, &[0, 1], 2, 1.0, &cancel).unwrap_err();
        assert_eq!(e.kind, dds_core::Kind::Interrupted);
    }

    #[test]
    fn separable_data_and_extreme_logits_stay_finite() {
        let x: Vec<f64> = (0..20).map(|i| if i < 10 { -1e6 } else { 1e6 }).collect();
        let y: Vec<usize> = (0..20).map(|i| usize::from(i >= 10)).collect();
        let f = fit(&x, 1, &y, 2, 1e6, &Cancel::default()).unwrap();
        assert!(f.weight[1] > 0.0 && f.weight.iter().chain(&f.bias).all(|v| v.is_finite()));
    }
}
