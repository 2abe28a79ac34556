//! Documentation in three forms. The analysis gives HTML that was made of Markdown; its own plain
//! text has lost headings and line ends, so both other forms are made of the HTML.

use dds_core::MimeBundle;

/// Longest documentation, in bytes of HTML; what is beyond is left out.
const MAX_HTML: usize = 64 * 1024;

/// As HTML, as Markdown, and as Markdown for terminals: without fences.
pub(super) fn bundle(html: &str) -> MimeBundle {
    let html = html.get(..html.floor_char_boundary(MAX_HTML)).unwrap_or("");
    let markdown = markdown(html);
    let plain: Vec<&str> = markdown.lines().filter(|line| !line.starts_with("```")).collect();
    MimeBundle::text(plain.join("\n").trim().to_owned())
        .with("text/html", html.to_owned())
        .with("text/markdown", markdown)
}

/// The Markdown that the HTML was made of, near enough.
fn markdown(html: &str) -> String {
    let mut out = String::new();
    let mut in_block = false;
    let mut link: Option<String> = None;
    let mut rest = html;
    while let Some(open) = rest.find('<') {
        let (text, tag_on) = rest.split_at(open);
        let text = unescaped(text);
        out.push_str(&if in_block { text } else { text.replace('\n', " ") });
        let Some(close) = tag_on.find('>') else {
            rest = "";
            break;
        };
        let (tag, after) = tag_on.split_at(close + 1);
        rest = after;
        let tag = tag.trim_start_matches('<').trim_end_matches('>').trim_end_matches('/').trim();
        let (name, attributes) = tag.split_once(' ').unwrap_or((tag, ""));
        match name {
            "pre" => {
                in_block = true;
                paragraph(&mut out);
            }
            "/pre" => in_block = false,
            "code" if in_block => {
                let language = if attributes.contains("language-") && !attributes.contains("rust") {
                    "text"
                } else {
                    "rust"
                };
                out.push_str(&format!("```{language}\n"));
            }
            "/code" if in_block => {
                if !out.ends_with('\n') {
                    out.push('\n');
                }
                out.push_str("```\n");
            }
            "code" | "/code" => out.push('`'),
            "em" | "/em" => out.push('*'),
            "strong" | "/strong" => out.push_str("**"),
            "h1" | "h2" | "h3" | "h4" | "h5" | "h6" => {
                paragraph(&mut out);
                out.push_str("## ");
            }
            "li" => {
                out.truncate(out.trim_end().len());
                out.push_str("\n- ");
            }
            "hr" => {
                paragraph(&mut out);
                out.push_str("---\n");
            }
            "br" => out.push('\n'),
            "a" => {
                link = attributes
                    .split_once("href=\"")
                    .and_then(|(_, url)| url.split('"').next())
                    .map(unescaped);
                out.push('[');
            }
            "/a" => {
                // What has no address of its own on the web is of no use outside of the compiler's docs.
                match link.take().filter(|url| url.starts_with("http")) {
                    Some(url) => out.push_str(&format!("]({url})")),
                    None => {
                        if let Some(at) = out.rfind('[') {
                            out.remove(at);
                        }
                    }
                }
            }
            "p" if out.ends_with("- ") => {}
            "p" | "ul" | "ol" | "table" | "blockquote" => paragraph(&mut out),
            _ => {}
        }
    }
    out.push_str(&unescaped(rest));
    out.trim().to_owned()
}

/// An empty line, unless there is one.
fn paragraph(out: &mut String) {
    out.truncate(out.trim_end().len());
    if !out.is_empty() {
        out.push_str("\n\n");
    }
}

fn unescaped(text: &str) -> String {
    text.replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", "\"")
        .replace("&#39;", "'")
        .replace("&amp;", "&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn html_becomes_markdown_again() {
        let html = "<pre><code class=\"language-rust\">fn f&lt;T&gt;()\n</code></pre>\n<hr />\n\
            <p>Adds <code>a</code> and\n<em>b</em>, see <a href=\"https://x.y/z\">there</a> and <a href=\"struct.A.html\">A</a>.</p>\n\
            <h1>Panics</h1>\n<p>Never.</p>\n<ul>\n<li>one</li>\n<li>two</li>\n</ul>\n<pre><code>let x = 1;\n\nx\n</code></pre>\n";
        let shown = bundle(html);
        assert_eq!(
            shown.data["text/markdown"],
            "```rust\nfn f<T>()\n```\n\n---\n\nAdds `a` and *b*, see [there](https://x.y/z) and A.\n\n\
             ## Panics\n\nNever.\n- one\n- two\n\n```rust\nlet x = 1;\n\nx\n```"
        );
        assert!(shown.plain().starts_with("fn f<T>()\n") && shown.plain().ends_with("let x = 1;\n\nx"));
    }

    #[test]
    fn odd_html_is_taken() {
        for html in ["<", "a < b", "<a", "</a>", "<pre>", "&lt;&amp;lt;", "<li><p>x"] {
            let _ = bundle(html);
        }
    }
}
