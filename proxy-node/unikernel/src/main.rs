//! The bootable image. Everything is in the library; a binary has to name the panic handler.
#![no_std]
#![no_main]

use core::panic::PanicInfo;

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    synhop_unikernel::panicked(info)
}
