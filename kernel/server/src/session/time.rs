//! `time`: how long Rust takes. A cell once, with the compiler's time apart; an expression as often
//! as it needs for a steady figure.
//!
//! What is measured runs in the cells' own process, at the cells' own level of optimisation.

use dds_cmd::raw::Raw;
use dds_core::eval::RunTime;
use dds_core::{Error, Outcome, Result};
use serde_json::json;
use std::time::Duration;

/// How long one measurement of an expression should take, in nanoseconds: long beside what reading the
/// clock costs.
const ENOUGH: u64 = 100_000_000;
/// Most times that an expression runs within one measurement.
const MAX_LOOPS: u64 = 100_000_000;
/// When further measurements are given up, in nanoseconds in all.
const PATIENCE: u64 = 10_000_000_000;

/// Rust code that measures `expr`, as a block whose value's text [`measured`] reads. The expression
/// stands alone on a line of its own, so that messages of the compiler quote it as it was written.
pub(super) fn code(expr: &str, runs: usize) -> String {
    format!(
        "{{ let (mut dds_loops, mut dds_all, mut dds_steady) = (1u64, 0u64, false); \
         let mut dds_times: Vec<f64> = Vec::new(); \
         while dds_times.len() < {runs} && (dds_all < {PATIENCE} || dds_times.is_empty()) {{ \
         let dds_began = std::time::Instant::now(); \
         for _ in 0..dds_loops {{ std::hint::black_box({{\n\
         {expr}\n\
         }}); }} \
         let dds_took = (dds_began.elapsed().as_nanos() as u64).max(1); \
         dds_all += dds_took; \
         if !dds_steady && dds_took < {ENOUGH} && dds_loops < {MAX_LOOPS} {{ \
         dds_loops = (dds_loops * ({ENOUGH} / dds_took).clamp(2, 10)).min({MAX_LOOPS}); continue; }} \
         dds_steady = true; \
         dds_times.push(dds_took as f64 / dds_loops as f64); }} \
         format!(\"{{dds_loops}} {{dds_times:?}}\") }}"
    )
}

/// What the text of [`code`] says about `raw`'s expression.
pub(super) fn measured(text: &str, raw: &Raw) -> Result<Outcome> {
    let wrong = || Error::internal(format!("the measurement gave {text:?}"));
    let (loops, times) = text.split_once(' ').ok_or_else(wrong)?;
    let loops: u64 = loops.parse().map_err(|_| wrong())?;
    let mut times: Vec<f64> = serde_json::from_str(times).map_err(|_| wrong())?;
    let middle = median(&mut times).ok_or_else(wrong)?;
    let mut off: Vec<f64> = times.iter().map(|t| (t - middle).abs()).collect();
    let spread = median(&mut off).unwrap_or_default();
    let fastest = times.first().copied().unwrap_or(middle);
    let summary =
        format!("{} ± {} (median of {} × {})", nanos(middle), nanos(spread), times.len(), grouped(loops));
    let (median, spread, fastest) = (middle / 1e9, spread / 1e9, fastest / 1e9);
    let result = json!({
        "expr": raw.request.expr.concat(), "median_seconds": median, "spread_seconds": spread,
        "fastest_seconds": fastest, "runs": times.len(), "loops": loops,
    });
    Ok(Outcome::new(summary, result))
}

/// What a cell took: on the clock, and what of it was its code, when that is known.
pub(super) fn of_cell(wall: Duration, ran: Option<RunTime>) -> Outcome {
    let text = |d: Duration| nanos(d.as_nanos() as f64);
    let Some(ran) = ran.filter(|r| *r != RunTime::default()) else {
        return Outcome::new(format!("{} in all", text(wall)), json!({"wall_seconds": wall.as_secs_f64()}));
    };
    let rest = wall.saturating_sub(ran.wall);
    let summary = format!(
        "ran {} (CPU {}), compiled {}, {} in all",
        text(ran.wall),
        text(ran.cpu),
        text(rest),
        text(wall)
    );
    let result = json!({
        "wall_seconds": wall.as_secs_f64(), "run_seconds": ran.wall.as_secs_f64(),
        "cpu_seconds": ran.cpu.as_secs_f64(), "compile_seconds": rest.as_secs_f64(),
    });
    Outcome::new(summary, result)
}

/// Sorts, and gives the middle; none of nothing.
fn median(values: &mut [f64]) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    let upper = *values.get(half)?;
    if values.len() % 2 == 1 { Some(upper) } else { Some((upper + values.get(half.checked_sub(1)?)?) / 2.0) }
}

/// Three digits and a unit: `12.3 µs`.
fn nanos(n: f64) -> String {
    let (value, unit) = match n {
        n if n < 999.5 => (n, "ns"),
        n if n < 999_500.0 => (n / 1e3, "µs"),
        n if n < 999_500_000.0 => (n / 1e6, "ms"),
        n => (n / 1e9, "s"),
    };
    let digits = if value >= 99.95 {
        0
    } else if value >= 9.995 {
        1
    } else {
        2
    };
    format!("{value:.digits$} {unit}")
}

fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (at, c) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use dds_core::request as rq;

    fn raw(expr: &str) -> Raw {
        Raw { request: rq::Time { runs: 7, expr: vec![expr.into()] }, json: false }
    }

    #[test]
    fn figures_as_people_read_them() {
        for (n, text) in [
            (0.0, "0.00 ns"),
            (1.234, "1.23 ns"),
            (12.34, "12.3 ns"),
            (999.6, "1.00 µs"),
            (123_400.0, "123 µs"),
            (1_500_000.0, "1.50 ms"),
            (61e9, "61.0 s"),
        ] {
            assert_eq!(nanos(n), text);
        }
        assert_eq!([grouped(1), grouped(1000), grouped(1_234_567)], ["1", "1,000", "1,234,567"]);
    }

    #[test]
    fn the_median_and_how_far_from_it_the_others_are() {
        let told = measured("1000 [10.0, 12.0, 11.0, 90.0, 13.0]", &raw("f()")).unwrap();
        assert_eq!(told.summary, "12.0 ns ± 1.00 ns (median of 5 × 1,000)");
        assert_eq!((&told.json["fastest_seconds"], &told.json["loops"]), (&json!(1e-8), &json!(1000)));
        for wrong in ["", "x [1.0]", "1 []", "1 [a]"] {
            assert!(measured(wrong, &raw("f()")).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_cells_time_is_told_in_its_parts() {
        let (wall, run, cpu) =
            (Duration::from_millis(500), Duration::from_millis(300), Duration::from_millis(900));
        let told = of_cell(wall, Some(RunTime { wall: run, cpu }));
        assert_eq!(told.summary, "ran 300 ms (CPU 900 ms), compiled 200 ms, 500 ms in all");
        assert_eq!(of_cell(wall, None).summary, "500 ms in all");
    }

    #[test]
    fn the_expression_stands_on_its_own_line() {
        assert_eq!(code("a + b", 3).lines().nth(1), Some("a + b"));
    }
}
