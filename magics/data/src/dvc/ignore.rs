//! The `.gitignore` line that keeps a DVC output out of Git.

/// `text` (the content of a `.gitignore`) with a line for `name` in the same folder; none when the
/// line is there already.
pub fn with_line(text: &str, name: &str) -> Option<String> {
    let line = line(name);
    if text.lines().any(|l| l == line) {
        return None;
    }
    let gap = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    Some(format!("{text}{gap}{line}\n"))
}

/// `text` without the line for `name`; none when there is no such line.
pub fn without_line(text: &str, name: &str) -> Option<String> {
    let line = line(name);
    if !text.lines().any(|l| l == line) {
        return None;
    }
    Some(text.lines().filter(|l| *l != line).map(|l| format!("{l}\n")).collect())
}

fn line(name: &str) -> String {
    let mut out = String::from("/");
    for c in name.chars() {
        if "*?[]!#\\".contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    if out.ends_with(' ') {
        out.pop();
        out.push_str("\\ ");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn added_once_and_escaped() {
        assert_eq!(with_line("", "set").unwrap(), "/set\n");
        assert_eq!(with_line("/a", "set").unwrap(), "/a\n/set\n");
        assert_eq!(with_line("/a\n/set\n", "set"), None);
        assert_eq!(without_line("/a\n/set\n", "set").unwrap(), "/a\n");
        assert_eq!(without_line("/a\n/sets\n", "set"), None);
        assert_eq!(with_line("", "a*b[1] ").unwrap(), "/a\\*b\\[1\\]\\ \n");
    }
}
