//! What `kernel_info_request` is answered with.

use serde_json::{Value, json};

/// `language_version` is the user's Rust version.
///
/// JupyterLab finds its Rust highlighting by `codemirror_mode` (the language's name, any case),
/// nbconvert and the console by `pygments_lexer`.
pub(super) fn kernel_info(language_version: &str) -> Value {
    let version = env!("CARGO_PKG_VERSION");
    json!({
        "status": "ok",
        "protocol_version": dds_wire::PROTOCOL_VERSION,
        "implementation": "dds",
        "implementation_version": version,
        "language_info": {
            "name": "rust",
            "version": language_version,
            "mimetype": "text/rust",
            "file_extension": ".rs",
            "pygments_lexer": "rust",
            "codemirror_mode": "rust",
        },
        "banner": format!(
            "dds {version}: Rust {language_version} with %dds commands for data and vision. Try %dds help"
        ),
        "help_links": [
            {"text": "The Rust book", "url": "https://doc.rust-lang.org/book/"},
            {"text": "Rust's standard library", "url": "https://doc.rust-lang.org/std/"},
            {"text": "Crates and their documentation", "url": "https://docs.rs/"},
        ],
        "debugger": false,
        // JEP 91. A debugger is no feature of this kernel.
        "supported_features": ["kernel subshells"],
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use dds_wire::jupyter_protocol::KernelInfoReply;

    #[test]
    fn fits_the_protocol_crate() {
        let typed: KernelInfoReply = serde_json::from_value(kernel_info("1.95.0")).unwrap();
        assert_eq!(typed.language_info.name, "rust");
        assert!(!typed.debugger);
    }
}
