//! The %dds command language: grammar, cell splitting, help, completion and dispatch.
