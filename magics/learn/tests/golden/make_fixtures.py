"""Records what scikit-learn and Pillow compute, for the tests of this crate.

Usage: python make_fixtures.py   (needs numpy, scikit-learn, Pillow; run in this folder)
Writes logistic.json and resize_*.png next to itself, out of ../../../../notebooks/data/clipart.
"""

import json
import pathlib

import numpy as np
import sklearn
from PIL import Image, __version__ as pillow
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

HERE = pathlib.Path(__file__).parent
CLIPART = HERE.parents[3] / "notebooks" / "data" / "clipart"
IMAGES = ["animals/000.jpg", "food/007.jpg", "tools/013.jpg"]


def logistic():
    rng = np.random.RandomState(7)
    cases = []
    for classes, width, n, c in [(4, 6, 60, 0.1), (3, 4, 30, 10.0), (2, 5, 40, 0.5)]:
        y = rng.permutation(np.arange(n) % classes)
        x = np.round(rng.randn(n, width) + rng.randn(classes, width)[y] * 0.8, 4)
        x[:, 1] = 3.25  # a constant feature
        scaler = StandardScaler().fit(x)
        fit = LogisticRegression(C=c, tol=1e-12, max_iter=20000).fit(scaler.transform(x), y)
        probabilities = fit.predict_proba(scaler.transform(x[:8]))
        cases.append(
            dict(
                classes=classes, width=width, c=c, x=x.ravel().tolist(), y=y.tolist(),
                mean=scaler.mean_.tolist(), coef=fit.coef_.ravel().tolist(),
                intercept=fit.intercept_.tolist(), probabilities=probabilities.ravel().tolist(),
            )
        )
    made = f"scikit-learn {sklearn.__version__}, LogisticRegression(lbfgs, tol=1e-12) after StandardScaler"
    (HERE / "logistic.json").write_text(json.dumps(dict(made=made, cases=cases)))


def resize():
    # PNG copies of the decoded pixels, so that only the resize is compared, not the JPEG decoder.
    for at, name in enumerate(IMAGES):
        image = Image.open(CLIPART / name).convert("RGB")
        image.save(HERE / f"resize_{at}_in.png", optimize=True)
        for side in (48, 128, 224):
            image.resize((side, side), Image.BILINEAR).save(HERE / f"resize_{at}_{side}.png", optimize=True)
    print("Pillow", pillow)


logistic()
resize()
