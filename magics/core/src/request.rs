//! What each command takes. One definition serves the `%dds` line, the `%%dds` body (TOML with the
//! same field names), the shell and the engine.

mod images;

use clap::Args;
use serde::Deserialize;

pub use images::*;

/// Mount a repository on a folder, so that its files stream when they are read
#[derive(Args, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Mount {
    /// http(s)://HOST[:PORT]/OWNER/REPO[@REV], dagshub://OWNER/REPO[@REV], a Git repository
    /// (https://HOST/PATH.git, USER@HOST:PATH.git) or a local one; without it, the repository around the
    /// current folder
    #[arg(default_value = "", hide_default_value = true)]
    pub url: String,
    /// The folder to mount on; made when missing, must be empty; without it, named after the repository
    #[arg(default_value = "", hide_default_value = true)]
    pub dir: String,
    /// How to provide the files: auto tries FUSE; then, for programs of this session, files that come when
    /// they are opened (stream); then verified copies
    #[arg(long, value_name = "WAY", value_parser = ["auto", "fuse", "stream", "copy"], default_value = "auto")]
    pub via: String,
    /// Access token (better: DAGSHUB_USER_TOKEN); never printed
    #[arg(long, value_name = "TOKEN")]
    pub token: Option<String>,
    /// Refuse every change of the folder
    #[arg(long)]
    pub read_only: bool,
    /// In a shell: go on in the background once the folder can be read; `dds unmount DIR` ends it
    #[arg(long)]
    pub daemon: bool,
}

/// Show what was written into a mounted folder and is not committed yet
#[derive(Args, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Status {
    /// The mounted folder, or one inside it; without it, everything that is staged
    #[arg(default_value = "", hide_default_value = true)]
    pub dir: String,
}

/// Commit what was written into a mounted folder, without a clone
#[derive(Args, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Commit {
    /// The mounted folder; without it, the only one in which something is staged
    #[arg(default_value = "", hide_default_value = true)]
    pub dir: String,
    /// Commit message (at most 100 characters)
    #[arg(short, long)]
    pub message: Option<String>,
    /// Who keeps the bytes
    #[arg(long, value_parser = ["auto", "git", "dvc"], default_value = "auto")]
    pub versioning: String,
    /// Commit to this branch, not to the mounted one
    #[arg(long, value_name = "BRANCH", conflicts_with = "new_branch")]
    pub branch: Option<String>,
    /// Commit to a new branch of this name
    #[arg(long, value_name = "BRANCH")]
    pub new_branch: Option<String>,
    /// When the branch moved meanwhile: put these changes on top, if they touch other files
    #[arg(long)]
    pub rebase: bool,
    /// Access token (better: DAGSHUB_USER_TOKEN); never printed
    #[arg(long, value_name = "TOKEN")]
    pub token: Option<String>,
}

/// Take back what was written into a mounted folder and is not committed yet
#[derive(Args, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Discard {
    /// Files and folders of a mounted folder, as they are called now or were called before; of a renamed one
    /// both names are as before
    pub files: Vec<String>,
    /// Everything that is staged in the mounted folder that is named; without a name, in the only one in which
    /// something is staged
    #[arg(long)]
    pub all: bool,
}

/// Unmount a folder
#[derive(Args, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Unmount {
    /// The mounted folder
    pub dir: String,
}

/// List what is mounted, how, and how much has been read
#[derive(Args, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Mounts {}

/// Tell a mount in which order its files will be read, so that they are fetched ahead
#[derive(Args, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Order {
    /// The mounted folder, or one inside it; of any process of yours
    pub dir: String,
    /// A file with one path a line, below that folder or absolute (in a shell also /dev/stdin)
    pub list: Option<String>,
    /// Forget the order
    #[arg(long, conflicts_with = "list")]
    pub clear: bool,
}

/// List a folder: local, mounted, or in a repository (URL[@REV][:PATH])
#[derive(Args, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Ls {
    /// Folder or repository; without it, the repository around the current folder if DVC keeps data
    /// there, else the folder itself
    #[arg(default_value = "", hide_default_value = true)]
    pub target: String,
    /// All files below, not only one level
    #[arg(short, long)]
    pub recursive: bool,
    /// Sizes, digests and who keeps the bytes (git or dvc)
    #[arg(short, long)]
    pub long: bool,
}

/// Show size, digest and versioning of one file
#[derive(Args, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Stat {
    /// File: local, mounted, or URL[@REV]:PATH
    pub target: String,
}

/// Print a text file
#[derive(Args, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Cat {
    /// File: local, mounted, or URL[@REV]:PATH
    pub target: String,
}

/// Show a folder and everything below it as a tree, with sizes
#[derive(Args, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Tree {
    /// Folder: local, mounted, or URL[@REV][:PATH]; without it, as for ls
    #[arg(default_value = "", hide_default_value = true)]
    pub target: String,
    /// At most this many levels; folders below are counted
    #[arg(short = 'L', long, value_name = "N")]
    pub depth: Option<usize>,
    /// Folders only
    #[arg(short, long)]
    pub dirs: bool,
}

/// Show the first rows of a file: CSV, TSV and Parquet as a table, other text as lines
#[derive(Args, Deserialize, Clone, Debug, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Head {
    /// File: local, mounted, or URL[@REV]:PATH
    pub target: String,
    /// How many rows or lines
    #[arg(short = 'n', long, value_name = "N", default_value_t = 10)]
    pub rows: usize,
}

impl Default for Head {
    fn default() -> Self {
        Self { target: String::new(), rows: 10 }
    }
}

/// Compare two revisions of a repository: files added, changed and removed
#[derive(Args, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Diff {
    /// Branch, tag or commit; in a repository of this machine also HEAD~1 and the like
    pub old: String,
    /// What to compare with; by default the branch that the clone or the URL stands at
    pub new: Option<String>,
    /// Repository or a folder in it: URL[:PATH], local or mounted; by default the one around the current
    /// folder
    #[arg(short, long, value_name = "REPO", default_value = "", hide_default_value = true)]
    pub repo: String,
}

/// Show the commits of a repository, or of one file or folder in it, newest first
#[derive(Args, Deserialize, Clone, Debug, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// URL[@REV][:PATH], or a file or folder of a clone or mount; without it, the whole repository around
    /// the current folder
    #[arg(default_value = "", hide_default_value = true)]
    pub target: String,
    /// At most this many commits
    #[arg(short = 'n', long, value_name = "N", default_value_t = 20)]
    pub max: usize,
}

impl Default for Log {
    fn default() -> Self {
        Self { target: String::new(), max: 20 }
    }
}

/// Upload files into a repository without cloning it
#[derive(Args, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Upload {
    /// Files and folders of this machine; folders with everything below them
    #[arg(required = true)]
    pub files: Vec<String>,
    /// Where to: a folder inside a mount, or URL[@BRANCH][:PATH]
    #[arg(long, value_name = "FOLDER")]
    pub to: String,
    /// Commit message (at most 100 characters)
    #[arg(short, long)]
    pub message: Option<String>,
    /// Who keeps the bytes
    #[arg(long, value_parser = ["auto", "git", "dvc"], default_value = "auto")]
    pub versioning: String,
    /// Upload to this branch
    #[arg(long, value_name = "BRANCH", conflicts_with = "new_branch")]
    pub branch: Option<String>,
    /// Upload to a new branch of this name, which begins where the other one stands
    #[arg(long, value_name = "BRANCH")]
    pub new_branch: Option<String>,
    /// Access token (better: DAGSHUB_USER_TOKEN); never printed
    #[arg(long, value_name = "TOKEN")]
    pub token: Option<String>,
}

/// Clone a repository; without --data only its Git part
#[derive(Args, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Clone {
    /// Repository URL
    pub url: String,
    /// Folder to make; must be missing or empty
    pub dir: String,
    /// Fetch the DVC files too, verified
    #[arg(long)]
    pub data: bool,
    /// Access token (better: DAGSHUB_USER_TOKEN); never printed
    #[arg(long, value_name = "TOKEN")]
    pub token: Option<String>,
}

/// Log in to a DagsHub host: in the browser, or with a token
#[derive(Args, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Login {
    /// Address of the host; by default DAGSHUB_CLIENT_HOST, else https://dagshub.com
    pub host: Option<String>,
    /// Keep this access token instead of asking in the browser; never printed. In a shell, - reads it from
    /// standard input
    #[arg(long, value_name = "TOKEN")]
    pub token: Option<String>,
}

/// Forget the tokens of a DagsHub host
#[derive(Args, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Logout {
    /// Address of the host; by default DAGSHUB_CLIENT_HOST, else https://dagshub.com
    pub host: Option<String>,
}

/// Serve Git+DVC repositories over DagsHub's API
#[derive(Args, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Serve {
    /// The repository's folder, served as local/<folder name>; or a folder whose folders OWNER/NAME are
    /// repositories
    pub dir: String,
    /// Port; 0 takes a free one
    #[arg(long, default_value_t = 0)]
    pub port: u16,
    /// Require this token of every request
    #[arg(long, value_name = "TOKEN")]
    pub token: Option<String>,
    /// Refuse uploads
    #[arg(long)]
    pub read_only: bool,
    /// Write a line for every request to this file; - is the standard output
    #[arg(long, value_name = "FILE")]
    pub access_log: Option<String>,
}

/// Show images inline, as one grid with captions
#[derive(Args, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Show {
    /// Image files or folders: local, mounted, or URL[@REV]:PATH
    #[arg(required = true)]
    pub targets: Vec<String>,
    /// Longest side of each image, in pixels
    #[arg(long, default_value_t = 224)]
    pub size: u32,
    /// At most this many images
    #[arg(short = 'n', long, default_value_t = 16)]
    pub max: usize,
    /// Images per row; by default the square root of their number
    #[arg(long)]
    pub columns: Option<usize>,
    /// Show only this part of each image: left, top, width and height in pixels
    #[arg(long, value_name = "X,Y,W,H")]
    pub crop: Option<String>,
    /// Mirror the images: left and right, top and bottom, or both
    #[arg(long, value_parser = ["horizontal", "vertical", "both"])]
    pub flip: Option<String>,
    /// Write the picture to this PNG file too
    #[arg(short, long, value_name = "FILE")]
    pub out: Option<String>,
}

/// Define a data set: files, labels, split and transforms
#[derive(Args, Deserialize, Clone, Debug, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Data {
    /// Folder of images: local, mounted, or URL[@REV]:PATH
    #[arg(long)]
    pub path: String,
    /// Name of the data set; by default the folder's name
    #[arg(long)]
    pub name: Option<String>,
    /// Where labels come from: `folder` (the containing folder) or a regular expression with one
    /// group on the path, `re:(.+)_\d+\.jpg`
    #[arg(long, default_value = "folder")]
    pub labels: String,
    /// How to choose the validation set: `stratified` (a share of every class, by seed),
    /// `random`, `every:N` (each Nth file of the sorted list) or `folder:NAME`
    #[arg(long, default_value = "stratified")]
    pub split: String,
    /// Share of files for validation, for `stratified` and `random`
    #[arg(long, default_value_t = 0.2)]
    pub valid: f64,
    /// Seed of the split
    #[arg(long, default_value_t = 42)]
    pub seed: u64,
    /// Side of the square that the model sees, in pixels
    #[arg(long, default_value_t = 128)]
    pub size: u32,
    /// How images become square
    #[arg(long, value_parser = ["squash", "crop", "pad"], default_value = "squash")]
    pub resize: String,
}

impl Default for Data {
    fn default() -> Self {
        Self {
            path: String::new(),
            name: None,
            labels: "folder".into(),
            split: "stratified".into(),
            valid: 0.2,
            seed: 42,
            size: 128,
            resize: "squash".into(),
        }
    }
}

/// Show a batch of a data set as the model sees it, with labels
#[derive(Args, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Batch {
    /// Data set; by default the last one defined
    #[arg(long)]
    pub data: Option<String>,
    /// How many images
    #[arg(short = 'n', long, default_value_t = 9)]
    pub max: usize,
    /// Take them from the validation set
    #[arg(long)]
    pub valid: bool,
    /// Seed of the choice
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Write the picture to this PNG file too
    #[arg(short, long, value_name = "FILE")]
    pub out: Option<String>,
}

/// Train a classifier on frozen features (seconds): SqueezeNet 1.1 + logistic regression
#[derive(Args, Deserialize, Clone, Debug, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Probe {
    /// Data set; by default the last one defined
    #[arg(long)]
    pub data: Option<String>,
    /// Name of the model; by default the data set's name
    #[arg(long)]
    pub name: Option<String>,
    /// Inverse strength of the L2 penalty, as scikit-learn's C
    #[arg(short = 'C', long = "c", default_value_t = 0.1)]
    pub c: f64,
}

impl Default for Probe {
    fn default() -> Self {
        Self { data: None, name: None, c: 0.1 }
    }
}

/// Draw the confusion matrix of the validation set
#[derive(Args, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Confusion {
    /// Model; by default the last one trained or loaded
    #[arg(long)]
    pub model: Option<String>,
    /// Shares of each row instead of counts
    #[arg(long)]
    pub normalize: bool,
    /// Write the picture to this PNG file too
    #[arg(short, long, value_name = "FILE")]
    pub out: Option<String>,
}

/// Show the validation images with the highest loss
#[derive(Args, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct TopLosses {
    /// Model; by default the last one trained or loaded
    #[arg(long)]
    pub model: Option<String>,
    /// How many
    #[arg(short = 'n', long, default_value_t = 9)]
    pub max: usize,
    /// Write the picture to this PNG file too
    #[arg(short, long, value_name = "FILE")]
    pub out: Option<String>,
}

/// Export a model as a folder of model.safetensors and model.json
#[derive(Args, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Export {
    /// Folder to write; replaced when it holds a model
    pub dir: String,
    /// Model; by default the last one trained or loaded
    #[arg(long)]
    pub model: Option<String>,
}

/// Load an exported model
#[derive(Args, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Load {
    /// Folder of model.safetensors and model.json: local or mounted
    pub dir: String,
    /// Name in this session; by default the folder's name
    #[arg(long)]
    pub name: Option<String>,
}

/// Classify images
#[derive(Args, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Predict {
    /// Image files or folders: local, mounted, or URL[@REV]:PATH
    #[arg(required = true)]
    pub targets: Vec<String>,
    /// Model: a name of this session or an exported folder; by default the last one
    #[arg(long)]
    pub model: Option<String>,
    /// How many classes to list per image
    #[arg(short = 'k', long, default_value_t = 3)]
    pub top: usize,
}

/// Declare a form for the published app: its fields and the command it runs
#[derive(Args, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(default, deny_unknown_fields)]
#[command(after_help = crate::form::FIELD_HELP)]
pub struct FormCell {
    /// Title above the form
    #[arg(long, default_value = "")]
    pub title: String,
    /// Markdown below the title
    #[arg(long, default_value = "")]
    pub intro: String,
    /// Label of the button
    #[arg(long, default_value = "Run")]
    pub submit: String,
    /// Fields, as `[[field]]` tables of a `%%dds app` cell
    #[arg(skip)]
    pub field: Vec<crate::form::Field>,
    /// Command to run, one word per element; `$name` stands for a field's value
    #[arg(long, num_args = 1..)]
    pub run: Vec<String>,
}

/// Serve a notebook as a web app: code hidden, forms live
#[derive(Args, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct App {
    /// The notebook
    pub notebook: String,
    /// Port; 0 takes a free one
    #[arg(long, default_value_t = 0)]
    pub port: u16,
    /// Access token in the URL; a random one by default
    #[arg(long, value_name = "TOKEN")]
    pub token: Option<String>,
    /// Name under which a proxy in front serves the app; may be given more than once
    #[arg(long = "host", value_name = "HOST[:PORT]")]
    pub hosts: Vec<String>,
    /// Kernels kept ready for the next visitors
    #[arg(long, default_value_t = 1)]
    pub pool: usize,
    /// Most visitors at a time
    #[arg(long, default_value_t = 40)]
    pub max_visitors: usize,
}

/// Run a notebook in its own kernel and write it with its outputs
#[derive(Args, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Exec {
    /// The notebook
    pub notebook: String,
    /// Where to write; by default the notebook itself
    #[arg(short, long, value_name = "FILE")]
    pub out: Option<String>,
    /// Go on after a cell failed
    #[arg(long)]
    pub allow_errors: bool,
}

/// Write a notebook's Rust as a Cargo project that builds
#[derive(Args, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct ExportRs {
    /// The notebook
    pub notebook: String,
    /// Folder of the project; made when missing
    pub dir: String,
    /// Name of the package; by default the notebook's
    #[arg(long)]
    pub name: Option<String>,
    /// Replace files that are there
    #[arg(long)]
    pub force: bool,
}

/// Show or set environment variables of cells, commands and shell lines
#[derive(Args, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Env {
    /// NAME=VALUE sets a variable, NAME shows it; without any, lists what was set here
    pub vars: Vec<String>,
    /// Remove this variable
    #[arg(long, value_name = "NAME")]
    pub unset: Vec<String>,
}

/// Measure Rust: an expression, again and again, or once the rest of a cell (`%%dds time`)
#[derive(Args, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Time {
    /// How many measurements an expression gets; the median is shown
    #[arg(long, value_name = "N", default_value_t = 7)]
    pub runs: usize,
    /// The expression, as it stands: quotes and braces are Rust's
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub expr: Vec<String>,
}

/// Check that everything a notebook needs is there, and say how to mend what is not
#[derive(Args, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Doctor {}

/// Show what the caches hold; check or prune them
#[derive(Args, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Cache {
    /// Remove what was not used for longest: everything, or what the other flags say
    #[arg(long)]
    pub prune: bool,
    /// With --prune: only what was not used for this long, such as 12h, 30d or 4w
    #[arg(long, value_name = "AGE")]
    pub older_than: Option<String>,
    /// With --prune: only as much as is needed to hold this size, such as 500MB or 5GB
    #[arg(long, value_name = "SIZE")]
    pub max_size: Option<String>,
    /// Read every blob again and remove those whose bytes are damaged
    #[arg(long)]
    pub verify: bool,
    /// Only this cache; may be given more than once
    #[arg(long, value_name = "NAME", value_parser = ["blobs", "features", "cells", "deps", "rt"])]
    pub only: Vec<String>,
}
