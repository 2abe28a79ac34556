#!/usr/bin/env python3
"""papermill for Rust notebooks: `papermill_rust.py IN.ipynb OUT.ipynb -p steps 20 -p name drawings`.

papermill runs a Rust notebook as it is, but does not know how to write parameters in Rust. This script teaches
it, and then is papermill: every flag is passed on. The cell with the tag `parameters` holds the defaults, one
`let NAME = VALUE;` a line; the injected cell shadows them, so that text is `&str`, whole numbers are `i64`,
other numbers `f64`, and a list is a `Vec` of one of them.
"""

from papermill.cli import papermill
from papermill.translators import Translator, papermill_translators

# Outside of it a whole number would need another type than the default's.
I64 = range(-(2**63), 2**63)


class RustTranslator(Translator):
    @classmethod
    def translate_escaped_str(cls, val):
        special = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\0": "\\0"}
        return '"' + "".join(special.get(character, character) for character in str(val)) + '"'

    @classmethod
    def translate_int(cls, val):
        if val not in I64:
            raise ValueError(f"{val} does not fit into an i64; give it as text and parse it in the notebook")
        return f"{val}i64"

    @classmethod
    def translate_float(cls, val):
        if val != val:
            return "f64::NAN"
        if val in (float("inf"), float("-inf")):
            return "f64::INFINITY" if val > 0 else "f64::NEG_INFINITY"
        return f"{val!r}f64"

    @classmethod
    def translate_list(cls, val):
        return f"vec![{', '.join(cls.translate(item) for item in val)}]"

    @classmethod
    def translate_none(cls, val):
        raise ValueError("Rust has no untyped null: leave the parameter out to keep the notebook's default")

    @classmethod
    def comment(cls, cmt_str):
        return f"// {cmt_str}"

    @classmethod
    def assign(cls, name, str_val):
        return f"let {name} = {str_val};"

    @classmethod
    def codify(cls, parameters, comment="Parameters"):
        lines = [cls.assign(name, cls.translate(val)) for name, val in parameters.items()]
        return "\n".join([cls.comment(comment), *lines, ""])


papermill_translators.register("rust", RustTranslator)

if __name__ == "__main__":
    papermill()
