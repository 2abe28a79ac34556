//! Named arrays out of a safetensors file: f16, bf16 or f32 in, f32 out.
//!
//! The file is untrusted: sizes are bounded before anything is parsed, pickles are refused by their
//! first bytes, and every array is checked against the shape its reader expects.

use dds_core::{Error, Kind, Result};
use half::{bf16, f16};
use safetensors::{Dtype, SafeTensors};
use std::collections::BTreeMap;

/// Largest accepted header, in bytes. A network of 1,000 tensors has about 0.1 MB.
pub const MAX_HEADER_BYTES: u64 = 4 << 20;
/// Largest accepted file, in bytes.
pub const MAX_WEIGHTS_BYTES: u64 = 512 << 20;
/// Most tensors in a file.
pub const MAX_TENSORS: usize = 10_000;

/// A dense array in row-major order.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    pub shape: Vec<usize>,
    pub data: Vec<f32>,
}

/// The arrays of one file, by name.
#[derive(Clone, Debug, Default)]
pub struct Weights {
    file: String,
    arrays: BTreeMap<String, Array>,
}

impl Weights {
    /// Parses `bytes`. `file` is only for errors.
    ///
    /// Errors: `Limit` past a bound, `Format` for everything that is not safetensors; a pickle is
    /// named as such.
    pub fn read(file: &str, bytes: &[u8]) -> Result<Self> {
        check_magic(file, bytes)?;
        let tensors = SafeTensors::deserialize(bytes).map_err(|e| bad(file, &e.to_string()))?;
        if tensors.len() > MAX_TENSORS {
            return Err(Error::new(Kind::Limit, format!("{file}: more than {MAX_TENSORS} tensors")));
        }
        let mut arrays = BTreeMap::new();
        for (name, view) in tensors.iter() {
            let data = floats(view.dtype(), view.data())
                .ok_or_else(|| bad(file, &format!("tensor {name:?} is {:?}, not a float", view.dtype())))?;
            if let Some(v) = data.iter().find(|v| !v.is_finite()) {
                return Err(bad(file, &format!("tensor {name:?} holds {v}")));
            }
            arrays.insert(name.to_owned(), Array { shape: view.shape().to_vec(), data });
        }
        Ok(Self { file: file.to_owned(), arrays })
    }

    /// The array `name`, which must have `shape`.
    pub fn get(&self, name: &str, shape: &[usize]) -> Result<&Array> {
        let array =
            self.arrays.get(name).ok_or_else(|| bad(&self.file, &format!("tensor {name:?} is missing")))?;
        if array.shape != shape {
            return Err(bad(
                &self.file,
                &format!("tensor {name:?} has shape {:?}, expected {shape:?}", array.shape),
            ));
        }
        Ok(array)
    }
}

/// Refuses what is clearly something else, before any parser sees it.
fn check_magic(file: &str, bytes: &[u8]) -> Result<()> {
    if bytes.len() as u64 > MAX_WEIGHTS_BYTES {
        return Err(Error::new(Kind::Limit, format!("{file}: larger than {} MiB", MAX_WEIGHTS_BYTES >> 20)));
    }
    if let Some(what) = pickle_kind(bytes) {
        return Err(pickle_error(file, what));
    }
    let Some(length) = bytes.first_chunk::<8>().map(|b| u64::from_le_bytes(*b)) else {
        return Err(bad(file, "it is shorter than a header"));
    };
    if length > MAX_HEADER_BYTES {
        return Err(Error::new(
            Kind::Limit,
            format!(
                "{file}: not a safetensors file, or a header of {length} bytes (limit {MAX_HEADER_BYTES})"
            ),
        ));
    }
    if length.saturating_add(8) > bytes.len() as u64 {
        return Err(bad(file, "it is cut off inside its header"));
    }
    if bytes.get(8) != Some(&b'{') {
        return Err(bad(file, "its header is not JSON"));
    }
    Ok(())
}

/// Recognises Python pickles and PyTorch's zip archives of pickles by their first bytes.
pub fn pickle_kind(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [0x80, 2..=5, ..] => Some("a Python pickle"),
        [b'P', b'K', 3, 4, ..] => Some("a zip archive, as PyTorch's .pth and .pkl files are"),
        _ => None,
    }
}

/// The refusal of a pickle, with the way out.
pub fn pickle_error(file: &str, what: &str) -> Error {
    Error::new(Kind::Format, format!("{file}: {what}; opening one runs code of whoever wrote it, so it is refused"))
        .hint("convert it where it was made: safetensors.torch.save_file(model.state_dict(), \"model.safetensors\")")
}

fn floats(dtype: Dtype, data: &[u8]) -> Option<Vec<f32>> {
    let (pairs, fours) = (|| data.chunks_exact(2), || data.chunks_exact(4));
    Some(match dtype {
        Dtype::F16 => pairs().map(|b| f16::from_le_bytes([b[0], b[1]]).to_f32()).collect(),
        Dtype::BF16 => pairs().map(|b| bf16::from_le_bytes([b[0], b[1]]).to_f32()).collect(),
        Dtype::F32 => fours().map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect(),
        _ => return None,
    })
}

fn bad(file: &str, why: &str) -> Error {
    let why = dds_core::mime::printable(why);
    Error::new(Kind::Format, format!("{file}: not usable as weights: {why}"))
        .hint("give the folder of a model written by %dds export")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(header: &str, data: &[u8]) -> Vec<u8> {
        let mut out = (header.len() as u64).to_le_bytes().to_vec();
        out.extend(header.as_bytes());
        out.extend(data);
        out
    }

    #[test]
    fn reads_floats_of_three_widths() {
        let header = r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F16","shape":[1],"data_offsets":[4,6]},"c":{"dtype":"BF16","shape":[1],"data_offsets":[6,8]}}"#;
        let mut data = 1.5f32.to_le_bytes().to_vec();
        data.extend(f16::from_f32(-2.0).to_le_bytes());
        data.extend(bf16::from_f32(0.25).to_le_bytes());
        let w = Weights::read("w", &file(header, &data)).unwrap();
        let one = |n| w.get(n, &[1]).unwrap().data[0];
        assert_eq!((one("a"), one("b"), one("c")), (1.5, -2.0, 0.25));
        assert!(w.get("a", &[2]).unwrap_err().message.contains("shape [1], expected [2]"));
        assert!(w.get("z", &[1]).unwrap_err().message.contains("missing"));
    }

    #[test]
    fn hostile_files_are_errors() {
        let mut bomb = (u64::MAX - 3).to_le_bytes().to_vec();
        bomb.extend(b"{}");
        let nan = file(r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#, &f32::NAN.to_le_bytes());
        let overlap = file(r#"{"a":{"dtype":"F32","shape":[9],"data_offsets":[0,4]}}"#, &[0; 4]);
        let huge = file(
            r#"{"a":{"dtype":"F32","shape":[4294967296,4294967296,4294967296],"data_offsets":[0,4]}}"#,
            &[0; 4],
        );
        let int = file(r#"{"a":{"dtype":"I64","shape":[1],"data_offsets":[0,8]}}"#, &[0; 8]);
        for (bytes, kind) in [
            (bomb, Kind::Limit),
            (nan, Kind::Format),
            (overlap, Kind::Format),
            (huge, Kind::Format),
            (int, Kind::Format),
            (vec![], Kind::Format),
            (vec![0; 7], Kind::Format),
            (b"\x10\0\0\0\0\0\0\0{".to_vec(), Kind::Format),
            (file("[]", &[]), Kind::Format),
            ((MAX_HEADER_BYTES + 1).to_le_bytes().to_vec(), Kind::Limit),
            (MAX_HEADER_BYTES.to_le_bytes().to_vec(), Kind::Format),
        ] {
            assert_eq!(Weights::read("w", &bytes).unwrap_err().kind, kind);
        }
    }

    #[test]
    fn pickles_are_refused_by_their_first_bytes() {
        for bytes in [&b"\x80\x04\x95\x10\0\0\0\0\0\0\0"[..], b"PK\x03\x04rest of a pth file"] {
            let e = Weights::read("export.pkl", bytes).unwrap_err();
            assert!(e.message.contains("refused") && e.hint.unwrap().contains("safetensors"), "{bytes:?}");
        }
    }
}
