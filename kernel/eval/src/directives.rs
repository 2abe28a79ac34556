//! Lines that begin with a colon: which there are, what they are for, and those that are answered
//! here rather than by evcxr.

use crate::engine::Engine;
use crate::report::{self, Source};
use dds_core::eval::CellError;
use dds_core::mime::escape_html;
use dds_core::{Error, Kind, MimeBundle, Result};

/// Name, arguments, and what it does.
const LIST: [(&str, &str, &str); 23] = [
    (":build_env", "NAME=VALUE", "sets an environment variable for the compiler"),
    (":checkpoint", "on|off", "whether variables are kept through interrupts and crashes; off saves memory"),
    (":clear", "", "forgets variables, items and crates"),
    (":dep", "NAME = VERSION", "adds a crate, as in Cargo.toml: `:dep rand = \"0.9\"`"),
    (":doc", "NAME", "shows the documentation of a name"),
    (":efmt", "FORMAT", "how errors that `?` meets are shown: `{}`, `{:?}` or `{:#?}`"),
    (
        ":env",
        "NAME=VALUE",
        "sets an environment variable for the next start of the process that runs the cells",
    ),
    (":explain", "", "explains the last compile error"),
    (":fmt", "FORMAT", "how values are shown, by a format such as `{:#?}`"),
    (":help", "", "this list"),
    (":last_compile_dir", "", "the folder in which cells are compiled"),
    (":linker", "NAME", "the linker: system, lld or mold"),
    (":load_config", "", "runs the startup files of evcxr"),
    (":offline", "0|1", "whether crates may be downloaded"),
    (":opt", "LEVEL", "how far cells are optimised, from 0 to 3"),
    (
        ":restart",
        "",
        "starts the process that runs the cells anew: variables are gone, items and crates stay",
    ),
    (":show_deps", "", "lists the crates that were added"),
    (":timing", "", "turns on or off that cells tell how long they took"),
    (":toolchain", "NAME", "the Rust toolchain, such as nightly"),
    (":type", "EXPRESSION", "shows the type of an expression; `:t` for short"),
    (":types", "", "turns on or off that values are shown with their types"),
    (":vars", "", "lists the variables and their types"),
    (":version", "", "the version of the kernel and of the compiler"),
];

/// Other names, and such as are of use to the maker of evcxr alone.
const UNLISTED: [&str; 11] = [
    ":t",
    ":quit",
    ":preserve_vars_on_panic",
    ":internal_debug",
    ":last_error_json",
    ":time_passes",
    ":codegen_backend",
    ":allow_static_linking",
    ":sccache",
    ":cache",
    ":clear_cache",
];

/// What stands in the place of a directive that does nothing here.
const REPLACED: [(&str, &str, &str); 2] = [
    (":quit", "`:quit` would end the kernel", "Shut the kernel down from the menu."),
    (":internal_debug", "`:internal_debug` is for those who work on evcxr", "`:help` lists the directives."),
];

pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    LIST.iter().map(|(name, ..)| *name)
}

/// Refuses what is no directive, or does nothing here.
pub(crate) fn check(name: &str) -> Result<()> {
    if let Some((_, why, hint)) = REPLACED.iter().find(|(other, ..)| *other == name) {
        return Err(Error::usage(*why).hint(*hint));
    }
    if names().any(|other| other == name) || UNLISTED.contains(&name) {
        return Ok(());
    }
    let near =
        names().map(|other| (distance(name, other), other)).min().filter(|(distance, _)| *distance <= 2);
    let hint = match near {
        Some((_, other)) => format!("Is it `{other}`? `:help` lists the directives."),
        None => "`:help` lists the directives.".to_owned(),
    };
    Err(Error::usage(format!("`{name}` is no directive")).hint(hint))
}

/// Letters to add, take away or change.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut last = i;
        for (j, y) in b.iter().enumerate() {
            let (above, left) = (
                row.get(j + 1).copied().unwrap_or(0),
                if j == 0 { i + 1 } else { row.get(j).copied().unwrap_or(0) },
            );
            let next = (above + 1).min(left + 1).min(last + usize::from(x != *y));
            last = above;
            if let Some(cell) = row.get_mut(j + 1) {
                *cell = next;
            }
        }
        if let Some(cell) = row.first_mut() {
            *cell = i + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}

/// Rows with a headline, as aligned text and as HTML; `code` says which columns are Rust.
fn table<const N: usize>(head: [&str; N], code: [bool; N], rows: &[[String; N]]) -> MimeBundle {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row.get(column).map_or(0, |cell| cell.chars().count()));
        cells.chain([head.get(column).map_or(0, |name| name.chars().count())]).max().unwrap_or(0)
    };
    let widths: [usize; N] = std::array::from_fn(width);
    let line = |cells: &[&str]| {
        let padded = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let mut text = vec![line(&head)];
    let mut html = String::from("<table><thead><tr>");
    html.extend(head.iter().map(|name| format!("<th style=\"text-align:left\">{}</th>", escape_html(name))));
    html.push_str("</tr></thead><tbody>");
    for row in rows {
        text.push(line(&row.each_ref().map(String::as_str)));
        html.push_str("<tr>");
        html.extend(row.iter().zip(code).map(|(cell, code)| match code {
            true => format!("<td style=\"text-align:left\"><code>{}</code></td>", escape_html(cell)),
            false => format!("<td style=\"text-align:left\">{}</td>", escape_html(cell)),
        }));
        html.push_str("</tr>");
    }
    html.push_str("</tbody></table>");
    MimeBundle::text(text.join("\n")).with("text/html", html)
}

impl Engine {
    /// Answers the directives of a part that are answered here. Gives the part without them, its
    /// lines where they were, and the answers.
    pub(crate) fn answer_directives(
        &mut self,
        part: &str,
        whole: &Source,
    ) -> Result<(String, Vec<MimeBundle>), CellError> {
        let mut rest = String::with_capacity(part.len());
        let mut answers = Vec::new();
        let mut rust = false;
        for line in part.split_inclusive('\n') {
            let text = line.trim();
            rust |= !(text.is_empty() || text.starts_with("//") || text.starts_with(':'));
            let (name, argument) = text.split_once(' ').unwrap_or((text, ""));
            match if rust { None } else { self.answer(name, argument.trim(), whole) } {
                Some(answer) => {
                    answers.push(answer.map_err(report::cell_error)?);
                    rest.push_str(if line.ends_with('\n') { "\n" } else { "" });
                }
                None => rest.push_str(line),
            }
        }
        Ok((rest, answers))
    }

    fn answer(&mut self, name: &str, argument: &str, whole: &Source) -> Option<Result<MimeBundle>> {
        let missing = |what: &str| {
            Err(Error::usage(format!("`{name}` needs {what}")).hint(format!("As in `{name} {what}`.")))
        };
        Some(match name {
            ":help" => Ok(help()),
            ":version" => Ok(self.version()),
            ":vars" => Ok(self.variable_table(whole)),
            ":timing" => {
                self.timing = !self.timing;
                let state = if self.timing {
                    "Cells tell how long they took."
                } else {
                    "Cells do not tell how long they took."
                };
                Ok(MimeBundle::text(state))
            }
            ":type" | ":t" if argument.is_empty() => missing("EXPRESSION"),
            ":type" | ":t" => self.type_of(argument).map(|kind| {
                let text = format!("{argument}: {kind}");
                MimeBundle::text(text.clone())
                    .with("text/html", format!("<code>{}</code>", escape_html(&text)))
            }),
            ":doc" if argument.is_empty() => missing("NAME"),
            ":doc" => self.inspect(argument, argument.chars().count()).ok_or_else(|| {
                Error::new(Kind::NotFound, format!("no documentation of `{argument}` was found"))
                    .hint("Give a path, as in `:doc std::collections::HashMap`, or a name that is in scope.")
            }),
            _ => return None,
        })
    }

    fn version(&mut self) -> MimeBundle {
        let kernel = concat!("dds ", env!("CARGO_PKG_VERSION"));
        let output = std::process::Command::new("rustc").arg("--version").output();
        let compiler = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
        MimeBundle::text(format!("{kernel}\n{}", compiler.unwrap_or_else(|error| format!("rustc: {error}"))))
    }

    fn variable_table(&mut self, whole: &Source) -> MimeBundle {
        let mut rows: Vec<[String; 3]> = self
            .variables()
            .map(|(name, kind)| {
                let cell = self.cell_of(name, whole).unwrap_or_default();
                [name.to_owned(), kind.to_owned(), cell]
            })
            .collect();
        if rows.is_empty() {
            return MimeBundle::text("There are no variables.");
        }
        rows.sort();
        table(["Variable", "Type", "Defined in"], [true, true, false], &rows)
    }

    fn type_of(&mut self, expression: &str) -> Result<String> {
        if let Some((_, kind)) = self.variables().find(|(name, _)| *name == expression) {
            return Ok(kind.to_owned());
        }
        const NAME: &str = "type_of_this";
        let code = format!("let {NAME} = {{ {expression} }}; {NAME}");
        let found = self.context().hover_at(&code, code.len());
        let said = found.map(|(plain, _)| plain).unwrap_or_default();
        let kind = said
            .lines()
            .find_map(|line| line.trim().split_once(&format!("let {NAME}: ")).map(|(_, kind)| kind.trim()));
        let kind = kind.map(|kind| kind.split("  //").next().unwrap_or(kind).trim().to_owned());
        kind.filter(|kind| !kind.is_empty() && kind != "{unknown}").ok_or_else(|| {
            Error::usage(format!("the type of `{expression}` is not known"))
                .hint("Run it as a cell: the compiler then says what is wrong with it.")
        })
    }
}

fn help() -> MimeBundle {
    let rows: Vec<[String; 2]> = LIST
        .iter()
        .map(|(name, argument, what)| [format!("{name} {argument}").trim().to_owned(), (*what).to_owned()])
        .collect();
    table(["Directive", "What it does"], [true, false], &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_directives_are_refused_with_the_nearest() {
        assert!(check(":vars").is_ok() && check(":t").is_ok());
        assert!(check(":var").unwrap_err().hint.unwrap().contains("`:vars`"));
        assert!(!check(":nothing_like_it").unwrap_err().hint.unwrap().contains("Is it"));
        assert!(check(":quit").is_err() && check(":internal_debug").is_err());
    }

    #[test]
    fn tables_are_text_and_html() {
        let shown = table(
            ["A", "Longer"],
            [true, false],
            &[["é<".into(), "x".into()], ["long".into(), String::new()]],
        );
        assert_eq!(shown.plain(), "A     Longer\né<    x\nlong");
        assert!(shown.data["text/html"].as_str().unwrap().contains("<code>é&lt;</code>"));
        assert_eq!(help().plain().lines().count(), LIST.len() + 1);
    }

    #[test]
    fn distances() {
        assert_eq!(
            (distance("abc", "abc"), distance("abc", "abd"), distance("", "ab"), distance("ab", "a")),
            (0, 1, 2, 1)
        );
    }
}
