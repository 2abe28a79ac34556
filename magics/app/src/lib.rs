//! Notebooks as web apps: kernel client, notebook execution, page renderer, server.
