//! One visit of a published app, as its own script makes it: the page, then its form with a picture.

use dds_core::{Error, Kind, Result};
use reqwest::header::{ACCEPT, COOKIE, LOCATION, ORIGIN, SET_COOKIE};
use reqwest::{Client, Response, StatusCode, Url, redirect::Policy};
use serde_json::Value;
use std::time::Duration;

/// Longest wait for the answer to the form: the visitor's kernel may still be starting.
const FORM_TIMEOUT: Duration = Duration::from_secs(120);

/// Opens `url` (with its token), sends `picture` through the first image form and returns the answer's HTML.
///
/// Errors: `Unreachable` when a request fails, `Format` when the page has no such form.
pub async fn visit(url: &str, picture: &'static [u8], name: &str) -> Result<String> {
    let client = Client::builder()
        .redirect(Policy::none())
        .timeout(FORM_TIMEOUT)
        .build()
        .map_err(|e| Error::internal(e.to_string()))?;
    let start = Url::parse(url).map_err(|e| Error::internal(format!("{url}: {e}")))?;

    let first = sent(client.get(start.clone()).send().await)?;
    let cookie = first
        .headers()
        .get_all(SET_COOKIE)
        .iter()
        .filter_map(|v| v.to_str().ok()?.split(';').next().map(str::to_owned))
        .collect::<Vec<_>>()
        .join("; ");
    let (page_url, page) = if first.status().is_redirection() {
        let target = first.headers().get(LOCATION).and_then(|v| v.to_str().ok()).unwrap_or(".");
        let target = start.join(target).map_err(|e| Error::internal(format!("{target}: {e}")))?;
        let page = sent(client.get(target.clone()).header(COOKIE, &cookie).send().await)?;
        (target, text(page).await?)
    } else {
        (start, text(first).await?)
    };

    let (action, field) = image_form(&page).ok_or_else(|| {
        Error::new(Kind::Format, "the app's page has no form that takes a picture")
            .hint("the notebook needs a `%%dds app` cell with a [[field]] of kind = \"image\"")
    })?;
    let target = page_url.join(&action).map_err(|e| Error::internal(format!("{action}: {e}")))?;
    let part = reqwest::multipart::Part::bytes(picture).file_name(name.to_owned());
    let answer = sent(
        client
            .post(target)
            .header(COOKIE, &cookie)
            .header(ACCEPT, "application/json")
            .header(ORIGIN, page_url.origin().ascii_serialization())
            .multipart(reqwest::multipart::Form::new().part(field, part))
            .send()
            .await,
    )?;
    let answer = text(answer).await?;
    serde_json::from_str::<Value>(&answer)
        .ok()
        .and_then(|a| Some(a.get("html")?.as_str()?.to_owned()))
        .ok_or_else(|| {
            Error::new(Kind::Format, "the app answered the form with something else than an answer")
        })
}

/// The first of `classes` that the answer names: the prediction with the highest probability comes first.
pub fn label(answer: &str, classes: &[String]) -> Option<String> {
    classes.iter().filter_map(|c| Some((answer.find(c.as_str())?, c))).min().map(|(_, c)| c.clone())
}

fn sent(result: reqwest::Result<Response>) -> Result<Response> {
    result.map_err(|e| Error::new(Kind::Unreachable, format!("the app does not answer: {}", e.without_url())))
}

async fn text(response: Response) -> Result<String> {
    let status = response.status();
    let body = response
        .text()
        .await
        .map_err(|e| Error::new(Kind::Unreachable, format!("the app broke off: {}", e.without_url())))?;
    if status == StatusCode::OK {
        Ok(body)
    } else {
        Err(Error::new(Kind::Unreachable, format!("the app answered {status}")))
    }
}

/// The action of the first form with a file input, and that input's name.
fn image_form(page: &str) -> Option<(String, String)> {
    page.split("<form").skip(1).find_map(|form| {
        let form = form.split("</form").next()?;
        let (head, body) = form.split_once('>')?;
        let input = body.split("<input").skip(1).filter_map(|i| i.split('>').next());
        let file = input.into_iter().find(|i| attribute(i, "type").as_deref() == Some("file"))?;
        Some((attribute(head, "action")?, attribute(file, "name")?))
    })
}

fn attribute(tag: &str, name: &str) -> Option<String> {
    let at = tag.find(&format!(" {name}=\""))? + name.len() + 3;
    Some(tag.get(at..)?.split('"').next()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_image_form() {
        let page = "<form action=\"a\"><input type=\"text\" name=\"t\"></form>\
                    <form class=\"x\" action=\"form/7\" method=\"post\"><input id=\"i\" type=\"file\" name=\"photo\"></form>";
        assert_eq!(image_form(page), Some(("form/7".into(), "photo".into())));
        assert_eq!(image_form("<p>no form"), None);
    }
}
