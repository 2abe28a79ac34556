//! A panic of ours, as the user sees it: one line that says sorry and what to do.

use std::panic::PanicHookInfo;

/// Replaces Rust's panic message. `RUST_BACKTRACE=1` shows the original one too.
pub(super) fn apologise() {
    let original = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        crate::render::tell(&apology(info));
        if std::env::var_os("RUST_BACKTRACE").is_some_and(|v| v != "0") {
            original(info);
        }
    }));
}

fn apology(info: &PanicHookInfo<'_>) -> String {
    let payload = info.payload();
    let text = payload
        .downcast_ref::<&str>()
        .map(|s| (*s).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".into());
    let at = info.location().map(|l| format!(" at {}:{}", l.file(), l.line())).unwrap_or_default();
    let text = dds_core::mime::printable(&text).replace('\n', " ");
    format!(
        "sorry, this is a bug of dds: {text}{at}. Please report this line; RUST_BACKTRACE=1 shows more, and running \
         the command again is safe."
    )
}
