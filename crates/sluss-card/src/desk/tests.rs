//! What callers can rely on, with a scripted watcher and scripted operators.
