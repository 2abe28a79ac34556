"""The `jupyter_kernel_test` suite on our kernelspec, in full: nothing is skipped."""

from __future__ import annotations

import jupyter_kernel_test
import pytest
from repositories import CLIPART

pytestmark = pytest.mark.usefixtures("jupyter_env")


class TestProtocol(jupyter_kernel_test.KernelTests):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        # The suite waits 15 s for any cell; on a loaded machine a session's first one may take longer.
        cls.kc.execute_interactive("1", timeout=120)

    kernel_name = "dds"
    language_name = "rust"
    file_extension = ".rs"

    code_hello_world = 'println!("hello, world");'
    code_stderr = 'eprintln!("a warning");'
    code_generate_error = 'panic!("as asked");'
    code_execute_result = [
        {"code": "1 + 1", "result": "2"},
        {"code": "let v = vec![1, 2, 3]; v.len()", "result": "3"},
    ]
    code_display_data = [
        # The summary is one display, the picture another; what both have is a text.
        {"code": f"%dds show '{CLIPART}/animals/007.jpg'", "mime": "text/plain"},
        {
            "code": r'println!("EVCXR_BEGIN_CONTENT text/html\n<b>bold</b>\nEVCXR_END_CONTENT");',
            "mime": "text/html",
        },
    ]
    completion_samples = [
        {"text": "%dds moun", "matches": {"mount", "mounts"}},
        {"text": "std::vec::Ve"},
    ]
    complete_code_samples = [
        "1 + 1",
        'println!("a { b");',
        "%dds mounts",
        "let a = 1; // {",
        "fn f() -> i32 { 7 }",
        'let s = r#"( " ("#;',
        "/* /* nested */ */ 1",
    ]
    incomplete_code_samples = [
        "fn f() {",
        'println!("a',
        "let v = vec![1,",
        "/* open",
        "if true {\n    1",
    ]
    invalid_code_samples = ["fn f() { ) }", "let a = 1; }", "vec![1, 2)"]
    code_inspect_sample = "%dds mount"
    code_history_pattern = "1 + *"
    supported_history_operations = ("tail", "range", "search")
    code_clear_output = "dds::clear_output(false);"
    code_page_something = "?%dds mount"


class TestIopubWelcome(jupyter_kernel_test.IopubWelcomeTests):
    kernel_name = "dds"
    support_iopub_welcome = True
