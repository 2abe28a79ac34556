use super::*;

#[test]
fn overview_groups_commands_with_one_example_each() {
    let out = help(Door::Cell, None).unwrap();
    assert!(out.summary.starts_with("dds "));
    let text = out.detail;
    assert!(text.starts_with("\nData\n  mount       Mount a repository on a folder"), "{text}");
    let themes: Vec<_> = text.lines().filter(|l| THEMES.iter().any(|t| t.title == *l)).collect();
    assert_eq!(themes, ["Data", "Images", "Learn", "Publish", "Session", "Other"]);
    for example in
        ["%dds show photos/birds/001.jpg", "%dds probe --data birds", "%%dds app …", "%dds top-losses -n 9"]
    {
        assert!(text.contains(example), "{example}\n{text}");
    }
    assert!(!text.contains("__eval") && !text.contains("install"));
    assert!(text.lines().all(|l| l.chars().count() <= WIDTH), "{text}");
    assert_eq!(out.json.as_array().unwrap().len(), Door::Cell.tree().get_subcommands().count());

    let shell = help(Door::Shell, None).unwrap().detail;
    assert!(shell.contains("dds install --sys-prefix") && shell.contains("dds serve photos"));
    assert!(!shell.contains("%dds") && !shell.contains("__mount"));
}

#[test]
fn one_command_in_full() {
    let out = help(Door::Cell, Some("upload")).unwrap();
    assert_eq!(out.summary, "Upload files into a repository without cloning it");
    assert_eq!(
        out.detail,
        "\
usage: %dds upload FILES… --to FOLDER [--message MESSAGE] [--versioning auto|git|dvc]
           [--branch BRANCH] [--new-branch BRANCH] [--token TOKEN]

Arguments
  FILES                Files and folders of this machine; folders with everything below them

Flags
  --to FOLDER          Where to: a folder inside a mount, or URL[@BRANCH][:PATH]
  -m, --message MESSAGE
                       Commit message (at most 100 characters)
  --versioning auto|git|dvc
                       Who keeps the bytes (auto, git, dvc) [default: auto]
  --branch BRANCH      Upload to this branch
  --new-branch BRANCH  Upload to a new branch of this name, which begins where the other one
                       stands
  --token TOKEN        Access token (better: DAGSHUB_USER_TOKEN); never printed

Examples
  %dds upload new.jpg --to dagshub://team/photos:birds -m 'One more bird'
  %dds upload birds --to dagshub://team/photos --new-branch more-birds"
    );
}

#[test]
fn a_cell_with_a_body_is_shown_as_it_is_typed() {
    let text = help(Door::Cell, Some("data")).unwrap().detail;
    assert!(text.contains("\n  %%dds data --name birds\n  path = \"photos\"\n"), "{text}");
}

#[test]
fn unknown_names_are_answered_with_the_nearest() {
    let e = help(Door::Cell, Some("shwo")).unwrap_err();
    assert_eq!(e.message, "there is no command \"shwo\"");
    assert!(e.hint.unwrap().starts_with("did you mean `%dds show`?"));
    assert!(help(Door::Shell, Some("__eval")).is_err());
}

#[test]
fn html_help_is_escaped() {
    for name in Door::Cell.tree().get_subcommands().map(|c| c.get_name().to_owned()).collect::<Vec<_>>() {
        let html = help(Door::Cell, Some(&name)).unwrap().html.unwrap();
        assert_eq!(html.matches('<').count(), 2, "{name}: {html}");
    }
}

#[test]
fn a_forms_fields_are_explained_in_a_cell_only() {
    let text = help(Door::Cell, Some("app")).unwrap().text();
    for part in ["max_bytes", "image (the default), file, text, number, choice or checkbox", "default = 3"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!help(Door::Shell, Some("app")).unwrap().text().contains("[[field]]"));
}
