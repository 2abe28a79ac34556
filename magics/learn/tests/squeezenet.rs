//! SqueezeNet 1.1 against values recorded from PyTorch (`golden/squeezenet.json`).

use dds_learn::models::{Backbone, imagenet_classes};
use dds_learn::transform::Normalisation;
use serde_json::Value;
use std::path::PathBuf;

fn golden() -> (Value, impl Fn(&str) -> Vec<f32>) {
    let dir = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").unwrap()).join("tests/golden");
    let values = serde_json::from_slice(&std::fs::read(dir.join("squeezenet.json")).unwrap()).unwrap();
    let input = move |png: &str| {
        let image = dds_learn::decode::decode(png, &std::fs::read(dir.join(png)).unwrap()).unwrap();
        let mut out = vec![0.0; 3 * 224 * 224];
        Normalisation::caffe().write_chw(&image, &mut out);
        out
    };
    (values, input)
}

fn numbers(v: &Value) -> Vec<f64> {
    v.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
}

/// Largest absolute difference of the recorded logits, and of the recorded features.
fn compare(net: &Backbone) -> (f64, f64) {
    let (values, input) = golden();
    let (mut logit, mut feature) = (0f64, 0f64);
    for (_, g) in values.as_object().unwrap() {
        let x = input(g["input_png"].as_str().unwrap());
        let z = net.net.logits(x.clone(), 224).unwrap();
        let top = numbers(&g["top5_index"]);
        for (i, want) in top.iter().zip(numbers(&g["top5_logit"])) {
            logit = logit.max((f64::from(z[*i as usize]) - want).abs());
        }
        for (got, want) in z.iter().zip(numbers(&g["logits_first8"])) {
            logit = logit.max((f64::from(*got) - want).abs());
        }
        let sum: f64 = z.iter().map(|v| f64::from(*v)).sum();
        logit = logit.max((sum - g["logits_sum"].as_f64().unwrap()).abs() / z.len() as f64);
        let best = (0..z.len()).max_by(|a, b| z[*a].total_cmp(&z[*b])).unwrap();
        assert_eq!(imagenet_classes()[best], g["top5_label"][0].as_str().unwrap());
        let f = net.net.features(x, 224).unwrap();
        assert_eq!(f.len(), 512);
        for (got, want) in f.iter().zip(numbers(&g["gap_first8"])) {
            feature = feature.max((f64::from(*got) - want).abs());
        }
        let mean = f.iter().map(|v| f64::from(*v)).sum::<f64>() / 512.0;
        feature = feature.max((mean - g["gap_mean"].as_f64().unwrap()).abs());
    }
    println!("largest difference: logits {logit:.2e}, features {feature:.2e}");
    (logit, feature)
}

#[test]
fn float32_weights_match_pytorch() {
    let file = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").unwrap())
        .join("tests/golden/squeezenet1_1-f32.safetensors");
    let (logit, feature) = compare(&Backbone::from_safetensors(&std::fs::read(file).unwrap()).unwrap());
    assert!(logit <= 1e-3 && feature <= 1e-3, "{logit} {feature}");
}

#[test]
fn shipped_float16_weights_match_pytorch() {
    let (logit, feature) = compare(&Backbone::shipped().unwrap());
    assert!(logit <= 2e-2 && feature <= 2e-2, "{logit} {feature}");
}

#[test]
fn an_image_does_not_depend_on_its_batch_or_the_number_of_threads() {
    let net = Backbone::shipped().unwrap();
    let (_, input) = golden();
    let (a, b) = (input("golden_chelsea_224.png"), input("golden_coffee_224.png"));
    let run = |threads: usize, x: Vec<f32>| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| net.net.features(x, 224).unwrap())
    };
    let alone = run(1, b.clone());
    let both = run(3, [a, b].concat());
    assert_eq!(alone, both[512..]);
}
