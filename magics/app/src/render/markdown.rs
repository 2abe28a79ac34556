//! Markdown cells as HTML. Raw HTML inside them is allowed and sanitised like any other.

use super::sanitize;
use pulldown_cmark::{CowStr, Event, Options, Parser, Tag, html};
use serde_json::{Map, Value};

/// Gives the picture that a Markdown cell names by a relative path, as a `data:` URI.
pub trait Pictures {
    fn picture(&self, path: &str) -> Option<String>;
}

/// No pictures from files.
pub struct NoPictures;

impl Pictures for NoPictures {
    fn picture(&self, _: &str) -> Option<String> {
        None
    }
}

/// Renders Markdown. `attachments` is the cell's map of name → (MIME type → base64).
pub fn to_html(source: &str, attachments: &Map<String, Value>, pictures: &dyn Pictures) -> String {
    let options = Options::ENABLE_TABLES
        | Options::ENABLE_STRIKETHROUGH
        | Options::ENABLE_FOOTNOTES
        | Options::ENABLE_GFM;
    let events = Parser::new_ext(source, options).map(|event| match event {
        Event::Start(Tag::Image { link_type, dest_url, title, id }) => {
            let local = match dest_url.strip_prefix("attachment:") {
                Some(name) => attachment(attachments, name),
                None if dest_url.starts_with("data:") => None,
                None => pictures.picture(&dest_url),
            };
            let dest_url = local.map_or(dest_url, CowStr::from);
            Event::Start(Tag::Image { link_type, dest_url, title, id })
        }
        other => other,
    });
    let mut out = String::with_capacity(source.len() * 3 / 2);
    html::push_html(&mut out, events);
    sanitize::html(&out)
}

fn attachment(attachments: &Map<String, Value>, name: &str) -> Option<String> {
    let bundle = attachments.get(name)?.as_object()?;
    bundle.iter().find_map(|(mime, v)| sanitize::data_uri(mime, v.as_str()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct One;
    impl Pictures for One {
        fn picture(&self, path: &str) -> Option<String> {
            (path == "a.png").then(|| "data:image/png;base64,AAAA".into())
        }
    }

    #[test]
    fn markdown_becomes_html() {
        let none = Map::new();
        let html = |s: &str| to_html(s, &none, &One);
        assert_eq!(html("# A *b*"), "<h1>A <em>b</em></h1>\n");
        assert!(html("|a|b|\n|-|-|\n|1|2|").contains("<td>1</td>"));
        assert!(html("![x](a.png)").contains("src=\"data:image/png;base64,AAAA\""));
        assert!(!html("![x](http://evil/x.png)").contains("evil"));
        assert!(!html("![x](../../etc/passwd)").contains("src"));
        assert!(!html("<script>alert(1)</script>").contains("alert"));
        assert!(!html("[x](javascript:alert(1))").contains("javascript"));
    }

    #[test]
    fn attachments_are_inlined() {
        let a: Map<String, Value> = serde_json::from_str(r#"{"p.png": {"image/png": "AA\nBB"}}"#).unwrap();
        assert!(to_html("![](attachment:p.png)", &a, &NoPictures).contains("base64,AABB"));
        assert!(!to_html("![](attachment:q.png)", &a, &NoPictures).contains("src"));
    }
}
