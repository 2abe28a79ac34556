"""The kernel as a front end meets it: commands, mixed cells, errors, interrupts."""

from __future__ import annotations

import time

import pytest
from cells import Kernel
from processes import ROOT, alive, descendants, wait_until
from repositories import CLIPART

# The promise for an interrupt is 250 ms; a test only knows that it must not wait for the cell's own end.
LONG_SECONDS = 300
TOKEN = "tok-5f0c1e9a77"


@pytest.fixture(scope="module")
def kernel(jupyter_env, tmp_path_factory):
    with Kernel(tmp_path_factory.mktemp("cells"), jupyter_env) as kernel:
        yield kernel


def test_kernel_info_comes_before_the_evaluator(jupyter_env, tmp_path, capsys):
    with Kernel(tmp_path, jupyter_env) as kernel:
        with capsys.disabled():
            print(f"\n  start to kernel_info_reply: {kernel.seconds_to_info * 1000:.0f} ms", end=" ")
        begun = time.monotonic()
        ran = kernel.ok("%dds mounts")
        with capsys.disabled():
            print(f"(first %dds mounts {1000 * (time.monotonic() - begun):.0f} ms)", end=" ")
        assert ran.text.strip()


def test_help_lists_every_group(kernel):
    text = kernel.ok("%dds help").text
    for command in ["mount", "show", "data", "probe", "upload", "app", "export", "predict"]:
        assert command in text, command


def test_help_of_one_command_shows_its_flags(kernel):
    text = kernel.ok("%dds help mount").text
    assert "--via" in text and "URL" in text.upper()


def test_values_and_state_last_between_cells(kernel):
    kernel.ok("let mut numbers = vec![1, 2, 3];")
    kernel.ok("numbers.push(4);")
    (value,) = kernel.ok("numbers.iter().sum::<i32>()").bundles("execute_result")
    assert value["text/plain"] == "10"


def test_segments_of_a_cell_run_in_their_order(kernel):
    code = 'println!("first");\n%dds mounts\nprintln!("second");\n!echo third\nprintln!("fourth");'
    text = kernel.ok(code).text
    places = [text.index(word) for word in ["first", "second", "third", "fourth"]]
    assert places == sorted(places)
    # What the command said stands between the first and the second line.
    assert text[places[0] + len("first") : places[1]].strip()


def test_a_command_inside_a_string_is_text(kernel):
    ran = kernel.ok('let text = "\n%dds nonsense\n!false\n";\nprintln!("{}", text.len());')
    assert ran.stdout.strip() == str(len("\n%dds nonsense\n!false\n"))


def test_a_segment_that_fails_ends_the_cell(kernel):
    ran = kernel.run('println!("before");\n%dds cat no-such-file.txt\nprintln!("after");')
    assert ran.status == "error"
    assert "before" in ran.stdout and "after" not in ran.stdout


def test_rust_values_go_into_commands(kernel, tmp_path):
    (tmp_path / "greeting.txt").write_text("hello from a file")
    kernel.ok(f'let place = "{tmp_path}";')
    assert "hello from a file" in kernel.ok("%dds cat {place}/greeting.txt").text


def test_double_braces_are_literal(kernel, tmp_path):
    (tmp_path / "{x}.txt").write_text("a name with braces")
    assert "a name with braces" in kernel.ok(f"%dds cat {tmp_path}/{{{{x}}}}.txt").text


def test_cell_magic_takes_toml(kernel):
    ran = kernel.ok(f'%%dds data\nname = "drawings"\npath = "{CLIPART}"\nsplit = "every:5"\nsize = 64')
    assert "288" in ran.text and "72" in ran.text


def test_cell_magic_names_the_wrong_field(kernel):
    ran = kernel.run(f'%%dds data\npath = "{CLIPART}"\nspilt = "every:5"')
    assert ran.status == "error"
    assert "spilt" in ran.text and "split" in ran.text


def test_show_gives_a_picture_with_a_text_beside_it(kernel):
    bundles = kernel.ok(f"%dds show '{CLIPART}/animals/007.jpg' '{CLIPART}/food/012.jpg'").bundles()
    picture = next(b for b in bundles if "image/png" in b)
    assert "text/plain" in picture


def test_shell_lines_run_in_the_working_folder(kernel):
    assert kernel.ok("!echo hello; pwd").stdout.startswith("hello\n")


def test_a_failing_shell_line_is_an_error(kernel):
    ran = kernel.run("!exit 3")
    assert ran.status == "error" and "3" in ran.text


def test_cd_moves_commands_shell_and_rust_together(kernel, tmp_path):
    (tmp_path / "here.txt").write_text("found")
    before = kernel.ok("!pwd").stdout.strip()
    kernel.ok(f"%dds cd {tmp_path}")
    try:
        assert "found" in kernel.ok("%dds cat here.txt").text
        assert kernel.ok("!cat here.txt").stdout == "found"
        assert "found" in kernel.ok('println!("{}", std::fs::read_to_string("here.txt").unwrap());').stdout
    finally:
        kernel.ok(f"%dds cd {before}")


@pytest.mark.parametrize("typed, meant", [("%dds shwo a.jpg", "show"), ("%dds mout x y", "mount")])
def test_an_unknown_command_is_answered_with_the_nearest(kernel, typed, meant):
    ran = kernel.run(typed)
    assert ran.status == "error"
    assert ran.error["ename"] == "Usage"
    assert meant in ran.text


def test_an_unknown_flag_is_answered_with_the_nearest(kernel):
    ran = kernel.run("%dds show a.jpg --colums 3")
    assert ran.status == "error" and "--columns" in ran.text


def test_a_file_that_is_no_image_is_named(kernel, tmp_path):
    (tmp_path / "notes.jpg").write_text("not a picture at all")
    ran = kernel.run(f"%dds show {tmp_path}/notes.jpg")
    assert ran.status == "error" and "notes.jpg" in ran.text


def test_a_compile_error_points_at_the_place(kernel):
    ran = kernel.run('let number: i32 = "text";')
    assert ran.status == "error"
    assert "mismatched types" in ran.text


def test_a_panic_is_an_error_and_variables_stay(kernel):
    kernel.ok("let kept = 41;")
    ran = kernel.run('panic!("as asked");')
    assert ran.status == "error" and "as asked" in ran.text
    assert "42" in kernel.ok('println!("{}", kept + 1);').stdout


def test_output_arrives_while_the_cell_runs(kernel):
    """The second half waits for a file that is made only once the first half was seen."""
    gate = kernel.ok("!mktemp -u").stdout.strip()
    cell = kernel.send(f"!echo started; while [ ! -e {gate} ]; do sleep 0.05; done; echo released")
    kernel.wait_for_output(cell, "started")
    open(gate, "w").close()
    assert "released" in kernel.collect(cell).stdout


def test_print_without_a_line_feed_does_not_hang(kernel):
    ran = kernel.ok('use std::io::Write; print!("no line feed"); std::io::stdout().flush().unwrap();')
    assert ran.stdout == "no line feed"


def test_much_output_is_delivered_or_counted(kernel):
    lines = 20_000
    ran = kernel.ok(f'for i in 0..{lines} {{ println!("line {{i}}"); }}')
    assert "line 0\n" in ran.stdout
    assert f"line {lines - 1}\n" in ran.stdout
    # Batched: not a message for each line.
    assert len(ran.messages) < lines / 10


def test_a_wrong_token_is_refused_with_a_hint_and_never_printed(kernel, start_server, repository, tmp_path):
    served = start_server(repository, "--token", "right-4d1f")
    ran = kernel.run(f"%dds mount {served.url} {tmp_path}/m --token {TOKEN}")
    assert ran.status == "error"
    assert ran.error["ename"] == "Unauthorized"
    assert "401" in ran.text or "token" in ran.text.lower()
    everything = str(ran.messages[1:]) + str(ran.reply)  # the first message is the cell's own text
    outputs = [m for m in ran.messages if m["msg_type"] != "execute_input"]
    assert TOKEN not in str(outputs) + str(ran.reply), everything
    assert "DAGSHUB_USER_TOKEN" in ran.text


def test_an_unreachable_server_leaves_the_kernelalive(kernel, tmp_path):
    import socket

    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        port = closed.getsockname()[1]
        ran = kernel.run(f"%dds mount http://127.0.0.1:{port}/local/art {tmp_path}/m", seconds=90)
    assert ran.status == "error"
    assert ran.error["ename"] == "Unreachable"
    assert str(port) in ran.text
    assert kernel.ok("%dds mounts").status == "ok"
    assert kernel.ok("2 + 2").bundles("execute_result")[0]["text/plain"] == "4"


def test_a_cell_reads_a_mounted_file(kernel, served, tmp_path):
    mount = tmp_path / "m"
    kernel.ok(f"%dds mount {served.url} {mount}")
    try:
        code = f'println!("{{}}", std::fs::read_dir("{mount}/clipart").unwrap().count());'
        assert kernel.ok(code).stdout.strip() == "6"
        code = f'println!("{{}}", std::fs::read("{mount}/large.bin").unwrap().len());'
        assert kernel.ok(code).stdout.strip() == str(len(served.repository.files["large.bin"]))
        assert str(mount) in kernel.ok("%dds mounts").text
    finally:
        kernel.ok(f"%dds unmount {mount}")
    assert not mount.exists() or list(mount.iterdir()) == []


def test_interrupt_ends_a_shell_line_and_its_children(kernel, tmp_path):
    pid_file = tmp_path / "pid"
    cell = kernel.send(f"!sh -c 'echo $$ > {pid_file}; echo started; exec sleep {LONG_SECONDS}'; true")
    kernel.wait_for_output(cell, "started")
    kernel.manager.interrupt_kernel()
    ran = kernel.collect(cell, seconds=60)
    assert ran.status == "error" and ran.reply["ename"] == "Interrupted"
    child = int(pid_file.read_text())
    wait_until(lambda: not alive(child), f"process {child}, started by the cell, is gone")
    assert kernel.ok("!echo alive").stdout == "alive\n"


def test_interrupt_ends_an_endless_rust_loop(kernel):
    cell = kernel.send('println!("spinning"); loop { std::hint::black_box(()); }')
    kernel.wait_for_output(cell, "spinning")
    kernel.manager.interrupt_kernel()
    ran = kernel.collect(cell, seconds=60)
    assert ran.status == "error" and ran.reply["ename"] == "Interrupted"
    assert kernel.ok("3 + 4").bundles("execute_result")[0]["text/plain"] == "7"


def test_interrupting_an_idle_kernel_does_nothing(kernel):
    kernel.manager.interrupt_kernel()
    # An answer on the control channel says that what came before it there has been dealt with.
    kernel.client.control_channel.send(kernel.client.session.msg("kernel_info_request"))
    assert kernel.client.get_control_msg(timeout=30)["msg_type"] == "kernel_info_reply"
    assert kernel.ok("%dds mounts").status == "ok"
    assert kernel.ok("5 + 5").bundles("execute_result")[0]["text/plain"] == "10"


def test_completion_of_commands_flags_and_files(kernel, tmp_path):
    (tmp_path / "picture one.jpg").write_bytes(b"")
    (tmp_path / "plain.txt").write_bytes(b"")

    def matches(code):
        reply = kernel.client.complete(code, reply=True, timeout=30)
        return reply["content"]["matches"]

    assert {"mount", "mounts"} <= set(matches("%dds mou"))
    assert "--columns" in matches("%dds show a.jpg --col")
    assert any("plain.txt" in m for m in matches(f"%dds cat {tmp_path}/pla"))


def test_shift_tab_shows_the_help_of_a_command(kernel):
    reply = kernel.client.inspect("%dds probe", 8, reply=True, timeout=30)["content"]
    assert reply["found"] and "logistic" in reply["data"]["text/plain"]


def test_shutdown_ends_every_child(jupyter_env, tmp_path):
    with Kernel(tmp_path, jupyter_env) as kernel:
        kernel.ok("let a = 1;")
        pid = kernel.manager.provisioner.process.pid
        family = descendants(pid)
        assert family, "the evaluator is a child process"
    wait_until(lambda: not any(alive(p) for p in [pid, *family]), "the kernel and its children are gone")


def test_the_notebooks_of_the_tree_name_this_kernel():
    import nbformat

    notebooks = [*(ROOT / "notebooks").glob("*.ipynb"), *(ROOT / "tests/e2e/notebooks").glob("*.ipynb")]
    assert len(notebooks) >= 2
    for path in notebooks:
        notebook = nbformat.read(path, as_version=nbformat.NO_CONVERT)
        nbformat.validate(notebook)
        assert notebook.metadata.kernelspec.name == "dds", path
