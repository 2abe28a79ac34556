//! What the commands take that collect, check and convert images.

use clap::Args;
use serde::Deserialize;

/// Convert images: another format, another size, the pages of a TIFF one by one
#[derive(Args, Deserialize, Clone, Debug, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Convert {
    /// Image or folder: local, mounted, or URL[@REV]:PATH
    pub src: String,
    /// Image file to write, or a folder; made when missing
    pub dst: String,
    /// Longest side in pixels; larger images are made smaller, others stay
    #[arg(long, value_name = "N")]
    pub max_size: Option<u32>,
    /// Format to write; by default the one of DST's name, else of each image (PNG for GIF and BMP)
    #[arg(short, long, value_parser = ["png", "jpeg", "webp", "tiff"])]
    pub format: Option<String>,
    /// Quality of JPEG, 1 to 100; WebP is written without loss
    #[arg(short, long, value_name = "Q")]
    pub quality: Option<u32>,
    /// Memory for decoded images, all together; TIFF beyond it is made smaller while it is read
    #[arg(long, value_name = "SIZE", default_value = "512MB")]
    pub memory: String,
    /// Replace files that are there
    #[arg(long)]
    pub overwrite: bool,
}

impl Default for Convert {
    fn default() -> Self {
        Self {
            src: String::new(),
            dst: String::new(),
            max_size: None,
            format: None,
            quality: None,
            memory: "512MB".into(),
            overwrite: false,
        }
    }
}

/// Download images: the addresses of a list, or what a search finds, with their licences
#[derive(Args, Deserialize, Clone, Debug, PartialEq)]
#[serde(default, deny_unknown_fields)]
#[command(after_help = FETCH_HELP)]
pub struct Fetch {
    /// Text file with one address a line: local, mounted, or URL[@REV]:PATH; left out with --search
    pub list: String,
    /// Folder for the images; made when missing. What is there stays, and is not fetched again
    #[arg(default_value = "", hide_default_value = true)]
    pub dir: String,
    /// Search for this instead of reading a list
    #[arg(short, long, value_name = "WORDS")]
    pub search: Option<String>,
    /// Who searches: openverse, wikimedia, or an address with {query} and, if it takes one, {count}
    #[arg(short, long, default_value = "openverse")]
    pub provider: String,
    /// Where the addresses are in the JSON answer of such a provider: /results/*/url. Without it the
    /// answer is one address a line, or a JSON list of them
    #[arg(long, value_name = "POINTER")]
    pub pointer: Option<String>,
    /// How many images to search for
    #[arg(short = 'n', long, value_name = "N", default_value_t = 50)]
    pub count: usize,
    /// Largest image
    #[arg(long, value_name = "SIZE", default_value = "25MB")]
    pub max_bytes: String,
    /// Longest time for one image, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub timeout: u64,
    /// Downloads at a time; at most four of them from one server
    #[arg(long, value_name = "N", default_value_t = 16)]
    pub connections: usize,
    /// Addresses of this machine and its network too
    #[arg(long)]
    pub allow_private: bool,
}

impl Default for Fetch {
    fn default() -> Self {
        Self {
            list: String::new(),
            dir: String::new(),
            search: None,
            provider: "openverse".into(),
            pointer: None,
            count: 50,
            max_bytes: "25MB".into(),
            timeout: 60,
            connections: 16,
            allow_private: false,
        }
    }
}

/// For the help; lines of at most 96 columns.
const FETCH_HELP: &str = "\
Where each image comes from, its title, creator and licence are written to DIR/sources.csv, and
what stands there and is still in the folder is not fetched again. Images with the same bytes are
kept once. DDS_OPENVERSE_URL and DDS_WIKIMEDIA_URL name other servers with the same interface.";

/// Find bad images of a folder: unreadable, truncated, empty, duplicate, or of another type than they say
#[derive(Args, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Verify {
    /// Folder: local, mounted, or URL[@REV]:PATH
    pub dir: String,
    /// Remove the bad files, of duplicates all but the first; only in a folder of this machine
    #[arg(long)]
    pub remove: bool,
    /// Name empty files and duplicates among other files too, not only among images
    #[arg(long)]
    pub all: bool,
}
