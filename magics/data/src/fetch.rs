//! Images from the web into a folder: many downloads at a time, each bounded in size and time, judged by
//! its content, written under a name of its own and recorded with where it came from.
//!
//! Nothing that is there is overwritten, and no image appears under its name before it is whole. A server
//! never chooses where we connect beyond the policy of [`download`], nor what a file is called beyond the
//! letters of [`names`].

pub mod download;
pub mod keep;
pub mod list;
pub mod names;
pub mod provider;
pub mod record;

use reqwest::Url;

/// Who made an image, and what may be done with it; as its server tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Credit {
    pub title: String,
    pub creator: String,
    pub license: String,
    pub license_url: String,
    /// The page about the image.
    pub page: String,
    /// Where it was found.
    pub source: String,
}

/// One image to fetch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    pub url: Url,
    pub credit: Credit,
}

/// Values of parameters whose names say that they are secret do not appear anywhere.
const SECRET: [&str; 7] = ["token", "key", "secret", "signature", "sig", "password", "credential"];

/// An address as it may be shown and written down: no user, no password, no secret parameter.
pub fn shown(url: &Url) -> String {
    let mut plain = url.clone();
    let _ = plain.set_username("");
    let _ = plain.set_password(None);
    let secret = |name: &str| {
        let name = name.to_ascii_lowercase();
        SECRET.iter().any(|s| {
            name.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| word == *s || word.ends_with(s))
        })
    };
    if plain.query_pairs().any(|(name, _)| secret(&name)) {
        let kept: Vec<(String, String)> = plain
            .query_pairs()
            .map(|(name, value)| {
                let value = if secret(&name) { "***".to_owned() } else { value.into_owned() };
                (name.into_owned(), value)
            })
            .collect();
        plain.query_pairs_mut().clear().extend_pairs(kept);
    }
    plain.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_of_an_address_are_not_shown() {
        for (url, plain) in [
            ("https://h/a%20b.jpg?id=7#top", "https://h/a%20b.jpg?id=7#top"),
            ("https://me:s3cret@h/a.jpg", "https://h/a.jpg"),
            ("https://h/a?X-Amz-Signature=s3cret&w=5", "https://h/a?X-Amz-Signature=***&w=5"),
            ("https://h/a?api_key=s3cret&monkeys=2", "https://h/a?api_key=***&monkeys=2"),
            ("https://h/a?access-token=s3cret", "https://h/a?access-token=***"),
        ] {
            assert_eq!(shown(&url.parse().unwrap()), plain);
        }
    }
}
