use super::*;
use std::collections::BTreeSet;

fn words(line: &str) -> Vec<String> {
    shlex::split(line).unwrap()
}

#[test]
fn no_flag_is_taken_twice_and_everything_is_explained() {
    for door in [Door::Cell, Door::Shell] {
        let mut tree = door.tree();
        tree.build();
        for command in tree.get_subcommands().filter(|c| !c.is_hide_set()) {
            assert!(command.get_about().is_some(), "{} has no description", command.get_name());
            let (mut long, mut short) = (BTreeSet::new(), BTreeSet::new());
            for arg in command.get_arguments() {
                assert!(arg.get_help().is_some(), "{} {} has no help", command.get_name(), arg.get_id());
                assert!(arg.get_long().is_none_or(|l| long.insert(l.to_owned())), "{}", command.get_name());
                assert!(arg.get_short().is_none_or(|s| short.insert(s)), "{}", command.get_name());
            }
        }
    }
}

#[test]
fn one_line_one_typed_request() {
    let line = cell(&words("-C sub show a.jpg 'b c.png' --size 64 -n 2 --json")).unwrap();
    assert_eq!(line.dir.as_deref(), Some("sub"));
    assert!(line.json);
    let Some(CellCommand::Common(Command::Show(show))) = line.command else { panic!("{line:?}") };
    assert_eq!(show.targets, ["a.jpg", "b c.png"]);
    assert_eq!((show.size, show.max), (64, 2));

    let line = cell(&words("probe -C 0.5 --data clipart")).unwrap();
    let Some(CellCommand::Common(Command::Probe(probe))) = line.command else { panic!("{line:?}") };
    assert_eq!(probe.c, 0.5);
    assert!(line.dir.is_none());
}

#[test]
fn app_means_a_form_in_a_cell_and_a_server_in_a_shell() {
    let Some(CellCommand::App(form)) = cell(&words("app --title T --run predict '$photo'")).unwrap().command
    else {
        panic!()
    };
    assert_eq!(form.run, ["predict", "$photo"]);
    let e = cell(&words("app n.ipynb --port 8080")).unwrap_err();
    assert!(e.message.starts_with("a notebook is published from a shell"), "{e:?}");
    assert_eq!(e.hint.as_deref(), Some("type it in a shell: `dds app NOTEBOOK.ipynb`"));
    let Some(ShellCommand::App(app)) = shell(&words("app n.ipynb --port 8080")).unwrap().command else {
        panic!()
    };
    assert_eq!((app.notebook.as_str(), app.port), ("n.ipynb", 8080));
}

#[test]
fn help_flag_is_the_help_command() {
    for line in ["show --help", "help show", "show a.jpg -h"] {
        let Some(CellCommand::Common(Command::Help(help))) = cell(&words(line)).unwrap().command else {
            panic!("{line}")
        };
        assert_eq!(help.command.as_deref(), Some("show"));
    }
    let Some(ShellCommand::Common(Command::Help(help))) = shell(&words("--help")).unwrap().command else {
        panic!()
    };
    assert_eq!(help.command, None);
    assert_eq!(cell(&[]).unwrap().command, None);
}

#[test]
fn hidden_roles_parse() {
    assert_eq!(shell(&words("__eval")).unwrap().command, Some(ShellCommand::EvalChild));
    assert_eq!(shell(&words("__mount")).unwrap().command, Some(ShellCommand::MountChild));
    let role = shell(&words("__repositories")).unwrap().command;
    assert_eq!(role, Some(ShellCommand::RepositoriesChild));
    let Some(ShellCommand::Install(i)) = shell(&words("install --prefix /x")).unwrap().command else {
        panic!()
    };
    assert_eq!(i.prefix.as_deref(), Some("/x"));
}
