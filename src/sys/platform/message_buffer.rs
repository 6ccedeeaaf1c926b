//! The memory in which OpenSSL keeps the messages of a handshake: 21 KiB, of which a handshake that waits for its client uses
//! one or two. What is not used is given back to the system meanwhile.
//!
//! The library has no function for that, but lets a program allocate its memory (CRYPTO_set_mem_functions(3)). Pages of
//! the buffer that contain only zeros are dropped with madvise(2), after which Linux supplies zeros again: the library cannot
//! tell the difference.

#![allow(unsafe_code, reason = "the library's memory functions are C functions, and no crate wraps them")]

use std::cell::Cell;
use std::collections::BTreeSet;
use std::ffi::{c_char, c_int, c_void};
use std::ptr::{self, NonNull};
use std::slice;

use parking_lot::Mutex;
use rustix::mm::{Advice, madvise};

use super::super::emulation::is_portable;

/// The size of the buffer: SSL3_RT_MAX_PLAIN_LENGTH of `openssl/ssl3.h`, and the third that BUF_MEM_grow(3) adds.
/// If another version of the library has another size, nothing is given back.
const SIZE: usize = (16_384 + 3) / 3 * 4;

/// The size of a page. From the C library, which always knows it: other sources need a file that an unprivileged process
/// cannot read, and nothing here may fail.
fn page_size() -> usize {
    // SAFETY: the call only reads.
    usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(usize::MAX)
}

/// What is allocated for it: nothing else is in its last page then.
fn whole_pages() -> usize {
    SIZE.next_multiple_of(page_size())
}

thread_local! {
    /// The buffer of the handshake that makes a step on this thread.
    static CURRENT: Cell<*mut c_void> = const { Cell::new(ptr::null_mut()) };
}

/// Makes the library allocate its memory through this module. Must be called before it has allocated any: after that,
/// the library refuses, and no buffer is known.
pub(in crate::sys) fn watch_library_memory() {
    type Allocate = unsafe extern "C" fn(usize, *const c_char, c_int) -> *mut c_void;
    type Reallocate = unsafe extern "C" fn(*mut c_void, usize, *const c_char, c_int) -> *mut c_void;
    type Release = unsafe extern "C" fn(*mut c_void, *const c_char, c_int);
    unsafe extern "C" {
        /// Of `openssl/crypto.h`, which `openssl-sys` lacks.
        fn CRYPTO_set_mem_functions(allocate: Allocate, reallocate: Reallocate, free: Release) -> c_int;
    }
    // A larger page would hold most of the buffer, or more than it.
    if is_portable() || page_size() > SIZE / 4 {
        return;
    }
    // SAFETY: the three functions behave like malloc(3), realloc(3) and free(3), and fit each other.
    unsafe { CRYPTO_set_mem_functions(allocate, reallocate, free) };
}

/// The blocks that were allocated for buffers.
#[derive(Debug)]
struct Blocks {
    /// The addresses of all.
    all: BTreeSet<usize>,
    /// Those that no handshake uses. A few are kept: the general allocator would not find the place of one again for another of
    /// its size and alignment, and would leave a gap beside the memory of each connection.
    spare: Vec<usize>,
}

static BLOCKS: Mutex<Blocks> = Mutex::new(Blocks { all: BTreeSet::new(), spare: Vec::new() });

/// How many are kept.
const SPARE: usize = 16;

/// Whether it may be one of them: other blocks hardly ever begin at a page, the smallest of which has this size. This is asked
/// for everything that the library frees.
fn may_begin_page(block: *mut c_void) -> bool {
    block.addr().is_multiple_of(4096)
}

/// # Safety
/// As malloc(3), except that a size of 0 gets no block, as from the library's own function.
unsafe extern "C" fn allocate(size: usize, _file: *const c_char, _line: c_int) -> *mut c_void {
    if size == 0 {
        return ptr::null_mut();
    }
    if size != SIZE {
        // SAFETY: malloc takes any size.
        return unsafe { libc::malloc(size) };
    }
    let spare = BLOCKS.lock().spare.pop();
    let mut block: *mut c_void = spare.map_or(ptr::null_mut(), ptr::with_exposed_provenance_mut);
    // SAFETY: a page is a power of two and a multiple of a pointer; a block has as many bytes as are set.
    unsafe {
        if block.is_null() {
            if libc::posix_memalign(&raw mut block, page_size(), whole_pages()) != 0 {
                return ptr::null_mut();
            }
            BLOCKS.lock().all.insert(block.expose_provenance());
        }
        ptr::write_bytes(block.cast::<u8>(), 0, whole_pages());
    }
    CURRENT.set(block);
    block
}

/// # Safety
/// As realloc(3), except that a size of 0 frees the block.
unsafe extern "C" fn reallocate(
    block: *mut c_void,
    size: usize,
    file: *const c_char,
    line: c_int,
) -> *mut c_void {
    if block.is_null() {
        // SAFETY: as malloc.
        return unsafe { allocate(size, file, line) };
    }
    if size == 0 {
        // SAFETY: the caller's block is not used after this.
        unsafe { free(block, file, line) };
        return ptr::null_mut();
    }
    if !may_begin_page(block) || !BLOCKS.lock().all.contains(&block.addr()) {
        // SAFETY: the block is one of malloc or realloc.
        return unsafe { libc::realloc(block, size) };
    }
    // SAFETY: the new block has `size` bytes if there is one, the old one at least `SIZE`; it is not used after this.
    unsafe {
        let larger = allocate(size, file, line);
        if !larger.is_null() {
            ptr::copy_nonoverlapping(block.cast::<u8>(), larger.cast(), size.min(SIZE));
            free(block, file, line);
        }
        larger
    }
}

/// # Safety
/// As free(3).
unsafe extern "C" fn free(block: *mut c_void, _file: *const c_char, _line: c_int) {
    if may_begin_page(block) && !block.is_null() {
        forget(block);
        let mut blocks = BLOCKS.lock();
        if blocks.all.contains(&block.addr()) {
            if blocks.spare.len() < SPARE {
                blocks.spare.push(block.expose_provenance());
                return;
            }
            blocks.all.remove(&block.addr());
        }
    }
    // SAFETY: the block is one of malloc, realloc or posix_memalign, and is not used after this.
    unsafe { libc::free(block) };
}

fn forget(block: *mut c_void) {
    if CURRENT.get() == block {
        CURRENT.set(ptr::null_mut());
    }
}

/// Compares many bytes at a time, which a loop over them does not.
fn is_zero(bytes: &[u8]) -> bool {
    static ZEROS: [u8; 4096] = [0; 4096];
    bytes.chunks(ZEROS.len()).all(|chunk| *chunk == ZEROS[..chunk.len()])
}

/// The buffer of one handshake, once the library has allocated it.
#[derive(Debug, Default)]
pub(in crate::sys) struct MessageBuffer(Option<NonNull<c_void>>);

// SAFETY: it is only an address, and what uses it is marked as unsafe.
unsafe impl Send for MessageBuffer {}

impl MessageBuffer {
    /// Has the library make a step of the handshake, and finds out what it does with the buffer.
    pub(in crate::sys) fn during<T>(&mut self, step: impl FnOnce() -> T) -> T {
        CURRENT.set(self.0.take().map_or(ptr::null_mut(), NonNull::as_ptr));
        let result = step();
        self.0 = NonNull::new(CURRENT.replace(ptr::null_mut()));
        result
    }

    /// Gives back the pages that contain only zeros.
    ///
    /// # Safety
    /// All steps of the handshake since its beginning were made within [`MessageBuffer::during`], and it makes none now.
    pub(in crate::sys) unsafe fn release_unused(&mut self) {
        let Some(block) = self.0 else { return };
        let page = page_size();
        // SAFETY: the library has not freed the block, or it would not be known any more. It has whole pages, all
        // of them set when it was allocated, and nobody writes to it now.
        let bytes = unsafe { slice::from_raw_parts(block.as_ptr().cast::<u8>(), whole_pages()) };
        for whole in bytes.chunks_exact(page) {
            if is_zero(whole) {
                // SAFETY: blocks of this size begin at a page, so this is one, of private memory without a file, and
                // nobody uses it now. Whoever reads it next finds zeros, as before. The slices are not used any more then,
                // except for the pages after this one. A system that refuses keeps the page.
                _ = unsafe { madvise(whole.as_ptr().cast_mut().cast(), page, Advice::LinuxDontNeed) };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOWHERE: (*const c_char, c_int) = (ptr::null(), 0);

    fn make(size: usize) -> *mut c_void {
        // SAFETY: any size will do.
        unsafe { allocate(size, NOWHERE.0, NOWHERE.1) }
    }

    fn drop_block(block: *mut c_void) {
        // SAFETY: each block is freed once.
        unsafe { free(block, NOWHERE.0, NOWHERE.1) };
    }

    /// Which pages of the buffer are in memory.
    fn resident(block: *mut c_void) -> Vec<bool> {
        let mut pages = vec![0_u8; whole_pages() / page_size()];
        // SAFETY: the block has that many pages, and there is a byte for each.
        let done = unsafe { libc::mincore(block, whole_pages(), pages.as_mut_ptr()) };
        assert_eq!(done, 0);
        pages.iter().map(|page| page & 1 == 1).collect()
    }

    #[test]
    fn only_pages_without_content_are_given_back() {
        let mut buffer = MessageBuffer::default();
        let last = SIZE - 1;
        let block = buffer.during(|| {
            let block = make(SIZE);
            // SAFETY: within the block.
            unsafe {
                block.cast::<u8>().write(22);
                block.cast::<u8>().add(last).write(20);
            }
            block
        });
        assert!(resident(block).iter().all(|page| *page));
        // SAFETY: no handshake uses it.
        unsafe { buffer.release_unused() };
        let kept: Vec<bool> =
            (0..whole_pages() / page_size()).map(|page| page == 0 || page == last / page_size()).collect();
        assert_eq!(resident(block), kept);
        // SAFETY: the block has that many bytes.
        let bytes = unsafe { slice::from_raw_parts(block.cast::<u8>(), whole_pages()) };
        let content = bytes.iter().enumerate().filter(|(_, byte)| **byte != 0);
        let expected = [(0, 22), (last, 20)];
        assert!(content.map(|(at, byte)| (at, *byte)).eq(expected));
        drop_block(block);
    }

    #[test]
    fn a_buffer_is_known_from_its_allocation_to_its_end() {
        let mut buffer = MessageBuffer::default();
        let (small, block) = buffer.during(|| (make(SIZE - 1), make(SIZE)));
        assert_eq!(buffer.0, NonNull::new(block));
        let other = make(SIZE);
        buffer.during(|| drop_block(small));
        assert_eq!(buffer.0, NonNull::new(block), "another handshake's is not its own");
        buffer.during(|| drop_block(other));
        assert_eq!(buffer.0, NonNull::new(block));
        // SAFETY: the block has that many bytes, and is used once.
        let larger = buffer.during(|| unsafe {
            block.cast::<u8>().add(SIZE - 1).write(7);
            reallocate(block, 2 * SIZE, NOWHERE.0, NOWHERE.1)
        });
        // SAFETY: the block is larger than that.
        assert_eq!(unsafe { larger.cast::<u8>().add(SIZE - 1).read() }, 7);
        assert_eq!(buffer.0, None, "it may have moved, and has another size");
        drop_block(larger);
        let block = buffer.during(|| make(SIZE));
        // SAFETY: the block has that many bytes.
        assert!(
            is_zero(unsafe { slice::from_raw_parts(block.cast::<u8>(), whole_pages()) }),
            "used before or not"
        );
        buffer.during(|| drop_block(block));
        assert_eq!(buffer.0, None);
        // SAFETY: there is nothing to give back.
        unsafe { buffer.release_unused() };
    }
}
