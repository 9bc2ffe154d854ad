//! Packets, fast: TUN to UDP and back in batches, with segmentation offload, on two run-to-completion threads.
