//! Image models: decoding, transforms, data sets, frozen-feature probe, interpretation, plots, export and predict.
