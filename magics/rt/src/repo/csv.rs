//! Comma-separated values, as RFC 4180 has them.

/// Records of a table; blank lines are none.
pub(super) fn records(text: &str, separator: char) -> Vec<Vec<String>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let (mut rows, mut row, mut cell) = (Vec::new(), Vec::new(), String::new());
    let mut chars = text.chars().peekable();
    let mut quoted = false;
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                cell.push('"');
            }
            '"' if quoted => quoted = false,
            '"' if cell.is_empty() => quoted = true,
            c if quoted => cell.push(c),
            c if c == separator => row.push(std::mem::take(&mut cell)),
            '\r' if chars.peek() == Some(&'\n') => {}
            '\n' => {
                row.push(std::mem::take(&mut cell));
                let done = std::mem::take(&mut row);
                if done.len() > 1 || done.iter().any(|cell| !cell.is_empty()) {
                    rows.push(done);
                }
            }
            c => cell.push(c),
        }
    }
    if !cell.is_empty() || !row.is_empty() {
        row.push(cell);
        rows.push(row);
    }
    rows
}

/// The one of comma, semicolon and tab that the first line holds most of.
pub(super) fn separator(text: &str) -> char {
    let (mut counts, mut quoted) = ([('\t', 0), (';', 0), (',', 0)], false);
    for c in text.chars() {
        match c {
            '"' => quoted = !quoted,
            '\n' if !quoted => break,
            c if !quoted => counts.iter_mut().filter(|(known, _)| *known == c).for_each(|(_, n)| *n += 1),
            _ => {}
        }
    }
    counts.into_iter().max_by_key(|(_, n)| *n).map_or(',', |(c, _)| c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_as_rfc_4180_has_them() {
        for (text, rows) in [
            ("a,b\r\n1,2\r\n", vec![vec!["a", "b"], vec!["1", "2"]]),
            ("\u{feff}a\n\"x,\"\"y\"\"\nz\"\n", vec![vec!["a"], vec!["x,\"y\"\nz"]]),
            ("a,b\n1,", vec![vec!["a", "b"], vec!["1", ""]]),
            ("a\n\n\nb\n", vec![vec!["a"], vec!["b"]]),
            ("a\"b,c\n", vec![vec!["a\"b", "c"]]),
            ("\"never closed\n", vec![vec!["never closed\n"]]),
            ("", vec![]),
        ] {
            assert_eq!(records(text, ','), rows, "{text:?}");
        }
    }

    #[test]
    fn the_separator_is_the_one_of_the_first_line() {
        for (text, expected) in
            [("x;y;z\n1,2,3,4,5\n", ';'), ("\"x;y;z\",b\n", ','), ("x\ty\n", '\t'), ("only\n", ',')]
        {
            assert_eq!(separator(text), expected, "{text:?}");
        }
    }
}
