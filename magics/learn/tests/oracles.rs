//! Logistic regression against scikit-learn and resizing against Pillow; `golden/make_fixtures.py`
//! recorded both.

use dds_core::Cancel;
use dds_learn::decode::decode;
use dds_learn::logistic::{Standardiser, fit, softmax};
use dds_learn::transform::{Resize, Transform};
use serde_json::Value;
use std::path::PathBuf;

fn golden(name: &str) -> PathBuf {
    PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").unwrap()).join("tests/golden").join(name)
}

fn numbers(v: &Value) -> Vec<f64> {
    v.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
}

#[test]
fn logistic_regression_matches_scikit_learn() {
    let file: Value = serde_json::from_slice(&std::fs::read(golden("logistic.json")).unwrap()).unwrap();
    for case in file["cases"].as_array().unwrap() {
        let width = case["width"].as_u64().unwrap() as usize;
        let classes = case["classes"].as_u64().unwrap() as usize;
        let mut x = numbers(&case["x"]);
        let y: Vec<usize> = numbers(&case["y"]).into_iter().map(|v| v as usize).collect();
        let scaler = Standardiser::fit(&x, width);
        for (a, b) in scaler.mean.iter().zip(numbers(&case["mean"])) {
            assert!((a - b).abs() < 1e-12);
        }
        scaler.apply(&mut x);
        let got = fit(&x, width, &y, classes, case["c"].as_f64().unwrap(), &Cancel::default()).unwrap();
        assert!(got.converged);
        // Two classes are one row in scikit-learn; ours gives the first class a row of zeros.
        let skip = if classes == 2 { 1 } else { 0 };
        for (a, b) in got.weight[skip * width..].iter().zip(numbers(&case["coef"])) {
            assert!((a - b).abs() < 1e-5, "{classes} classes: weight {a} {b}");
        }
        for (a, b) in got.bias[skip..].iter().zip(numbers(&case["intercept"])) {
            assert!((a - b).abs() < 1e-5, "{classes} classes: bias {a} {b}");
        }
        let want = numbers(&case["probabilities"]);
        for (row, want) in x.chunks_exact(width).zip(want.chunks_exact(classes)) {
            let mut z: Vec<f64> = (0..classes)
                .map(|k| {
                    let w = &got.weight[k * width..(k + 1) * width];
                    w.iter().zip(row).map(|(a, b)| a * b).sum::<f64>() + got.bias[k]
                })
                .collect();
            softmax(&mut z);
            for (a, b) in z.iter().zip(want) {
                assert!((a - b).abs() < 1e-6, "probability {a} {b}");
            }
        }
    }
}

#[test]
fn squash_matches_pillows_bilinear() {
    for image in 0..3 {
        let read = |name: String| decode(&name, &std::fs::read(golden(&name)).unwrap()).unwrap();
        let input = read(format!("resize_{image}_in.png"));
        for side in [48, 128, 224] {
            let want = read(format!("resize_{image}_{side}.png"));
            let got = Transform::new(side, Resize::Squash).unwrap().apply(&input).unwrap();
            let differences: Vec<u8> = got.iter().zip(want.iter()).map(|(a, b)| a.abs_diff(*b)).collect();
            let mean = differences.iter().map(|d| f64::from(*d)).sum::<f64>() / differences.len() as f64;
            let worst = differences.iter().max().unwrap();
            println!("image {image} to {side}: mean difference {mean:.4}, largest {worst}");
            assert!(mean <= 0.25 && *worst <= 1, "image {image} to {side}: mean {mean}, largest {worst}");
        }
    }
}
