#!/usr/bin/env python3
"""Takes the ELF file out of an xz-packed bzImage, so that emulated Xen need not unpack it.

    unpack_kernel.py VMLINUZ VMLINUX
"""

import lzma
import struct
import sys

XZ_MAGIC = b"\xfd7zXZ\0"


def unpack(image: bytes) -> bytes:
    """The payload's place is in the setup header (Linux, Documentation/arch/x86/boot.rst)."""
    setup_sectors = image[0x1F1] or 4
    payload_offset, payload_octets = struct.unpack_from("<II", image, 0x248)
    start = (setup_sectors + 1) * 512 + payload_offset
    payload = image[start : start + payload_octets]
    if not payload.startswith(XZ_MAGIC):
        sys.exit("unpack_kernel: the kernel is not packed with xz")
    return lzma.LZMADecompressor().decompress(payload)


if __name__ == "__main__":
    with open(sys.argv[1], "rb") as packed:
        elf = unpack(packed.read())
    with open(sys.argv[2], "wb") as unpacked:
        unpacked.write(elf)
