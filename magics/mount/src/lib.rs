//! Repositories as a folder: superblock, inodes, prefetch, FUSE session, verified copies.
