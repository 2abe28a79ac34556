//! Repositories: transport, blob store, Git and DVC formats, DagsHub client and server, upload.
