//! Searching for images: Openverse, Wikimedia Commons, and any server whose answer is a list of addresses.
//!
//! The shapes are those of `GET /v1/images/` (Openverse API) and of `action=query` with
//! `generator=search` and `prop=imageinfo` (MediaWiki API), which anybody may ask without an account.

use super::list::{MAX_URLS, address};
use super::{Credit, Wanted};
use crate::client::Retry;
use crate::client::fetch::{Anonymous, Fetcher, Got, refusal};
use crate::client::http::Http;
use crate::percent;
use dds_core::mime::printable;
use dds_core::{Config, Error, Kind, Result};
use reqwest::Url;
use serde_json::Value;
use std::collections::HashSet;
use std::sync::Arc;

const OPENVERSE: &str = "https://api.openverse.org";
const WIKIMEDIA: &str = "https://commons.wikimedia.org";
/// Most images of one search.
pub const MAX_COUNT: usize = 2000;
/// Results of one page: what Openverse gives to whom it does not know, and what MediaWiki gives at most.
const OPENVERSE_PAGE: usize = 20;
const WIKIMEDIA_PAGE: usize = 50;
/// Where the original is over the limit, a copy of this width is taken.
const WIKIMEDIA_WIDTH: u32 = 2048;
/// Largest answer.
const MAX_ANSWER_BYTES: u64 = 32 << 20;
/// Of a title or a name.
const MAX_TEXT: usize = 300;

/// Who searches.
#[derive(Clone, Debug, PartialEq)]
pub enum Provider {
    Openverse(Url),
    Wikimedia(Url),
    /// An address with `{query}` and `{count}`, and where the addresses are in its answer.
    Template {
        template: String,
        pointer: Option<String>,
    },
}

impl Provider {
    /// `openverse`, `wikimedia` or a template. Errors (`Usage`) say what is expected.
    pub fn parse(text: &str, pointer: Option<&str>, config: &Config) -> Result<Self> {
        let base = |name: &str, default: &str| -> Result<Url> {
            let text = config.peers.var(name).unwrap_or(default).trim_end_matches('/').to_owned();
            address(&text).map_err(|why| Error::usage(format!("{name}: {why}")))
        };
        let found = match text {
            "openverse" => Self::Openverse(base("DDS_OPENVERSE_URL", OPENVERSE)?),
            "wikimedia" => Self::Wikimedia(base("DDS_WIKIMEDIA_URL", WIKIMEDIA)?),
            template if template.contains("{query}") => {
                let filled = fill(template, "x", 1);
                address(&filled).map_err(|why| Error::usage(format!("--provider: {why}")))?;
                Self::Template { template: template.to_owned(), pointer: pointer.map(str::to_owned) }
            }
            other => {
                return Err(Error::usage(format!("there is no provider {:?}", printable(other))).hint(
                    "openverse, wikimedia, or an address: --provider 'https://HOST/search?q={query}&n={count}'",
                ));
            }
        };
        if pointer.is_some_and(|p| !p.starts_with('/')) {
            return Err(Error::usage("--pointer begins with /").hint("write --pointer '/results/*/url'"));
        }
        if pointer.is_some() && !matches!(found, Self::Template { .. }) {
            return Err(Error::usage("--pointer belongs to a provider that is an address"));
        }
        Ok(found)
    }

    /// The server that is asked.
    pub fn base(&self) -> Result<Url> {
        match self {
            Self::Openverse(base) | Self::Wikimedia(base) => Ok(base.clone()),
            Self::Template { template, .. } => {
                address(&fill(template, "x", 1)).map_err(|why| Error::usage(format!("--provider: {why}")))
            }
        }
    }

    /// Up to `count` images for `query`, the best first; fewer when there are no more. `max_bytes` chooses
    /// between an original and a smaller copy.
    pub async fn search(&self, query: &str, count: usize, max_bytes: u64) -> Result<Vec<Wanted>> {
        let base = self.base()?;
        let fetcher = Fetcher::new(Arc::new(Http::new(&base)?), base, Arc::new(Anonymous), Retry::default());
        let count = count.min(MAX_COUNT);
        let (mut found, mut known, mut next) = (Vec::new(), HashSet::new(), self.first(query, count));
        while let Some(url) = next.take() {
            let answer = ask(&fetcher, url?).await?;
            let (page, more) = self.page(&answer, query, count, max_bytes)?;
            let before = found.len();
            found.extend(page.into_iter().filter(|w: &Wanted| known.insert(w.url.clone())));
            // A server that has nothing new to say is not asked on.
            if found.len() < count && found.len() > before {
                next = more;
            }
        }
        found.truncate(count);
        Ok(found)
    }

    fn first(&self, query: &str, count: usize) -> Option<Result<Url>> {
        match self {
            Self::Openverse(base) => Some(openverse(base, query, count, 1)),
            Self::Wikimedia(base) => Some(wikimedia(base, query, count, 0)),
            Self::Template { template, .. } => Some(
                address(&fill(template, query, count))
                    .map_err(|why| Error::usage(format!("--provider: {why}"))),
            ),
        }
    }

    /// The images of one answer, and what to ask next.
    fn page(
        &self,
        answer: &[u8],
        query: &str,
        count: usize,
        max_bytes: u64,
    ) -> Result<(Vec<Wanted>, Option<Result<Url>>)> {
        match self {
            Self::Openverse(base) => {
                let value = json(answer)?;
                let found = list(&value, "/results").filter_map(openverse_image).collect();
                let (page, pages) = (number(&value, "/page"), number(&value, "/page_count"));
                let next = page.max(1) + 1;
                let more = (next <= pages).then(|| openverse(base, query, count, next));
                Ok((found, more))
            }
            Self::Wikimedia(base) => {
                let value = json(answer)?;
                let mut pages: Vec<&Value> = list(&value, "/query/pages").collect();
                pages.sort_by_key(|p| number(p, "/index"));
                let found = pages.into_iter().filter_map(|p| wikimedia_image(p, max_bytes)).collect();
                let more = value.pointer("/continue/gsroffset").and_then(Value::as_u64);
                Ok((found, more.map(|offset| wikimedia(base, query, count, offset))))
            }
            Self::Template { pointer, .. } => {
                let urls = match pointer {
                    Some(pointer) => at(&json(answer)?, pointer),
                    None => plain(answer)?,
                };
                let wanted =
                    |text: &String| Some(Wanted { url: address(text).ok()?, credit: Credit::default() });
                Ok((urls.iter().take(MAX_URLS).filter_map(wanted).collect(), None))
            }
        }
    }
}

async fn ask(fetcher: &Fetcher, url: Url) -> Result<Vec<u8>> {
    match fetcher.get(url, None, MAX_ANSWER_BYTES, true).await? {
        Got::Answer(answer) => Ok(answer.bytes.to_vec()),
        Got::Refused(response) => {
            let status = response.status;
            let said = String::from_utf8_lossy(&refusal(response).await).into_owned();
            let said: String = printable(&said).chars().take(200).collect();
            let kind = if matches!(status, 401 | 403) { Kind::Unauthorized } else { Kind::Unreachable };
            Err(Error::new(kind, format!("{} answered {status}: {said}", fetcher.shown()))
                .hint("another provider, or fewer images (--count), may do"))
        }
    }
}

fn json(answer: &[u8]) -> Result<Value> {
    serde_json::from_slice(answer)
        .map_err(|e| Error::new(Kind::Format, format!("the provider's answer is not JSON: {e}")))
}

fn fill(template: &str, query: &str, count: usize) -> String {
    template.replace("{query}", &percent::segment(query)).replace("{count}", &count.to_string())
}

fn with(base: &Url, path: &str, pairs: &[(&str, &str)]) -> Result<Url> {
    let mut url = address(&format!("{}{path}", base.as_str().trim_end_matches('/')))
        .map_err(|why| Error::internal(format!("{base}: {why}")))?;
    url.query_pairs_mut().extend_pairs(pairs);
    Ok(url)
}

fn openverse(base: &Url, query: &str, count: usize, page: u64) -> Result<Url> {
    let size = count.min(OPENVERSE_PAGE).to_string();
    with(base, "/v1/images/", &[("q", query), ("page_size", &size), ("page", &page.to_string())])
}

fn openverse_image(value: &Value) -> Option<Wanted> {
    let license = match (text(value, "/license"), text(value, "/license_version")) {
        (name, version) if name.is_empty() || version.is_empty() => name,
        (name, version) => format!("{name} {version}"),
    };
    Some(Wanted {
        url: address(value.pointer("/url")?.as_str()?).ok()?,
        credit: Credit {
            title: text(value, "/title"),
            creator: text(value, "/creator"),
            license,
            license_url: text(value, "/license_url"),
            page: text(value, "/foreign_landing_url"),
            source: text(value, "/source"),
        },
    })
}

fn wikimedia(base: &Url, query: &str, count: usize, offset: u64) -> Result<Url> {
    let search = format!("{query} filetype:bitmap");
    let pairs = [
        ("action", "query"),
        ("format", "json"),
        ("formatversion", "2"),
        ("generator", "search"),
        ("gsrsearch", search.as_str()),
        ("gsrnamespace", "6"),
        ("gsrlimit", &count.min(WIKIMEDIA_PAGE).to_string()),
        ("gsroffset", &offset.to_string()),
        ("prop", "imageinfo"),
        ("iiprop", "url|size|mime|extmetadata"),
        ("iiurlwidth", &WIKIMEDIA_WIDTH.to_string()),
    ];
    with(base, "/w/api.php", &pairs)
}

fn wikimedia_image(page: &Value, max_bytes: u64) -> Option<Wanted> {
    let info = page.pointer("/imageinfo/0")?;
    let small = info.get("thumburl").and_then(Value::as_str);
    let original = info.get("url").and_then(Value::as_str);
    let over = number(info, "/size") > max_bytes;
    let url = if over { small.or(original) } else { original.or(small) }?;
    let meta = |name: &str| without_tags(&text(info, &format!("/extmetadata/{name}/value")));
    Some(Wanted {
        url: address(url).ok()?,
        credit: Credit {
            title: text(page, "/title"),
            creator: meta("Artist"),
            license: meta("LicenseShortName"),
            license_url: meta("LicenseUrl"),
            page: text(info, "/descriptionurl"),
            source: "wikimedia".into(),
        },
    })
}

fn list<'a>(value: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> {
    value.pointer(pointer).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default().iter()
}

fn number(value: &Value, pointer: &str) -> u64 {
    value.pointer(pointer).and_then(Value::as_u64).unwrap_or(0)
}

fn text(value: &Value, pointer: &str) -> String {
    let text = value.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    text.chars().take(4 * MAX_TEXT).collect()
}

/// The texts at a JSON pointer (RFC 6901), in which `*` stands for every element of a list or object.
fn at(value: &Value, pointer: &str) -> Vec<String> {
    let mut here = vec![value];
    for part in pointer.split('/').skip(1) {
        let part = part.replace("~1", "/").replace("~0", "~");
        here = here
            .into_iter()
            .flat_map(|v| -> Vec<&Value> {
                match (v, part.as_str()) {
                    (Value::Array(items), "*") => items.iter().collect(),
                    (Value::Object(fields), "*") => fields.values().collect(),
                    (Value::Array(items), n) => {
                        n.parse().ok().and_then(|n: usize| items.get(n)).into_iter().collect()
                    }
                    (Value::Object(fields), name) => fields.get(name).into_iter().collect(),
                    _ => Vec::new(),
                }
            })
            .collect();
    }
    here.into_iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// An answer that is a JSON list of texts, or text with one address a line.
fn plain(answer: &[u8]) -> Result<Vec<String>> {
    if let Ok(Value::Array(items)) = serde_json::from_slice(answer) {
        return Ok(items.iter().filter_map(Value::as_str).map(str::to_owned).collect());
    }
    let text = std::str::from_utf8(answer).ok().filter(|t| !t.trim_start().starts_with(['{', '<']));
    let text = text.ok_or_else(|| {
        Error::new(Kind::Format, "the provider's answer is neither a list of addresses nor text")
            .hint("for a JSON object, --pointer says where the addresses are: --pointer '/results/*/url'")
    })?;
    Ok(text.lines().filter_map(|l| l.split_whitespace().next()).map(str::to_owned).collect())
}

/// The text of a little HTML, as MediaWiki gives names in.
fn without_tags(html: &str) -> String {
    let (mut out, mut inside) = (String::new(), false);
    for c in html.chars() {
        match c {
            '<' => inside = true,
            '>' if inside => inside = false,
            c if !inside => out.push(c),
            _ => {}
        }
    }
    for (escape, plain) in [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&#39;", "'"),
        ("&#039;", "'"),
        ("&nbsp;", " "),
        ("&amp;", "&"),
    ] {
        out = out.replace(escape, plain);
    }
    let words: Vec<&str> = out.split_whitespace().collect();
    words.join(" ").chars().take(MAX_TEXT).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn config(vars: &[(&str, &str)]) -> Config {
        let mut config = crate::testing::config(std::path::Path::new("/nowhere"));
        config.peers.env = vars.iter().map(|(k, v)| ((*k).to_owned(), dds_core::Secret::new(*v))).collect();
        config
    }

    #[test]
    fn who_searches() {
        let parse = |text: &str, pointer: Option<&str>| Provider::parse(text, pointer, &config(&[]));
        assert_eq!(parse("openverse", None).unwrap().base().unwrap().host_str(), Some("api.openverse.org"));
        assert!(parse("https://h/s?q={query}", Some("/a/*")).is_ok());
        for (text, pointer) in [
            ("bing", None),
            ("https://h/s", None),
            ("file:///{query}", None),
            ("openverse", Some("/a")),
            ("https://h/{query}", Some("a/b")),
        ] {
            assert_eq!(parse(text, pointer).unwrap_err().kind, Kind::Usage, "{text}");
        }
        let other =
            Provider::parse("wikimedia", None, &config(&[("DDS_WIKIMEDIA_URL", "http://127.0.0.1:9/x/")]));
        let Some(Ok(first)) = other.unwrap().first("a b", 5) else { panic!() };
        assert!(first.as_str().starts_with("http://127.0.0.1:9/x/w/api.php?action=query"), "{first}");
        assert!(
            first.as_str().contains("gsrsearch=a+b+filetype%3Abitmap")
                && first.as_str().contains("gsrlimit=5")
        );
    }

    #[test]
    fn a_query_stays_in_its_place() {
        assert_eq!(
            fill("https://h/s?q={query}&n={count}", "a&b=c/#é", 7),
            "https://h/s?q=a%26b%3Dc%2F%23%C3%A9&n=7"
        );
    }

    #[test]
    fn pointers_with_stars() {
        let value = json!({"a": [{"u": "1"}, {"u": 2}, {"u": "3"}], "b/c": {"x": "4", "y": "5"}});
        assert_eq!(at(&value, "/a/*/u"), ["1", "3"]);
        assert_eq!(at(&value, "/a/2/u"), ["3"]);
        assert_eq!(at(&value, "/b~1c/*"), ["4", "5"]);
        assert!(at(&value, "/none/*").is_empty());
    }

    #[test]
    fn an_answer_of_lines_or_a_list() {
        assert_eq!(plain(b"http://h/a x\n\nhttp://h/b\n").unwrap(), ["http://h/a", "http://h/b"]);
        assert_eq!(plain(b"[\"http://h/a\", 5]").unwrap(), ["http://h/a"]);
        for odd in [&b"{\"a\": 1}"[..], b"<html>", b"\xff\xfe"] {
            assert!(plain(odd).is_err());
        }
    }

    #[test]
    fn names_without_their_markup() {
        let html = "<a href=\"//h/x\" title=\"&lt;\">Ana  M&amp;&#039;s</a>\n <b>photo</b>";
        assert_eq!(without_tags(html), "Ana M&'s photo");
        assert_eq!(without_tags("no end <b"), "no end");
    }
}
