//! What becomes of the memory, as the kernel tells it.

use std::fs::File;
use std::os::unix::fs::FileExt;

use nix::errno::Errno;

use super::*;

const PLANTED: &[u8] = b"a secret that a test has planted";

fn areas() -> impl Iterator<Item = Area> {
    [Kind::Locked, Kind::Hidden].into_iter().filter_map(|kind| {
        let area = Area::of_kind(kind, 4096);
        if area.is_err() && kind == Kind::Hidden && std::env::var("CI").as_deref() != Ok("true") {
            eprintln!("SKIPPED: this kernel has no memfd_secret");
            return None;
        }
        Some(area.unwrap())
    })
}

#[test]
fn an_area_is_zero_at_first_and_keeps_what_is_written() {
    for mut area in areas() {
        area.read(|bytes| assert_eq!(bytes, [0; 4096]));
        area.write(|bytes| bytes[..PLANTED.len()].copy_from_slice(PLANTED));
        area.read(|bytes| assert!(bytes.starts_with(PLANTED)));
    }
}

#[test]
fn an_area_may_be_smaller_or_larger_than_a_page_but_not_empty() {
    for kind in [Kind::Locked, Kind::Hidden] {
        assert!(Area::of_kind(kind, 0).is_err());
    }
    for length in [1, 4097] {
        let mut area = Area::new(length).unwrap();
        area.write(|bytes| bytes[length - 1] = 1);
        assert_eq!(area.read(<[u8]>::len), length);
    }
}

#[test]
fn hidden_memory_cannot_be_read_even_by_root_and_locked_memory_can() {
    for mut area in areas() {
        area.write(|bytes| bytes[..PLANTED.len()].copy_from_slice(PLANTED));
        let mut seen = [0; PLANTED.len()];
        let read = File::open("/proc/self/mem")
            .unwrap()
            .read_exact_at(&mut seen, address(&area));
        match area.kind() {
            Kind::Hidden => {
                assert_eq!(read.unwrap_err().raw_os_error(), Some(Errno::EIO as i32));
            }
            // So that a scan that finds nothing has looked.
            Kind::Locked => assert_eq!(seen, PLANTED),
        }
    }
}

/// `lo` locked, `dd` not in core dumps, `dc` not in children: proc(5).
#[test]
fn the_kernel_says_that_it_is_locked_not_dumped_and_not_inherited() {
    for area in areas() {
        let flags = flags(address(&area)).unwrap();
        for flag in ["lo", "dd", "dc"] {
            assert!(
                flags.contains(&flag.to_owned()),
                "{:?}: {flags:?}",
                area.kind()
            );
        }
    }
}

#[test]
fn a_dropped_area_is_given_back() {
    for area in areas() {
        let (kind, address) = (area.kind(), address(&area));
        drop(area);
        // Another thread's memory may have come in its place, but not memory like it.
        let still_there = flags(address).is_some_and(|flags| flags.contains(&"dc".to_owned()));
        assert!(!still_there, "{kind:?}");
    }
}

fn address(area: &Area) -> u64 {
    area.read(|bytes| bytes.as_ptr().addr() as u64)
}

/// The flags of the mapping that an address is in.
fn flags(address: u64) -> Option<Vec<String>> {
    let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
    let mut inside = false;
    for line in maps.lines() {
        let first = line.split_whitespace().next()?;
        if let Some((from, to)) = first.split_once('-') {
            let number = |text| u64::from_str_radix(text, 16).ok();
            inside = (number(from)?..number(to)?).contains(&address);
        } else if inside && first == "VmFlags:" {
            return Some(line.split_whitespace().skip(1).map(str::to_owned).collect());
        }
    }
    None
}
