//! What a line of a cell may hold beside a command and its words: variables, patterns, comments, and
//! Rust that is measured.

use super::*;

fn request(shown: &Shown) -> String {
    shown.displays()[0].metadata["dds"]["result"]["request"].as_str().unwrap().to_owned()
}

#[test]
fn variables_reach_cells_commands_and_shell_lines() {
    let b = bench();
    let (done, shown) = b.run("%dds env DAGSHUB_CLIENT_HOST=http://127.0.0.1:7 A='b c' MY_TOKEN=hunter22");
    done.unwrap();
    let told = shown.displays()[0].plain().to_owned();
    assert!(told.contains("A=b c") && told.contains("MY_TOKEN=***"), "{told}");
    // Rust cells and shell lines see them; so does what commands are configured by.
    assert_eq!(b.run("$A").0.unwrap().unwrap().plain(), "b c");
    assert_eq!(b.run("!echo \"$A-$MY_TOKEN\"").1.text(Stream::Stdout), "b c-hunter22\n");
    assert_eq!(*b.echo.hosts.lock().unwrap(), ["http://127.0.0.1:7"]);
    assert_eq!(b.session.config().dagshub_host, "http://127.0.0.1:7");

    b.run("%dds env --unset A").0.unwrap();
    assert_eq!(b.run("$A").0.unwrap(), None);
    assert_eq!(b.run("!echo \"[$A]\"").1.text(Stream::Stdout), "[]\n");
    assert_eq!(b.error("%dds env A").ename, "NotFound");
    b.run("x = 5").0.unwrap();
    b.run("%dds env N={x}").0.unwrap();
    assert_eq!(b.run("$N").0.unwrap().unwrap().plain(), "5");
    // The kernel's own environment is as it was.
    assert!(std::env::var_os("MY_TOKEN").is_none());
}

#[test]
fn a_folder_is_changed_for_all_three() {
    let b = bench();
    b.run("!mkdir sub").0.unwrap();
    b.run("%dds cd sub").0.unwrap();
    let sub = b.dir.path().join("desk/sub");
    assert_eq!(b.run("where").0.unwrap().unwrap().plain(), sub.display().to_string());
    assert_eq!(
        b.run("!pwd -P").1.text(Stream::Stdout).trim(),
        sub.canonicalize().unwrap().display().to_string()
    );
    let (_, shown) = b.run("%dds ls");
    assert_eq!(shown.displays()[0].metadata["dds"]["result"]["cwd"], sub.display().to_string());
}

#[test]
fn patterns_become_files() {
    let b = bench();
    b.run("!touch a1.jpg 'a 2.jpg' b.png -- -x.jpg").0.unwrap();
    let of = |line: &str| request(&b.run(line).1);
    assert!(of("%dds show *.jpg").contains("targets: [\"./-x.jpg\", \"a 2.jpg\", \"a1.jpg\"]"));
    assert!(of("%dds show '*.jpg' # not a pattern").contains("targets: [\"*.jpg\"]"));
    assert!(of("%dds show none*.jpg;").contains("targets: [\"none*.jpg\"]"));
    let home = b.dir.path().join("desk").display().to_string();
    b.run(&format!("%dds env HOME={home}")).0.unwrap();
    assert!(of("%dds show ~/a?.jpg ~").contains(&format!("targets: [\"{home}/a1.jpg\", \"{home}\"]")));
    assert!(b.error("%dds ls; %dds ls").evalue.contains("behind the `;`"));
}

#[test]
fn an_expression_is_measured_as_it_stands() {
    let b = bench();
    b.run("{ \"a b\".len() } = 3.0, 1.0, 2.0").0.unwrap();
    let (done, shown) = b.run("%dds time { \"a b\".len() }");
    assert_eq!(done.unwrap(), None);
    let shown = &shown.displays()[0];
    assert_eq!(shown.plain(), "2.00 ns ± 1.00 ns (median of 3 × 10)");
    assert_eq!(shown.metadata["dds"]["command"], "time");
    assert_eq!(b.error("%dds time nothing").evalue, "nothing");
    assert_eq!(b.error("%dds time").ename, "Usage");
    assert!(b.error("%dds time --rnus 3 x").evalue.contains("no flag --rnus"));
}

#[test]
fn a_cell_is_measured_once_and_keeps_its_value() {
    let b = bench();
    let (value, shown) = b.run("%%dds time\nx = 1\n%dds mounts\nx");
    assert_eq!(value.unwrap().unwrap().plain(), "1");
    let shown = shown.displays();
    assert_eq!(shown[0].metadata["dds"]["command"], "mounts");
    let time = shown.last().unwrap();
    assert!(time.plain().starts_with("ran 2.00 s (CPU 0.00 ns), compiled"), "{}", time.plain());
    assert_eq!(time.metadata["dds"]["result"]["run_seconds"], 2.0);
    // Lines are those of the whole cell.
    assert_eq!(b.error("%%dds time\n\nfail").evalue, "line 3");
    assert!(b.error("%%dds time\n%dds stat x").traceback[1].contains("line 2"));
    assert!(b.error("%%dds time\n%%dds time\nx").evalue.contains("stands in one already"));
    assert!(b.error("%%dds time 1 + 1\nx").evalue.contains("lines below"));
}

#[test]
fn shell_lines_are_completed() {
    let b = bench();
    b.run("!mkdir bin; printf '#!/bin/sh\\n' > bin/my-tool; chmod +x bin/my-tool; touch bin/my-data")
        .0
        .unwrap();
    let bin = b.dir.path().join("desk/bin").display().to_string();
    b.run(&format!("%dds env PATH={bin} HOME={bin}")).0.unwrap();
    let of = |code: &str| -> Vec<String> {
        b.session.complete(code, code.chars().count()).items.into_iter().map(|i| i.text).collect()
    };
    assert_eq!(of("!my"), ["my-tool"]);
    assert_eq!(of("!my-tool bin/my"), ["bin/my-data", "bin/my-tool"]);
    assert_eq!(of("!my-tool ~/my-d"), ["~/my-data"]);
}
