//! Jupyter messaging: frames, signatures, replay window, connection files, sockets on threads.
