//! The commands and what they take, as clap's command tree.
//!
//! The same commands stand behind two doors: a notebook cell and a shell. They differ only where
//! the place matters: `app` declares a form in a cell and serves a notebook from a shell, and what
//! runs until it is stopped (`serve`, `demo`) is for the shell alone.

use clap::{Args, CommandFactory, Parser, Subcommand};
use dds_core::{Result, request as rq};

use crate::usage;

/// Where a command line was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    Cell,
    Shell,
}

impl Door {
    /// What stands before a command.
    pub fn prompt(self) -> &'static str {
        match self {
            Door::Cell => "%dds",
            Door::Shell => "dds",
        }
    }

    /// The registry: every command of this door with its arguments.
    pub fn tree(self) -> clap::Command {
        match self {
            Door::Cell => CellLine::command(),
            Door::Shell => ShellLine::command(),
        }
    }
}

/// What both doors offer.
#[derive(Subcommand, Clone, Debug, PartialEq)]
pub enum Command {
    Mount(rq::Mount),
    Unmount(rq::Unmount),
    Mounts(rq::Mounts),
    Order(rq::Order),
    Ls(rq::Ls),
    Stat(rq::Stat),
    Cat(rq::Cat),
    Tree(rq::Tree),
    Head(rq::Head),
    Diff(rq::Diff),
    Log(rq::Log),
    Show(rq::Show),
    Convert(rq::Convert),
    Fetch(rq::Fetch),
    Verify(rq::Verify),
    Status(rq::Status),
    Commit(rq::Commit),
    Discard(rq::Discard),
    Upload(rq::Upload),
    Clone(rq::Clone),
    Login(rq::Login),
    Logout(rq::Logout),
    Data(rq::Data),
    Batch(rq::Batch),
    Probe(rq::Probe),
    Confusion(rq::Confusion),
    TopLosses(rq::TopLosses),
    Export(rq::Export),
    Load(rq::Load),
    Predict(rq::Predict),
    Exec(rq::Exec),
    ExportRs(rq::ExportRs),
    Doctor(rq::Doctor),
    Cache(rq::Cache),
    Help(Help),
}

impl Command {
    /// The name that the user typed.
    pub fn name(&self) -> &'static str {
        match self {
            Command::Mount(_) => "mount",
            Command::Unmount(_) => "unmount",
            Command::Mounts(_) => "mounts",
            Command::Order(_) => "order",
            Command::Ls(_) => "ls",
            Command::Stat(_) => "stat",
            Command::Cat(_) => "cat",
            Command::Tree(_) => "tree",
            Command::Head(_) => "head",
            Command::Diff(_) => "diff",
            Command::Log(_) => "log",
            Command::Show(_) => "show",
            Command::Convert(_) => "convert",
            Command::Fetch(_) => "fetch",
            Command::Verify(_) => "verify",
            Command::Status(_) => "status",
            Command::Commit(_) => "commit",
            Command::Discard(_) => "discard",
            Command::Upload(_) => "upload",
            Command::Clone(_) => "clone",
            Command::Login(_) => "login",
            Command::Logout(_) => "logout",
            Command::Data(_) => "data",
            Command::Batch(_) => "batch",
            Command::Probe(_) => "probe",
            Command::Confusion(_) => "confusion",
            Command::TopLosses(_) => "top-losses",
            Command::Export(_) => "export",
            Command::Load(_) => "load",
            Command::Predict(_) => "predict",
            Command::Exec(_) => "exec",
            Command::ExportRs(_) => "export-rs",
            Command::Doctor(_) => "doctor",
            Command::Cache(_) => "cache",
            Command::Help(_) => "help",
        }
    }
}

/// Change the working folder of cells and commands
#[derive(Args, Clone, Debug, Default, PartialEq)]
pub struct Cd {
    /// The folder
    pub dir: String,
}

/// Show all commands, or one in full
#[derive(Args, Clone, Debug, Default, PartialEq)]
pub struct Help {
    /// The command to explain
    pub command: Option<String>,
}

/// The commands of a notebook cell.
#[derive(Subcommand, Clone, Debug, PartialEq)]
pub enum CellCommand {
    #[command(flatten)]
    Common(Command),
    App(rq::FormCell),
    Cd(Cd),
    Env(rq::Env),
    Time(rq::Time),
}

impl CellCommand {
    /// The name that the user typed.
    pub fn name(&self) -> &'static str {
        match self {
            CellCommand::Common(command) => command.name(),
            CellCommand::App(_) => "app",
            CellCommand::Cd(_) => "cd",
            CellCommand::Env(_) => "env",
            CellCommand::Time(_) => "time",
        }
    }
}

/// The commands of a shell.
#[derive(Subcommand, Clone, Debug, PartialEq)]
pub enum ShellCommand {
    #[command(flatten)]
    Common(Command),
    App(rq::App),
    Serve(rq::Serve),
    Demo(Demo),
    Job(Job),
    Install(Install),
    Kernel(Kernel),
    /// The process that runs Rust cells; started by the kernel
    #[command(name = "__eval", hide = true)]
    EvalChild,
    /// The process behind one mount; started by the mount command
    #[command(name = "__mount", hide = true)]
    MountChild,
    /// Reads repositories for a program made of cells; started by that program
    #[command(name = "__repositories", hide = true)]
    RepositoriesChild,
}

/// Run the whole walkthrough on sample data and serve it as an app
#[derive(Args, Clone, Debug, Default, PartialEq)]
pub struct Demo {
    /// Stop after checking that the app answers
    #[arg(long)]
    pub exit: bool,
    /// Write what was measured to this JSON file
    #[arg(long, value_name = "FILE")]
    pub report: Option<String>,
    /// Port of the app; 0 takes a free one
    #[arg(long, default_value_t = 0)]
    pub port: u16,
}

/// Run a job: commands of a JSON file, in order, with one stream of events as JSON lines
#[derive(Args, Clone, Debug, Default, PartialEq)]
#[command(after_help = JOB_HELP)]
pub struct Job {
    /// What to do
    #[arg(value_parser = ["run"])]
    pub action: String,
    /// The job file; - reads it from standard input
    pub spec: String,
    /// Check everything and print what would run
    #[arg(long)]
    pub plan: bool,
}

/// What a job file holds, for its help; lines of at most 96 columns.
const JOB_HELP: &str = "\
A job file
  {\"dds_job\": 1,
   \"name\": \"birds\",
   \"folder\": \"work\",
   \"steps\": [\"%%dds data\\npath = \\\"photos\\\"\\nname = \\\"birds\\\"\",
             \"%dds probe --data birds\",
             \"%dds export birds-model\"],
   \"env\": {\"DDS_CACHE\": \"/scratch/dds\"}}
  dds_job              The version of the format: 1
  steps                %dds commands, each as in a cell; no Rust and no shell lines
  name                 For people [optional]
  folder               Where the steps work; from the current folder [default: .]
  env                  Variables of the job; secrets come from the environment instead [optional]
Exit status: 0, 1 when a step failed or the file is wrong, 130 after an interrupt. The events and
the job file are kept in FOLDER/.dds/runs/ID.";

/// Install the Jupyter kernel `Rust (dds)`; for your user unless told otherwise
#[derive(Args, Clone, Debug, Default, PartialEq)]
pub struct Install {
    /// For your user
    #[arg(long, conflicts_with_all = ["prefix", "sys_prefix"])]
    pub user: bool,
    /// Below this folder (DIR/share/jupyter/kernels)
    #[arg(long, value_name = "DIR", conflicts_with = "sys_prefix")]
    pub prefix: Option<String>,
    /// Into the active Python environment (VIRTUAL_ENV or CONDA_PREFIX)
    #[arg(long)]
    pub sys_prefix: bool,
    /// Compile these crates too, so that the first `:dep` does not wait:
    /// ndarray,polars@0.49+lazy,image@0.25+png-default
    #[arg(long, value_name = "CRATES", value_delimiter = ',')]
    pub prebuild: Vec<String>,
}

/// Run as a Jupyter kernel; front ends call this
#[derive(Args, Clone, Debug, Default, PartialEq)]
pub struct Kernel {
    /// The connection file
    pub file: String,
}

/// One `%dds` line.
#[derive(Parser, Clone, Debug, PartialEq)]
#[command(
    name = "dds",
    version,
    no_binary_name = true,
    disable_help_subcommand = true,
    disable_version_flag = true
)]
pub struct CellLine {
    /// Work in this folder (stands before the command)
    #[arg(short = 'C', value_name = "DIR", id = "in_dir")]
    pub dir: Option<String>,
    /// Give the result as JSON
    #[arg(long, global = true)]
    pub json: bool,
    #[command(subcommand)]
    pub command: Option<CellCommand>,
}

/// One `dds` command line of a shell.
#[derive(Parser, Clone, Debug, PartialEq)]
#[command(name = "dds", version, no_binary_name = true, disable_help_subcommand = true)]
pub struct ShellLine {
    /// Work in this folder (stands before the command)
    #[arg(short = 'C', value_name = "DIR", id = "in_dir")]
    pub dir: Option<String>,
    /// Print the result as JSON
    #[arg(long, global = true)]
    pub json: bool,
    #[command(subcommand)]
    pub command: Option<ShellCommand>,
}

/// Parses the words after `%dds`. Errors (`Usage`) carry the nearest suggestion and the usage line.
pub fn cell(words: &[String]) -> Result<CellLine> {
    CellLine::try_parse_from(words).or_else(|e| match usage::asks_for_help(&e, Door::Cell, words) {
        Some(command) => Ok(CellLine {
            dir: None,
            json: false,
            command: Some(CellCommand::Common(Command::Help(Help { command }))),
        }),
        None => Err(usage::explain(&e, Door::Cell, words).error),
    })
}

/// Parses the words after `dds` in a shell. Errors as for [`cell`]. `--version` is the caller's.
pub fn shell(words: &[String]) -> Result<ShellLine> {
    ShellLine::try_parse_from(words).or_else(|e| match usage::asks_for_help(&e, Door::Shell, words) {
        Some(command) => Ok(ShellLine {
            dir: None,
            json: false,
            command: Some(ShellCommand::Common(Command::Help(Help { command }))),
        }),
        None => Err(usage::explain(&e, Door::Shell, words).error),
    })
}

#[cfg(test)]
mod tests;
