//! Who may write what the daemon reads, and what a crash leaves of what it writes.

use std::os::unix::fs::{PermissionsExt, symlink};

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use super::*;

#[test]
fn a_policy_is_its_file_and_the_parts_in_name_order() {
    let place = Place::new("policy");
    place.write("policy.toml", "a", 0o644);
    place.directory("policy.d", 0o755);
    place.write("policy.d/20-b.toml", "c", 0o644);
    place.write("policy.d/10-a.toml", "b", 0o600);
    place.write("policy.d/notes.txt", "x", 0o644);
    let sources = read_policy(&place.path("policy.toml")).unwrap();
    let texts: Vec<_> = sources.iter().map(|(_, text)| text.as_str()).collect();
    assert_eq!(texts, ["a", "b", "c"]);
    assert_eq!(sources[1].0, place.path("policy.d/10-a.toml"));
}

#[test]
fn what_others_may_write_is_refused() {
    let place = Place::new("trust");
    place.write("policy.toml", "a", 0o644);
    assert_eq!(read_trusted(&place.path("policy.toml")).unwrap(), "a");
    for mode in [0o664, 0o646, 0o666] {
        place.write("policy.toml", "a", mode);
        assert_refused(read_trusted(&place.path("policy.toml")));
    }
    place.write("policy.toml", "a", 0o644);
    place.directory("", 0o777);
    assert_refused(read_trusted(&place.path("policy.toml")));
}

#[test]
fn one_bad_part_refuses_the_policy() {
    let place = Place::new("part");
    place.write("policy.toml", "a", 0o644);
    place.directory("policy.d", 0o755);
    place.write("policy.d/10.toml", "b", 0o666);
    assert!(read_policy(&place.path("policy.toml")).is_err());
}

#[test]
fn links_pipes_and_giants_are_refused() {
    let place = Place::new("kinds");
    place.write("real.toml", "a", 0o644);
    symlink(place.path("real.toml"), place.path("link.toml")).unwrap();
    mkfifo(&place.path("pipe.toml"), Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
    place.write("giant.toml", &"#".repeat((1 << 20) + 1), 0o644);
    for name in ["link.toml", "pipe.toml", "giant.toml", "none.toml"] {
        assert!(read_trusted(&place.path(name)).is_err(), "{name}");
    }
}

#[test]
fn a_state_file_is_replaced_whole_and_is_the_owners_alone() {
    let place = Place::new("state");
    let path = place.path("deep/device.toml");
    // A crash, or an attacker, left something where the draft goes.
    place.directory("deep", 0o700);
    place.write("victim", "untouched", 0o644);
    symlink(place.path("victim"), place.path("deep/device.draft")).unwrap();
    for contents in ["one", "two"] {
        write_private(&path, contents.as_bytes()).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), contents);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    }
    assert_eq!(
        fs::read_to_string(place.path("victim")).unwrap(),
        "untouched"
    );
    assert_eq!(
        fs::read_dir(place.path("deep")).unwrap().count(),
        1,
        "no draft is left"
    );
}

/// The path of a PKCS#11 module, which the daemon will run.
#[test]
fn a_library_is_trusted_with_all_directories_above_it() {
    // by way of links, as distributions have them
    let real = trusted_library(Path::new("/bin/sh")).unwrap();
    assert_eq!(real, Path::new("/bin/sh").canonicalize().unwrap());

    assert_refused(trusted_library(Path::new("bin/sh")));
    assert_refused(trusted_library(Path::new("/usr/bin")));
    assert!(trusted_library(Path::new("/usr/lib/no-such-module.so")).is_err());

    // sound itself, but in a directory where anybody may put one
    let place = Place::new("library");
    place.write("module.so", "", 0o644);
    let mode = fs::metadata(std::env::temp_dir()).unwrap().mode();
    assert_ne!(
        mode & 0o022,
        0,
        "the machine's directory for temporary files"
    );
    assert_refused(trusted_library(&place.path("module.so")));
}

fn assert_refused<T: std::fmt::Debug>(result: Result<T>) {
    assert!(matches!(result, Err(Error::Untrusted { .. })), "{result:?}");
}

/// A directory that is gone with the test.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Place {
        let path = std::env::temp_dir().join(format!("sluss-files-{name}-{}", std::process::id()));
        fs::create_dir(&path).unwrap();
        let place = Place(path);
        place.directory("", 0o755);
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        if name.is_empty() {
            self.0.clone()
        } else {
            self.0.join(name)
        }
    }

    fn directory(&self, name: &str, mode: u32) {
        let path = self.path(name);
        fs::create_dir_all(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }

    fn write(&self, name: &str, text: &str, mode: u32) {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
