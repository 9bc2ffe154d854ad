//! The command at a terminal: a pseudo-terminal that a test types into and reads.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    os::fd::OwnedFd,
    process::{Child, Command},
    sync::mpsc::{self, Receiver},
    thread,
    time::{Duration, Instant},
};

use nix::{
    pty::openpty,
    sys::termios::{LocalFlags, tcgetattr},
};

const SOON: Duration = Duration::from_secs(20);

pub(crate) struct Terminal {
    child: Child,
    keys: File,
    /// The command's side, kept so that what it has set can be looked at.
    side: OwnedFd,
    bytes: Receiver<Vec<u8>>,
    shown: String,
}

impl Terminal {
    pub(crate) fn run(mut command: Command) -> Self {
        let pty = openpty(None, None).unwrap();
        command
            .stdin(pty.slave.try_clone().unwrap())
            .stdout(pty.slave.try_clone().unwrap())
            .stderr(pty.slave.try_clone().unwrap());
        let child = command.spawn().unwrap();
        let keys = File::from(pty.master);
        let mut screen = keys.try_clone().unwrap();
        let (sender, bytes) = mpsc::channel();
        thread::spawn(move || {
            let mut buffer = [0; 1024];
            while let Ok(count @ 1..) = screen.read(&mut buffer) {
                if sender.send(buffer[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self {
            child,
            keys,
            side: pty.slave,
            bytes,
            shown: String::new(),
        }
    }

    #[track_caller]
    pub(crate) fn waits_for(&mut self, words: &str) {
        let end = Instant::now() + SOON;
        while !self.shown.contains(words) {
            let left = end.saturating_duration_since(Instant::now());
            let Ok(bytes) = self.bytes.recv_timeout(left) else {
                panic!("{words:?} did not come, but {:?}", self.shown);
            };
            self.shown += &String::from_utf8_lossy(&bytes);
        }
    }

    pub(crate) fn types(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    pub(crate) fn echoes(&self) -> bool {
        let modes = LocalFlags::ECHO | LocalFlags::ICANON | LocalFlags::ISIG;
        tcgetattr(&self.side).unwrap().local_flags.contains(modes)
    }

    /// All that was shown, once the command has ended with `code` and left the terminal as it was.
    #[track_caller]
    pub(crate) fn ended(mut self, code: i32) -> String {
        let end = Instant::now() + SOON;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            if Instant::now() > end {
                self.child.kill().unwrap();
                panic!("no end, but {:?}", self.shown);
            }
            thread::sleep(Duration::from_millis(5));
        };
        // What was written before the end is there, or comes at once.
        while let Ok(bytes) = self.bytes.recv_timeout(Duration::from_millis(200)) {
            self.shown += &String::from_utf8_lossy(&bytes);
        }
        assert_eq!(status.code(), Some(code), "shown: {}", self.shown);
        assert!(self.echoes(), "the terminal was not put back");
        self.shown
    }
}
