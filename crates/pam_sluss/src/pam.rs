//! The border to libpam: the few functions that the module needs, and the ones that PAM calls.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::ptr;

use nix::unistd::User;
use sluss_ipc::{Pin, SOCKET_PATH};

use crate::conduct::{self, Credentials, Done, Transaction};
use crate::daemon::Daemon;
use crate::error::Error;
use crate::outlook::Prospect;
use crate::rules::{Arguments, Entrance};
use crate::stash::Stash;

/// The name of the PIN among the data of a transaction.
const STASH: &CStr = c"sluss_pin";

// security/_pam_types.h
const SUCCESS: c_int = 0;
const IGNORE: c_int = 25;
const DELETE_CRED: c_int = 0x4;
const REINITIALIZE_CRED: c_int = 0x8;
const REFRESH_CRED: c_int = 0x10;

#[derive(Clone, Copy)]
#[repr(i32)]
enum Item {
    Service = 1,
    User = 2,
    Terminal = 3,
    RemoteHost = 4,
    AuthenticationToken = 6,
}

/// syslog(3).
#[derive(Clone, Copy)]
#[repr(i32)]
enum Priority {
    Error = 3,
    Notice = 5,
    Info = 6,
    Debug = 7,
}

/// `struct pam_handle`, whose inside is libpam's.
#[repr(C)]
struct RawHandle([u8; 0]);

type Cleanup = unsafe extern "C" fn(*mut RawHandle, *mut c_void, c_int);

// By the name that a running system has it under: whoever builds this needs no development files.
#[link(name = "libpam.so.0", kind = "dylib", modifiers = "+verbatim")]
unsafe extern "C" {
    fn pam_get_item(handle: *const RawHandle, item: c_int, value: *mut *const c_void) -> c_int;
    fn pam_set_data(
        handle: *mut RawHandle,
        name: *const c_char,
        data: *mut c_void,
        cleanup: Option<Cleanup>,
    ) -> c_int;
    fn pam_get_data(
        handle: *const RawHandle,
        name: *const c_char,
        data: *mut *const c_void,
    ) -> c_int;
    fn pam_syslog(handle: *const RawHandle, priority: c_int, format: *const c_char, ...);
}

/// The transaction that PAM calls the module for. It lives for one call, on one thread.
struct Handle(*mut RawHandle);

impl Handle {
    /// A text that the service or another module has set; it lives until one of them sets it anew.
    fn item(&self, item: Item) -> Option<&CStr> {
        let mut value = ptr::null();
        // SAFETY: the handle is the one that PAM called us with, and `value` is ours to write.
        let code = unsafe { pam_get_item(self.0, item as c_int, &mut value) };
        // SAFETY: on success each of these items is a C string or null, owned by libpam, and changed by nobody while
        // PAM waits for this call to return.
        (code == SUCCESS && !value.is_null()).then(|| unsafe { CStr::from_ptr(value.cast()) })
    }

    /// The same where it is a name; one that is not UTF-8 is no name that we know.
    fn name(&self, item: Item) -> Option<&str> {
        self.item(item).map(|text| text.to_str().unwrap_or("?"))
    }

    /// Replaces what is put by; libpam then drops what was there.
    fn set_data(&self, data: *mut c_void, cleanup: Option<Cleanup>) -> c_int {
        // SAFETY: the handle is PAM's, the name a C string that libpam copies; `cleanup` fits `data`, as both callers see to.
        unsafe { pam_set_data(self.0, STASH.as_ptr(), data, cleanup) }
    }

    fn log(&self, priority: Priority, text: &str) {
        // A NUL cannot be in any of our sentences, but in an argument that one quotes.
        let Ok(text) = CString::new(text) else {
            return;
        };
        // SAFETY: the format takes exactly one C string, and there is one.
        unsafe { pam_syslog(self.0, priority as c_int, c"%s".as_ptr(), text.as_ptr()) }
    }
}

impl Transaction for Handle {
    fn entrance(&self) -> Entrance<'_> {
        Entrance {
            service: self.name(Item::Service).unwrap_or_default(),
            remote_host: self.name(Item::RemoteHost),
            terminal: self.name(Item::Terminal),
        }
    }

    fn typed(&self) -> Option<&[u8]> {
        self.item(Item::AuthenticationToken).map(CStr::to_bytes)
    }

    fn uid(&self) -> Option<u32> {
        let name = self.item(Item::User)?.to_str().ok()?;
        let user = User::from_name(name).ok()??;
        Some(user.uid.as_raw())
    }

    fn put_by(&self, stash: Stash) -> Result<(), Error> {
        let stash = Box::into_raw(Box::new(stash));
        let code = self.set_data(stash.cast(), Some(wipe));
        if code != SUCCESS {
            // SAFETY: libpam has not taken the box, so it is still ours alone.
            drop(unsafe { Box::from_raw(stash) });
            return Err(Error::NotKept(code));
        }
        Ok(())
    }

    fn take_back(&self) -> Option<Pin> {
        let mut stash = ptr::null();
        // SAFETY: the handle is PAM's, the name a C string, and `stash` is ours to write.
        let code = unsafe { pam_get_data(self.0, STASH.as_ptr(), &mut stash) };
        if code != SUCCESS {
            return None;
        }
        // SAFETY: only `put_by` sets data of this name, from a box, and libpam keeps it as long as nobody replaces it.
        let pin = unsafe { stash.cast::<Stash>().as_ref() }?.pin();
        // Nothing in its place: libpam has the page wiped now.
        self.set_data(ptr::null_mut(), None);
        pin
    }
}

/// libpam's destructor for what [`Handle::put_by`] has put by.
unsafe extern "C" fn wipe(_: *mut RawHandle, stash: *mut c_void, _: c_int) {
    if !stash.is_null() {
        // SAFETY: it is the pointer that `put_by` made from a box, and libpam calls this once.
        drop(unsafe { Box::from_raw(stash.cast::<Stash>()) });
    }
}

/// Does what PAM has called for, tells the log, and lets PAM go on as if we were not there, whatever happened.
///
/// # Safety
/// The handle is the one that PAM gave, and `argv` holds `argc` C strings, as PAM promises its modules.
unsafe fn attend(
    handle: *mut RawHandle,
    argc: c_int,
    argv: *const *const c_char,
    act: impl FnOnce(&Handle, &Arguments) -> Result<Done, Error>,
) -> c_int {
    let handle = Handle(handle);
    let debug = Cell::new(false);
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: promised by the caller.
        let words = unsafe { words(argc, argv) };
        let arguments = Arguments::parse(words)?;
        debug.set(arguments.debug);
        act(&handle, &arguments)
    }));
    match outcome {
        Ok(Ok(done)) => match done {
            Done::Nothing(reason) if debug.get() => handle.log(Priority::Debug, &reason),
            Done::Nothing(_) | Done::PutBy => {}
            Done::HandedOver => handle.log(Priority::Info, "the PIN is with the daemon"),
            Done::Waited(prospect) => handle.log(
                Priority::Info,
                match prospect {
                    Prospect::Reached => "the internal network can be reached",
                    Prospect::Open => "the internal network could not be reached in time",
                    Prospect::Closed => "the internal network will not be reached for now",
                },
            ),
        },
        Ok(Err(error @ (Error::UnknownArgument(_) | Error::NotKept(_)))) => {
            handle.log(Priority::Error, &error.to_string());
        }
        Ok(Err(error)) => handle.log(Priority::Notice, &error.to_string()),
        Err(_panic) => handle.log(Priority::Error, "a mistake in the module"),
    }
    IGNORE
}

/// The arguments of the module. One that is not UTF-8 becomes one that is unknown.
///
/// # Safety
/// As for [`attend`]; the texts live as long as PAM waits for the call to return.
unsafe fn words<'a>(argc: c_int, argv: *const *const c_char) -> Vec<&'a str> {
    let count = usize::try_from(argc).unwrap_or(0);
    if count == 0 || argv.is_null() {
        return Vec::new();
    }
    // SAFETY: promised by the caller.
    let pointers = unsafe { std::slice::from_raw_parts(argv, count) };
    pointers
        .iter()
        .filter(|pointer| !pointer.is_null())
        // SAFETY: promised by the caller.
        .map(|pointer| unsafe { CStr::from_ptr(*pointer) })
        .map(|word| word.to_str().unwrap_or("?"))
        .collect()
}

fn daemon() -> Daemon<'static> {
    Daemon(Path::new(SOCKET_PATH))
}

/// # Safety
/// For PAM to call.
#[unsafe(no_mangle)]
unsafe extern "C" fn pam_sm_authenticate(
    handle: *mut RawHandle,
    _flags: c_int,
    argc: c_int,
    argv: *const *const c_char,
) -> c_int {
    // SAFETY: what PAM promises is what `attend` needs.
    unsafe {
        attend(handle, argc, argv, |handle, arguments| {
            conduct::authenticate(handle, arguments)
        })
    }
}

/// # Safety
/// For PAM to call.
#[unsafe(no_mangle)]
unsafe extern "C" fn pam_sm_setcred(
    handle: *mut RawHandle,
    flags: c_int,
    argc: c_int,
    argv: *const *const c_char,
) -> c_int {
    let credentials = if flags & (REINITIALIZE_CRED | REFRESH_CRED) != 0 {
        Credentials::Renewed
    } else if flags & DELETE_CRED != 0 {
        Credentials::Deleted
    } else {
        // A login establishes them, and opens its session next.
        return IGNORE;
    };
    // SAFETY: what PAM promises is what `attend` needs.
    unsafe {
        attend(handle, argc, argv, |handle, arguments| {
            conduct::set_credentials(handle, arguments, &daemon(), credentials)
        })
    }
}

/// # Safety
/// For PAM to call.
#[unsafe(no_mangle)]
unsafe extern "C" fn pam_sm_open_session(
    handle: *mut RawHandle,
    _flags: c_int,
    argc: c_int,
    argv: *const *const c_char,
) -> c_int {
    // SAFETY: what PAM promises is what `attend` needs.
    unsafe {
        attend(handle, argc, argv, |handle, arguments| {
            conduct::open_session(handle, arguments, &daemon())
        })
    }
}

/// # Safety
/// For PAM to call.
#[unsafe(no_mangle)]
unsafe extern "C" fn pam_sm_close_session(
    _handle: *mut RawHandle,
    _flags: c_int,
    _argc: c_int,
    _argv: *const *const c_char,
) -> c_int {
    // It must exist, or PAM takes the module for broken. What the end of a session ends, logind tells the daemon.
    IGNORE
}
