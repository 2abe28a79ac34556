"""Where the kernel does more than answer: questions to the user, displays that change, busy times, cells that
are aborted, a history that lasts."""

from __future__ import annotations

import pytest
from cells import Kernel

BUSY = 'println!("on"); loop { std::hint::black_box(()); }'


@pytest.fixture(scope="module")
def kernel(jupyter_env, tmp_path_factory):
    with Kernel(tmp_path_factory.mktemp("conversation"), jupyter_env) as kernel:
        kernel.ok("let mut numbers = vec![1, 2, 3];")
        yield kernel


def asked(kernel: Kernel, code: str, allow: bool = True) -> tuple[str, dict]:
    """Sends a cell and waits for its question."""
    cell = kernel.client.execute(code, allow_stdin=allow)
    return cell, kernel.client.get_stdin_msg(timeout=120)["content"]


def test_a_line_of_standard_input_is_asked_for(kernel):
    cell, question = asked(
        kernel,
        "let mut line = String::new();\nstd::io::stdin().read_line(&mut line).unwrap();\n"
        'println!("<{line}>");',
    )
    assert question["password"] is False
    kernel.client.input("two words")
    assert kernel.collect(cell).stdout == "<two words\n>\n"


def test_a_question_has_its_prompt_and_a_password_is_hidden(kernel):
    cell, question = asked(kernel, 'let name = dds::input("Your name? ")?; println!("hello {name}");')
    assert question == {"prompt": "Your name? ", "password": False}
    kernel.client.input("Ada")
    assert kernel.collect(cell).stdout == "hello Ada\n"
    cell, question = asked(kernel, 'println!("{}", dds::password("Key: ")?.len());')
    assert question == {"prompt": "Key: ", "password": True}
    kernel.client.input("secret")
    ran = kernel.collect(cell)
    assert ran.stdout == "6\n" and "secret" not in str(ran.messages)


def test_a_token_is_asked_for_and_not_shown(kernel, start_server, repository):
    served = start_server(repository, "--token", "canary-77")
    login = f'let token = dds::password("token: ")?;\n%dds login {served.host} --token={{token}}'
    cell, question = asked(kernel, login)
    assert question == {"prompt": "token: ", "password": True}
    kernel.client.input("canary-77")
    ran = kernel.collect(cell)
    assert "logged in to" in ran.text and "canary-77" not in str(ran.messages), ran.text
    assert "README.md" in kernel.ok(f"%dds ls {served.url}").text
    assert "logged out" in kernel.ok(f"%dds logout {served.host}").text


def test_a_front_end_without_input_is_told(kernel):
    cell = kernel.client.execute('println!("{:?}", dds::input("? ").is_err());', allow_stdin=False)
    assert kernel.collect(cell).stdout == "true\n"


def test_an_interrupt_ends_a_question(kernel):
    cell, _ = asked(kernel, 'dds::input("? ")?;')
    kernel.manager.interrupt_kernel()
    ran = kernel.collect(cell, seconds=60)
    assert ran.status == "error"
    assert kernel.ok("numbers.len()").bundles("execute_result")[0]["text/plain"] == "3"


def test_completion_and_inspection_answer_while_a_cell_runs(kernel):
    cell = kernel.send(BUSY)
    kernel.wait_for_output(cell, "on")
    try:
        # Were they to wait for the cell, they would wait for ever.
        matches = kernel.client.complete("numbers.pu", reply=True, timeout=60)["content"]["matches"]
        found = kernel.client.inspect("numbers", 3, reply=True, timeout=60)["content"]
    finally:
        kernel.manager.interrupt_kernel()
        ran = kernel.collect(cell, seconds=60)
    assert ran.status == "error"
    assert any("push" in match for match in matches)
    assert found["found"] and "Vec" in found["data"]["text/plain"]


def test_displays_arrive_in_their_order_and_are_updated(kernel):
    ran = kernel.ok(
        'let shown = dds::display("first"); println!("between");\n'
        'shown.update("second"); dds::clear_output(true);'
    )
    kinds = [m["msg_type"] for m in ran.messages if m["msg_type"] not in ("status", "execute_input")]
    assert kinds == ["display_data", "stream", "update_display_data", "clear_output"]
    first, update = [m["content"] for m in ran.messages if "display_data" in m["msg_type"]]
    assert first["transient"] == update["transient"] and first["transient"]["display_id"]
    assert "second" in update["data"]["text/plain"]


def test_a_value_that_is_a_table_has_html(kernel):
    (bundle,) = kernel.ok('vec![("ada", 36), ("alan", 41)]').bundles("execute_result")
    assert "<table" in bundle["text/html"] and "ada" in bundle["text/plain"]


def test_what_was_sent_after_a_failing_cell_is_aborted(kernel):
    wait = "std::thread::sleep(std::time::Duration::from_millis(300));"
    first = kernel.client.execute(wait + ' panic!("as asked");')
    second = kernel.client.execute('println!("never");')
    assert kernel.collect(first).status == "error"
    ran = kernel.collect(second)
    assert ran.status in ("aborted", "error") and ran.stdout == ""


def test_history_lasts_across_sessions(jupyter_env, tmp_path):
    marker = "let from_an_earlier_session = 417;"
    with Kernel(tmp_path, jupyter_env) as kernel:
        kernel.run(marker)
    with Kernel(tmp_path, jupyter_env) as kernel:
        asked = {"hist_access_type": "search", "pattern": "*earlier_session*"}
        reply = kernel.client.history(raw=True, output=False, reply=True, timeout=60, **asked)
        assert marker in [entry[2] for entry in reply["content"]["history"]]
