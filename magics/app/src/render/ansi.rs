//! Terminal text as HTML: colours become spans, carriage returns and backspaces overwrite, every
//! other control sequence disappears. Escape sequences are those of ECMA-48; colours follow xterm.

use dds_core::mime::escape_html;
use std::fmt::Write;

/// Longest escape sequence looked at, in characters; a longer one is text that lost its escape.
const MAX_SEQUENCE: usize = 64;
/// Longest operating-system command (window titles, links) skipped, in characters.
const MAX_OSC: usize = 4096;

#[derive(Clone, Copy, PartialEq, Eq, Default)]
enum Colour {
    #[default]
    Default,
    /// One of the 16 that the style sheet defines.
    Named(u8),
    Rgb(u8, u8, u8),
}

#[derive(Clone, Copy, PartialEq, Eq, Default)]
struct Style {
    fg: Colour,
    bg: Colour,
    bold: bool,
    dim: bool,
    italic: bool,
    underline: bool,
    inverse: bool,
}

/// The text as HTML, escaped; without a surrounding element.
pub fn to_html(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / 8);
    for (i, line) in screen(text).iter().enumerate() {
        if i > 0 {
            out.push('\n');
        }
        for run in line.chunk_by(|a, b| a.1 == b.1) {
            let plain: String = run.iter().map(|c| c.0).collect();
            let style = run.first().map(|c| c.1).unwrap_or_default();
            if style == Style::default() {
                out.push_str(&escape_html(&plain));
            } else {
                write_span(&mut out, style, &plain);
            }
        }
    }
    out
}

/// The text alone, as it would stand on the terminal at the end.
pub fn strip(text: &str) -> String {
    let lines: Vec<String> = screen(text).iter().map(|l| l.iter().map(|c| c.0).collect()).collect();
    lines.join("\n")
}

fn write_span(out: &mut String, style: Style, text: &str) {
    let (mut fg, mut bg) = (style.fg, style.bg);
    if style.inverse {
        std::mem::swap(&mut fg, &mut bg);
    }
    let mut classes = Vec::new();
    let mut css = String::new();
    for (colour, class, property) in [(fg, "fg", "color"), (bg, "bg", "background-color")] {
        match colour {
            Colour::Default => {}
            Colour::Named(n) => classes.push(format!("{class}{n}")),
            Colour::Rgb(r, g, b) => {
                let _ = write!(css, "{property}:rgb({r},{g},{b});");
            }
        }
    }
    if style.inverse && fg == Colour::Default && bg == Colour::Default {
        classes.push("inv".into());
    }
    for (on, class) in [(style.bold, "b"), (style.dim, "dim"), (style.italic, "i"), (style.underline, "u")] {
        if on {
            classes.push(class.into());
        }
    }
    out.push_str("<span");
    if !classes.is_empty() {
        let _ = write!(out, " class=\"{}\"", classes.join(" "));
    }
    if !css.is_empty() {
        let _ = write!(out, " style=\"{css}\"");
    }
    let _ = write!(out, ">{}</span>", escape_html(text));
}

/// What a terminal of endless width and height would show: lines of styled characters.
fn screen(text: &str) -> Vec<Vec<(char, Style)>> {
    let mut lines: Vec<Vec<(char, Style)>> = vec![Vec::new()];
    let mut at = 0usize;
    let mut style = Style::default();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let Some(line) = lines.last_mut() else { break };
        match c {
            '\n' => {
                lines.push(Vec::new());
                at = 0;
            }
            '\r' => at = 0,
            '\u{8}' => at = at.saturating_sub(1),
            '\u{1b}' => match chars.peek() {
                Some('[') => {
                    chars.next();
                    let mut parameters = String::new();
                    let mut end = None;
                    while let Some(&p) = chars.peek() {
                        if parameters.len() >= MAX_SEQUENCE || p == '\n' || p == '\u{1b}' {
                            break;
                        }
                        chars.next();
                        if ('@'..='~').contains(&p) {
                            end = Some(p);
                            break;
                        }
                        parameters.push(p);
                    }
                    match end {
                        Some('m') => apply_sgr(&mut style, &parameters),
                        Some('K') => match parameters.as_str() {
                            "" | "0" => line.truncate(at),
                            "1" => line.iter_mut().take(at).for_each(|c| *c = (' ', Style::default())),
                            _ => line.clear(),
                        },
                        _ => {}
                    }
                }
                Some(']') => {
                    // Ends with BEL or ESC \.
                    let mut skipped = 0;
                    while let Some(p) = chars.next() {
                        skipped += 1;
                        if p == '\u{7}' || skipped > MAX_OSC {
                            break;
                        }
                        if p == '\u{1b}' {
                            chars.next_if_eq(&'\\');
                            break;
                        }
                    }
                }
                Some(_) => {
                    chars.next();
                }
                None => {}
            },
            c if c.is_control() && c != '\t' => {}
            c => {
                while line.len() < at {
                    line.push((' ', Style::default()));
                }
                match line.get_mut(at) {
                    Some(cell) => *cell = (c, style),
                    None => line.push((c, style)),
                }
                at += 1;
            }
        }
    }
    lines
}

fn apply_sgr(style: &mut Style, parameters: &str) {
    let mut codes =
        parameters.split([';', ':']).map(|p| if p.is_empty() { Some(0) } else { p.parse::<u16>().ok() });
    while let Some(code) = codes.next() {
        let Some(code) = code else { continue };
        match code {
            0 => *style = Style::default(),
            1 => style.bold = true,
            2 => style.dim = true,
            3 => style.italic = true,
            4 => style.underline = true,
            7 => style.inverse = true,
            22 => (style.bold, style.dim) = (false, false),
            23 => style.italic = false,
            24 => style.underline = false,
            27 => style.inverse = false,
            30..=37 => style.fg = named(code - 30),
            40..=47 => style.bg = named(code - 40),
            90..=97 => style.fg = named(code - 90 + 8),
            100..=107 => style.bg = named(code - 100 + 8),
            39 => style.fg = Colour::Default,
            49 => style.bg = Colour::Default,
            38 | 48 => {
                let mut next = || codes.next().flatten().and_then(|v| u8::try_from(v).ok());
                let colour = match next() {
                    Some(5) => next().map(palette),
                    Some(2) => match (next(), next(), next()) {
                        (Some(r), Some(g), Some(b)) => Some(Colour::Rgb(r, g, b)),
                        _ => None,
                    },
                    _ => None,
                };
                if let Some(c) = colour {
                    if code == 38 { style.fg = c } else { style.bg = c }
                }
            }
            _ => {}
        }
    }
}

fn named(n: u16) -> Colour {
    Colour::Named((n & 15) as u8)
}

/// xterm's 256 colours: 16 named, a 6×6×6 cube, 24 greys.
fn palette(n: u8) -> Colour {
    match n {
        0..=15 => Colour::Named(n),
        16..=231 => {
            let level = |v: u8| if v == 0 { 0 } else { 55 + v * 40 };
            let n = n - 16;
            Colour::Rgb(level(n / 36), level(n / 6 % 6), level(n % 6))
        }
        232..=255 => {
            let v = 8 + (n - 232) * 10;
            Colour::Rgb(v, v, v)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_become_spans() {
        for (text, html) in [
            ("plain <b>", "plain &lt;b&gt;"),
            ("\x1b[31mred\x1b[0m ok", "<span class=\"fg1\">red</span> ok"),
            ("\x1b[1;32mx\x1b[22my\x1b[39mz", "<span class=\"fg2 b\">x</span><span class=\"fg2\">y</span>z"),
            ("\x1b[38;5;196mx", "<span style=\"color:rgb(255,0,0);\">x</span>"),
            ("\x1b[48;2;1;2;3mx", "<span style=\"background-color:rgb(1,2,3);\">x</span>"),
            ("\x1b[7mx", "<span class=\"inv\">x</span>"),
            ("\x1b[94mx\x1b[m", "<span class=\"fg12\">x</span>"),
        ] {
            assert_eq!(to_html(text), html, "{text:?}");
        }
    }

    #[test]
    fn the_screen_is_what_a_terminal_shows_at_the_end() {
        for (text, shown) in [
            ("10 %\r20 %\r100 %\ndone", "100 %\ndone"),
            ("abc\rX", "Xbc"),
            ("abc\x1b[1D\r\x1b[Kx", "x"),
            ("ab\x08c", "ac"),
            ("a\r\nb", "a\nb"),
            ("\x1b]0;title\x07a\x1b]8;;http://x\x1b\\b", "ab"),
            ("\x1b[31", ""),
            ("a\x1b", "a"),
            ("a\0\x07b\tc", "ab\tc"),
            ("\x08\x08a", "a"),
        ] {
            assert_eq!(strip(text), shown, "{text:?}");
        }
    }

    #[test]
    fn hostile_sequences_end_and_stay_text() {
        let long = format!("\x1b[{}m<x>", "1;".repeat(500));
        assert!(!to_html(&long).contains("<x>"));
        assert!(to_html("\x1b[38;2;999;0;0mx\x1b[38;5mx\x1b[38my").ends_with('y'));
    }
}
