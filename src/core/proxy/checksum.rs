//! The checksum in a header of version 2.

use crc::{CRC_32_ISCSI, Crc, Table};

const CRC32C: Crc<u32, Table<1>> = Crc::<u32, Table<1>>::new(&CRC_32_ISCSI);

/// The CRC32c of `bytes`, with the four bytes at `at`, which contain it, taken as zero.
pub(super) fn of(bytes: &[u8], at: usize) -> u32 {
    let mut digest = CRC32C.digest();
    digest.update(bytes.get(..at).unwrap_or(bytes));
    digest.update(&[0; 4]);
    digest.update(bytes.get(at + 4..).unwrap_or_default());
    digest.finalize()
}
