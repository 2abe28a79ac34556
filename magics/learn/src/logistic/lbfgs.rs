//! L-BFGS (Nocedal & Wright, *Numerical Optimization*, algorithm 7.5) with a line search for the
//! weak Wolfe conditions by bisection (Lewis & Overton 2013). For smooth convex functions.

use dds_core::Result;
use std::collections::VecDeque;

/// Remembered pairs of step and change of gradient.
const MEMORY: usize = 10;
/// Armijo and curvature constants of the Wolfe conditions.
const C1: f64 = 1e-4;
const C2: f64 = 0.9;
/// Most trial steps of one line search.
const MAX_TRIALS: usize = 60;

pub struct Found {
    pub point: Vec<f64>,
    pub iterations: usize,
    pub converged: bool,
}

/// Minimises `f`, which gives the value at a point and writes its gradient, until no component of
/// the gradient is above `tolerance`. An error of `f` ends the search.
pub fn minimise(
    start: Vec<f64>,
    tolerance: f64,
    max_iterations: usize,
    mut f: impl FnMut(&[f64], &mut [f64]) -> Result<f64>,
) -> Result<Found> {
    let n = start.len();
    let (mut x, mut g) = (start, vec![0.0; n]);
    let mut value = f(&x, &mut g)?;
    let mut pairs: VecDeque<(Vec<f64>, Vec<f64>, f64)> = VecDeque::with_capacity(MEMORY);
    let (mut trial, mut trial_g) = (vec![0.0; n], vec![0.0; n]);

    for iteration in 0..max_iterations {
        if largest(&g) <= tolerance {
            return Ok(Found { point: x, iterations: iteration, converged: true });
        }
        let mut d = direction(&g, &pairs);
        let mut slope = dot(&g, &d);
        if slope.is_nan() || slope >= 0.0 {
            pairs.clear();
            d = g.iter().map(|g| -g).collect();
            slope = -dot(&g, &g);
        }
        let first = if pairs.is_empty() { 1.0 / dot(&g, &g).sqrt().max(1.0) } else { 1.0 };
        let (mut t, mut low, mut high, mut accepted) = (first, 0.0, f64::INFINITY, None);
        for _ in 0..MAX_TRIALS {
            trial.iter_mut().zip(&x).zip(&d).for_each(|((o, x), d)| *o = x + t * d);
            let v = f(&trial, &mut trial_g)?;
            if v.is_nan() || v > value + C1 * t * slope {
                high = t;
            } else if dot(&trial_g, &d) < C2 * slope {
                low = t;
            } else {
                accepted = Some(v);
                break;
            }
            t = if high.is_finite() { 0.5 * (low + high) } else { 2.0 * low };
        }
        let Some(v) = accepted else {
            // The value no longer resolves the descent: this is as far as f64 goes.
            let converged = largest(&g) <= tolerance.sqrt();
            return Ok(Found { point: x, iterations: iteration, converged });
        };
        let s: Vec<f64> = trial.iter().zip(&x).map(|(a, b)| a - b).collect();
        let y: Vec<f64> = trial_g.iter().zip(&g).map(|(a, b)| a - b).collect();
        let sy = dot(&s, &y);
        if sy > f64::EPSILON * dot(&y, &y) {
            if pairs.len() == MEMORY {
                pairs.pop_front();
            }
            pairs.push_back((s, y, 1.0 / sy));
        }
        std::mem::swap(&mut x, &mut trial);
        std::mem::swap(&mut g, &mut trial_g);
        value = v;
    }
    let converged = largest(&g) <= tolerance;
    Ok(Found { point: x, iterations: max_iterations, converged })
}

/// The two-loop recursion: minus the approximate inverse Hessian times `g`.
fn direction(g: &[f64], pairs: &VecDeque<(Vec<f64>, Vec<f64>, f64)>) -> Vec<f64> {
    let mut q: Vec<f64> = g.iter().map(|g| -g).collect();
    let mut alphas = Vec::with_capacity(pairs.len());
    for (s, y, rho) in pairs.iter().rev() {
        let alpha = rho * dot(s, &q);
        q.iter_mut().zip(y).for_each(|(q, y)| *q -= alpha * y);
        alphas.push(alpha);
    }
    if let Some((_, y, rho)) = pairs.back() {
        let scale = 1.0 / (rho * dot(y, y));
        q.iter_mut().for_each(|q| *q *= scale);
    }
    for ((s, y, rho), alpha) in pairs.iter().zip(alphas.into_iter().rev()) {
        let beta = rho * dot(y, &q);
        q.iter_mut().zip(s).for_each(|(q, s)| *q += (alpha - beta) * s);
    }
    q
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn largest(g: &[f64]) -> f64 {
    g.iter().fold(0.0, |m, v| if v.is_nan() { f64::INFINITY } else { f64::max(m, v.abs()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_minimum_of_rosenbrocks_valley() {
        let found = minimise(vec![-1.2, 1.0], 1e-9, 500, |p, g| {
            let (x, y) = (p[0], p[1]);
            g[0] = -400.0 * x * (y - x * x) - 2.0 * (1.0 - x);
            g[1] = 200.0 * (y - x * x);
            Ok(100.0 * (y - x * x).powi(2) + (1.0 - x).powi(2))
        })
        .unwrap();
        assert!(found.converged && found.iterations < 100, "{}", found.iterations);
        assert!((found.point[0] - 1.0).abs() < 1e-7 && (found.point[1] - 1.0).abs() < 1e-7);
    }

    #[test]
    fn a_bound_on_iterations_is_kept() {
        let found = minimise(vec![5.0; 3], 0.0, 2, |p, g| {
            g.iter_mut().zip(p).for_each(|(g, p)| *g = 4.0 * p.powi(3));
            Ok(p.iter().map(|p| p.powi(4)).sum())
        })
        .unwrap();
        assert!(!found.converged && found.iterations == 2);
    }
}
